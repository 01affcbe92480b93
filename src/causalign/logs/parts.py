"""Parts of Parquet files, read batch by batch, and what a column is in all of them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from causalign.errors import ColumnNotFound, InputError, UnreadableFile, nearest
from causalign.logs.columns import require_usable, settle_column
from causalign.logs.covariates import Kind, covariate
from causalign.logs.kinds import COVARIATES, NUMBERS, Column
from causalign.logs.listing import LogFile
from causalign.logs.reading import require_one_schema, settle_text
from causalign.logs.remote import open_parquet
from causalign.logs.roles import Roles
from causalign.logs.storage import open_column

# So many rows make a part that one worker reads.
PART_ROWS = 262_144
# Reads each column through a small window instead of a whole row group at once.
READING = {"pre_buffer": False, "buffer_size": 1 << 16, "page_checksum_verification": True}


@dataclass(frozen=True, slots=True)
class ScanPart:
    """Name some row groups of a file, and the rows in them."""

    file: LogFile
    row_groups: tuple[int, ...]
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class WrittenColumn:
    """Hold each different cell of a column of strings or names, and what it is.

    ``levels`` are the sorted categories of a covariate, none of another column, and ``counts (L,)``
    their rows.
    """

    cells: pa.Array
    values: pa.Array
    levels: tuple[str, ...]
    counts: NDArray[np.int64]


def read_part(part: ScanPart, names: Sequence[str], rows: int) -> Iterator[pa.Table]:
    """Read columns of a part; one thread and no read-ahead keep memory at one batch."""
    try:
        with open_parquet(part.file, **READING) as reader:
            inside = [name for name in names if name in reader.schema_arrow.names]
            groups = list(part.row_groups)
            for batch in reader.iter_batches(rows, groups, columns=inside, use_threads=False):
                if batch.num_rows:
                    table = settle_text(pa.Table.from_batches([batch]))
                    yield part.file.add_partitions(table)
        # What Arrow keeps of the pages would lie beside all that is made of the rows.
        pa.default_memory_pool().release_unused()
    except (pa.ArrowException, OSError) as damage:
        raise UnreadableFile(
            f"{str(part.file.path)!r} is damaged in row groups {part.row_groups[0]} to "
            f"{part.row_groups[-1]}: {damage}. Write this file again."
        ) from damage


def open_written(table: pa.Table, name: str) -> Column:
    """Take a column of a batch out of what it is stored in; raise when nobody can read it."""
    position = table.column_names.index(name)
    column = open_column(
        table.column(position), table.schema.field(position), table.schema.metadata
    )
    if column.unreadable:
        raise InputError(f"Column {name!r} {column.unreadable}.")
    return column


def plain_columns(table: pa.Table) -> pa.Table:
    """Return a table whose categories are their names, whichever others there are."""
    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain = table.column(place).cast(field.type.value_type)
            table = table.set_column(place, field.name, plain)
    return table


def kind_of(values: pa.Array) -> Kind:
    """Return the kind of a covariate from the type that it was settled in."""
    return covariate("", pa.chunked_array([values.slice(0, 0)])).kind


def read_types(files: Sequence[LogFile], needed: Collection[str]) -> dict[str, pa.DataType]:
    """Return of each column that is needed the type that holds the values of all files.

    Raises `InputError` naming a file whose types do not go with those before it.
    """
    schemas = []
    for file in files:
        with open_parquet(file) as reader:
            own = reader.schema_arrow
        schemas.append(pa.schema(field for field in own if field.name in needed))
    joint = settle_text(require_one_schema([file.path for file in files], schemas).empty_table())
    return {field.name: field.type for field in joint.schema}


def cut_parts(file: LogFile, needed: Mapping[str, str]) -> Iterator[ScanPart]:
    """Cut a file into parts of whole row groups; ``needed`` are columns it has, with their role."""
    try:
        with open_parquet(file) as reader:
            about = reader.metadata
        names = [*about.schema.to_arrow_schema().names, *(name for name, _ in file.partitions)]
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(
            f"{str(file.path)!r} is damaged or no Parquet file: {error}"
        ) from error
    for name, role in needed.items():
        if name not in names:
            raise ColumnNotFound(
                f"Role {role!r} names the column {name!r}, which {file.path.name} does not have; "
                f"{nearest(name, names)}"
            )
    groups: list[int] = []
    rows = 0
    for group in range(about.num_row_groups):
        groups.append(group)
        rows += about.row_group(group).num_rows
        if rows >= PART_ROWS or group == about.num_row_groups - 1:
            yield ScanPart(file, tuple(groups), rows)
            groups, rows = [], 0


def read_written(
    parts: Sequence[ScanPart], roles: Roles, rows: int, drop_incomplete: bool
) -> tuple[dict[str, WrittenColumn], dict[str, Kind]]:
    """Decide what columns are, as `Logs.read` does: strings and names from all their cells.

    Returns what was written in these, and the kind of every covariate.
    """
    played = roles.columns()
    names = [name for name, role in played.items() if role in (*NUMBERS, *COVARIATES)]
    first: dict[str, Column] = {}
    seen: dict[str, pa.Table] = {}
    kinds: dict[str, Kind] = {}
    for part in parts:
        for table in read_part(part, names, rows):
            for name in names:
                column = open_written(table, name)
                if column.values.null_count == len(column.values):
                    continue  # without a value it may be of any kind
                of_names = column.named or name in roles.categorical
                if pa.types.is_large_string(column.values.type) or of_names:
                    first.setdefault(name, column)
                    seen[name] = _count_cells(name, seen.get(name), column.values)
                elif name not in kinds and played[name] in COVARIATES:
                    empty = replace(column, values=column.values.slice(0, 0))
                    values, _ = settle_column(name, roles.roles_of(name), empty)
                    kinds[name] = kind_of(values.combine_chunks())
    columns: dict[str, WrittenColumn] = {}
    for name, counted in seen.items():
        settled = _settle_cells(name, first[name], counted, roles, drop_incomplete)
        columns[name], kind = settled
        if played[name] in COVARIATES:
            kinds[name] = kind
    return columns, kinds


def _count_cells(name: str, known: pa.Table | None, values: pa.Array) -> pa.Table:
    """Return the different cells so far, and how many rows hold each."""
    more = pc.value_counts(values)
    table = pa.table({"cell": more.field("values"), "rows": more.field("counts")})
    if known is None:
        return table
    try:
        both = pa.concat_tables([known, table])
    except (pa.ArrowException, TypeError) as error:
        raise InputError(f"The files hold {name!r} in several types.") from error
    summed = both.group_by("cell", use_threads=False).aggregate([("rows", "sum")])
    return summed.rename_columns({"rows_sum": "rows"}).select(["cell", "rows"])


def _settle_cells(
    name: str, first: Column, counted: pa.Table, roles: Roles, drop_incomplete: bool
) -> tuple[WrittenColumn, Kind]:
    """Return what each different cell of a column is, and of which kind the column is."""
    cells = counted["cell"].combine_chunks()
    values, reading = settle_column(name, roles.roles_of(name), replace(first, values=cells))
    require_usable(reading)
    if (reading.missing or reading.odd) and not drop_incomplete:
        cell = (reading.first_odd or reading.first_missing).partition("holds ")[2] or "null"
        raise InputError(
            f"{reading.title} has missing or odd values such as {cell}. Correct them, or leave out "
            "their rows: drop_incomplete=True."
        )
    settled, counts = values.combine_chunks(), np.zeros(0, dtype=np.int64)
    if roles.columns()[name] not in COVARIATES:
        return WrittenColumn(cells, settled, (), counts), "numeric"
    known = pa.chunked_array([settled.drop_null()])
    one = covariate(name, known, categorical=name in roles.categorical)
    if one.is_categorical:
        # One dictionary, sorted, for all batches: a level has one code wherever it occurs.
        levels = pa.array(one.levels, pa.large_string())
        place = pc.index_in(settled.cast(pa.large_string()), levels)
        rows = counted["rows"].filter(place.is_valid()).to_numpy()
        counts = np.bincount(place.drop_null().to_numpy(), rows, len(levels)).astype(np.int64)
        settled = pa.DictionaryArray.from_arrays(place, levels, ordered=True)
    return WrittenColumn(cells, settled, one.levels, counts), one.kind
