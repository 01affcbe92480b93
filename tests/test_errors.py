import pickle

import pytest

from causalign.errors import CausalignError, ColumnNotFound, InputError, RoleNotDeclared, nearest


def test_a_missing_role_says_how_to_declare_it_also_in_another_process():
    error = RoleNotDeclared("Pairs need a group.", "group", "cluster")
    assert str(error) == (
        "Pairs need a group. Name the column in `Roles(group=...)` or `Roles(cluster=...)`."
    )
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (str(copy), copy.why, copy.roles) == (str(error), error.why, error.roles)


@pytest.mark.parametrize("kind", [LookupError, ValueError, InputError, CausalignError])
def test_errors_are_what_they_refine(kind):
    with pytest.raises(kind):
        raise RoleNotDeclared("why", "group")


def test_a_message_is_not_quoted_as_a_key_would_be():
    assert str(ColumnNotFound("no column")) == "no column"


def test_nearest_names_close_names_or_the_few_there_are():
    assert nearest("prise", ["price", "week"]) == "did you mean 'price'?"
    assert nearest("x", ["price", "week"]) == "there are: price, week"
    assert nearest("x", []) == "there are none"
