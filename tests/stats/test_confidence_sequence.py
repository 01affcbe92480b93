"""Intervals that hold at every look: against formulas, integrals, a walk, and naive peeking."""

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from causalign.errors import InputError, SettingsError
from causalign.stats.confidence_sequence import (
    count_discoveries,
    expecting_log_e_value,
    expecting_reach,
    log_e_value,
    narrowest_ratio,
    one_sided_reach,
    reach,
    stopping_law,
)

ALPHA = 0.05


def walks(runs: int, looks: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return z-values (runs, looks) of Brownian motion, and its times."""
    steps = np.random.default_rng(seed).standard_normal((runs, looks))
    at = np.arange(1, looks + 1.0)
    return np.cumsum(steps, axis=1) / np.sqrt(at), at


def test_the_ratio_makes_the_interval_narrowest():
    best = optimize.minimize_scalar(
        lambda x: float(reach(x, ALPHA)), bounds=(0.1, 100), method="bounded"
    ).x
    assert narrowest_ratio(ALPHA) == pytest.approx(best, rel=1e-4)
    # The approximation of the reference, its equation 9.
    known = -2 * np.log(ALPHA) + np.log(-2 * np.log(ALPHA) + 1)
    assert narrowest_ratio(ALPHA) == pytest.approx(known, rel=0.05)


def test_the_reach_is_the_formula_of_the_reference():
    t, rho2 = 500.0, 0.03
    known = np.sqrt(2 * (t * rho2 + 1) / (t**2 * rho2) * np.log(np.sqrt(t * rho2 + 1) / ALPHA))
    assert reach(t * rho2, ALPHA) / np.sqrt(t) == pytest.approx(known)


def test_an_alpha_out_of_range_is_refused():
    with pytest.raises(SettingsError, match="alpha"):
        narrowest_ratio(1.0)


@pytest.mark.parametrize(("z", "ratio"), [(0.0, 1.0), (2.5, 4.0), (-3.0, 30.0)])
def test_the_e_value_is_the_mixture_of_likelihood_ratios(z, ratio):
    """Over effects N(0, x) in units of the standard error, integrated by quadrature."""

    def integrand(effect):
        return np.exp(effect * z - effect**2 / 2) * stats.norm.pdf(effect, scale=np.sqrt(ratio))

    known = integrate.quad(integrand, -60, 60, points=[0, z], limit=500)[0]
    assert np.exp(log_e_value(z, ratio)) == pytest.approx(known, rel=1e-6)


def test_the_expecting_e_value_is_the_mixture_around_what_was_expected():
    estimate, error, mean, spread, value = 0.3, 0.2, 0.25, 0.15, 0.1

    def integrand(effect):
        prior = stats.norm.pdf(effect, mean, spread)
        return stats.norm.pdf(estimate, effect, error) * prior

    known = integrate.quad(integrand, -3, 3)[0] / stats.norm.pdf(estimate, value, error)
    found = np.exp(expecting_log_e_value(estimate, error, mean, spread, value))
    assert found == pytest.approx(known, rel=1e-6)


def test_the_interval_leaves_out_what_the_e_value_rejects():
    z = np.array([2.4, 2.9, 3.4])
    assert ((log_e_value(z, 5.0) >= np.log(1 / ALPHA)) == (z >= reach(5.0, ALPHA))).all()
    estimate, error = 0.5, 0.16
    half = error * float(expecting_reach(estimate, error, 0.4, 0.1, ALPHA))
    at_edge = expecting_log_e_value(estimate, error, 0.4, 0.1, estimate - half)
    assert at_edge == pytest.approx(np.log(1 / ALPHA))


def test_a_look_a_day_keeps_its_level_and_naive_peeking_does_not():
    z, at = walks(20_000, 30)
    x = narrowest_ratio(ALPHA) * at / 14
    assert (np.abs(z) > reach(x, ALPHA)).any(axis=1).mean() <= ALPHA
    assert (z > one_sided_reach(x, ALPHA)).any(axis=1).mean() <= ALPHA
    assert (np.abs(z) > stats.norm.ppf(0.975)).any(axis=1).mean() > 0.2


@pytest.mark.parametrize("mean", [0.0, 1.0, -4.0])
def test_a_wrong_expectation_keeps_its_level(mean):
    z, at = walks(20_000, 30, seed=1)
    error = 1 / np.sqrt(at)
    half = expecting_reach(z * error, error, mean, 0.5, ALPHA)
    assert (np.abs(z) > half).any(axis=1).mean() <= ALPHA


def test_the_level_is_used_up_by_many_looks():
    """A bound that nobody reaches would hold too: many looks come near to α."""
    z, at = walks(4_000, 5_000, seed=2)
    false = (np.abs(z) > reach(narrowest_ratio(ALPHA) * at / 50, ALPHA)).any(axis=1).mean()
    assert 0.025 < false <= ALPHA + 0.005


def test_discoveries_by_e_values_are_those_counted_by_hand():
    e_values = np.array([100.0, 39.0, 21.0, 1.0])
    # 4/(0.05·1) = 80, 4/(0.05·2) = 40, 4/(0.05·3) = 26.7: only the first.
    assert count_discoveries(np.log(e_values), ALPHA) == 1
    # 27 and above three times: all three, though 39 is below 40.
    assert count_discoveries(np.log([100.0, 39.0, 27.0, 1.0]), ALPHA) == 3
    assert count_discoveries(np.log(e_values), ALPHA, family=8) == 0
    assert count_discoveries(np.log([1.0]), ALPHA) == 0


def test_one_look_has_the_power_of_a_z_test():
    law = stopping_law([1.96], [4.0], drift=1.0)
    assert law.above[0] == pytest.approx(stats.norm.sf(1.96 - 2.0))
    assert law.below[0] == pytest.approx(stats.norm.cdf(-1.96 - 2.0))
    assert law.expected_share([4.0]) == 1


def test_the_stopping_law_of_a_simulated_walk():
    looks, drift = 30, 0.45
    z, at = walks(200_000, looks, seed=3)
    x = narrowest_ratio(ALPHA) * at / 14
    crossed = np.abs(z + drift * np.sqrt(at)) >= reach(x, ALPHA)
    first = np.where(crossed.any(axis=1), crossed.argmax(axis=1), looks - 1)
    law = stopping_law(reach(x, ALPHA), at, drift)
    assert law.power == pytest.approx(crossed.any(axis=1).mean(), abs=0.004)
    assert law.expected_share(at) == pytest.approx(at[first].mean() / looks, abs=0.004)


def test_known_false_stops_of_peeking():
    """Armitage, McPherson and Rowe (1969): 5 looks at 5 % stop falsely in 14.2 % of tests."""
    law = stopping_law(np.full(5, stats.norm.ppf(0.975)), np.arange(1, 6.0), drift=0.0)
    assert law.power == pytest.approx(0.142, abs=0.0005)


@pytest.mark.parametrize("looks", [30, 900])
def test_the_stopping_law_of_many_looks_is_that_of_finer_nodes(looks):
    """The same law from a plain sum over a fine grid."""
    at = np.arange(1, looks + 1.0) / looks
    bounds = reach(narrowest_ratio(ALPHA) * at, ALPHA)
    law = stopping_law(bounds, at, 2.0)
    grid = np.linspace(-3.2, 3.2, 1_601)
    step = 1 / looks
    move = stats.norm.pdf((grid[:, None] - grid - 2 * step) / np.sqrt(step)) * (grid[1] - grid[0])
    mass = stats.norm.pdf((grid - 2 * step) / np.sqrt(step)) * (grid[1] - grid[0]) / np.sqrt(step)
    for look in range(looks):
        mass = mass * (np.abs(grid) < bounds[look] * np.sqrt(at[look]))
        left, mass = mass.sum(), move @ mass / np.sqrt(step)
    assert law.power == pytest.approx(1 - left, abs=2e-3)


def test_looks_out_of_order_are_refused():
    with pytest.raises(InputError, match="ascending"):
        stopping_law([2.0, 2.0], [2.0, 1.0], 0.0)
