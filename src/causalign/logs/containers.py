"""Tables in memory, of whatever library, as Arrow; a column that Arrow cannot hold says why."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import chain
from numbers import Integral, Real
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa

from causalign.errors import InputError
from causalign.logs.kinds import UNREADABLE

# Decimals of Arrow hold integers of so many digits.
MOST_DIGITS = 76
# Types of other libraries that Arrow has not; their values are taken one by one.
BY_VALUE = (nw.Object, nw.Int128, nw.UInt128, nw.Unknown)
TAKEN = (
    "a pandas or polars frame, an Arrow table, a datasets.Dataset, a mapping of columns or a list "
    "of rows"
)

# A table, column or cell of a library that need not be installed.
Foreign = Any


def to_arrow(table: Foreign) -> pa.Table:
    """Return a table of any library as Arrow; raise `InputError` for what is none.

    A column that Arrow cannot hold becomes text with a mark in its field's metadata, so that it is
    refused when a role names it, and by name.
    """
    if isinstance(table, pa.Table):
        return table
    library = type(table).__module__.partition(".")[0]
    try:
        if library == "datasets":
            return _from_datasets(table)
        if library == "pandas" and hasattr(table, "columns"):
            return _from_columns(_columns_of_pandas(table))
        return _from_object(table)
    except pa.ArrowException as error:
        detail = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"The table, a {type(table).__name__}, cannot be read as Arrow: {detail}"
        ) from error


def _from_object(table: Foreign) -> pa.Table:
    """Read Arrow's and Python's own containers, and every library that narwhals knows."""
    if isinstance(table, pa.RecordBatch):
        return pa.Table.from_batches([table])
    if isinstance(table, pa.RecordBatchReader):
        return table.read_all()
    if isinstance(table, np.ndarray) and table.dtype.names:
        return _from_columns((name, table[name]) for name in table.dtype.names)
    if isinstance(table, Mapping):
        return _from_mapping(table)
    if isinstance(table, Sequence) and table and all(isinstance(row, Mapping) for row in table):
        names = dict.fromkeys(chain.from_iterable(table))
        return _from_columns((name, [row.get(name) for row in table]) for name in names)
    try:
        frame = nw.from_native(table)
    except TypeError as error:
        if hasattr(table, "__arrow_c_stream__"):
            return pa.table(table)
        raise InputError(
            f"Logs cannot be made of {type(table).__name__!r}. Give {TAKEN}, or use Logs.read for "
            "a file."
        ) from error
    if isinstance(frame, nw.LazyFrame):
        return frame.collect("pyarrow").to_native()
    if frame.implementation.is_pandas_like():
        return _from_columns(_columns_of_pandas(frame.to_pandas()))
    if not any(kind in BY_VALUE for kind in frame.schema.values()):
        return frame.to_arrow()
    return _from_columns(
        (name, frame[name].to_list() if kind in BY_VALUE else frame[name].to_arrow())
        for name, kind in frame.schema.items()
    )


def _from_datasets(table: Foreign) -> pa.Table:
    """Read a `datasets.Dataset`, or the only split of several; a stream has no rows to count."""
    if isinstance(table, Mapping) and len(table) == 1:
        table = next(iter(table.values()))
    if isinstance(table, Mapping):
        splits = ", ".join(map(repr, table))
        raise InputError(
            f"A {type(table).__name__} holds the splits {splits}. Give one of them, such as "
            f"data[{next(iter(table), 'train')!r}]."
        )
    if not hasattr(table, "with_format") or not hasattr(table, "num_rows"):
        raise InputError(
            f"A {type(table).__name__} streams its rows. Load it without streaming, or give "
            "datasets.Dataset.from_list(list(data.take(10_000)))."
        )
    arrow = table.with_format("arrow")[:]
    # The names of class labels stand where `datasets` writes them in a Parquet file.
    features = {
        name: {"names": feature.names, "_type": "ClassLabel"}
        for name, feature in table.features.items()
        if type(feature).__name__ == "ClassLabel"
    }
    about = json.dumps({"info": {"features": features}})
    return arrow.replace_schema_metadata({b"huggingface": about.encode()})


def _from_mapping(table: Mapping[Foreign, Foreign]) -> pa.Table:
    lengths = {name: len(values) for name, values in table.items() if hasattr(values, "__len__")}
    if len(lengths) < len(table) or any(isinstance(v, str) for v in table.values()):
        raise InputError(f"A mapping is no table unless each name has a list of values: {TAKEN}.")
    if len(set(lengths.values())) > 1:
        raise InputError(f"The columns of the table have different lengths: {lengths}.")
    return _from_columns(table.items())


def _columns_of_pandas(frame: Foreign) -> Iterator[tuple[object, Foreign]]:
    """Yield the columns of a pandas frame, and the levels of its index that have a name."""
    for level in range(frame.index.nlevels):
        name = frame.index.names[level]
        if name is not None and name not in frame.columns:
            yield name, frame.index.get_level_values(level).to_series()
    for position, name in enumerate(frame.columns):
        series = frame.iloc[:, position]
        sparse = type(series.dtype).__name__ == "SparseDtype"
        yield name, series.sparse.to_dense() if sparse else series


def _from_columns(columns: Foreign) -> pa.Table:
    """Return a table of names and values, each column on its own."""
    fields: list[pa.Field] = []
    arrays: list[pa.ChunkedArray] = []
    for name, values in columns:
        array, trouble = _to_array(values)
        marks = {UNREADABLE: trouble.encode()} if trouble else None
        fields.append(pa.field(str(name), array.type, metadata=marks))
        arrays.append(array)
    return pa.table(arrays, schema=pa.schema(fields))


def _to_array(values: Foreign) -> tuple[pa.Array | pa.ChunkedArray, str]:
    """Return values as Arrow, and why they cannot be used if so."""
    try:
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return _mixed_to_array(list(values))
    if pa.types.is_date(array.type) and not hasattr(getattr(values, "dtype", None), "numpy_dtype"):
        return _dates_to_array(values, array), ""
    return array, ""


def _dates_to_array(values: Foreign, array: pa.Array) -> pa.Array:
    """Keep the hours of times that stand among dates."""
    if not any(isinstance(value, datetime) for value in values):
        return array
    times = [
        datetime(value.year, value.month, value.day)
        if isinstance(value, date) and not isinstance(value, datetime)
        else value
        for value in values
    ]
    return pa.array(times, pa.timestamp("us"), from_pandas=True)


def _mixed_to_array(values: list[Foreign]) -> tuple[pa.Array, str]:
    """Return numbers of any size or sort; what else Arrow refuses as text, and why."""
    present = [value for value in values if not _is_missing(value)]
    rows = [None if _is_missing(value) else value for value in values]
    if present and all(isinstance(value, Integral) and not _is_truth(value) for value in present):
        digits = max(len(str(abs(int(value)))) for value in present)
        if digits <= MOST_DIGITS:
            whole = [None if value is None else Decimal(int(value)) for value in rows]
            return pa.array(whole, pa.decimal256(MOST_DIGITS, 0)), ""
        return _as_text(rows), f"holds integers of {digits} digits, more than can be read"
    if all(isinstance(value, Real | Decimal) and not _is_truth(value) for value in present):
        numbers = [None if value is None else float(value) for value in rows]
        return pa.array(numbers, pa.float64()), ""
    return _as_text(rows), _say_mixture(rows)


def _say_mixture(rows: Sequence[Foreign]) -> str:
    first: dict[str, int] = {}
    for row, value in enumerate(rows):
        if value is not None:
            first.setdefault(type(value).__name__, row)
    if len(first) == 1:
        return f"holds values of the type {next(iter(first))}, which are no text, numbers or dates"
    examples = [f"{kind} (row {row} holds {str(rows[row])[:40]!r})" for kind, row in first.items()]
    return f"mixes types: {' and '.join(examples[:3])}. Make it of one type"


def _as_text(rows: Sequence[Foreign]) -> pa.Array:
    return pa.array([None if row is None else str(row) for row in rows], pa.large_string())


def _is_truth(value: object) -> bool:
    return isinstance(value, bool | np.bool_)


def _is_missing(value: object) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))
