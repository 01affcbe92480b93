"""HSIC against its definition; p-values uniform under independence, small under dependence."""

import numpy as np
import pytest
from scipy.stats import kstest

from causalign.errors import InputError, SettingsError
from causalign.stats.independence import hsic, independence_test


def plain_hsic(x, y, categorical=False):
    """tr(K H L H)/n² with n x n kernels, as Gretton et al. (2005) write it."""
    n = len(x)

    def gaussian(v):
        apart = np.abs(v[:, None] - v)
        pairs = apart[np.triu_indices(n, 1)]
        width = np.median(pairs[pairs > 0])
        return np.exp(-(apart**2) / (2 * width**2))

    second = (y[:, None] == y).astype(float) if categorical else gaussian(y)
    H = np.eye(n) - 1 / n
    return np.trace(gaussian(x) @ H @ second @ H) / n**2


def test_two_rows_by_hand():
    """K = [[1, k], [k, 1]] with k = exp(-1/2): tr(KHLH) = (1 - k)² and n² = 4."""
    assert hsic([0.0, 1.0], [3.0, 5.0]) == pytest.approx((1 - np.exp(-0.5)) ** 2 / 4)
    assert hsic([0.0, 1.0], [0, 1], categorical=True) == pytest.approx((1 - np.exp(-0.5)) / 4)


@pytest.mark.parametrize("n", [40, 300])
@pytest.mark.parametrize("categorical", [False, True])
def test_agrees_with_the_definition(n, categorical):
    """With 300 values the kernel stands on 64 landmarks; with 40 nothing is approximated."""
    rng = np.random.default_rng(n)
    x = rng.normal(size=n)
    y = rng.integers(0, 4, n).astype(float) if categorical else x**2 + rng.normal(size=n)
    found = hsic(x, y, categorical=categorical)
    assert found == pytest.approx(plain_hsic(x, y, categorical), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("categorical", [False, True])
def test_p_values_are_uniform_under_independence(categorical):
    p = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, 5, 60) if categorical else rng.exponential(size=60)
        found = independence_test(
            rng.normal(size=60), y, categorical=categorical, permutations=99, seed=seed
        )
        p.append((found.correlation_p_value, found.hsic_p_value))
    for column in np.array(p).T:
        assert kstest(column, "uniform").pvalue > 0.001
        assert np.mean(column <= 0.05) <= 0.12


def test_hsic_sees_what_correlation_does_not():
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    found = independence_test(x**2 + 0.3 * rng.normal(size=200), x, permutations=199)
    assert found.hsic_p_value == 1 / 200
    assert abs(found.correlation) < 0.2


def test_a_category_and_a_line_are_found():
    rng = np.random.default_rng(0)
    week = rng.integers(0, 10, 300)
    found = independence_test(week + rng.normal(size=300), week, categorical=True, permutations=99)
    within = independence_test(week + rng.normal(size=300), 1.0 * week, permutations=99)
    assert found.correlation_p_value == found.hsic_p_value == 0.01
    assert found.correlation > 0.9
    assert within.correlation > 0.9
    assert independence_test(-1.0 * week, 1.0 * week, permutations=19).correlation == (
        pytest.approx(-1)
    )


def test_copies_in_a_cluster_do_not_count_as_rows():
    """Thirty independent rows, each written ten times: row by row the p-value would be tiny."""
    small = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x, y = np.repeat(rng.normal(size=(2, 30)), 10, axis=1)
        found = independence_test(
            x, y, clusters=np.repeat(np.arange(30), 10), permutations=99, seed=seed
        )
        assert found.rows == 30
        small += found.hsic_p_value <= 0.05
    assert small <= 7


def test_a_constant_depends_on_nothing_and_bad_input_is_refused():
    found = independence_test(np.ones(20), np.arange(20.0), permutations=19)
    assert (found.correlation, found.hsic) == (0, 0)
    assert found.hsic_p_value == found.correlation_p_value == 1
    with pytest.raises(InputError, match="missing or infinite"):
        hsic([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(InputError, match="at least 4"):
        independence_test([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    with pytest.raises(SettingsError):
        independence_test(np.arange(9.0), np.arange(9.0), permutations=5)


def test_a_category_of_many_levels_needs_no_indicators():
    """Two rows of each of 20,000 levels: dense indicators would take 6 GB."""
    level = np.repeat(np.arange(20_000), 2)
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)[level] + 0.1 * rng.normal(size=40_000)
    found = independence_test(x, level, categorical=True, permutations=19)
    assert found.correlation_p_value == found.hsic_p_value == 0.05
    # The correlation ratio by its definition: the means of the levels.
    mean = np.bincount(level, x) / 2
    assert found.correlation == pytest.approx(np.sqrt(np.var(mean) / np.var(x)))
