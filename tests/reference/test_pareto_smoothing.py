"""Pareto smoothing agrees with arviz-stats."""

import numpy as np
import pytest
from scipy.special import logsumexp

from causalign.stats.importance_weights import (
    clip_weights,
    diagnose_weights,
    effective_sample_size,
    normalise_weights,
    smooth_tail,
    typicality_coverage,
)

TOLERANCE = 1e-10


@pytest.mark.parametrize("spread", [0.3, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("rows", [400, 2500])  # 3 sqrt(n) is whole: both take the same tail
def test_shape_and_weights(rows, spread):
    arviz = pytest.importorskip("arviz_stats.base").array_stats
    log_weights = np.random.default_rng(0).normal(0, spread, rows)
    found = smooth_tail(log_weights)
    expected, shape = arviz.psislw(-log_weights, r_eff=1)
    assert found.pareto_shape == pytest.approx(shape, abs=TOLERANCE)
    np.testing.assert_allclose(
        found.log_weights - logsumexp(found.log_weights), expected, atol=TOLERANCE
    )


def test_shape_is_that_of_a_pareto_law():
    uniform = np.random.default_rng(1).random(100_000)
    for shape in (0.3, 0.8):
        assert smooth_tail(-shape * np.log(uniform)).pareto_shape == pytest.approx(shape, abs=0.1)


def test_weights_without_a_tail():
    assert smooth_tail(np.zeros(100)).pareto_shape == float("-inf")
    assert np.isnan(smooth_tail(np.zeros(10)).pareto_shape)
    assert smooth_tail(np.r_[np.zeros(98), 9.0, 9.1]).pareto_shape == float("inf")


def test_sums_survive_weights_that_no_number_holds():
    huge = np.array([5000.0, 5000.0, 4999.0, -5000.0])
    w = np.array([1, 1, np.exp(-1), 0])
    assert effective_sample_size(huge) == pytest.approx(w.sum() ** 2 / (w @ w))
    np.testing.assert_allclose(normalise_weights(huge), 4 * w / w.sum())
    assert clip_weights(huge, 10).max() == pytest.approx(np.log(10))
    assert diagnose_weights(huge[2:]).rows == 2


def test_typicality_of_the_targets_own_texts_is_its_mass():
    logprob = np.random.default_rng(0).normal(-30, 3, 20_000)
    assert typicality_coverage(logprob[:10_000], logprob[10_000:]) == pytest.approx(0.9, abs=0.01)
    assert typicality_coverage(logprob[:10_000] - 30, logprob[10_000:]) == 0
