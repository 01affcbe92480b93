"""A penalty chosen by ranking inside strata, where a squared error is led astray."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.stats.strata import crossed, quantile_strata, rank_within, ranking_path


def test_ranks_are_taken_inside_each_stratum():
    ranks = rank_within([5.0, 1.0, 9.0, 7.0, 7.0], [0, 0, 1, 1, 1])
    assert ranks.tolist() == [0.5, -0.5, 1.0, -0.5, -0.5]


def test_one_stratum_gives_spearmans_correlation():
    rng = np.random.default_rng(0)
    y, P = rng.normal(size=50), rng.normal(size=(50, 3)).round(1)
    found = ranking_path(P, y, np.zeros(50))
    assert found.correlation == pytest.approx([spearmanr(P[:, j], y)[0] for j in range(3)])
    assert found.best == found.correlation.argmax()


def test_what_moves_a_whole_stratum_is_no_merit():
    """The first prediction knows the strata only, the second what differs inside them."""
    rng = np.random.default_rng(1)
    week, inside = np.repeat(np.arange(20), 30), rng.normal(size=600)
    y = 5.0 * week + inside
    P = np.column_stack([5.0 * week, inside + rng.normal(size=600)])
    assert np.mean((y - P[:, 0]) ** 2) < np.mean((y - P[:, 1]) ** 2)
    found = ranking_path(P, y, week)
    assert found.best == 1
    assert found.correlation[0] == 0
    assert (found.strata, found.rows) == (20, 600)


def test_nothing_to_rank_and_wrong_shapes():
    with pytest.raises(NotIdentified, match="coarser environment"):
        ranking_path(np.ones((3, 2)), [1.0, 2.0, 3.0], [0, 1, 2])
    with pytest.raises(InputError, match="predictions must be"):
        ranking_path(np.ones((3, 2)), [1.0, 2.0], [0, 1, 2])


def test_quantile_strata_are_equally_full_and_keep_ties_together():
    assert np.bincount(quantile_strata(np.arange(100.0), 10)).tolist() == [10] * 10
    tied = quantile_strata([0.0] * 90 + [1.0] * 10, 10)
    assert np.bincount(tied).tolist() == [90, 10]
    assert crossed([[0, 0, 1, 1], [3, 3, 3, 4]]).tolist() == [0, 0, 1, 2]
    with pytest.raises(SettingsError):
        quantile_strata([1.0, 2.0], 1)
    with pytest.raises(InputError):
        quantile_strata([1.0, np.nan])
