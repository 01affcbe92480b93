"""A column with a causal role as numbers: numeric, boolean, datetime or categorical."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from causalign.errors import InputError, NotIdentified
from causalign.logs.cells import read_numbers

Kind = Literal["numeric", "boolean", "datetime", "categorical"]

MICROSECONDS_PER_DAY = 86_400_000_000.0
# In the words of all three doors.
LEAVE_OUT = "leave such rows out: drop_incomplete=True, --drop-incomplete on the command line"
# Floats hold every integer up to here; sums of squares of numbers up to LARGEST stay finite.
EXACT = 2**53
LARGEST = 1e100
# The most numbers (1 GiB of them) that a matrix of columns may hold; a fit makes a few copies.
MOST_NUMBERS = 2**27


@dataclass(frozen=True, slots=True)
class Covariate:
    """One column as numbers.

    ``values`` is ``(n,)``: floats for numeric and boolean columns (0/1), days since 1970-01-01 for
    datetimes, and integer codes into ``levels`` for categories (levels sorted by name).
    """

    name: str
    kind: Kind
    values: np.ndarray
    levels: tuple[str, ...] = ()

    @property
    def is_categorical(self) -> bool:
        """Return whether the values are codes into ``levels``."""
        return self.kind == "categorical"

    def dummies(self, *, drop_first: bool = True) -> np.ndarray:
        """Return the indicator matrix ``(n, L)``, without the first level unless asked for."""
        start = 1 if drop_first else 0
        equal: np.ndarray = self.values[:, None] == np.arange(start, len(self.levels))[None, :]
        return equal.astype(float)

    def columns(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """Return what a linear model would use: ``(n, k)`` and the k names."""
        if not self.is_categorical:
            return self.values[:, None], (self.name,)
        return self.dummies(), tuple(f"{self.name}[{level}]" for level in self.levels[1:])


def require_variation(role: str, column: Covariate) -> None:
    """Raise `NotIdentified` for a column that has one value."""
    if (column.values == column.values[0]).all():
        raise NotIdentified(
            f"The {role} {column.name!r} has the same value in every row, so that nothing can be "
            "learned of it. Leave it out."
        )


def covariate(name: str, column: pa.ChunkedArray, *, categorical: bool = False) -> Covariate:
    """Turn an Arrow column into a `Covariate`.

    Strings and dictionaries become categories; numbers do when ``categorical`` says so (week
    numbers, postcodes). Raises `InputError` for missing or infinite values and for types that
    hold no covariate (lists, structs, binary).
    """
    require_complete(f"Column {name!r}", column)
    kind = column.type
    if has_all_levels(column):
        values, levels = codes(column)
        return Covariate(name, "categorical", values, levels)
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind, categorical = column.type, True
    if categorical or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _categorical(name, column)
    if pa.types.is_boolean(kind):
        return Covariate(name, "boolean", column.cast(pa.float64()).to_numpy())
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        micros = column.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
        return Covariate(name, "datetime", micros / MICROSECONDS_PER_DAY)
    return Covariate(name, "numeric", numeric(name, column))


def numeric(name: str, column: pa.ChunkedArray) -> np.ndarray:
    """Return an Arrow column as finite floats.

    Parameters
    ----------
    name : str
        What messages call the column.
    column : pyarrow.ChunkedArray
        Of n numbers, in their type or as a file without types writes them.

    Returns
    -------
    (n,) array

    Raises
    ------
    InputError
        When it holds anything else.
    """
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = _read_written(column)
    kind = column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise InputError(
            f"Column {name!r} is not numeric but {kind}{_example(column)}. "
            "Convert it to numbers, or give it a role that takes text."
        )
    _require_exact(name, column)
    values = column.cast(pa.float64()).to_numpy()
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        shown = "missing (NaN)" if np.isnan(values[bad[0]]) else "infinite"
        raise InputError(
            f"Column {name!r} has {bad.size} values that are NaN or infinite; row {bad[0]} is "
            f"{shown}. Correct them, or {LEAVE_OUT}."
        )
    size = float(np.abs(values).max(initial=0.0))
    if size > LARGEST or 0 < size < 1 / LARGEST:
        raise InputError(
            f"Column {name!r} holds numbers up to {size:.3g}, whose squares no computer number "
            "holds. Change the unit."
        )
    return np.ascontiguousarray(values)


def _read_written(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return strings as numbers where all of them are, as those of a file without types may be."""
    text = column.combine_chunks()
    read = read_numbers(text)
    usable = read.refusal is None and not read.odd.any() and read.values.null_count < len(text)
    return pa.chunked_array([read.values]) if usable else column


def has_all_levels(column: pa.ChunkedArray) -> bool:
    """Return whether a column's dictionary holds the sorted levels of more rows than these.

    A batch of logs marks it as ordered: a level then has one code in every batch.
    """
    return bool(pa.types.is_dictionary(column.type) and column.type.ordered)


def mark_levels(table: pa.Table, names: Mapping[str, bool]) -> pa.Table:
    """Return the table with its categories as dictionaries of all their levels.

    ``names`` are the columns of covariates, with whether their numbers are categories.
    """
    for name, categorical in names.items():
        one = covariate(name, table[name], categorical=categorical)
        if one.is_categorical:
            levels = pa.array(one.levels, pa.large_string())
            index = pa.array(one.values, pa.int32())
            values = pa.DictionaryArray.from_arrays(index, levels, ordered=True)
            table = table.set_column(table.column_names.index(name), name, values)
    return table


def codes(column: pa.ChunkedArray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return integer codes ``(n,)`` (-1 where missing) and the sorted values as strings.

    Where the levels of more rows are known, codes are into those.
    """
    if has_all_levels(column):
        known = column.combine_chunks()
        index = known.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return index.astype(np.int64), tuple(known.dictionary.to_pylist())
    encoded = pc.cast(column, pa.large_string()).combine_chunks().dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order.to_numpy()] = np.arange(len(order))
    index = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    levels = encoded.dictionary.take(order).to_pylist()
    return np.append(rank, -1)[index], tuple(levels)


def number_labels(labels: Sequence[object]) -> np.ndarray:
    """Return integer codes ``(n,)`` of labels, in the order of their words.

    `numpy.unique` would give each label the room of the longest.
    """
    return codes(pa.chunked_array([[str(label) for label in labels]], pa.large_string()))[0]


def require_complete(what: str, column: pa.ChunkedArray, noun: str = "values") -> None:
    """Raise `InputError` when the column misses values, naming the first row that does."""
    if column.null_count:
        first = pc.index(pc.is_null(column, nan_is_null=True), True).as_py()
        raise InputError(
            f"{what} has {column.null_count} missing {noun} (first at row {first}). Fill them in, "
            f"or {LEAVE_OUT}."
        )


def design(covariates: Sequence[Covariate]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Stack covariates into one matrix ``(n, k)`` with the names of its columns.

    Raises `InputError` before categories of very many levels would fill the memory.
    """
    _require_room(covariates)
    parts = [c.columns() for c in covariates]
    return np.hstack([p[0] for p in parts]), tuple(n for p in parts for n in p[1])


def _require_room(covariates: Sequence[Covariate]) -> None:
    widths = [max(len(c.levels) - 1, 1) for c in covariates]
    rows = max((len(c.values) for c in covariates), default=0)
    if rows * sum(widths) <= MOST_NUMBERS:
        return
    widest = covariates[int(np.argmax(widths))]
    raise InputError(
        f"{rows:,} rows with {sum(widths):,} columns, of which {max(widths):,} are levels of "
        f"{widest.name!r}, take {8 * rows * sum(widths) / 2**30:.1f} GiB. Merge its rare levels, "
        "or use a coarser column."
    )


def _require_exact(name: str, column: pa.ChunkedArray) -> None:
    """Raise when integers are so large that they would be rounded, as identifiers may be."""
    if not pa.types.is_integer(column.type) or column.type.bit_width < 64:
        return
    ends = pc.min_max(column)
    for value in (ends["min"].as_py(), ends["max"].as_py()):
        if value is not None and abs(value) > EXACT:
            raise InputError(
                f"Column {name!r} holds the integer {value}, beyond 2^53, where numbers are "
                "rounded. If it is an identifier, name it in `Roles(categorical=...)`; otherwise "
                "subtract an offset or change the unit."
            )


def _categorical(name: str, column: pa.ChunkedArray) -> Covariate:
    try:
        values, levels = codes(column)
    except pa.ArrowException as error:
        raise InputError(
            f"Column {name!r} of type {column.type} cannot be read as categories."
        ) from error
    return Covariate(name, "categorical", values, levels)


def _example(column: pa.ChunkedArray) -> str:
    """Name the first value that a reader would not call a number."""
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return ""
    for row, value in enumerate(column.to_pylist()):
        try:
            float(value)
        except (TypeError, ValueError):
            return f" (row {row} holds {str(value)[:40]!r})"
    return ""
