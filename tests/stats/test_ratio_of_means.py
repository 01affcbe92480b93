"""Ratios of means: influence, intervals and finite-sample bounds, each computed by hand."""

import numpy as np
import pytest
from scipy import stats

from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.stats.ratio_of_means import (
    RatioOfMeans,
    bootstrap_spread,
    clustered_error,
    influence_spread,
    lower_bound_of_mean,
    value_bounds,
)

TERMS = RatioOfMeans(
    np.array([1.0, 4.0, 1.0]), np.array([1.0, 2.0, 1.0]), np.array([0.0, 3.0, 3.0]),
    np.array([10.0, 14.0]),
)  # fmt: skip


def test_the_estimate_and_its_influences():
    assert TERMS.estimate == pytest.approx(6 / 4 + 2 + 12)
    rows, own = TERMS.influence()
    # (a - 1.5 b) / (4/3) + c - 2
    np.testing.assert_allclose(rows, [-0.375 - 2, 0.75 + 1, -0.375 + 1])
    np.testing.assert_allclose(own, [-2, 2])
    alone = RatioOfMeans(TERMS.numerator, TERMS.denominator, TERMS.added, np.empty(0))
    assert alone.estimate == pytest.approx(3.5)


def test_the_influence_is_what_a_little_more_weight_on_a_row_does():
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=8), rng.uniform(1, 2, 8), rng.normal(size=8)
    rows, _ = RatioOfMeans(a, b, c, np.empty(0)).influence()

    def value(w):
        return (w @ a) / (w @ b) + (w @ c) / w.sum()

    step = 1e-6
    for i in range(8):
        heavier = np.ones(8) + step * (np.arange(8) == i)
        assert (value(heavier) - value(np.ones(8))) / step * 8 == pytest.approx(rows[i], rel=1e-4)


def test_the_error_of_a_mean_and_of_clusters():
    y = np.array([1.0, 2.0, 4.0, 9.0])
    error, count = clustered_error(y - 4)
    assert (error, count) == (pytest.approx(stats.sem(y)), 4)
    # Sums -5 and 5 of two clusters: sqrt(2 / 1 * 50) / 4.
    error, count = clustered_error(y - 4, ["a", "a", "b", "b"])
    assert (error, count) == (pytest.approx(np.sqrt(100) / 4), 2)
    with pytest.raises(NotIdentified, match="one cluster"):
        clustered_error(y - 4, [7, 7, 7, 7])


def test_the_interval_is_students_and_adds_the_error_of_samples():
    y = np.array([1.0, 2.0, 4.0, 9.0])
    spread = influence_spread(4.0, (y - 4, np.empty(0)), level=0.9)
    low, high = stats.t.interval(0.9, 3, loc=4, scale=stats.sem(y))
    assert (spread.lower, spread.upper) == (pytest.approx(low), pytest.approx(high))
    own = np.array([-1.0, 0.0, 1.0])
    both = influence_spread(4.0, (y - 4, own))
    assert both.stderr == pytest.approx(np.sqrt(stats.sem(y) ** 2 + 1 / 3))
    with pytest.raises(SettingsError, match="level"):
        influence_spread(4.0, (y - 4, own), level=1.0)


def test_the_bootstrap_resamples_rows_samples_and_whole_clusters():
    rng = np.random.default_rng(1)
    y, own = rng.exponential(size=400), rng.normal(size=100)
    terms = RatioOfMeans(y, np.ones(400), np.zeros(400), own)
    found = bootstrap_spread(terms, draws=2000, level=0.9)
    error = np.hypot(y.std() / 20, own.std() / 10)
    assert found.stderr == pytest.approx(error, rel=0.06)
    assert found.lower == pytest.approx(terms.estimate - 1.645 * error, abs=0.25 * error)
    assert found.upper == pytest.approx(terms.estimate + 1.645 * error, abs=0.25 * error)
    ratio = RatioOfMeans(y * own.repeat(4), y, np.zeros(400), np.empty(0))
    groups = np.arange(400) // 4
    rows, _ = ratio.influence()
    expected = clustered_error(rows, groups)[0]
    assert bootstrap_spread(ratio, groups, draws=2000).stderr == pytest.approx(expected, rel=0.08)
    with pytest.raises(SettingsError, match="draws must be a whole number at least 100"):
        bootstrap_spread(terms, draws=99)


def test_the_empirical_bernstein_bound_is_that_of_the_theorem():
    """Maurer and Pontil (2009), theorem 4, with 0, 1, 1, 2 in [0, 2] and failure .1."""
    tail = np.log(20)
    expected = 1 - np.sqrt(2 * (2 / 3) * tail / 4) - 7 * 2 * tail / (3 * 3)
    assert lower_bound_of_mean([0, 1, 1, 2], 2.0, 0.1) == pytest.approx(expected)
    # Two clusters of the mean of the rows: sums 1 and 3, times 2/4; the largest is 2 * 2 * 2/4.
    z = np.array([0.5, 1.5])
    expected = 1 - np.sqrt(2 * z.var(ddof=1) * tail / 2) - 7 * 2 * tail / 3
    found = lower_bound_of_mean([0, 1, 1, 2], 2.0, 0.1, ["a", "a", "b", "b"])
    assert found == pytest.approx(expected)
    uneven = lower_bound_of_mean([0, 1, 1, 2], 2.0, 0.1, ["a", "a", "a", "b"])
    z = np.array([1.0, 1.0])
    assert uneven == pytest.approx(1 - 7 * (2 * 3 / 2) * tail / 3)


def test_bounds_of_a_value_count_what_was_cut_on_both_sides():
    y, w = np.array([2.0, 4.0] * 500), np.array([1.0, 3.0] * 500)
    low, high = value_bounds(w, y, (2.0, 6.0), 2.0, level=0.9)
    scaled, cut = (y - 2) / 4, np.minimum(w, 2)
    below = lower_bound_of_mean(cut * scaled, 2.0, 0.05)
    above = 1 - lower_bound_of_mean(cut * (1 - scaled), 2.0, 0.05)
    assert low == pytest.approx(2 + 4 * below)
    assert high == pytest.approx(min(2 + 4 * above, 6))
    few = value_bounds(w[:4], y[:4], (2.0, 6.0), 2.0)
    assert few == (2.0, 6.0)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (([0.0, 3.0], 2.0, 0.1), InputError, r"lie in \[0, 2\]"),
        (([-0.1, 1.0], 2.0, 0.1), InputError, r"lie in \[0, 2\]"),
        (([0.5], 2.0, 0.1), InputError, "at least two"),
        (([0.5, 1.0], 2.0, 0.0), SettingsError, "failure"),
    ],
)
def test_bounds_refuse_what_breaks_their_theorem(given, error, message):
    with pytest.raises(error, match=message):
        lower_bound_of_mean(*given)


def test_a_range_must_ascend_and_hold_the_outcomes():
    with pytest.raises(SettingsError, match="ascend"):
        value_bounds([1.0, 1.0], [0.0, 1.0], (1.0, 0.0), 2.0)
    with pytest.raises(InputError, match="outside its declared range"):
        value_bounds([1.0, 1.0], [0.0, 1.5], (0.0, 1.0), 2.0)
