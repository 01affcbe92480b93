import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalign.errors import InputError, SettingsError
from causalign.stats.folds import check_folds, group_folds


@given(st.lists(st.integers(0, 9), min_size=30, max_size=80), st.integers(0, 5))
def test_a_group_is_never_split(groups, seed):
    count = len(set(groups))
    if count < 3:
        return
    folds = group_folds(groups, 3, seed)
    for group in set(groups):
        assert len(set(folds[np.array(groups) == group])) == 1
    assert set(folds) == {0, 1, 2}


def test_rows_are_spread_evenly_and_the_seed_decides():
    folds = group_folds(103, 5, seed=1)
    assert np.ptp(np.bincount(folds)) <= 1
    assert (folds == group_folds(103, 5, seed=1)).all()
    assert (folds != group_folds(103, 5, seed=2)).any()


def test_large_groups_are_balanced():
    groups = np.repeat(np.arange(12), [40, 30, 30, 20, 10, 10, 10, 10, 10, 10, 10, 10])
    assert np.bincount(group_folds(groups, 4)).tolist() == [50, 50, 50, 50]


def test_text_and_missing_labels_are_labels():
    folds = group_folds(np.array(["a", None, "b", "a", None, "c"], dtype=object), 2)
    assert folds[0] == folds[3]
    assert folds[1] == folds[4]


@pytest.mark.parametrize(
    ("groups", "folds", "error"),
    [(10, 1, SettingsError), (3, 5, InputError), (np.zeros((4, 2)), 2, InputError)],
)
def test_impossible_folds_are_refused(groups, folds, error):
    with pytest.raises(error):
        group_folds(groups, folds)


def test_given_folds_are_numbered_and_checked():
    assert check_folds([5, 7, 5], 3).tolist() == [0, 1, 0]
    with pytest.raises(InputError, match="at least two"):
        check_folds([1, 1], 2)
    with pytest.raises(InputError, match="shape"):
        check_folds([1, 2], 3)
