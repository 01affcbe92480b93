"""What comes in as logs: tables in memory or saved, and what every stage relies on in them."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from causalign.errors import ArtifactError, ColumnNotFound, InputError, nearest
from causalign.files import read_json, write_json, write_whole
from causalign.logs.columns import read_column, require_usable, require_whole
from causalign.logs.covariates import covariate, numeric
from causalign.logs.kinds import COVARIATES, NUMBERS
from causalign.logs.roles import Roles


def check_table(
    table: pa.Table, roles: Roles, history: tuple[str, ...], drop_incomplete: bool
) -> tuple[pa.Table, Roles, tuple[str, ...]]:
    """Settle once, at the boundary, what every stage relies on; return what logs are made of."""
    check_columns(table, roles)
    table, notes = settle_table(table, roles, drop_incomplete=drop_incomplete)
    if table.num_rows < 2:
        rows = "one row" if table.num_rows else "no rows"
        raise InputError(f"The table has {rows}; logs need at least two.")
    for name, role in roles.columns().items():
        numbers = not pa.types.is_large_string(table[name].type)
        if numbers and (role in COVARIATES or role in NUMBERS):
            covariate(name, table[name], categorical=name in roles.categorical)
    for name, values in read_outcomes(table, roles).items():
        require_varying(name, roles, values.min(), values.max())
    return table, roles, (*history, *notes)


def settle_table(
    table: pa.Table, roles: Roles, *, drop_incomplete: bool = False
) -> tuple[pa.Table, tuple[str, ...]]:
    """Read every column with a role as what it is, from all its values.

    Returns the table whose columns with a role are large_string (text), float64 or int64, bool,
    timestamp[us] or large_string (categories), and what the history says.
    Raises `InputError` for a column that cannot be used in its role, and for cells that are missing
    or not of the kind, unless their rows are left out.
    """
    read = {name: read_column(table, name, roles) for name in roles.columns()}
    readings = tuple(reading for _, reading in read.values())
    for reading in readings:
        require_usable(reading)
        if not drop_incomplete:
            require_whole(reading)
    for name, (values, _) in read.items():
        table = table.set_column(table.column_names.index(name), name, values)
    notes = [f"read {r.name}: {r.how}" for r in readings if r.how]
    if drop_incomplete:
        keep = np.ones(table.num_rows, dtype=bool)
        for values, _ in read.values():
            keep &= values.is_valid().to_numpy(zero_copy_only=False)
        table = table.filter(keep)
        odd = [f"{r.odd} odd cells in {r.name}: {r.first_odd}" for r in readings if r.odd]
        line = f"left out {int((~keep).sum())} incomplete rows"
        notes.append(f"{line} ({'; '.join(odd)})" if odd else line)
    return table, tuple(notes)


def load_table(folder: str | os.PathLike[str]) -> tuple[pa.Table, Roles, tuple[str, ...]]:
    """Read what `save_table` wrote; raise `ArtifactError` when it is missing or damaged."""
    roles, history = load_roles(folder)
    try:
        table = pq.read_table(Path(folder) / "logs.parquet")
        check_columns(table, roles)
        return table, roles, history
    except (LookupError, ValueError, OSError) as damage:
        raise _damaged(folder, damage) from damage


def load_roles(folder: str | os.PathLike[str]) -> tuple[Roles, tuple[str, ...]]:
    """Read roles and history of saved logs; raise `ArtifactError` when they are not there."""
    place = Path(folder) / "logs.json"
    if not place.exists():
        raise ArtifactError(f"The folder {str(folder)!r} holds no logs that were saved.")
    stored = read_json(place)
    try:
        roles = Roles(**{name: names for name, names in stored["roles"].items() if name != "type"})
        return roles, tuple(stored["history"])
    except (LookupError, TypeError, ValueError, AttributeError) as damage:
        raise _damaged(folder, damage) from damage


def _damaged(folder: str | os.PathLike[str], damage: Exception) -> ArtifactError:
    return ArtifactError(
        f"The logs in {str(folder)!r} are damaged ({damage}). Delete them and run again."
    )


def save_table(
    folder: str | os.PathLike[str], table: pa.Table, roles: Roles, history: tuple[str, ...]
) -> None:
    """Write the table as Parquet and, beside it, what its columns mean."""
    place = Path(folder)
    with write_whole(place / "logs.parquet") as partial:
        pq.write_table(table, partial, write_page_checksum=True)
    write_json(place / "logs.json", {"roles": roles, "history": history})


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


def read_outcomes(table: pa.Table, roles: Roles) -> dict[str, np.ndarray]:
    """Return the outcome and the guardrails ``(n,)``, as rates of the trials if there are any.

    Raises `InputError` for an outcome that counts beyond its trials, and for guardrails that are
    rates already.
    """
    name = roles.outcome
    read = {name: numeric(name, table[name]) for name in (name, *roles.guardrails)}
    values = read[name]
    if roles.trials is None:
        return read
    trials = numeric(roles.trials, table[roles.trials])
    wrong = np.flatnonzero((trials <= 0) | (values < 0) | (values > trials))
    if wrong.size:
        raise InputError(
            f"{wrong.size} rows do not have 0 <= {name} <= {roles.trials} with "
            f"{roles.trials} > 0 (first at row {wrong[0]})."
        )
    for guardrail in roles.guardrails:
        counts = read[guardrail]
        if trials.min() > 1 and np.abs(counts).max() <= 1 and (counts != np.floor(counts)).any():
            raise InputError(
                f"The guardrail {guardrail!r} looks like a rate, and guardrails count among the "
                f"trials {roles.trials!r} as the outcome does. Give counts or sums."
            )
    return {name: np.asarray(counts / trials) for name, counts in read.items()}


def require_varying(name: str, roles: Roles, lowest: float, highest: float) -> None:
    """Raise `InputError` for an outcome or a guardrail that is the same in every row."""
    if lowest >= highest:
        role = "outcome" if name == roles.outcome else "guardrail"
        raise InputError(
            f"The {role} {name!r} is constant ({lowest:g}): nothing can be learned from it."
        )
