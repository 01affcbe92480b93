"""What a table must satisfy before it becomes logs; every later stage relies on it."""

from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from causalign.covariates import first_null
from causalign.errors import ColumnNotFound, InputError, nearest
from causalign.roles import Roles


def to_arrow(table: Any) -> pa.Table:
    """Return a pandas or polars frame, an Arrow table or a `datasets.Dataset` as Arrow."""
    if isinstance(table, pa.Table):
        return table
    try:
        if type(table).__module__.split(".")[0] == "datasets":
            return table.with_format("arrow")[:]
        return nw.from_native(table, eager_only=True).to_arrow()
    except TypeError as error:
        raise InputError(
            f"Logs cannot be made of {type(table).__name__!r}. Give a pandas or polars frame, an "
            "Arrow table or a datasets.Dataset, or use Logs.read for a file."
        ) from error
    except pa.ArrowException as error:
        detail = str(error).splitlines()[0]
        raise InputError(f"A column of the table mixes types: {detail}") from error


def check_columns(table: pa.Table, roles: Roles) -> None:
    """Raise unless every role's column is there exactly once."""
    for name, role in roles.columns().items():
        count = table.column_names.count(name)
        if count == 0:
            raise ColumnNotFound(
                f"Role {role!r} names the column {name!r}, which the table does not have; "
                f"{nearest(name, table.column_names)}"
            )
        if count > 1:
            raise InputError(f"The table has {count} columns named {name!r}. Rename all but one.")


def check_rows(table: pa.Table) -> None:
    """Raise unless there are at least two rows."""
    if table.num_rows < 2:
        rows = "one row" if table.num_rows else "no rows"
        raise InputError(f"The table has {rows}; logs need at least two.")


def check_present(table: pa.Table, name: str, role: str) -> None:
    """Raise when a column that groups, clusters or orders rows misses values, or holds lists."""
    if pa.types.is_nested(table[name].type):
        raise InputError(
            f"The {role} column {name!r} holds {table[name].type}; a single value a row is needed."
        )
    if table[name].null_count:
        raise InputError(
            f"The {role} column {name!r} has {table[name].null_count} missing values (first at row "
            f"{first_null(table[name])}). Fill them in, or read with drop_incomplete=True."
        )


def complete_rows(
    table: pa.Table, roles: Roles, history: tuple[str, ...]
) -> tuple[pa.Table, tuple[str, ...]]:
    """Leave out rows that miss a value in a column with a role, and say how many."""
    keep = np.ones(table.num_rows, dtype=bool)
    for name in roles.columns():
        column = table[name]
        keep &= pc.invert(pc.is_null(column, nan_is_null=True)).to_numpy(zero_copy_only=False)
        if pa.types.is_floating(column.type):
            finite = pc.fill_null(pc.is_finite(column), False)
            keep &= finite.to_numpy(zero_copy_only=False)
        elif name in (roles.completion, roles.prompt) and _is_text(column.type):
            filled = pc.fill_null(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0)
            keep &= filled.to_numpy(zero_copy_only=False) > 0
    dropped = int((~keep).sum())
    return table.filter(keep), (*history, f"left out {dropped} incomplete rows")


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def check_text(table: pa.Table, name: str, role: str) -> pa.Table:
    """Return the table with the column as plain strings; raise when a text is missing or empty."""
    column = table[name]
    if pa.types.is_dictionary(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
        table = table.set_column(table.column_names.index(name), name, column)
    if not _is_text(column.type) and column.null_count < len(column):
        raise InputError(f"The {role} column {name!r} must hold text, but holds {column.type}.")
    if column.null_count:
        raise InputError(
            f"The {role} column {name!r} has {column.null_count} missing texts (first at row "
            f"{first_null(column)}). Fill them in, or read with drop_incomplete=True."
        )
    length = pc.utf8_length(pc.utf8_trim_whitespace(column))
    empty = np.flatnonzero(length.to_numpy() == 0)
    if empty.size:
        raise InputError(
            f"The {role} column {name!r} has {empty.size} empty texts (first at row {empty[0]}). "
            "Fill them in, or read with drop_incomplete=True."
        )
    return table
