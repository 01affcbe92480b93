"""Anderson-Rubin sets: their shapes, their bounds, and that they hold the truth when weak."""

import numpy as np
import pytest
from scipy import stats

from causalign.errors import NotIdentified, SettingsError
from causalign.stats.anderson_rubin import ConfidenceSet, anderson_rubin
from causalign.stats.least_squares import two_stage
from causalign.stats.partial import partial_out

TRUTH = 0.5


def sample(seed, strength, n=200, instruments=3, direct=0.0):
    rng = np.random.default_rng(seed)
    z, hidden = rng.normal(size=(n, instruments)), rng.normal(size=n)
    x = strength * z.sum(axis=1) + hidden + 0.3 * rng.normal(size=n)
    y = TRUTH * x + hidden + direct * z[:, 0] + 0.3 * rng.normal(size=n) * (1 + z[:, 0] ** 2)
    return y, x[:, None], np.ones((n, 1)), z


@pytest.mark.parametrize("kind", ["robust", "unadjusted"])
@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("strength", [0.0, 0.05, 0.1, 0.5])
def test_the_set_is_what_the_test_does_not_reject(kind, clustered, strength):
    """A fine grid finds the same set, and at each finite bound the test is just at its level."""
    clusters = np.arange(200) % 40 if clustered else None
    for seed in range(5):
        test = anderson_rubin(partial_out(*sample(seed, strength), clusters=clusters), kind=kind)
        found = test.confidence_set()
        grid = np.concatenate([np.linspace(-20, 20, 801), [-1e6, 1e6]])
        accepted = [test.p_value(value) >= 0.05 for value in grid]
        assert [found.contains(value) for value in grid] == accepted
        for bound in np.ravel(found.pieces):
            if np.isfinite(bound):
                assert test.p_value(bound) == pytest.approx(0.05, rel=1e-6)


def test_the_classical_set_solves_a_quadratic_inequality():
    parts = partial_out(*sample(0, 0.5))
    found = anderson_rubin(parts, kind="unadjusted").confidence_set(0.9)
    y, x = parts.y, parts.X[:, 0]
    critical = stats.f.ppf(0.9, 3, 196) * 3 / 196

    def form(a, b):
        explained = (parts.basis.T @ a) @ (parts.basis.T @ b)
        return explained - critical * (a @ b - explained)

    roots = np.sort(np.roots([form(x, x), -2 * form(x, y), form(y, y)]))
    assert found.shape == "interval"
    np.testing.assert_allclose(found.pieces[0], roots, rtol=1e-9)


def test_every_shape_occurs_and_is_described():
    shapes = {}
    for strength in (0.0, 0.03, 0.06, 1.0):
        for seed in range(40):
            found = anderson_rubin(partial_out(*sample(seed, strength))).confidence_set()
            shapes.setdefault(found.shape, found)
    found = anderson_rubin(partial_out(*sample(0, 1.0, direct=3.0))).confidence_set()
    shapes.setdefault(found.shape, found)
    assert {"interval", "two rays", "whole line", "empty"} <= set(shapes)
    assert "95% interval is [" in shapes["interval"].describe()
    assert "everything except effects between" in shapes["two rays"].describe()
    assert "rule out no effect" in shapes["whole line"].describe()
    assert "no effect agrees" in shapes["empty"].describe()
    odd = ConfidenceSet(((-np.inf, 1.0), (2.0, 3.0)), 0.9)
    assert odd.shape == "pieces"
    assert odd.describe() == "the 90% set is below 1 or [2, 3]"
    assert odd.contains(2.5)
    assert not odd.contains(1.5)


def test_units_scale_the_set():
    y, x, one, z = sample(0, 0.5)
    plain = anderson_rubin(partial_out(y, x, one, z)).confidence_set().pieces[0]
    scaled = anderson_rubin(partial_out(1e5 * y, 1e-3 * x, one, 7 * z)).confidence_set().pieces[0]
    np.testing.assert_allclose(np.array(scaled) / 1e8, plain, rtol=1e-7)


def test_settings_are_checked():
    y, x, one, z = sample(0, 0.5)
    with pytest.raises(NotIdentified, match="one endogenous column"):
        anderson_rubin(partial_out(y, np.column_stack([x, y]), one, z))
    test = anderson_rubin(partial_out(y, x, one, z))
    with pytest.raises(SettingsError, match="level"):
        test.confidence_set(95)
    with pytest.raises(SettingsError, match="kind"):
        anderson_rubin(partial_out(y, x, one, z), kind="hetero")


def test_it_covers_with_weak_instruments_where_two_stages_do_not():
    draws = 400
    band = stats.binom.interval(0.999, draws, 0.95)
    robust, classical, staged = 0, 0, 0
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        z, hidden = rng.normal(size=(300, 5)), rng.normal(size=300)
        x = 0.03 * z.sum(axis=1) + hidden + 0.3 * rng.normal(size=300)
        y = TRUTH * x + hidden + 0.3 * rng.normal(size=300)
        data = (y, x[:, None], np.ones((300, 1)), z)
        parts = partial_out(*data)
        robust += anderson_rubin(parts).confidence_set().contains(TRUTH)
        classical += anderson_rubin(parts, kind="unadjusted").confidence_set().contains(TRUTH)
        fit = two_stage(*data)
        staged += abs(fit.coefficients[1] - TRUTH) < 1.96 * fit.standard_errors[1]
    assert band[0] <= robust <= band[1]
    assert band[0] <= classical <= band[1]
    assert staged < 0.5 * draws
