"""Every estimator's 95% interval holds the truth under its assumption; the naive one does not.

A smaller version of the study behind docs/coverage.md (``python -m tests.coverage.study``).
"""

import pytest
from scipy import stats

from tests.coverage.designs import CASES, holds

QUICK = ("ordinary", "two-stage", "additive", "double-ml")
FEW, MANY = 100, 200


def counted(name, draws):
    """Count in how many draws the estimator's set, and the naive one's, hold the truth."""
    case = CASES[name]
    found = naive = 0
    for seed in range(draws):
        one = case.draw(seed)
        found += holds(case.estimator(one), one.truth)
        naive += holds(case.naive(one), one.truth)
    return found, naive


def assert_covers(name, draws):
    found, naive = counted(name, draws)
    # Where the hits of a 95% interval fall with probability 0.999, and those of a 20% one.
    low, high = stats.binom.interval(0.999, draws, 0.95)
    assert low <= found <= high
    assert naive <= stats.binom.ppf(0.999, draws, 0.2)


@pytest.mark.parametrize("name", QUICK)
def test_covers(name):
    assert_covers(name, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in QUICK])
def test_covers_in_more_draws(name):
    assert_covers(name, MANY)


def test_the_band_is_worth_its_name():
    assert stats.binom.interval(0.999, FEW, 0.95)[0] >= 0.86 * FEW
    assert stats.binom.interval(0.999, MANY, 0.95)[0] >= 0.89 * MANY
