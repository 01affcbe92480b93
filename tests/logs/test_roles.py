import pytest

from causalign import Roles
from causalign.errors import SettingsError


def test_a_lone_name_is_a_role_of_one():
    assert Roles("t", "y", confounders="c").confounders == ("c",)
    with pytest.raises(SettingsError, match="twice"):
        Roles("t", "y", confounders=("c", "c"))


def test_roles_are_described_in_their_order():
    roles = Roles("t", "y", trials="n", confounders=("c", "d"))
    assert roles.describe() == ["completion: t", "outcome: y", "trials: n", "confounders: c, d"]
