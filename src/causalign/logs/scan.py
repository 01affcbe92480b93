"""Logs on disk that no memory need hold: Parquet files, read batch by batch as logs."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from causalign.errors import InputError, SettingsError, mask_address
from causalign.files import write_json, write_whole
from causalign.logs.columns import require_usable, require_whole, settle_column
from causalign.logs.covariates import Kind
from causalign.logs.intake import load_roles, read_outcomes, require_varying
from causalign.logs.listing import LogFile, list_files
from causalign.logs.parts import (
    ScanPart,
    WrittenColumn,
    cut_parts,
    kind_of,
    open_written,
    plain_columns,
    read_part,
    read_types,
    read_written,
)
from causalign.logs.reading import is_bytes
from causalign.logs.remote import is_address, list_remote
from causalign.logs.roles import Roles
from causalign.logs.row_hash import Between
from causalign.logs.table import Logs
from causalign.logs.workers import Engine, require_engine
from causalign.results import card

Change = Callable[[Logs], Logs]

# So many rows are in memory at once.
BATCH_ROWS = 32_768
TEXTS = ("completion", "prompt")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LogScan:
    """Logs in Parquet files that are read batch by batch; make one with `scan_logs`.

    Each batch is `Logs` whose categories have the levels of all rows, so that sums over batches are
    sums over rows. What a column is, is decided from all files, as `Logs.read` does.

    Parameters
    ----------
    parts : tuple of ScanPart
        What is read, in order; `split` gives scans of one part each.
    roles : Roles
        The roles of the columns, as they are after the changes.
    rows : int
        How many rows there are.
    columns : mapping of str to WrittenColumn
        What strings and names in the files mean.
    kinds : mapping of str to kind
        Of every covariate.
    history : tuple of str
        What was done, in order.
    changes : tuple of functions from Logs to Logs
        What is done to every batch.
    read_roles : Roles
        The roles of the columns in the files.
    batch_rows : int
        How many rows are in memory at once.
    drop_incomplete : bool
        Whether rows that miss a value are passed over.
    engine : {"batches", "ray"}
        Where sums over the rows are made.
    keep : mapping of str to type
        Columns without a role that batches have all the same, in the type that holds the values of
        all files; None where the names of folders write it.
    """

    parts: tuple[ScanPart, ...]
    roles: Roles
    rows: int
    columns: Mapping[str, WrittenColumn]
    kinds: Mapping[str, Kind]
    history: tuple[str, ...]
    changes: tuple[Change, ...]
    read_roles: Roles
    batch_rows: int = BATCH_ROWS
    drop_incomplete: bool = False
    engine: Engine = "batches"
    keep: Mapping[str, pa.DataType | None] = field(default_factory=dict)

    @property
    def files(self) -> tuple[LogFile, ...]:
        """The files that are read, in order."""
        return tuple(dict.fromkeys(part.file for part in self.parts))

    def __len__(self) -> int:
        return self.rows

    def __getattr__(self, name: str) -> object:
        """Say what to do where something asks for what only logs in memory have."""
        if name.startswith("_") or not hasattr(Logs, name):
            raise AttributeError(f"'LogScan' has no attribute {name!r}")
        return require_memory(self, f"What asks for their {name}")

    def __repr__(self) -> str:
        size = f"{self.rows:,} rows in {len(self.parts):,} parts, {self.batch_rows:,} at a time"
        return card("LogScan", [size, "; ".join(self.roles.describe()), *self.history[-3:]])

    def batches(self, *, texts: bool = True) -> Iterator[Logs]:
        """Read the rows in order, some at a time.

        Parameters
        ----------
        texts : bool
            Whether texts and prompts are read; they are missing otherwise, where no change of the
            batches could ask for them.

        Raises
        ------
        UnreadableFile
            When a file turns out to be damaged, naming it.
        InputError
            For a cell that cannot be used in its role.
        """
        wanted, texts = self.read_roles.columns(), texts or bool(self.changes)
        names = [name for name, role in wanted.items() if texts or role not in TEXTS]
        for part in self.parts:
            for table in read_part(part, (*names, *self.keep), self.batch_rows):
                if self.drop_incomplete:
                    # A column without a value in a whole batch says nothing of what it is.
                    table = table.filter(_held(table, names))
                if not table.num_rows:
                    continue
                logs = self._settle(table, names)
                for change in self.changes:
                    logs = change(logs) if len(logs) else logs
                if len(logs):
                    yield logs

    def split(self) -> "tuple[LogScan, ...]":
        """Return a scan of each part, for workers that share the files."""
        return tuple(replace(self, parts=(p,), rows=p.rows) for p in self.parts)

    def change(self, change: Change, roles: Roles, note: str, rows: int | None = None) -> "LogScan":
        """Return a scan whose batches are changed once more.

        Parameters
        ----------
        change : function from Logs to Logs
        roles : Roles
            Those of the changed batches.
        note : str
            What the history says.
        rows : int, optional
            How many rows are left, where they become fewer.
        """
        left = self.rows if rows is None else rows
        history, changes = (*self.history, note), (*self.changes, change)
        return replace(self, roles=roles, history=history, changes=changes, rows=left)

    def hold_out(self, share: float, seed: int) -> "tuple[LogScan, LogScan]":
        """Cut the rows in two by a hash of their units, clusters, else groups, else texts.

        Parameters
        ----------
        share : float
            Of the units that the second scan has.
        seed : int

        Raises
        ------
        InputError
            When one side would be empty.
        """
        held = Between(1 - share, 1.0, seed, "held out")
        rows = sum(len(held(logs)) for logs in self.batches())
        if rows in (0, self.rows):
            raise InputError(f"Holding out {share:.0%} leaves one side empty. Name a finer group.")
        left = Between(0.0, 1 - share, seed, "held out")
        return (
            self.change(left, self.roles, f"set aside {rows} rows", self.rows - rows),
            self.change(held, self.roles, "held out", rows),
        )

    def sample(self, rows: int, seed: int = 0) -> Logs:
        """Draw about so many rows into memory, whole units of them, by a hash of the unit.

        Parameters
        ----------
        rows : int
            All are taken where there are no more.
        seed : int
        """
        share = min(1.0, rows / max(self.rows, 1))
        drawn = [Between(0.0, share, seed, "sample")(logs).data for logs in self.batches()]
        table = pa.concat_tables(drawn) if drawn else None
        if table is None or table.num_rows < 2:
            raise InputError(f"A sample of {rows} of {self.rows} rows is empty. Draw more rows.")
        table = plain_columns(table)
        note = f"drew {table.num_rows} of {self.rows} rows by a hash of their {self._unit()}"
        return Logs(table, self.roles, (*self.history, note) if share < 1 else self.history)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the rows, batch by batch, as ``logs.parquet``, and roles and history beside them.

        Parameters
        ----------
        folder : path
            What `Logs.save` writes there has the same form.
        """
        place = Path(folder)
        with write_whole(place / "logs.parquet") as partial:
            writer = None
            try:
                for logs in self.batches():
                    table = plain_columns(logs.data)
                    writer = writer or pq.ParquetWriter(partial, table.schema)
                    writer.write_table(table.cast(writer.schema))
            finally:
                if writer is not None:
                    writer.close()
        write_json(place / "logs.json", {"roles": self.roles, "history": self.history})

    def _unit(self) -> str:
        roles = self.roles
        return "clusters" if roles.cluster_columns() else "groups" if roles.group else "texts"

    def _settle(self, table: pa.Table, names: Sequence[str]) -> Logs:
        """Return the logs of a batch, its columns as what they are in all batches."""
        roles, made = self.read_roles, {}
        for name in roles.columns():
            if name in names:
                made[name] = self._settle_column(table, name)
            else:
                made[name] = pa.chunked_array([pa.nulls(table.num_rows, pa.large_string())])
        more = {name: _hold(table[name], kind) for name, kind in self.keep.items()}
        batch = pa.table(made | more)
        if self.drop_incomplete:
            batch = batch.filter(_held(batch, names))
        return Logs(batch, roles)

    def _settle_column(self, table: pa.Table, name: str) -> pa.ChunkedArray:
        column, written = open_written(table, name), self.columns.get(name)
        if written is not None:
            place = pc.index_in(column.values, written.cells)
            values = written.values.take(place)
        else:
            settled, reading = settle_column(name, self.read_roles.roles_of(name), column)
            if not self.drop_incomplete:
                require_whole(reading)
            require_usable(reading)
            values = settled.combine_chunks()
        if name in self.kinds:
            self._require_kind(name, values)
        return pa.chunked_array([values])

    def _require_kind(self, name: str, values: pa.Array) -> None:
        kind = "categorical" if pa.types.is_dictionary(values.type) else kind_of(values)
        if kind != self.kinds[name]:
            raise InputError(
                f"The files hold {name!r} as {self.kinds[name]} and as {kind}. Make the column of "
                "one type in all files."
            )


def require_memory(logs: Logs | LogScan, what: str) -> Logs:
    """Return logs that are in memory; raise `SettingsError` for others, saying what can be done.

    Parameters
    ----------
    logs : Logs or LogScan
    what : str
        What needs all rows at once.
    """
    if isinstance(logs, Logs):
        return logs
    raise SettingsError(
        f"These logs are read batch by batch. {what} needs all rows at once: give it some of "
        "them, `logs.sample(100_000)`; what was estimated on these can adjust all."
    )


def _hold(column: pa.ChunkedArray, kind: pa.DataType | None) -> pa.ChunkedArray:
    """Return a column in the type of all files; bytes that are no text stay what they are."""
    return column if kind is None or is_bytes(column.type) else column.cast(kind)


def _held(table: pa.Table, names: Sequence[str]) -> NDArray[np.bool_]:
    """Return which rows ``(n,)`` have a cell in all of the columns."""
    whole = np.ones(table.num_rows, dtype=bool)
    for name in names:
        whole &= table[name].is_valid().to_numpy(zero_copy_only=False)
    return whole


def scan_saved(folder: str | os.PathLike[str], *, engine: Engine = "batches") -> LogScan:
    """Open logs that `save` wrote, to be read batch by batch.

    Parameters
    ----------
    folder : path
    engine : {"batches", "ray"}
        As in `scan_logs`.

    Raises
    ------
    ArtifactError
        When they are missing or damaged.
    """
    roles, history = load_roles(folder)
    scan = scan_logs(Path(folder) / "logs.parquet", roles, engine=engine)
    return replace(scan, history=history)


def scan_logs(
    path: str | Path,
    roles: Roles,
    *,
    batch_rows: int = BATCH_ROWS,
    drop_incomplete: bool = False,
    engine: Engine = "batches",
    keep: tuple[str, ...] = (),
) -> LogScan:
    """Open Parquet logs of any size, to be read batch by batch.

    Columns of numbers and categories are read once, to know what they are; texts are not.

    Parameters
    ----------
    path : path
        A Parquet file, a folder or a glob, here or behind ``s3://``; ``week=3`` is a column.
    roles : Roles
        Which column plays which causal role.
    batch_rows : int
        How many rows are in memory at once.
    drop_incomplete : bool
        Pass over rows that miss a value in a column with a role.
    engine : {"batches", "ray"}
        Where sums over the rows are made: here, or on Ray's workers, who must see the same files.
        No number depends on it.
    keep : tuple of str
        Columns without a role that batches should have all the same.

    Raises
    ------
    UnreadableFile, ColumnNotFound, InputError
        When the files, the roles or the values cannot be used.
    SettingsError
        For an engine that there is not.
    """
    require_engine(engine)
    place = str(path)
    files = list_remote(place) if is_address(place) else list_files(place, ("parquet",))
    needed = roles.columns() | dict.fromkeys(keep, "keep")
    parts = tuple(part for file in files for part in cut_parts(file, needed))
    types = read_types(files, needed)
    rows = sum(part.rows for part in parts)
    if rows < 2:
        raise InputError(f"{str(path)!r} holds {'one row' if rows else 'no rows'}; logs need two.")
    columns, kinds = read_written(parts, roles, batch_rows, drop_incomplete)
    name = mask_address(place) if is_address(place) else Path(place).name
    note = f"scan {rows} rows of {name} in {len(files)} files"
    empty = LogScan(
        parts,
        roles,
        rows,
        columns,
        kinds,
        (note,),
        (),
        roles,
        batch_rows,
        drop_incomplete,
        engine,
        {name: types.get(name) for name in keep},
    )
    ends: dict[str, list[float]] = {}
    left = 0
    for logs in empty.batches(texts=drop_incomplete):
        for column, values in read_outcomes(logs.data, roles).items():
            ends[column] = [*ends.get(column, ()), values.min(), values.max()]
        left += len(logs)
    if left < 2:
        raise InputError(
            f"{left} of {rows} rows have a value in each column with a role; logs need two."
        )
    for column, reached in ends.items():
        require_varying(column, roles, min(reached), max(reached))
    notes = (note,) if left == rows else (note, f"pass over {rows - left} incomplete rows")
    return replace(empty, rows=left, history=notes)
