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
