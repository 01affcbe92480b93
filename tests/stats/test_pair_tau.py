"""Kendall's tau of pairs is scipy's, whichever side is written first, and its interval covers."""

import numpy as np
import pytest
from scipy import stats

from causalign.errors import InputError, NotIdentified
from causalign.evaluate import rank_arrays
from causalign.stats.pair_metrics import pair_auc
from causalign.stats.rank_correlation import pair_tau


def both_ways(differences, margins):
    return stats.kendalltau(np.r_[differences, -differences], np.r_[margins, -margins]).statistic


@pytest.mark.parametrize("digits", [0, 1, 8])
def test_it_is_scipys_tau_b_of_both_orders(digits):
    generator = np.random.default_rng(digits)
    for size in (2, 3, 17, 80):
        m = np.round(generator.normal(size=size) + 0.1, digits) + 0.5
        d = np.round(m + 2 * generator.normal(size=size), digits) + 1.0
        assert pair_tau(d, m).estimate == pytest.approx(both_ways(d, m), abs=1e-12)


def test_it_does_not_matter_which_side_was_written_first():
    generator = np.random.default_rng(0)
    m = generator.normal(size=60)
    d = m + generator.normal(size=60)
    turn = np.sign(m)
    assert pair_tau(d, m).estimate == pytest.approx(pair_tau(d * turn, m * turn).estimate)
    assert pair_tau(d, m).standard_error == pytest.approx(
        pair_tau(d * turn, m * turn).standard_error
    )


def test_without_margins_it_is_auc_on_another_scale():
    """Without ties of scores: 2 AUC - 1 over sqrt of the share of row pairs with both labels."""
    d = np.random.default_rng(1).normal(size=50) + 0.4
    rows = 2 * len(d)
    scale = np.sqrt((rows**2 / 2) / (rows * (rows - 1)))
    expected = (2 * pair_auc(d).estimate - 1) * scale
    assert pair_tau(d).estimate == pytest.approx(expected)


def test_its_error_is_that_of_the_jackknife():
    generator = np.random.default_rng(2)
    clusters = np.repeat(np.arange(60), 3)
    m = generator.normal(size=60)[clusters] + generator.normal(size=180)
    d = m + generator.normal(size=180)
    left_out = [pair_tau(d[clusters != g], m[clusters != g]).estimate for g in range(60)]
    jackknife = np.sqrt(59 / 60 * np.sum((left_out - np.mean(left_out)) ** 2))
    found = pair_tau(d, m, clusters=clusters)
    assert found.standard_error == pytest.approx(jackknife, rel=0.05)
    assert (found.pairs, found.clusters) == (180, 60)


def test_what_orders_nothing():
    with pytest.raises(NotIdentified, match="score difference"):
        pair_tau(np.zeros(5), np.ones(5))
    with pytest.raises(NotIdentified, match="margin"):
        pair_tau(np.ones(5), np.zeros(5))
    for bad in (np.array([1.0, np.nan]), np.zeros((2, 2)), np.empty(0)):
        with pytest.raises(InputError):
            pair_tau(bad)
    with pytest.raises(InputError, match="two clusters"):
        pair_tau([1.0, 2.0], [1.0, 3.0], clusters=[0, 0])
    table = rank_arrays({"flat": np.zeros(9), "good": np.arange(9.0) + 1}, np.arange(9)).table()
    assert table["Kendall τ"].to_pylist()[0] is None
    assert table["Kendall τ"].to_pylist()[1] > 0


def coverage(draws, share, clustered):
    """Return how often the interval holds tau of a normal pair, pairs alike within clusters."""
    generator, truth, hits = np.random.default_rng(3), 2 / np.pi * np.arcsin(0.4), 0
    member = np.repeat(np.arange(40), 5)

    def together(size):
        first, second = generator.normal(size=(2, size))
        return np.array([first, 0.4 * first + np.sqrt(1 - 0.16) * second])

    for _ in range(draws):
        own, shared = together(200), together(40)[:, member]
        d, m = np.sqrt(share) * shared + np.sqrt(1 - share) * own
        found = pair_tau(d * np.sign(m), np.abs(m), clusters=member if clustered else None)
        hits += found.lower <= truth <= found.upper
    return hits / draws


def test_interval_covers():
    assert 0.91 <= coverage(200, 0.5, True) <= 0.985
    assert coverage(200, 0.5, False) < 0.91


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_interval_covers_in_1000_draws(share):
    assert 0.932 <= coverage(1000, share, True) <= 0.966
