"""An estimate rests on as many rows as share its variance, and its interval says so."""

import numpy as np
import pytest
from scipy import stats

from causalign.stats.carrying_rows import carrying_rows, interval_reach


def difference(few, many):
    """Return the pull of each row on the mean of the first rows less that of the others."""
    return np.concatenate([np.full(few, 1 / few), np.full(many, -1 / many)])[:, None]


def test_a_mean_rests_on_all_rows_and_a_difference_on_the_few():
    assert carrying_rows(np.full((50, 1), 0.02))[0] == pytest.approx(50)
    # (1/4 + 1/596)^2 / (1/4^3 + 1/596^3)
    found = carrying_rows(difference(4, 596))[0]
    assert found == pytest.approx((1 / 4 + 1 / 596) ** 2 / (1 / 64 + 1 / 596**3))
    assert found == pytest.approx(4.05, abs=0.01)


def test_clusters_are_counted_where_rows_cluster_and_the_smaller_way_of_two():
    pull = np.full((60, 1), 1 / 60)
    by_five, by_twelve = np.arange(60) % 5, np.arange(60) % 12
    assert carrying_rows(pull, by_five)[0] == pytest.approx(5)
    both = np.column_stack([by_twelve, by_five])
    assert carrying_rows(pull, both)[0] == pytest.approx(5)
    uneven = np.repeat([0, 1, 2], [40, 10, 10])  # shares 2/3, 1/6, 1/6
    assert carrying_rows(pull, uneven)[0] == pytest.approx(1 / (4 / 9 + 2 / 36))


def test_units_do_not_matter_and_nothing_is_carried_by_nobody():
    pull = np.column_stack([difference(4, 596)[:, 0] * 1e-200, np.zeros(600)])
    assert carrying_rows(pull)[0] == pytest.approx(carrying_rows(difference(4, 596))[0])
    assert carrying_rows(pull)[1] == np.inf


def test_the_reach_of_a_mean_is_that_of_student():
    """The variance by n instead of n - 1, made good by √(n/(n - 1)), and t with n - 1."""
    for n in (4.0, 10.0, 200.0):
        expected = stats.t.ppf(0.975, n - 1) * np.sqrt(n / (n - 1))
        assert interval_reach(np.array([n]), 1e6, 0.95)[0] == pytest.approx(expected)
    usual = interval_reach(np.array([np.inf]), 30.0, 0.9)[0]
    assert usual == pytest.approx(stats.t.ppf(0.95, 30))
    assert interval_reach(np.array([500.0]), 7.0, 0.95)[0] == pytest.approx(
        stats.t.ppf(0.975, 7) * np.sqrt(500 / 499)
    )


def test_one_row_has_no_interval_and_two_have_a_wide_one():
    one, two, unknown = interval_reach(np.array([1.2, 1.6, np.nan]), 100.0, 0.95)
    assert one == np.inf
    assert two == pytest.approx(stats.t.ppf(0.975, 1) * np.sqrt(1.6 / 0.6))
    assert np.isnan(unknown)


def test_the_interval_of_four_rows_against_many_covers():
    hits = usual = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        first, second = rng.normal(size=4), rng.normal(size=200)
        gap = first.mean() - second.mean()
        error = np.sqrt(first.var() / 4 + second.var() / 200)  # as a robust covariance has it
        reach = interval_reach(carrying_rows(difference(4, 200)), 202.0, 0.95)[0]
        hits += abs(gap) <= reach * error
        usual += abs(gap) <= 1.97 * error
    low, high = stats.binom.interval(0.999, 400, 0.95)
    assert low <= hits <= high
    assert usual < low
