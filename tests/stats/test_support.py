"""A support is an ellipsoid that 99 of 100 new texts of the same kind lie inside."""

import numpy as np
import pytest

from causalign.stats.support import Support, measure_support, support_of_sums

random = np.random.default_rng(0)


@pytest.mark.parametrize(("rows", "width"), [(200, 6), (12, 40)])
def test_leverage_is_the_quadratic_form(rows, width):
    X, w = random.normal(size=(rows, width)) + 3, random.uniform(0.5, 2, rows)
    region = measure_support(X, 0.7, w)
    centre = np.average(X, axis=0, weights=w)
    apart = np.vstack([X, random.normal(size=(5, width))]) - centre
    gram = (apart[:rows] * w[:, None]).T @ apart[:rows]
    exact = np.einsum("nd,de,ne->n", apart, np.linalg.inv(gram + 0.7 * np.eye(width)), apart)
    np.testing.assert_allclose(region.leverage(apart + centre), exact, rtol=1e-4)


def test_the_limit_is_the_percentile_of_rows_left_out():
    X, w = random.normal(size=(150, 30)), random.uniform(0.5, 2, 150)
    left_out = []
    for row in range(150):
        # About the same centre, which one row hardly moves.
        apart = X - np.average(X, axis=0, weights=w)
        rest = np.delete(apart * np.sqrt(w)[:, None], row, axis=0)
        A = rest.T @ rest + 2 * np.eye(30)
        left_out.append(apart[row] @ np.linalg.solve(A, apart[row]))
    limit = measure_support(X, 2.0, w).limit
    assert limit == pytest.approx(np.quantile(left_out, 0.99, method="inverted_cdf"), rel=1e-4)


def test_new_rows_of_the_same_kind_lie_inside_where_dimensions_are_many():
    def draw(rows):
        return random.normal(size=(rows, 100)) * np.geomspace(1, 0.05, 100)

    X, new = draw(400), draw(4000)
    region = measure_support(X, 0.1)
    inside = (region.leverage(new) <= region.limit).mean()
    # The leverages of the rows themselves, each of which drew the region towards itself, would
    # leave most new rows outside.
    of_rows = np.quantile(region.leverage(X), 0.99)
    assert inside == pytest.approx(0.99, abs=0.01)
    assert (region.leverage(new) <= of_rows).mean() < 0.95
    assert (region.leverage(new * 5) > region.limit).mean() > 0.99


def test_counts_stand_for_rows():
    region = support_of_sums(np.eye(1), 1.0, np.zeros(1))
    h, counts = np.array([0.4, 0.1, 0.2]), np.array([1, 98, 1])
    rows = region.reaching(np.repeat(h, counts), np.ones(100))
    assert region.reaching(h, np.ones(3), counts).limit == rows.limit == 0.2 / 0.8


def test_many_rows_are_sampled_evenly():
    X = random.normal(size=(30_500, 3))
    limit = measure_support(X, 1.0).limit
    full = Support.leverage(measure_support(X, 1.0), X)
    assert limit == pytest.approx(np.quantile(full, 0.99), rel=0.05)
