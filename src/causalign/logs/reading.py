"""Files into Arrow tables: csv, tsv, jsonl, parquet, compressed, a folder or a glob of them."""

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from causalign.errors import ColumnNotFound, InputError, UnreadableFile, nearest
from causalign.logs.columns import settle_values
from causalign.logs.delimited import read_delimited
from causalign.logs.json_lines import read_json_lines
from causalign.logs.listing import LogFile, list_files
from causalign.logs.remote import Source, open_locally

Notes = tuple[str, ...]


def read_table(path: Source) -> pa.Table:
    """Read one file, all files of a folder, or a glob, into one table.

    Several files must share their columns; types that differ are promoted where Arrow can.

    Parameters
    ----------
    path : path, URI or stream of bytes
        A csv, tsv, jsonl or parquet file, compressed or not, a folder or a glob of them; here or
        behind ``s3://``, ``gs://``, ``hf://``, ``https://`` (the extra ``cloud``); or an open file.

    Raises
    ------
    UnreadableFile
        When a file is missing, damaged, in a wrong encoding or of an unknown format.
    InputError
        When the columns of several files do not agree.
    """
    return read_with_notes(path)[0]


def read_with_notes(path: Source) -> tuple[pa.Table, Notes]:
    """Read a table as `read_table` does; return also, in words, what was assumed of its files."""
    with open_locally(path) as place:
        files = list_files(place)
        read = [_read_file(file) for file in files]
        tables = [table for table, _ in read]
        notes = tuple(dict.fromkeys(note for _, assumed in read for note in assumed))
        if len(tables) == 1:
            return tables[0], notes
        schema = require_one_schema([f.path for f in files], [t.schema for t in tables])
        tables = [_decode(table, schema) for table in tables]
        return pa.concat_tables(tables, promote_options="permissive"), notes


def read_column(path: Source, name: str, role: str = "prompt") -> pa.ChunkedArray:
    """Read one column of a file, or of several, as what its role needs.

    Prompts may be chat messages; they stay lists.

    Parameters
    ----------
    path : path, URI or stream of bytes
        As in `read_table`, which says what else is raised.
    name : str
        The column.
    role : str
        As in `Roles`, such as "prompt" or "propensity".

    Raises
    ------
    ColumnNotFound
        When there is none of this name.
    InputError
        When it cannot be used in its role, or has missing values.
    """
    table = read_table(path)
    if name not in table.column_names:
        raise ColumnNotFound(f"No column {name!r}; {nearest(name, table.column_names)}")
    if role == "prompt" and pa.types.is_nested(table[name].type):
        return table[name]
    return settle_values(name, table[name], role, table.schema.field(name))


# How files begin whose names say something else, and what to do with them.
_BEGINNINGS = {
    b"PAR1": "a Parquet file. Name it .parquet.",
    b"\x1f\x8b": "packed by gzip. Name it .gz.",
    b"BZh": "packed by bzip2. Name it .bz2.",
    b"\x28\xb5\x2f\xfd": "packed by zstandard. Name it .zst.",
    b"PK\x03\x04": "a zip archive or an Excel file. Unpack it, or save the sheet as csv.",
    b"\xd0\xcf\x11\xe0": "an Excel file. Save the sheet as csv, in UTF-8.",
    b"ARROW1": "an Arrow file. Read it with `pandas.read_feather` and use Logs.of.",
    b"%PDF": "a PDF.",
    b"SQLite format 3": "a SQLite database. Read it with `pandas.read_sql` and use Logs.of.",
    b"<!DOCTYPE": "an HTML page, perhaps in the place of a download. Fetch the file again.",
    b"<!doctype": "an HTML page, perhaps in the place of a download. Fetch the file again.",
    b"<html": "an HTML page, perhaps in the place of a download. Fetch the file again.",
    b"<?xml": "XML.",
    b"version https://git-lfs": "a pointer of Git LFS. Fetch the file with `git lfs pull`.",
}
_OWN_BEGINNINGS = {
    "parquet": b"PAR1",
    "gzip": b"\x1f\x8b",
    "bz2": b"BZh",
    "zstd": b"\x28\xb5\x2f\xfd",
}


def _read_file(file: LogFile) -> tuple[pa.Table, Notes]:
    try:
        if file.path.stat().st_size == 0:
            raise UnreadableFile(f"{str(file.path)!r} is empty (0 bytes).")
        _require_honest_name(file)
        table, notes = _READERS[file.format](file.path, file.compression)
    except UnreadableFile:
        raise
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        raise UnreadableFile(_explain(file.path, error)) from error
    return file.add_partitions(settle_text(table)), notes


def _require_honest_name(file: LogFile) -> None:
    """Raise when a file begins as those of another format do."""
    with file.path.open("rb") as stream:
        begin = stream.read(32)
    expected = _OWN_BEGINNINGS.get(file.compression or file.format)
    if expected is not None and begin.startswith(expected):
        return
    for mark, what in _BEGINNINGS.items():
        if begin.lstrip().startswith(mark):
            raise UnreadableFile(f"{str(file.path)!r} is {what}")


def settle_text(table: pa.Table) -> pa.Table:
    """Return the table with text where bytes are UTF-8, as Impala and old Spark write it.

    Other bytes, such as pictures, stay bytes, and so becomes text that is no UTF-8: no role takes
    them, and a column without a role harms nobody.
    """
    for index, field in enumerate(table.schema):
        if is_bytes(field.type):
            with contextlib.suppress(pa.ArrowInvalid):
                text = table.column(index).cast(pa.large_binary()).cast(pa.large_string())
                table = table.set_column(index, field.name, text)
        elif pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            try:
                table.column(index).validate(full=True)
            except pa.ArrowInvalid:
                damaged = table.column(index).cast(pa.large_binary())
                table = table.set_column(index, field.name, damaged)
    return table


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether it is a type of bytes, of any length."""
    kinds = (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_fixed_size_binary,
        pa.types.is_binary_view,
    )
    return any(is_kind(kind) for is_kind in kinds)


def _read_parquet(file: Path, compression: str | None) -> pa.Table:
    if compression is None:
        return pq.ParquetFile(file, page_checksum_verification=True).read()
    with pa.input_stream(str(file), compression=compression) as stream:
        return pq.ParquetFile(pa.BufferReader(stream.read())).read()


_READERS: dict[str, Callable[[Path, str | None], tuple[pa.Table, Notes]]] = {
    "csv": lambda file, compression: read_delimited(file, compression, ","),
    "tsv": lambda file, compression: read_delimited(file, compression, "\t"),
    "jsonl": lambda file, compression: (read_json_lines(file, compression), ()),
    "parquet": lambda file, compression: (_read_parquet(file, compression), ()),
}


def _explain(file: Path, error: BaseException) -> str:
    message = _first_line(error)
    lowered = message.lower()
    if "utf8" in lowered or "utf-8" in lowered:
        return f"{str(file)!r} is not UTF-8 text. Save the file as UTF-8."
    if "changed from" in lowered or "mixed" in lowered:
        return f"{str(file)!r} mixes types in one column ({message}). Make the column of one type."
    return f"{str(file)!r} is damaged, cut short, or not in the format of its name: {message}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def require_one_schema(files: Sequence[Path], schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Return the columns that files share, in the types that hold all their values.

    Raises `InputError` naming the first file of other columns, or of types that do not go together.
    Categories go with what they are categories of.
    """
    expected, joint = set(schemas[0].names), _plain(schemas[0])
    for file, schema in zip(files, schemas, strict=True):
        names = set(schema.names)
        if names != expected:
            shared = "no column" if not (names & expected) else f"only {sorted(names & expected)}"
            raise InputError(
                f"{str(file)!r} shares {shared} with {str(files[0])!r}; missing there: "
                f"{sorted(expected - names)}, new there: {sorted(names - expected)}. "
                "Files read together must have the same columns."
            )
        twice = [name for name, count in Counter(schema.names).items() if count > 1]
        if twice:
            raise InputError(f"{str(file)!r} has the column {twice[0]!r} twice. Rename one.")
        try:
            joint = pa.unify_schemas([joint, _plain(schema)], promote_options="permissive")
        except pa.ArrowException as error:
            raise InputError(
                f"{str(file)!r} holds a column in another type than the files before it: "
                f"{_first_line(error)}. Make the column of one type in all files."
            ) from error
    dictionaries = [
        {f.name for f in schema if pa.types.is_dictionary(f.type)} for schema in schemas
    ]
    return pa.schema(
        schemas[0].field(f.name) if all(f.name in names for names in dictionaries) else f
        for f in joint
    )


def _plain(schema: pa.Schema) -> pa.Schema:
    """Return the schema with categories as what they are categories of."""
    fields = [
        f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in schema
    ]
    return pa.schema(fields)


def _decode(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Write categories out where other files hold the column without."""
    for place, field in enumerate(table.schema):
        mixed = not pa.types.is_dictionary(schema.field(field.name).type)
        if mixed and pa.types.is_dictionary(field.type):
            plain = table.column(place).cast(field.type.value_type)
            table = table.set_column(place, field.with_type(field.type.value_type), plain)
    return table
