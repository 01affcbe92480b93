"""Tests without a difference that are looked at daily: how often they stop, and what covers."""

import numpy as np
import pytest
from scipy.stats import norm

from causalign.experiment.comparisons import StopRule, compare_arms
from causalign.experiment.running_tests import RunningTest
from causalign.stats.daily_differences import Cells

DAYS = 30


def running(rates, readers: int, rng: np.random.Generator) -> RunningTest:
    """Return a test of K arms with binomial counts; weekends click more."""
    arms = len(rates)
    lift = 1 + 0.3 * (np.arange(DAYS) % 7 > 4)[:, None]
    n = np.full((DAYS, arms), float(readers))
    p = rng.binomial(readers, np.asarray(rates) * lift) / n
    none = [np.zeros((DAYS, arms, *shape)) for shape in ((0,), (0,), (0, 0))]
    cells = Cells(n, p, n * p * (1 - p), *none)
    names = tuple(f"text {arm}" for arm in range(arms))
    return RunningTest(
        "",
        names,
        np.arange(DAYS),
        False,
        True,
        True,
        cells,
        {},
        np.full((DAYS, arms), 1 / arms),
        np.ones(arms),
    )


@pytest.mark.parametrize(("rate", "readers"), [(0.01, 300), (0.4, 200)])
def test_looks_keep_their_level_and_naive_peeking_does_not(rate, readers):
    rng = np.random.default_rng(0)
    ours, naive = [], []
    for _ in range(1_000):
        one = compare_arms(running([rate, rate], readers, rng), StopRule(), None)[0]
        size = np.abs(one.path.estimate)
        ours.append((size > one.half_width()).any())
        naive.append((size > norm.ppf(0.975) * one.path.error).any())
    assert np.mean(ours) <= 0.05
    assert np.mean(naive) > 0.2


def test_the_interval_covers_the_difference_at_all_looks():
    rng, missed = np.random.default_rng(1), []
    for _ in range(500):
        one = compare_arms(running([0.05, 0.065], 400, rng), StopRule(control="text 0"), None)[0]
        # Weekends lift the difference too: what is meant is its average over the readers so far.
        lift = 1 + 0.3 * (np.arange(DAYS) % 7 > 4)
        truth = 0.015 * np.cumsum(lift) / np.arange(1, DAYS + 1)
        missed.append((np.abs(one.path.estimate - truth) > one.half_width()).any())
    assert np.mean(missed) <= 0.05


@pytest.mark.parametrize("control", [None, "text 0"])
def test_several_arms_are_seldom_all_false(control):
    """Whoever takes the first arm of five that differs at any of five looks is seldom wrong."""
    rng, wrong = np.random.default_rng(2), []
    for _ in range(100):
        test = running([0.05] * 5, 400, rng)
        looks = []
        for day in (6, 12, 18, 24, 30):
            cells = Cells(
                *(
                    getattr(test.cells, name)[:day]
                    for name in ("readers", "mean", "square", "x_mean", "xy", "xx")
                )
            )
            part = RunningTest(
                "",
                test.arms,
                test.days[:day],
                False,
                True,
                True,
                cells,
                {},
                test.shares[:day],
                test.copies,
            )
            looks.append(any(one.differs for one in compare_arms(part, StopRule(control), None)))
        wrong.append(any(looks))
    assert np.mean(wrong) <= 0.05
