from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from causalign import Logs, Roles
from causalign.errors import ColumnNotFound, InputError
from causalign.logs.containers import to_arrow

ROLES = Roles("text", "y", confounders=("c",))
FRAME = {"text": ["a", "b", "c", "d"], "y": [1.0, 2.0, 0.5, 4.0], "c": ["u", "v", "u", "w"]}


def rows():
    return pd.DataFrame(FRAME).to_dict("records")


class Stream:
    """A table of a library that knows nothing but the protocol of Arrow."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


CONTAINERS = {
    "pandas": lambda: pd.DataFrame(FRAME),
    "a named index of pandas": lambda: pd.DataFrame(FRAME).set_index("c"),
    "polars": lambda: pl.DataFrame(FRAME),
    "a lazy frame": lambda: pl.DataFrame(FRAME).lazy(),
    "an Arrow table": lambda: pa.table(FRAME),
    "a record batch": lambda: pa.table(FRAME).to_batches()[0],
    "a reader of batches": lambda: pa.table(FRAME).to_reader(),
    "a relation of DuckDB": lambda: pytest.importorskip("duckdb").sql(
        "select * from (values ('a', 1.0, 'u'), ('b', 2.0, 'v'), ('c', 0.5, 'u'), ('d', 4.0, 'w'))"
        " as mails(text, y, c)"
    ),
    "a stream of Arrow": lambda: Stream(pa.table(FRAME)),
    "a mapping of columns": lambda: FRAME,
    "a list of rows": rows,
    "records of numpy": lambda: pd.DataFrame(FRAME).to_records(index=False),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_is_a_table(container):
    logs = Logs.of(CONTAINERS[container](), ROLES)
    assert logs.completions == FRAME["text"]
    np.testing.assert_array_equal(logs.outcome, FRAME["y"])
    np.testing.assert_array_equal(logs.confounders[0].values, [0, 1, 0, 2])


def test_a_relation_of_duckdb_is_a_table():
    duckdb = pytest.importorskip("duckdb")
    frame = pd.DataFrame(FRAME)
    assert Logs.of(duckdb.sql("select * from frame"), ROLES).completions == FRAME["text"]
    assert len(frame) == 4


def test_datasets_and_their_splits():
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict(FRAME)
    assert Logs.of(datasets.DatasetDict({"train": data}), ROLES).completions == FRAME["text"]
    with pytest.raises(
        InputError, match=r"holds the splits 'train', 'test'. Give one .*\['train'\]"
    ):
        Logs.of(datasets.DatasetDict({"train": data, "test": data}), ROLES)
    stream = data.to_iterable_dataset()
    for streamed in (stream, datasets.IterableDatasetDict({"train": stream})):
        with pytest.raises(InputError, match="streams its rows. Load it without streaming"):
            Logs.of(streamed, ROLES)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((3, 3)), "cannot be made of 'ndarray'"),
        ([1, 2], "cannot be made of 'list'"),
        ([], "cannot be made of 'list'"),
        ("logs.csv", "cannot be made of 'str'.*use Logs.read for a file"),
        (None, "cannot be made of 'NoneType'"),
        ({"text": "a"}, "no table unless each name has a list of values"),
        ({"text": ["a"], "y": [1, 2]}, "different lengths"),
    ],
)
def test_what_is_no_table_is_refused_in_a_line(given, said):
    with pytest.raises(InputError, match=said):
        Logs.of(given, ROLES)


def test_each_column_stands_alone():
    """What Arrow cannot hold is refused by name, and only where a role names it."""
    odd = {"complex": [1j, 2, 3, 4], "mixed": ["a", 1, None, 2.5], "huge": [10**100, 1, 2, 3]}
    frame = pd.DataFrame(FRAME | odd)
    assert len(Logs.of(frame, ROLES)) == 4
    for name, said in {"complex": "complex", "mixed": "mixes types", "huge": "101 digits"}.items():
        with pytest.raises(InputError, match=f"'{name}' .*{said}"):
            Logs.of(frame, Roles("text", "y", group=name))


def test_numbers_of_several_types_are_numbers():
    arrow = to_arrow({"x": [Decimal("1.5"), 2, 2.5, None]})
    assert arrow["x"].to_pylist() == [1.5, 2, 2.5, None]
    wide = to_arrow(pl.DataFrame({"x": pl.Series([2**70, None], dtype=pl.Int128)}))
    assert wide["x"].to_pylist() == [2**70, None]


def test_times_among_dates_keep_their_hours():
    days = pd.Series([pd.Timestamp("2024-01-01").date(), pd.Timestamp("2024-01-02 12:00")] * 2)
    logs = Logs.of(pd.DataFrame(FRAME).assign(c=days.astype(object)), ROLES)
    np.testing.assert_array_equal(logs.confounders[0].values, [19723, 19724.5] * 2)


def test_names_of_columns_are_text():
    assert to_arrow(pd.DataFrame({0: [1], ("a", "b"): [2]})).column_names == ["0", "('a', 'b')"]
    for name in ("text ", "TEXT", "\ufefftext"):
        with pytest.raises(ColumnNotFound, match="did you mean") as refused:
            Logs.of(pd.DataFrame(FRAME).rename(columns={"text": name}), ROLES)
        assert repr(name) in str(refused.value)
