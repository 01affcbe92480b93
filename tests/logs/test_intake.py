import json

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import Logs, Roles
from causalign.errors import ArtifactError, ColumnNotFound, InputError

ROLES = Roles(completion="text", outcome="y", confounders=("c",))
FRAME = {"text": ["a", "b", "c", "d"], "y": [1.0, 2.0, 0.5, 4.0], "c": ["u", "v", "u", "w"]}


@pytest.mark.parametrize(
    "make", [pd.DataFrame, pl.DataFrame, pa.table], ids=["pandas", "polars", "arrow"]
)
def test_of_takes_every_frame(make):
    assert Logs.of(make(FRAME), ROLES).completions == FRAME["text"]


def test_of_takes_a_dataset_with_its_selection():
    datasets = pytest.importorskip("datasets")
    chosen = datasets.Dataset.from_dict(FRAME).select([3, 1])
    assert Logs.of(chosen, ROLES).completions == ["d", "b"]


def test_of_refuses_what_is_no_table():
    with pytest.raises(InputError, match="cannot be made of 'list'"):
        Logs.of([1, 2], ROLES)
    with pytest.raises(InputError, match="mixes types"):
        Logs.of(pd.DataFrame({"text": ["a", "b"], "y": [1, "x"], "c": [1, 2]}), ROLES)


def test_drop_incomplete_says_how_many():
    table = pa.table(
        {"text": ["a", None, "", "d", "e"], "y": [1, 2, 3, None, 5.0], "c": list("uvuvw")}
    )
    logs = Logs.of(table, ROLES, drop_incomplete=True)
    assert logs.completions == ["a", "e"]
    assert logs.history[-1] == "left out 3 incomplete rows (1 odd cells in text: row 2)"


def test_saved_logs_keep_roles_and_history(tmp_path):
    roles = Roles("text", "y", confounders=("c",), cluster=("c", "when"), time="when")
    table = pa.table({**FRAME, "when": [1, 2, 3, 4]})
    logs = Logs.of(table, roles)
    logs.save(tmp_path / "folder")
    assert Logs.load(tmp_path / "folder") == logs


def test_a_folder_of_an_older_run_is_read(tmp_path):
    pq.write_table(pa.table(FRAME), tmp_path / "logs.parquet")
    stored = {"completion": "text", "outcome": "y", "confounders": ["c"], "type": "Roles"}
    (tmp_path / "logs.json").write_text(json.dumps({"roles": stored, "history": ["a note"]}))
    assert Logs.load(tmp_path) == Logs(pa.table(FRAME), ROLES, ("a note",))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("logs.json", "{"),
        ("logs.json", "{}"),
        ("logs.json", '{"roles": {"completion": "text"}, "history": []}'),
        ("logs.json", '{"roles": {"completion": "words", "outcome": "y"}, "history": []}'),
        ("logs.json", '{"roles": {"completion": "text", "outcome": "text"}, "history": []}'),
        ("logs.parquet", "PAR1"),
    ],
)
def test_damaged_logs_are_refused(name, content, tmp_path):
    Logs.of(pa.table(FRAME), ROLES).save(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(ArtifactError, match="damaged"):
        Logs.load(tmp_path)


def test_a_folder_without_logs_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="holds no logs"):
        Logs.load(tmp_path)


def test_the_constructor_asks_for_the_columns_of_the_roles():
    with pytest.raises(ColumnNotFound, match="did you mean 'text'"):
        Logs(pa.table(FRAME), Roles("texts", "y"))
