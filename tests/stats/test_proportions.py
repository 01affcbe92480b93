"""Shares of two groups, against published intervals and exact tests."""

import numpy as np
import pytest
from scipy import stats

from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.stats.proportions import (
    clustered_shares,
    paired_shares,
    share_interval,
    unpaired_shares,
)


def zeros_and_ones(ones, count):
    return np.repeat([1, 0], [ones, count - ones])


def test_newcombes_published_interval():
    """Newcombe (1998), table II, method 10: 56/70 against 48/80."""
    found = unpaired_shares(zeros_and_ones(56, 70), zeros_and_ones(48, 80))
    assert found.difference == pytest.approx(0.2)
    assert (found.lower, found.upper) == (pytest.approx(0.0524, abs=5e-5),
                                          pytest.approx(0.3339, abs=5e-5))  # fmt: skip
    assert found.p_value == pytest.approx(stats.fisher_exact([[56, 14], [48, 32]]).pvalue)
    none = unpaired_shares(zeros_and_ones(9, 10), zeros_and_ones(3, 10))
    assert (none.lower, none.upper) == (pytest.approx(0.1705, abs=5e-5),
                                        pytest.approx(0.8090, abs=5e-5))  # fmt: skip


def test_wilsons_interval():
    """Newcombe (1998), one share: 81 of 263 from .2553 to .3662."""
    low, high = share_interval(81, 263)
    assert (low, high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))


def test_pairs_count_what_differs():
    """7 gained, 2 lost, 11 alike: Bonett and Price (2012) with one added to each."""
    first = np.array([1] * 7 + [0] * 2 + [1] * 5 + [0] * 6)
    second = np.array([0] * 7 + [1] * 2 + [1] * 5 + [0] * 6)
    found = paired_shares(first, second)
    one, other = 8 / 22, 3 / 22
    reach = stats.norm.ppf(0.975) * np.sqrt((one + other - (one - other) ** 2) / 22)
    assert found.difference == pytest.approx(0.25)
    assert (found.first, found.second) == (pytest.approx(0.6), pytest.approx(0.35))
    assert found.lower == pytest.approx(one - other - reach)
    assert found.upper == pytest.approx(one - other + reach)
    assert found.p_value == pytest.approx(stats.binomtest(7, 9).pvalue)
    assert paired_shares([1, 0], [1, 0]).p_value == 1
    with pytest.raises(InputError, match="as many texts on both sides"):
        paired_shares([1, 0], [1])


def test_clusters_of_repeated_prompts():
    first, second = np.array([1, 1, 1, 0, 1, 0]), np.array([0, 0, 0, 0, 1, 1])
    prompts = np.array([0, 0, 1, 1, 2, 2])
    found = clustered_shares(first, second, prompts)
    sums = np.array([2, 1, -1]) - 2 / 3
    error = np.sqrt(3 / 2 * sums @ sums) / 6
    assert found.difference == pytest.approx(1 / 3)
    assert found.upper == pytest.approx(min(1 / 3 + stats.t.ppf(0.975, 2) * error, 1))
    assert found.p_value == pytest.approx(2 * stats.t.sf(1 / 3 / error, 2))
    assert clustered_shares(first, first, prompts).p_value == 1
    with pytest.raises(NotIdentified, match="one cluster"):
        clustered_shares(first, second, np.zeros(6))
    with pytest.raises(InputError, match="0 and 1"):
        unpaired_shares([0.5], [1.0])


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, float("nan"), True, "0.95", None])
def test_levels_lie_between_0_and_1(level):
    ones = np.array([1, 0, 1])
    for call in (
        lambda: share_interval(1, 3, level),
        lambda: unpaired_shares(ones, ones, level),
        lambda: paired_shares(ones, ones, level),
        lambda: clustered_shares(ones, ones, [0, 1, 1], level),
    ):
        with pytest.raises(SettingsError, match="level must be a number above 0 and below 1"):
            call()
