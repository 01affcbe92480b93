"""Calibration where the slope and the strata are known."""

import numpy as np
import pytest
from scipy.stats import kstest

from causalign.errors import InputError
from causalign.stats.calibration import calibration, residuals_by_stratum


def test_bins_and_slope_by_hand():
    found = calibration([0.0, 0.0, 2.0, 2.0], [0.0, 2.0, 3.0, 5.0], bins=2)
    assert found.slope == pytest.approx(1.5)
    assert found.bins.predicted.tolist() == [0, 2]
    assert found.bins.observed.tolist() == [1, 4]
    # The mean of 0 and 2 has standard error √2/√2 = 1.
    assert found.bins.standard_error == pytest.approx([1, 1])


def test_interval_covers_the_slope_with_clusters_and_would_not_without():
    covered = {True: 0, False: 0}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        r = np.repeat(rng.normal(size=40), 10)
        y = 0.7 * r + np.repeat(rng.normal(size=40), 10) + 0.1 * rng.normal(size=400)
        for clustered in covered:
            labels = np.repeat(np.arange(40), 10) if clustered else None
            found = calibration(r, y, clusters=labels)
            covered[clustered] += found.lower <= 0.7 <= found.upper
    assert covered[True] >= 86
    assert covered[False] < 70


def test_strata_that_differ_are_found_and_others_give_uniform_p_values():
    p, explained = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        r, week = rng.normal(size=400), rng.integers(0, 5, 400)
        found = residuals_by_stratum(r, r + rng.normal(size=400), week)
        p.append(found.p_value)
        explained.append(found.explained)
    assert kstest(p, "uniform").pvalue > 0.001
    assert abs(np.mean(explained)) < 0.005
    moved = residuals_by_stratum(r, r + 0.5 * week + rng.normal(size=400), week)
    assert moved.p_value < 1e-6
    assert moved.explained == pytest.approx(0.5**2 * 2 / (0.5**2 * 2 + 1), abs=0.08)
    assert moved.degrees_of_freedom == 4


def test_small_strata_and_bad_input():
    alone = residuals_by_stratum([1.0, 2.0, 3.0], [1.0, 2.5, 3.0], [0, 1, 2])
    assert alone.degrees_of_freedom == 0
    assert alone.p_value == 1
    with pytest.raises(InputError, match="the same"):
        calibration([1.0, 1.0], [0.0, 1.0])
    with pytest.raises(InputError, match="missing or infinite"):
        calibration([1.0, np.inf], [0.0, 1.0])
    with pytest.raises(InputError, match="strata must have shape"):
        residuals_by_stratum([1.0, 2.0], [0.0, 1.0], [0])


def test_the_interval_of_the_slope_is_students_with_rows_less_one():
    rng = np.random.default_rng(0)
    r = rng.normal(size=12)
    y = r + rng.normal(size=12)
    found = calibration(r, y)
    X = np.column_stack([np.ones(12), r - r.mean()])
    e = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    error = np.sqrt(12 / 10 * (X[:, 1] ** 2 @ e**2)) / (X[:, 1] @ X[:, 1])
    assert found.standard_error == pytest.approx(error)
    assert found.upper - found.slope == pytest.approx(2.20099 * error, rel=1e-5)  # t, 11


def test_strata_of_five_rows_are_tested_and_smaller_ones_are_not():
    """Two strata of 5 rows whose means differ by 1: Q is the squared gap over both variances."""
    residual = np.array([-1.0, 0, 0, 0, 1, 0, 1, 1, 1, 2, 9, 9, 9, -9])
    strata = np.repeat([0, 1, 2], [5, 5, 4])
    found = residuals_by_stratum(np.zeros(14), residual, strata)
    variance = 0.5 / 5
    assert found.degrees_of_freedom == 1
    assert found.statistic == pytest.approx(1 / (2 * variance))
