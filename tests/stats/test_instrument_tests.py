"""Diagnostics of instruments: what they see in logs whose instruments are known."""

import numpy as np
import pytest

from causalign.errors import InputError, NotIdentified
from causalign.stats.instrument_tests import effective_f, endogeneity, over_identification, strength
from causalign.stats.partial import partial_out


def sample(seed=0, n=500, strengths=(1.0, 0.5), direct=0.0, hidden=1.0):
    """Return y, x, ones and Z; ``direct`` breaks the exclusion of the last instrument."""
    rng = np.random.default_rng(seed)
    z, unseen = rng.normal(size=(n, len(strengths))), rng.normal(size=n)
    x = z @ np.array(strengths) + hidden * unseen + rng.normal(size=n)
    y = 0.5 * x + unseen + direct * z[:, -1] + rng.normal(size=n)
    return y, x[:, None], np.ones((n, 1)), z


def test_one_instrument_has_one_strength():
    """With one instrument, effective and robust F agree, and so do partial R2 and Shea's."""
    y, x, one, z = sample()
    parts = partial_out(y, x, one, z[:, :1])
    found = strength(parts)
    assert effective_f(parts) == pytest.approx(found.robust_f[0], rel=1e-12)
    assert found.shea_r2[0] == pytest.approx(found.partial_r2[0], rel=1e-10)
    assert found.partial_r2[0] == pytest.approx(np.corrcoef(x[:, 0], z[:, 0])[0, 1] ** 2)


def test_statistics_do_not_depend_on_the_units():
    y, x, one, z = sample()
    plain, scaled = partial_out(y, x, one, z), partial_out(1e6 * y, 1e-4 * x, one, z * [1e5, -3])
    for statistic in (
        effective_f,
        lambda parts: strength(parts).classical_f[0],
        lambda parts: over_identification(parts).sargan.statistic,
        lambda parts: over_identification(parts).score.statistic,
        lambda parts: endogeneity(parts).wu_hausman.statistic,
    ):
        assert statistic(scaled) == pytest.approx(statistic(plain), rel=1e-7)


def test_a_broken_exclusion_is_seen_and_a_valid_one_is_not():
    p_values = [over_identification(partial_out(*sample(seed))).score.p_value for seed in range(60)]
    assert np.mean(np.array(p_values) < 0.05) < 0.17
    broken = over_identification(partial_out(*sample(direct=1.0)))
    assert broken.score.p_value < 1e-6
    assert broken.sargan.p_value < 1e-6


def test_confounding_is_seen_and_its_absence_is_not():
    assert endogeneity(partial_out(*sample())).robust.p_value < 1e-6
    p_values = [
        endogeneity(partial_out(*sample(seed, hidden=0.0))).wu_hausman.p_value for seed in range(60)
    ]
    assert np.mean(np.array(p_values) < 0.05) < 0.17


def test_what_cannot_be_tested_is_refused():
    y, x, one, z = sample()
    with pytest.raises(NotIdentified, match="leave nothing to test"):
        over_identification(partial_out(y, x, one, z[:, :1]))
    with pytest.raises(NotIdentified, match="one endogenous column"):
        effective_f(partial_out(y, np.column_stack([x, y]), one, z))
    with pytest.raises(NotIdentified, match="exogenous"):
        strength(partial_out(y, z[:, :1], one, z))
    with pytest.raises(NotIdentified, match="exogenous"):
        endogeneity(partial_out(y, z[:, :1], one, z))


def test_bad_columns_are_named():
    y, x, one, z = sample()
    with pytest.raises(NotIdentified, match="'lottery' is a linear combination of 'intercept'"):
        partial_out(y, x, one, np.full(len(y), 3.0), names=("intercept", "lottery"))
    with pytest.raises(NotIdentified, match="more instruments"):
        partial_out(y, np.column_stack([x, y]), one, z[:, :1])
    with pytest.raises(NotIdentified, match="3 rows"):
        partial_out(y[:3], x[:3], one[:3], z[:3])
    with pytest.raises(InputError, match="500 rows"):
        partial_out(y, x, one, z[:10])
    with pytest.raises(InputError, match="finite"):
        partial_out(y, x, one, np.where(z > 1, np.nan, z))
    with pytest.raises(InputError, match="positive"):
        partial_out(y, x, one, z, weights=-np.ones(len(y)))
