import numpy as np
import pytest

from causalign.errors import SettingsError
from causalign.settings import require_choice, require_kind, require_number


@pytest.mark.parametrize("value", [0.5, 1e-9, np.float32(0.5), np.float64(0.25)])
def test_numbers_inside_pass(value):
    require_number("level", value, above=0, below=1)


@pytest.mark.parametrize(
    "value", [0, 1, -1, 2, float("nan"), float("inf"), True, np.True_, None, "0.5", [0.5], 1j]
)
def test_others_are_named_with_their_range(value):
    with pytest.raises(SettingsError, match="level must be a number above 0 and below 1, not "):
        require_number("level", value, above=0, below=1)


def test_ends_belong_or_not_and_infinity_only_where_it_is_asked_for():
    require_number("cut", 0, least=0, most=1)
    require_number("cut", 1, least=0, most=1)
    require_number("limit", float("inf"), least=0, infinite=True)
    for value in (float("nan"), float("-inf")):
        with pytest.raises(SettingsError, match="limit must be a number at least 0"):
            require_number("limit", value, least=0, infinite=True)


def test_whole_numbers():
    require_number("folds", 2, least=2, whole=True)
    require_number("folds", np.int64(5), least=2, whole=True)
    for value in (1, 2.0, True, "3", None, float("nan")):
        with pytest.raises(SettingsError, match="folds must be a whole number at least 2, not"):
            require_number("folds", value, least=2, whole=True)
    with pytest.raises(SettingsError, match="not 1: others fit"):
        require_number("folds", 1, least=2, whole=True, why="others fit")


def test_choices_and_kinds():
    require_choice("interval", "a", ("a", "b"))
    for value in ("c", None, [], 1, True):
        with pytest.raises(SettingsError, match="interval must be one of 'a', 'b', not"):
            require_choice("interval", value, ("a", "b"))
    with pytest.raises(SettingsError, match="normalise must be one of True, False, not 1"):
        require_choice("normalise", 1, (True, False))
    with pytest.raises(SettingsError, match=r"limits must be int\(...\), not None"):
        require_kind("limits", None, int)
