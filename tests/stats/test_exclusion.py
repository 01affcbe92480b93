"""Exclusion sensitivity: no direct effect is two stages, and the interval that breaks."""

import numpy as np
import pytest
from scipy import stats

from causalign.errors import InputError, SettingsError
from causalign.stats.instrument_tests import exclusion_sensitivity
from causalign.stats.least_squares import two_stage
from causalign.stats.partial import partial_out


def sample(seed=0, n=300, direct=0.0):
    rng = np.random.default_rng(seed)
    z, hidden = 3 * rng.normal(size=(n, 2)), rng.normal(size=n)
    x = z @ [0.5, 0.3] + hidden + rng.normal(size=n)
    y = 0.5 * x + hidden + direct * z[:, 0] / 3 + rng.normal(size=n)
    return y, x[:, None], np.ones((n, 1)), z


def test_without_direct_effect_it_is_two_stage_least_squares():
    data = sample()
    found = exclusion_sensitivity(partial_out(*data), [0.0])
    fit = two_stage(*data, correction="conventional")
    half = stats.t.ppf(0.975, 300 - 2) * fit.standard_errors[1]
    np.testing.assert_allclose(found.estimates, fit.coefficients[1:], rtol=1e-8)
    np.testing.assert_allclose(found.upper[0, 0], fit.coefficients[1] + half, rtol=1e-8)


def test_one_instrument_by_hand():
    """b^ = z'y / z'x: a direct effect of one unit for each deviation moves it by z'z / (s z'x)."""
    y, x, one, z = sample()
    found = exclusion_sensitivity(partial_out(y, x, one, z[:, :1]), [0.0, 0.2])
    centred = z[:, 0] - z[:, 0].mean()
    move = centred @ centred / centred.std() / (centred @ x[:, 0])
    critical = stats.t.ppf(0.975, 298)
    half = (found.upper - found.lower)[:, 0] / 2
    expected = np.sqrt((half[0] / critical) ** 2 + (0.2 * move) ** 2)
    assert half[1] == pytest.approx(critical * expected, rel=1e-10)


def test_the_interval_touches_zero_at_the_breakdown():
    parts = partial_out(*sample())
    breakdown = exclusion_sensitivity(parts, [0.0]).breakdown
    assert breakdown[0] > 0
    assert exclusion_sensitivity(parts, breakdown).lower[0, 0] == pytest.approx(0, abs=1e-12)
    nothing = sample()
    nothing = (np.random.default_rng(9).normal(size=300), *nothing[1:])
    assert exclusion_sensitivity(partial_out(*nothing), [0.0]).breakdown[0] == 0


def test_it_covers_where_the_direct_effect_is_as_large_as_said():
    widened, plain = 0, 0
    for seed in range(200):
        direct = 0.3 * np.random.default_rng(seed + 1000).normal()
        found = exclusion_sensitivity(partial_out(*sample(seed, direct=direct)), [0.0, 0.3])
        held = (found.lower <= 0.5) & (found.upper >= 0.5)
        plain, widened = plain + held[0, 0], widened + held[1, 0]
    assert widened > 0.92 * 200
    assert plain < 0.75 * 200


def test_bad_settings_are_refused():
    parts = partial_out(*sample())
    with pytest.raises(InputError, match="from 0 on"):
        exclusion_sensitivity(parts, [-1.0])
    with pytest.raises(SettingsError, match="level"):
        exclusion_sensitivity(parts, [0.0], level=95)
