"""The residual of a column on those that it is nested in gives its coefficient beside them."""

import numpy as np
import pytest
from scipy import sparse

from causalign.stats import nested_columns
from causalign.stats.nested_columns import beyond_parts


def columns(seed=0, size=200):
    generator = np.random.default_rng(seed)
    a, b = generator.random((2, size)) < [[0.5], [0.4]]
    both = a & b & (generator.random(size) < 0.7)
    return np.column_stack([a, b, both]).astype(float), generator


@pytest.mark.parametrize("at_once", [1, 10**9])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_coefficient_of_least_squares(at_once, weighted, monkeypatch):
    monkeypatch.setattr(nested_columns, "PRODUCTS_AT_ONCE", at_once)
    X, generator = columns()
    y = X @ [1.0, -0.5, 2.0] + generator.normal(size=len(X))
    w = generator.uniform(0.5, 2, len(X)) if weighted else np.ones(len(X))
    beyond, left = beyond_parts(sparse.csc_array(X), [(), (), (0, 1)], w)
    rest = (sparse.csc_array(X) @ beyond).toarray()[:, 2]
    rest = rest - w @ rest / w.sum()
    design = np.column_stack([np.ones(len(X)), X]) * np.sqrt(w)[:, None]
    expected = np.linalg.lstsq(design, y * np.sqrt(w), rcond=None)[0][3]
    assert (w * rest) @ y / ((w * rest) @ rest) == pytest.approx(expected, abs=1e-10)
    centred = X[:, 2] - w @ X[:, 2] / w.sum()
    assert left[2] == pytest.approx(w @ rest**2 / (w @ centred**2), abs=1e-10)


def test_columns_without_parts_stay_as_they_are():
    X = sparse.csc_array(columns()[0])
    beyond, left = beyond_parts(X, [(), (), ()])
    np.testing.assert_array_equal((X @ beyond).toarray(), X.toarray())
    np.testing.assert_array_equal(left, 1.0)


def test_a_copy_of_its_part_leaves_nothing():
    X = columns()[0][:, [0, 0]]
    assert beyond_parts(sparse.csc_array(X), [(), (0,)])[1][1] == pytest.approx(0.0, abs=1e-12)
