"""Importance weights: their worth, their tail and their typical texts, by hand."""

import numpy as np
import pytest

from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.stats.importance_weights import (
    at_most,
    check_log_probabilities,
    clip_weights,
    diagnose_weights,
    effective_sample_size,
    exponentiate_weights,
    log_importance_weights,
    normalise_weights,
    pareto_threshold,
    smooth_tail,
    typicality_coverage,
)


def test_weights_are_ratios_and_lengths_make_them_ratios_of_tokens():
    target, logging = np.log([0.5, 0.1]), np.log([0.25, 0.2])
    np.testing.assert_allclose(np.exp(log_importance_weights(target, logging)), [2, 0.5])
    found = log_importance_weights(target, logging, lengths=[2, 4])
    np.testing.assert_allclose(found, [np.log(2) / 2, -np.log(2) / 4])
    with pytest.raises(InputError, match="token counts, each at least 1"):
        log_importance_weights(target, logging, lengths=[0, 4])
    with pytest.raises(NotIdentified, match="all weights are zero"):
        log_importance_weights([-np.inf, -np.inf], logging)


def test_normalised_and_clipped_weights_and_those_at_a_limit():
    log_w = np.log([1.0, 3.0])
    np.testing.assert_allclose(normalise_weights(log_w), [0.5, 1.5])
    np.testing.assert_allclose(normalise_weights(log_w + 5000), [0.5, 1.5])
    np.testing.assert_allclose(np.exp(clip_weights(log_w, 2.0)), [1, 2])
    np.testing.assert_array_equal(at_most(log_w + 1e-12, 3.0), [True, True])
    np.testing.assert_array_equal(at_most(log_w + 1e-6, 3.0), [True, False])
    np.testing.assert_allclose(exponentiate_weights([-np.inf, 0.0, 900.0]), [0, 1, np.exp(300)])
    for function in (at_most, clip_weights):
        with pytest.raises(SettingsError, match="above 0"):
            function(log_w, 0.0)


def test_the_worth_of_weights():
    assert effective_sample_size(np.log([1.0, 1.0, 2.0])) == pytest.approx(16 / 6)
    assert effective_sample_size(np.full(7, -900.0)) == pytest.approx(7)
    found = diagnose_weights(np.log([1.0, 3.0, 0.5, 1.5]))
    assert found.mean == pytest.approx(1.5)
    assert found.mean_error == pytest.approx(np.std([1.0, 3.0, 0.5, 1.5], ddof=1) / 2)
    assert found.largest_share == pytest.approx(0.5)
    assert (found.rows, np.exp(found.lowest), np.exp(found.highest)) == (4, 0.5, pytest.approx(3))
    assert np.isnan(found.pareto_shape)
    clustered = diagnose_weights(np.log([1.0, 3.0, 0.5, 1.5]), [0, 0, 1, 1])
    assert clustered.mean_error == pytest.approx(np.sqrt(2 * 2 * 1.0) / 4)  # sums 1 and -1


def test_the_limit_of_the_tail_is_stricter_for_small_logs():
    assert pareto_threshold(100) == pytest.approx(0.5)
    assert pareto_threshold(1000) == pytest.approx(2 / 3)
    assert pareto_threshold(10**6) == 0.7
    assert pareto_threshold(2) == pareto_threshold(11)


def test_the_shape_of_a_pareto_tail_is_found():
    """Weights u^-k have the tail k; the prior of ten observations at 1/2 pulls a little."""
    u = (np.arange(20_000) + 0.5) / 20_000
    for k in (0.2, 0.5, 0.9):
        assert smooth_tail(-k * np.log(u)).pareto_shape == pytest.approx(k, abs=0.04)
    assert smooth_tail(np.zeros(100)).pareto_shape == -np.inf
    smoothed = smooth_tail(-0.9 * np.log(u))
    assert smoothed.log_weights.max() <= -0.9 * np.log(u[0])


def test_typical_texts_are_those_of_the_likeliest_nine_tenths():
    samples = -np.arange(1.0, 11.0)  # the edge is the second lowest, -9
    assert typicality_coverage([-8.0, -9.0, -9.5, -20.0], samples) == 0.5
    assert typicality_coverage(samples, samples) == pytest.approx(0.9)
    assert typicality_coverage([-8.0, -6.0, -5.0, -1.0], samples, mass=0.5) == 0.5
    with pytest.raises(SettingsError, match="mass"):
        typicality_coverage(samples, samples, mass=1.0)


def test_rounding_above_zero_is_zero_and_more_is_refused():
    np.testing.assert_array_equal(check_log_probabilities([1e-9, -1.0], "p"), [0, -1])
    with pytest.raises(InputError, match="never above 0; row 1 holds 0.001"):
        check_log_probabilities([-1.0, 0.001], "p")
    with pytest.raises(InputError, match="look like probabilities"):
        check_log_probabilities([0.2, 1.0], "p")
