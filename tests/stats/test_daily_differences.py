"""Differences within days: against formulas by hand, a regression, and what mixes days up."""

import numpy as np
import pytest
from scipy import stats

from causalign.errors import InputError
from causalign.stats.daily_differences import arm_sizes_p_values, daily_differences, sum_cells

statsmodels = pytest.importorskip("statsmodels.api")


def counts(successes: np.ndarray, trials: np.ndarray):
    """Return the cells of counts by day and arm (D, K)."""
    n, s = np.asarray(trials, float).ravel(), np.asarray(successes, float).ravel()
    mean = s / np.maximum(n, 1)
    place = np.arange(len(n))
    return sum_cells(place, np.shape(trials), n, mean, n * mean * (1 - mean))


def test_one_day_is_the_difference_of_two_rates():
    cells = counts([[30, 20]], [[1000, 800]])
    path = daily_differences(cells, 0, 1)
    p, q = 0.03, 0.025
    assert path.estimate[0] == pytest.approx(p - q)
    known = np.sqrt(p * (1 - p) / 999 + q * (1 - q) / 799)
    assert path.error[0] == pytest.approx(known)
    assert path.information[0] == pytest.approx(1000 * 800 / 1800)


def test_counts_and_readers_give_the_same():
    rng = np.random.default_rng(0)
    day, arm = rng.integers(4, size=900), rng.integers(2, size=900)
    y = (rng.random(900) < 0.2 + 0.1 * arm).astype(float)
    rows = sum_cells(day * 2 + arm, (4, 2), np.ones(900), y, np.zeros(900))
    trials = np.array([[((day == d) & (arm == a)).sum() for a in (0, 1)] for d in range(4)])
    hits = np.array([[y[(day == d) & (arm == a)].sum() for a in (0, 1)] for d in range(4)])
    one, other = daily_differences(rows, 1, 0), daily_differences(counts(hits, trials), 1, 0)
    np.testing.assert_allclose(one.estimate, other.estimate)
    np.testing.assert_allclose(one.error, other.error)


def test_covariates_are_those_of_a_regression_with_days():
    rng = np.random.default_rng(1)
    size = 4_000
    day, arm, x = rng.integers(6, size=size), rng.integers(2, size=size), rng.normal(size=(size, 2))
    y = 0.3 * arm + day + x @ [1.0, -2.0] + rng.normal(size=size)
    cells = sum_cells(day * 2 + arm, (6, 2), np.ones(size), y, np.zeros(size), x)
    path = daily_differences(cells, 1, 0)
    design = np.column_stack([arm, x, day[:, None] == np.arange(6)]).astype(float)
    fit = statsmodels.OLS(y, design).fit(cov_type="HC1")
    # β̂ here is within arms too, so the two differ by what chance put into the arms.
    assert path.estimate[-1] == pytest.approx(fit.params[0], abs=2e-3)
    assert path.error[-1] == pytest.approx(fit.bse[0], rel=0.01)
    plain = sum_cells(day * 2 + arm, (6, 2), np.ones(size), y, np.zeros(size))
    assert path.error[-1] < 0.5 * daily_differences(plain, 1, 0).error[-1]


def test_a_share_of_traffic_that_changes_does_not_move_the_difference():
    """Good days got more of B: pooled counts favour B, though no day does."""
    trials = np.array([[9_000, 1_000], [1_000, 9_000]])
    hits = trials * np.array([[0.01], [0.05]])
    path = daily_differences(counts(hits, trials), 1, 0)
    pooled = hits.sum(axis=0) / trials.sum(axis=0)
    assert pooled[1] - pooled[0] > 0.03
    assert path.estimate[-1] == pytest.approx(0.0, abs=1e-12)


def test_days_with_one_arm_do_not_count():
    path = daily_differences(counts([[10, 0], [10, 12]], [[500, 0], [500, 500]]), 1, 0)
    assert not np.isfinite(path.estimate[0])
    assert path.estimate[1] == pytest.approx(2 / 500)
    assert path.shared_days == 1


def test_the_error_is_that_of_many_draws():
    rng = np.random.default_rng(2)
    rates, trials = np.array([[0.05, 0.05], [0.2, 0.2], [0.1, 0.1]]), np.array([[300, 900]] * 3)
    draws = [
        daily_differences(counts(rng.binomial(trials, rates), trials), 1, 0) for _ in range(2_000)
    ]
    estimates = np.array([path.estimate[-1] for path in draws])
    errors = np.array([path.error[-1] for path in draws])
    assert abs(estimates.mean()) < 3 * estimates.std() / np.sqrt(2_000)
    assert errors.mean() == pytest.approx(estimates.std(), rel=0.05)
    assert (np.abs(estimates) > 1.96 * errors).mean() == pytest.approx(0.05, abs=0.015)


def test_a_trend_of_the_difference_shows_and_a_level_does_not():
    trials, day = np.full((10, 2), 20_000), np.arange(10)
    fading = np.column_stack([np.full(10, 0.05), 0.05 + 0.02 * np.exp(-day / 3)])
    level = np.column_stack([np.full(10, 0.05), np.full(10, 0.06)])
    assert daily_differences(counts(trials * fading, trials), 1, 0).trend_p_value() < 1e-3
    assert daily_differences(counts(trials * level, trials), 1, 0).trend_p_value() > 0.9
    assert daily_differences(counts([[1, 2]], [[9, 9]]), 1, 0).trend_p_value() == 1


def test_arm_sizes_are_scipys_chi_square():
    test, observed = ["b", "a", "a", "b", "b", "c"], [510, 900, 100, 480, 530, 7]
    p_values = arm_sizes_p_values(test, observed, [1, 9, 1, 1, 1, 1])
    known = stats.chisquare([510, 480, 530]).pvalue
    assert p_values == pytest.approx([1.0, known, 1.0])
    with pytest.raises(InputError, match="expected to be read"):
        arm_sizes_p_values([0, 0], [3, 4], [1, 0])
