"""Sensitivity to unrecorded confounders: published numbers, hand-made bias, safe pairs."""

import numpy as np
import pytest

from causalign.errors import InputError, SettingsError
from causalign.stats.least_squares import ordinary
from causalign.stats.sensitivity import (
    Coefficient,
    adjust_estimate,
    benchmark_bounds,
    iso_line,
    largest_bias,
    robustness_value,
    stable_share,
)

# Direct harm on attitudes to peace in Darfur: Cinelli and Hazlett (2020), table 1.
DARFUR = Coefficient(0.0973158, 0.0232565, 783)


def test_published_robustness_values():
    assert DARFUR.partial_r2 == pytest.approx(0.0219, abs=5e-5)
    assert robustness_value(DARFUR) == pytest.approx(0.1388, abs=5e-5)
    assert robustness_value(DARFUR, level=0.95) == pytest.approx(0.0763, abs=5e-5)


@pytest.mark.parametrize(
    ("r2_column", "r2_outcome", "published"),
    [
        (0.0092, 0.1246, (0.0752, 0.0219, 0.0323, 0.1182)),
        (0.0183, 0.2493, (0.0529, 0.0204, 0.0130, 0.0929)),
        (0.0275, 0.3741, (0.0304, 0.0187, -0.0063, 0.0670)),
    ],
)
def test_published_adjusted_estimates(r2_column, r2_outcome, published):
    found = adjust_estimate(DARFUR, r2_column, r2_outcome)
    # The strengths are published with four digits.
    numbers = (found.estimate, found.stderr, found.lower, found.upper)
    np.testing.assert_allclose(numbers, published, atol=2e-4)


def test_a_confounder_as_strong_as_the_robustness_value_leaves_nothing():
    value = robustness_value(DARFUR)
    assert adjust_estimate(DARFUR, value, value).estimate == pytest.approx(0, abs=1e-12)
    half = robustness_value(DARFUR, share=0.5)
    assert adjust_estimate(DARFUR, half, half).estimate == pytest.approx(DARFUR.estimate / 2)
    assert iso_line(DARFUR, [value], 0.0)[0] == pytest.approx(value)
    assert np.isnan(iso_line(DARFUR, [1e-6], 0.0)[0])
    assert robustness_value(Coefficient(0.01, 1.0, 100), level=0.95) == 0
    assert 0.97 < robustness_value(Coefficient(1000.0, 1.0, 100), level=0.95) < 1


def test_the_bias_of_a_confounder_left_out_is_exact():
    """The formula gives, to the last digit, what leaving a column out does to an estimate."""
    rng = np.random.default_rng(0)
    unseen = rng.normal(size=300)
    d = unseen + rng.normal(size=300)
    y = d + 2 * unseen + rng.normal(size=300)
    one = np.ones(300)
    settings = {"kind": "unadjusted", "correction": "conventional"}
    short = ordinary(y, np.column_stack([one, d]), **settings)
    full = ordinary(y, np.column_stack([one, d, unseen]), **settings)
    alone = ordinary(d, np.column_stack([one, unseen]), **settings)
    r2_outcome = 1 - full.residuals @ full.residuals / (short.residuals @ short.residuals)
    r2_column = 1 - alone.residuals @ alone.residuals / (300 * d.var())
    given = Coefficient(short.coefficients[1], short.standard_errors[1], 298)
    gap = abs(short.coefficients[1] - full.coefficients[1])
    assert float(largest_bias(given, r2_column, r2_outcome)) == pytest.approx(gap, rel=1e-10)
    found = adjust_estimate(given, r2_column, r2_outcome)
    assert found.estimate == pytest.approx(full.coefficients[1], rel=1e-10)
    assert found.stderr == pytest.approx(full.standard_errors[1], rel=1e-10)


def test_benchmarks_follow_the_published_formula():
    d, y = benchmark_bounds(0.1, 0.2, 2)
    r2 = 2 * 0.01 / (0.8 * 0.9)
    assert d == pytest.approx(2 * 0.1 / 0.9)
    assert y == pytest.approx((np.sqrt(2) + np.sqrt(r2)) ** 2 / (1 - r2) * 0.25)
    assert benchmark_bounds(0.0, 0.2, 1) == pytest.approx((0, 0.25))
    assert benchmark_bounds(0.6, 0.5, 2) == (1.0, 1.0)
    assert adjust_estimate(DARFUR, 1.0, 1.0).upper == np.inf


def test_safe_pairs_are_counted_as_by_hand():
    rng = np.random.default_rng(0)
    rewards, told = rng.normal(size=40), rng.normal(size=40)
    i, j = np.triu_indices(40, 1)
    safe = np.abs(rewards[i] - rewards[j]) > 0.3 * np.abs(told[i] - told[j])
    assert stable_share(rewards, told, 0.3) == pytest.approx(safe.mean())
    assert stable_share(rewards, told, 0.0) == 1
    assert stable_share(rewards, np.ones(40), 1e3) == 1


def test_bad_input_is_refused():
    with pytest.raises(InputError, match="standard error"):
        Coefficient(1.0, 0.0, 10)
    with pytest.raises(InputError, match="between 0 and 1"):
        largest_bias(DARFUR, 1.5, 0.1)
    with pytest.raises(InputError, match="Benchmarks"):
        benchmark_bounds(1.0, 0.1)
    with pytest.raises(SettingsError, match="share"):
        robustness_value(DARFUR, share=0.0)
    with pytest.raises(SettingsError, match="level"):
        adjust_estimate(DARFUR, 0.1, 0.1, level=95)
    with pytest.raises(InputError, match="two or more"):
        stable_share([1.0], [1.0], 0.1)
    with pytest.raises(InputError, match="bias"):
        stable_share([1.0, 2.0], [1.0, 2.0], -0.1)


def test_an_interval_has_the_degrees_of_freedom_of_its_coefficient():
    """t with 3 degrees of freedom: 3.182; with 2 it would be 4.303."""
    low, high = Coefficient(1.0, 0.5, 3).interval()
    assert (low, high) == (pytest.approx(1 - 3.1824 * 0.5, abs=1e-4),
                           pytest.approx(1 + 3.1824 * 0.5, abs=1e-4))  # fmt: skip
    assert Coefficient(1.0, 0.5, 1.5).partial_r2 == pytest.approx(4 / 5.5)
    for few in (1.0, 0.5, 0.0):
        with pytest.raises(InputError, match="more than one degree of freedom"):
            Coefficient(1.0, 0.5, few)
