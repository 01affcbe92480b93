"""What a column is: its kind, decided once from all its values and its role, and said in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from causalign.errors import ColumnNotFound, InputError, nearest
from causalign.logs import cells
from causalign.logs.covariates import LEAVE_OUT
from causalign.logs.kinds import (
    COVARIATES,
    Column,
    ColumnKind,
    Settled,
    name_first,
    settle_kind,
    shorten,
)
from causalign.logs.roles import Roles
from causalign.logs.storage import open_column

NAMES = ("group", "cluster", "objective", "time")
EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class ColumnReading:
    """How one column was read.

    Parameters
    ----------
    name, role : str
        The column, and its first role ("" when it has none).
    kind : str
        text, numeric, boolean, datetime or categorical.
    how : str
        In words, where the cells do not say it themselves.
    examples : tuple of str
        The first different cells as they were written.
    missing, odd : int
        Cells without a value, and cells that are not of the kind.
    different : int
        The different values, where they were counted.
    first_missing, first_odd : str
        The first of them, as "row 7, which holds 'null'" and "row 7 holds '-'".
    refusal : str
        Why the column cannot be used in its role; "" when it can.
    """

    name: str
    role: str
    kind: ColumnKind
    how: str = ""
    examples: tuple[str, ...] = ()
    missing: int = 0
    odd: int = 0
    different: int = 0
    first_missing: str = ""
    first_odd: str = ""
    refusal: str = ""

    @property
    def title(self) -> str:
        """Return what messages call the column."""
        if self.role == "outcome":
            return f"The outcome {self.name!r}"
        if self.role == "guardrails":
            return f"The guardrail {self.name!r}"
        named = self.role in (*NAMES, "completion", "prompt")
        return f"The {self.role} column {self.name!r}" if named else f"Column {self.name!r}"


def require_usable(reading: ColumnReading) -> None:
    """Raise `InputError` when a column cannot be used in its role at all."""
    if reading.refusal:
        raise InputError(f"{reading.title} {reading.refusal}.")


def require_whole(reading: ColumnReading) -> None:
    """Raise `InputError` when a column has cells that are not of its kind, or misses values."""
    fill = f"Fill them in, or {LEAVE_OUT}."
    if reading.odd and reading.kind == "text":
        raise InputError(
            f"{reading.title} has {reading.odd} empty texts (first at {reading.first_odd}). {fill}"
        )
    if reading.odd:
        wanted = {"datetime": "dates"}.get(reading.kind, "numbers")
        names = "; if the values are names, say so: Roles(categorical=...), --categorical"
        raise InputError(
            f"{reading.title} holds {wanted}, but {reading.odd} of its cells are none "
            f"({reading.first_odd}). Correct them, or {LEAVE_OUT}"
            f"{names if reading.role in COVARIATES else ''}."
        )
    if reading.missing:
        noun = "texts" if reading.kind == "text" else "values"
        raise InputError(
            f"{reading.title} has {reading.missing} missing {noun} (first at "
            f"{reading.first_missing}). {fill}"
        )


def read_column(table: pa.Table, name: str, roles: Roles) -> tuple[pa.ChunkedArray, ColumnReading]:
    """Return a column of a table in its canonical type, and how it was read; raise nothing."""
    position = table.column_names.index(name)
    played = roles.roles_of(name)
    column = open_column(
        table.column(position), table.schema.field(position), table.schema.metadata
    )
    values, reading = settle_column(name, played, column)
    return values, _refuse_copies(reading, table)


def describe_columns(
    table: pa.Table, played: Mapping[str, Sequence[str]]
) -> tuple[ColumnReading, ...]:
    """Say how every column of a table is read, in its roles or as the confounder it may become.

    Parameters
    ----------
    table : pyarrow.Table
        As `read_table` returns it.
    played : mapping of str to roles
        The roles of some columns, by name.

    Raises
    ------
    ColumnNotFound
        When there is no column of such a name.
    """
    for name in played:
        if name not in table.column_names:
            raise ColumnNotFound(
                f"There is no column {name!r}; {nearest(name, table.column_names)}"
            )
    readings = []
    for position, name in enumerate(table.column_names):
        about = table.schema.field(position), table.schema.metadata
        column, roles = open_column(table.column(position), *about), tuple(played.get(name, ()))
        values, reading = settle_column(name, roles or ("confounders",), column)
        if not reading.refusal:
            reading = replace(reading, different=pc.count_distinct(values).as_py())
        readings.append(_refuse_copies(reading, table) if roles else replace(reading, role=""))
    return tuple(readings)


def _refuse_copies(reading: ColumnReading, table: pa.Table) -> ColumnReading:
    if table.column_names.count(reading.name) == 1:
        return reading
    return replace(reading, refusal="is not the only one of this name. Rename the others")


def tabulate_readings(readings: Sequence[ColumnReading]) -> pa.Table:
    """Return one row for each reading: column, role, kind, how, examples, and counts of cells.

    Parameters
    ----------
    readings : several ColumnReading
        As `describe_columns` returns them.
    """
    return pa.table(
        {
            "column": [r.name for r in readings],
            "role": [r.role or "-" for r in readings],
            "kind": ["refused" if r.refusal else r.kind for r in readings],
            "how it is read": [r.refusal or r.how for r in readings],
            "examples": [", ".join(r.examples) for r in readings],
            "different": [r.different for r in readings],
            "missing": [r.missing for r in readings],
            "odd cells": [f"{r.odd}: {r.first_odd}" if r.odd else "0" for r in readings],
        }
    )


def settle_values(
    name: str, values: pa.ChunkedArray, role: str, about: pa.Field | None = None
) -> pa.ChunkedArray:
    """Return one column, of any table, in its canonical type for a role.

    Raises `InputError` when it cannot be used in it, or has missing or odd cells.
    """
    opened = open_column(values, about or pa.field(name, values.type), None)
    settled, reading = settle_column(name, (role,), opened)
    require_usable(reading)
    require_whole(reading)
    return settled


def holds_dates(values: pa.ChunkedArray) -> bool:
    """Say whether a column holds dates, in their type or written, so that it may be a time."""
    kind = values.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return True
    if not pa.types.is_large_string(kind):
        return False
    some = values.slice(0, 1000).combine_chunks().drop_null()
    return bool(len(some)) and bool(cells.matches(cells.trim(some), cells.ISO_DATE).all())


def settle_column(
    name: str, played: Sequence[str], column: Column
) -> tuple[pa.ChunkedArray, ColumnReading]:
    """Return a column that was opened in its canonical type, and how it was read."""
    role = played[0] if played else ""
    if column.unreadable:
        settled = Settled(column.values, "text", refusal=column.unreadable)
    else:
        settled = settle_kind(column, played)
    odd = np.zeros(len(column.values), dtype=bool) if settled.odd is None else settled.odd
    absent = settled.values.is_null().to_numpy(zero_copy_only=False) & ~odd
    if not settled.refusal and len(absent) and absent.all():
        settled = replace(settled, refusal="holds no value in any row")
    reading = ColumnReading(
        name,
        role,
        settled.kind,
        "; ".join([*column.notes, *([settled.how] if settled.how else [])]),
        _examples(column.values),
        int(absent.sum()),
        int(odd.sum()),
        0,
        name_first(column.values, absent, ", which holds"),
        name_first(column.values, odd),
        settled.refusal,
    )
    return pa.chunked_array([settled.values]), reading


def _examples(values: pa.Array) -> tuple[str, ...]:
    shown: dict[str, None] = {}
    try:
        for one in values.slice(0, 1000).drop_null():
            value = one.as_py()
            shown[repr(shorten(value)) if isinstance(value, str) else str(value)] = None
            if len(shown) == EXAMPLES:
                break
    except (pa.ArrowException, ValueError, OverflowError):
        return ()
    return tuple(shown)
