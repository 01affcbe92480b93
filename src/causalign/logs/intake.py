"""What comes in as logs: tables in memory or saved, and what every stage relies on in them."""

import os
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from causalign.errors import ArtifactError, ColumnNotFound, InputError, nearest
from causalign.files import read_json, write_json, write_whole
from causalign.logs.covariates import LEAVE_OUT, covariate, numeric, require_complete
from causalign.logs.roles import Roles


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


def check_table(
    table: pa.Table, roles: Roles, history: tuple[str, ...], drop_incomplete: bool
) -> tuple[pa.Table, Roles, tuple[str, ...]]:
    """Check once, at the boundary, all that every stage relies on; return what logs are made of."""
    check_columns(table, roles)
    if drop_incomplete:
        table, history = _drop_incomplete(table, roles, history)
    _check_rows(table)
    for name in filter(None, (roles.completion, roles.prompt)):
        table = _check_text(table, name, roles.columns()[name])
    _check_outcome(table, roles)
    for name, role in roles.columns().items():
        if role in ("confounders", "instruments", "features"):
            covariate(name, table[name], categorical=name in roles.categorical)
        elif role in ("weight", "propensity"):
            numeric(name, table[name])
        elif role in ("group", "cluster", "time", "objective"):
            _check_present(table, name, role)
    return table, roles, history


def load_table(folder: str | os.PathLike[str]) -> tuple[pa.Table, Roles, tuple[str, ...]]:
    """Read what `save_table` wrote; raise `ArtifactError` when it is missing or damaged."""
    place = Path(folder)
    if not (place / "logs.json").exists():
        raise ArtifactError(f"The folder {str(place)!r} holds no logs that were saved.")
    stored = read_json(place / "logs.json")
    try:
        roles = Roles(**{name: names for name, names in stored["roles"].items() if name != "type"})
        table = pq.read_table(place / "logs.parquet")
        check_columns(table, roles)
        return table, roles, tuple(stored["history"])
    except (LookupError, TypeError, ValueError, AttributeError, OSError) as damage:
        raise ArtifactError(
            f"The logs in {str(place)!r} are damaged ({damage}). Delete them and run again."
        ) from damage


def save_table(
    folder: str | os.PathLike[str], table: pa.Table, roles: Roles, history: tuple[str, ...]
) -> None:
    """Write the table as Parquet and, beside it, what its columns mean."""
    place = Path(folder)
    with write_whole(place / "logs.parquet") as partial:
        pq.write_table(table, partial)
    write_json(place / "logs.json", {"roles": roles, "history": history})


def outcome_column(table: pa.Table, name: str) -> np.ndarray:
    """Return the outcome's column as finite floats ``(n,)``; booleans are 0 and 1."""
    column = table[name]
    if pa.types.is_boolean(column.type) and not column.null_count:
        column = column.cast(pa.float64())
    return numeric(name, column)


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


def _check_rows(table: pa.Table) -> None:
    """Raise unless there are at least two rows."""
    if table.num_rows < 2:
        rows = "one row" if table.num_rows else "no rows"
        raise InputError(f"The table has {rows}; logs need at least two.")


def _check_present(table: pa.Table, name: str, role: str) -> None:
    """Raise when a column that groups, clusters or orders rows misses values, or holds lists."""
    if pa.types.is_nested(table[name].type):
        raise InputError(
            f"The {role} column {name!r} holds {table[name].type}; a single value a row is needed."
        )
    require_complete(f"The {role} column {name!r}", table[name])


def _drop_incomplete(
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
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _check_text(table: pa.Table, name: str, role: str) -> pa.Table:
    """Return the table with the column as plain strings; raise when a text is missing or empty."""
    column = table[name]
    if pa.types.is_dictionary(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
        table = table.set_column(table.column_names.index(name), name, column)
    if not _is_text(column.type) and column.null_count < len(column):
        raise InputError(f"The {role} column {name!r} must hold text, but holds {column.type}.")
    require_complete(f"The {role} column {name!r}", column, "texts")
    length = pc.utf8_length(pc.utf8_trim_whitespace(column))
    empty = np.flatnonzero(length.to_numpy() == 0)
    if empty.size:
        raise InputError(
            f"The {role} column {name!r} has {empty.size} empty texts (first at row {empty[0]}). "
            f"Fill them in, or {LEAVE_OUT}."
        )
    return table


def _check_outcome(table: pa.Table, roles: Roles) -> None:
    name = roles.outcome
    require_complete(f"The outcome {name!r}", table[name])
    values = outcome_column(table, name)
    if roles.trials is not None:
        trials = numeric(roles.trials, table[roles.trials])
        wrong = np.flatnonzero((trials <= 0) | (values < 0) | (values > trials))
        if wrong.size:
            raise InputError(
                f"{wrong.size} rows do not have 0 <= {name} <= {roles.trials} with "
                f"{roles.trials} > 0 (first at row {wrong[0]})."
            )
        values = values / trials
    if np.ptp(values) == 0:
        raise InputError(
            f"The outcome {name!r} is constant ({values[0]:g}): nothing can be learned from it."
        )
