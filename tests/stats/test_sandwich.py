"""Covariances of two ways of clustering: negative variances are repaired, and only those."""

import numpy as np

from causalign.stats.least_squares import ordinary
from causalign.stats.sandwich import combine, make_possible, sandwich


def draw(seed, n=40, k=3):
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, k - 1))])
    return rng.normal(size=n), X, rng.integers(0, 3, (n, 2))


def terms(y, X, ways):
    """Return V_1, V_2 and -V_12 by loops over the clusters."""
    bread = np.linalg.inv(X.T @ X)
    scores = X * (y - X @ bread @ X.T @ y)[:, None]
    found = []
    for sign, labels in ((1, ways[:, 0]), (1, ways[:, 1]), (-1, 3 * ways[:, 0] + ways[:, 1])):
        sums = np.array([scores[labels == g].sum(axis=0) for g in np.unique(labels)])
        found.append(sign * bread @ sums.T @ sums @ bread)
    return found


def test_positive_variances_are_the_sum_of_three_terms():
    checked = 0
    for seed in range(30):
        y, X, ways = draw(seed)
        plain = sum(terms(y, X, ways))
        if (np.diag(plain) > 0).all():
            fit = ordinary(y, X, clusters=ways)
            np.testing.assert_allclose(fit.covariance, plain, atol=1e-14)
            assert not fit.repaired.any()
            checked += 1
    assert checked > 5


def test_negative_variances_are_repaired_the_same_in_all_units():
    repaired = 0
    for seed in range(30):
        y, X, ways = draw(seed)
        given = terms(y, X, ways)
        plain = np.diag(sum(given))
        fit = ordinary(y, X, clusters=ways)
        np.testing.assert_array_equal(fit.repaired, plain <= 0)
        if not fit.repaired.any():
            continue
        repaired += 1
        assert np.linalg.eigvalsh(fit.covariance).min() > -1e-12
        kept = ~fit.repaired
        np.testing.assert_allclose(np.diag(fit.covariance)[kept], plain[kept], rtol=1e-9)
        unit = np.array([1.0, 1e6, 1e-6])
        other = ordinary(y, X * unit, clusters=ways)
        np.testing.assert_allclose(
            other.covariance * np.outer(unit, unit), fit.covariance, rtol=1e-6, atol=1e-12
        )
    assert repaired > 5


def test_a_single_negative_variance_leaves_nothing():
    found = combine([np.array([[1.0]]), np.array([[1.0]]), np.array([[-3.0]])], (3, 3))
    assert found.covariance == 0
    assert found.repaired.all()


def test_impossible_correlations_are_made_possible_and_variances_kept():
    impossible = np.array([[1.0, 0.9, -0.9], [0.9, 4.0, 1.9], [-0.9, 1.9, 1.0]])
    possible = make_possible(impossible)
    np.testing.assert_allclose(np.diag(possible), np.diag(impossible))
    assert np.linalg.eigvalsh(impossible).min() < -0.5
    assert np.linalg.eigvalsh(possible).min() > -1e-12
    fine = np.array([[2.0, 0.5], [0.5, 1.0]])
    np.testing.assert_array_equal(make_possible(fine), fine)


def test_one_way_is_left_alone():
    y, X, ways = draw(0)
    bread = np.linalg.inv(X.T @ X)
    scores = X * (y - X @ bread @ X.T @ y)[:, None]
    assert not sandwich(scores, bread, ways[:, 0]).repaired.any()
