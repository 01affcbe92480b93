"""Sets that weak or many instruments cannot spoil: shapes, bounds, and that they hold the truth."""

import numpy as np
import pytest
from scipy import stats

from causalign.errors import NotIdentified, SettingsError
from causalign.stats.least_squares import two_stage
from causalign.stats.partial import partial_out
from causalign.stats.weak_instruments import ConfidenceSet, weak_instrument_test

TRUTH = 0.5
SHOPS = np.arange(200) % 40
CLUSTERS = {"none": None, "one": SHOPS, "two": np.column_stack([SHOPS, np.arange(200) // 8])}


def sample(seed, strength, n=200, instruments=3, direct=0.0):
    rng = np.random.default_rng(seed)
    z, hidden = rng.normal(size=(n, instruments)), rng.normal(size=n)
    x = strength * z.sum(axis=1) + hidden + 0.3 * rng.normal(size=n)
    y = TRUTH * x + hidden + direct * z[:, 0] + 0.3 * rng.normal(size=n) * (1 + z[:, 0] ** 2)
    return y, x[:, None], np.ones((n, 1)), z


@pytest.mark.parametrize("instruments", [1, 3])
@pytest.mark.parametrize("ways", CLUSTERS)
@pytest.mark.parametrize("strength", [0.0, 0.1, 0.5])
def test_the_set_is_what_the_test_does_not_reject(instruments, ways, strength):
    """A fine grid finds the same set, and at each finite bound the test is just at its level."""
    for seed in range(5):
        data = sample(seed, strength, instruments=instruments)
        test = weak_instrument_test(partial_out(*data, clusters=CLUSTERS[ways]))
        found = test.confidence_set()
        grid = np.concatenate([np.linspace(-20, 20, 801), [-1e6, 1e6]])
        accepted = [test.p_value(value) >= 0.05 for value in grid]
        assert [found.contains(value) for value in grid] == accepted
        for bound in np.ravel(found.pieces):
            if np.isfinite(bound):
                assert test.p_value(bound) == pytest.approx(0.05, rel=1e-6)


def test_one_instrument_asks_whether_it_moves_what_is_left():
    parts = partial_out(*sample(0, 0.3, instruments=1))
    for value in (-1.0, 0.0, TRUTH, 2.0):
        moments = parts.Z[:, 0] * (parts.y - value * parts.X[:, 0])
        expected = stats.ttest_1samp(moments, 0.0).pvalue
        assert weak_instrument_test(parts).p_value(value) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("ways", CLUSTERS)
def test_several_instruments_leave_out_the_own_cluster(ways):
    """The double sums over rows that share no cluster, written out."""
    parts = partial_out(*sample(1, 0.2), clusters=CLUSTERS[ways])
    ids = np.arange(200) if parts.clusters is None else parts.clusters
    columns = ids.reshape(200, -1).T
    same = [way[:, None] == way for way in columns]
    near, both = np.logical_or.reduce(same), np.logical_and.reduce(same)
    terms = [(1, way) for way in same] + ([(-1, both)] if len(same) == 2 else [])
    P, x = parts.basis @ parts.basis.T, parts.X[:, 0]
    for value in (0.0, TRUTH):
        e = parts.y - value * x
        scores = (np.where(near, 0.0, P) @ x) * e
        variance = 0.0
        for sign, together in terms:
            blocks = np.unique(together, axis=0).astype(float)
            pairs = blocks @ (P * np.outer(x, e)) @ blocks.T
            own = np.sum(np.diag(pairs) ** 2)
            variance += sign * (scores @ together @ scores + np.sum(pairs * pairs.T) - own)
        n = min(len(np.unique(way)) for way in columns)
        square = scores.sum() ** 2
        expected = stats.f.sf(square * (n - 1) / (n * variance - square), 1, n - 1)
        test = weak_instrument_test(parts)
        assert test.p_value(value) == pytest.approx(expected, rel=1e-8)


def test_every_shape_occurs_and_is_described():
    shapes = {}
    for strength in (0.0, 0.03, 0.06, 1.0):
        for seed in range(40):
            found = weak_instrument_test(partial_out(*sample(seed, strength))).confidence_set()
            shapes.setdefault(found.shape, found)
    assert set(shapes) == {"interval", "two rays", "whole line"}
    assert "95% interval is [" in shapes["interval"].describe()
    assert "everything except effects between" in shapes["two rays"].describe()
    assert "rule out no effect" in shapes["whole line"].describe()
    rays = ConfidenceSet(((-np.inf, 1.0), (2.0, np.inf)), 0.9)
    assert rays.contains(2.5)
    assert not rays.contains(1.5)
    assert "too few rows" in ConfidenceSet((), 0.9).describe()


@pytest.mark.parametrize("direct", [0.0, 3.0])
def test_no_number_of_instruments_and_no_contradiction_makes_it_empty(direct):
    for instruments in (2, 10, 50):
        for seed in range(20):
            parts = partial_out(*sample(seed, 0.05, 200, instruments, direct))
            test = weak_instrument_test(parts)
            centre = test.scale * test.score[0] / test.score[1]
            assert test.confidence_set().contains(centre)


@pytest.mark.parametrize("instruments", [1, 3])
def test_without_errors_one_value_is_left(instruments):
    _, x, one, z = sample(0, 0.5, instruments=instruments)
    found = weak_instrument_test(partial_out(2 * x[:, 0] + 1, x, one, z)).confidence_set()
    np.testing.assert_allclose(found.pieces, [(2.0, 2.0)], rtol=1e-6)


def test_units_scale_the_set():
    y, x, one, z = sample(0, 0.5)
    plain = weak_instrument_test(partial_out(y, x, one, z)).confidence_set().pieces[0]
    parts = partial_out(1e5 * y, 1e-3 * x, one, 7 * z)
    scaled = weak_instrument_test(parts).confidence_set().pieces[0]
    np.testing.assert_allclose(np.array(scaled) / 1e8, plain, rtol=1e-7)


def test_settings_are_checked():
    y, x, one, z = sample(0, 0.5)
    with pytest.raises(NotIdentified, match="one endogenous column"):
        weak_instrument_test(partial_out(y, np.column_stack([x, y]), one, z))
    with pytest.raises(SettingsError, match="level"):
        weak_instrument_test(partial_out(y, x, one, z)).confidence_set(95)


@pytest.mark.parametrize("instruments", [1, 5, 50])
def test_it_covers_with_weak_and_many_instruments_where_two_stages_do_not(instruments):
    draws = 400
    band = stats.binom.interval(0.999, draws, 0.95)
    held, staged = 0, 0
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        z, hidden = rng.normal(size=(300, instruments)), rng.normal(size=300)
        x = 0.03 * z.sum(axis=1) + hidden + 0.3 * rng.normal(size=300)
        y = TRUTH * x + hidden + 0.3 * rng.normal(size=300)
        data = (y, x[:, None], np.ones((300, 1)), z)
        held += weak_instrument_test(partial_out(*data)).confidence_set().contains(TRUTH)
        fit = two_stage(*data)
        staged += abs(fit.coefficients[1] - TRUTH) < 1.96 * fit.standard_errors[1]
    assert held >= band[0]
    assert staged < 0.8 * draws


@pytest.mark.parametrize("ways", [1, 2])
@pytest.mark.parametrize("instruments", [1, 3])
def test_it_covers_where_clusters_share_shocks(instruments, ways):
    draws, shops, rows = 200, 30, 300
    held, alone = 0, 0
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        at = rng.integers(0, shops, (ways, rows))
        shared = sum(rng.normal(size=(shops, instruments + 2))[way] for way in at)
        z = rng.normal(size=(rows, instruments)) + shared[:, 2:]
        hidden = rng.normal(size=rows) + shared[:, 0]
        x = 0.3 * z.sum(axis=1) + hidden
        y = TRUTH * x + 0.6 * hidden + rng.normal(size=rows) + shared[:, 1]
        data = (y, x[:, None], np.ones((rows, 1)), z)
        parts = partial_out(*data, clusters=at[0] if ways == 1 else at.T)
        held += weak_instrument_test(parts).confidence_set().contains(TRUTH)
        alone += weak_instrument_test(partial_out(*data)).confidence_set().contains(TRUTH)
    assert held >= stats.binom.ppf(0.001, draws, 0.95)
    assert alone < 0.8 * draws
