"""Absorbing categories equals a regression on their indicators, exactly."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import causalign.stats.absorb as absorb_module
from causalign.errors import InputError
from causalign.stats.absorb import absorb, degrees_of_freedom, level_covariance, singletons
from causalign.stats.least_squares import ordinary


def compact(codes):
    return np.unique(codes, return_inverse=True)[1]


def factors(seed, count, n=80):
    rng = np.random.default_rng(seed)
    codes = [compact(rng.integers(0, levels, n)) for levels in (12, 7, 3)[:count]]
    return rng, codes, rng.uniform(0.5, 2, n)


def test_one_factor_is_the_difference_from_the_group_mean():
    absorber = absorb([[0, 0, 1, 1]], [1.0, 3.0, 1.0, 1.0])
    np.testing.assert_allclose(absorber.within([1.0, 5.0, 2.0, 4.0]), [-3, 1, -1, 1])
    np.testing.assert_allclose(absorber.effects([1.0, 5.0, 2.0, 4.0]), [4, 3])


@given(st.integers(0, 10_000), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_within_is_the_residual_of_a_regression_on_indicators(seed, count):
    rng, codes, weights = factors(seed, count)
    values = rng.normal(size=(80, 2)) + codes[0][:, None]
    absorber = absorb(codes, weights)
    root = np.sqrt(weights)[:, None]
    D = absorber.indicators.toarray() * root
    expected = values - (D / root) @ np.linalg.lstsq(D, values * root, rcond=None)[0]
    within = absorber.within(values)
    np.testing.assert_allclose(within, expected, atol=1e-11)
    np.testing.assert_allclose(absorber.within(within), within, atol=1e-12)
    np.testing.assert_allclose(D.T @ (within * root), 0, atol=1e-11)


def test_conjugate_gradients_agree_with_the_exact_solution(monkeypatch):
    rng, codes, weights = factors(0, 3)
    values = rng.normal(size=(80, 2))
    exact = absorb(codes, weights).within(values)
    monkeypatch.setattr(absorb_module, "LARGEST_DENSE", 2)
    iterated = absorb(codes, weights)
    assert iterated.redundant is None
    np.testing.assert_allclose(iterated.within(values), exact, atol=1e-11)


@pytest.mark.parametrize("ways", [0, 1, 2])
@pytest.mark.parametrize("penalised", [False, True])
def test_covariance_of_levels_is_that_of_indicators(ways, penalised):
    rng, codes, weights = factors(3, 2, n=200)
    X = rng.normal(size=(200, 2)) + codes[0][:, None]
    y = X @ [1, -1] + codes[1] + rng.normal(size=200)
    clusters = rng.integers(0, 15, (200, 2))[:, :ways].squeeze() if ways else None
    absorber = absorb(codes, weights)
    ridge = np.array([30.0, 0.0]) if penalised else None
    fit = ordinary(
        absorber.within(y), absorber.within(X), weights=weights, clusters=clusters, penalty=ridge
    )
    joint = level_covariance(absorber, X, fit, clusters=clusters).covariance
    levels = absorber.counts[0]
    # Leaving out the first level of the second factor makes the indicators independent.
    indicators = np.delete(absorber.indicators.toarray(), levels, axis=1)
    full = ordinary(
        y,
        np.hstack([indicators, X]),
        weights=weights,
        clusters=clusters,
        penalty=None if ridge is None else np.concatenate([np.zeros(indicators.shape[1]), ridge]),
    )
    contrast = np.eye(levels)[1:] - np.eye(levels)[0]
    ours = contrast @ joint[:levels, :levels] @ contrast.T
    theirs = contrast @ full.covariance[:levels, :levels] @ contrast.T
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_allclose(joint[-2:, -2:], full.covariance[-2:, -2:], atol=1e-12)
    np.testing.assert_allclose(
        contrast @ joint[:levels, -2:], contrast @ full.covariance[:levels, -2:], atol=1e-12
    )


def test_rows_alone_in_a_category_are_found_again_and_again():
    # Row 0 is alone in the first factor; without it row 1 is alone in the second.
    first, second = [9, 1, 1, 1, 1], [0, 0, 1, 1, 1]
    np.testing.assert_array_equal(singletons([first, second]), [True, True, False, False, False])
    assert not singletons([[0, 0], [1, 1]]).any()


def test_degrees_of_freedom_count_nested_factors_once():
    site, month = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 0, 1])
    assert degrees_of_freedom([site]) == 3
    assert degrees_of_freedom([site, month]) == 4
    assert degrees_of_freedom([site], clusters=[0, 0, 0, 0, 1, 1]) == 1
    assert degrees_of_freedom([site, month], clusters=[0, 0, 0, 0, 1, 1]) == 2


def test_groups_without_a_common_row_are_counted():
    assert absorb([[0, 0, 1, 1], [0, 1, 0, 1]]).redundant == 1
    assert absorb([[0, 0, 1, 1], [0, 0, 1, 1]]).redundant == 2


@pytest.mark.parametrize("codes", [[[0, 2]], [[-1, 0]], [[]], [], [[0, 1], [0]]])
def test_codes_must_be_complete(codes):
    with pytest.raises(InputError):
        absorb(codes)
