import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from causalign import Logs, Roles
from causalign.errors import ColumnNotFound, InputError, RoleNotDeclared

ROLES = Roles(completion="text", outcome="y", confounders=("c",))
FRAME = {"text": ["a", "b", "c", "d"], "y": [1.0, 2.0, 0.5, 4.0], "c": ["u", "v", "u", "w"]}


def frame():
    return pd.DataFrame(FRAME)


def test_trials_make_the_outcome_a_rate():
    table = {"text": ["a", "b"], "y": [1, 3], "n": [10, 20]}
    logs = Logs.of(pa.table(table), Roles("text", "y", trials="n"))
    np.testing.assert_allclose(logs.outcome, [0.1, 0.15])


def test_with_outcome_keeps_the_old_column_and_adds_history():
    logs = Logs.of(frame(), ROLES)
    changed = logs.with_outcome(np.arange(4.0), "replaced")
    np.testing.assert_array_equal(changed.outcome, np.arange(4.0))
    np.testing.assert_array_equal(logs.outcome, FRAME["y"])
    assert changed.history[-1] == "replaced"
    assert "y" in changed.data.column_names
    with pytest.raises(InputError, match="4 finite numbers"):
        logs.with_outcome(np.array([1.0, np.nan, 1.0, 1.0]), "x")


def test_require_names_free_columns():
    logs = Logs.of(frame().assign(free=1), ROLES)
    with pytest.raises(RoleNotDeclared, match="declare no instruments.*without a role: free"):
        logs.require("instruments")
    with pytest.raises(ColumnNotFound, match="did you mean 'text'"):
        logs.numbers("txt")


def test_repr_is_a_short_card():
    assert repr(Logs.of(frame(), ROLES)) == (
        "Logs\n"
        "  4 rows, 3 columns; outcome from 0.5 to 4\n"
        "  completion: text; outcome: y; confounders: c\n"
        "  history: took 4 rows"
    )
    wide = pa.table(
        {"text": list("abcd"), "y": [1, 2, 3, 4]} | {"c" * i: [0] * 4 for i in range(1, 99)}
    )
    roles = Roles("text", "y", confounders=tuple("c" * i for i in range(1, 99)))
    lines = repr(Logs(wide, roles, ("a long story " * 99,))).splitlines()
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 100


def test_html_is_escaped_and_shows_columns_with_roles():
    table = pa.table({"text": ["<script>", "b"], "<y>": [1.0, 2.0], "other": ["x", "unseen"]})
    html = Logs.of(table, Roles("text", "<y>"))._repr_html_()
    assert "<script>" not in html
    assert "<y>" not in html
    assert "&lt;script&gt;" in html
    assert "unseen" not in html


def test_a_card_is_shown_also_where_the_outcome_is_not_a_number():
    table = pa.table({"text": ["a", "b"], "y": ["u", "v"]})
    assert "2 rows, 2 columns" in repr(Logs(table, Roles("text", "y")))


GUARDED = {
    "text": ["a b", "c d", "e f", "g h"],
    "clicks": [1, 4, 2, 3],
    "left": [0, 2, 1, 0],
    "readers": [10, 10, 20, 10],
    "age": ["old", "new", "old", "new"],
}
WITH_GUARDRAIL = Roles(
    "text",
    "clicks",
    trials="readers",
    audience=("age",),
    guardrails=("left",),
    confounders=("age",),
)


def test_a_guardrail_counts_among_the_trials_and_stays_a_rate_without_them():
    logs = Logs.of(GUARDED, WITH_GUARDRAIL)
    assert logs.rate("left").tolist() == [0.0, 0.2, 0.05, 0.0]
    changed = logs.with_outcome(logs.outcome + 1, "shifted")
    assert changed.roles.trials is None
    assert changed.roles.guardrails == ("left_adjusted",)
    assert changed.rate("left_adjusted").tolist() == [0.0, 0.2, 0.05, 0.0]
    own = changed.of_guardrail("left_adjusted")
    assert own.outcome.tolist() == [0.0, 0.2, 0.05, 0.0]
    assert own.roles.guardrails == ()


def test_what_was_known_of_the_reader_may_confound_too():
    (age,) = Logs.of(GUARDED, WITH_GUARDRAIL).audience
    assert age.levels == ("new", "old")


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ([0, 0, 0, 0], "The guardrail 'left' is constant"),
        ([0.0, 0.2, 0.05, 0.0], "looks like a rate"),
        (["x", "y", "x", "y"], "The guardrail 'left' is not numeric"),
        ([0, None, 1, 0], "The guardrail 'left' has 1 missing values"),
    ],
)
def test_a_guardrail_that_cannot_be_used_is_named(left, said):
    with pytest.raises(InputError, match=said):
        Logs.of(GUARDED | {"left": left}, WITH_GUARDRAIL)
