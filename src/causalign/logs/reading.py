"""Files into Arrow tables: csv, tsv, jsonl, parquet, compressed, a folder or a glob of them."""

import csv
import glob
import io
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson
import pyarrow.parquet as pq

from causalign.errors import ColumnNotFound, InputError, UnreadableFile, nearest
from causalign.logs.kinds import UNTYPED

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
# One cell may be larger than Arrow's default block of 1 MiB; nothing larger than this is a log.
BLOCK_BYTES = 256 << 20


def read_table(path: str | os.PathLike[str]) -> pa.Table:
    """Read one file, all files of a folder, or a glob, into one table.

    Several files must share their columns; types that differ are promoted where Arrow can.

    Parameters
    ----------
    path : path
        A csv, tsv, jsonl or parquet file, compressed or not, a folder or a glob of them.

    Raises
    ------
    UnreadableFile
        When a file is missing, damaged, in a wrong encoding or of an unknown format.
    InputError
        When the columns of several files do not agree.
    """
    files = _files(path)
    tables = [_read_file(file) for file in files]
    if len(tables) == 1:
        return tables[0]
    _require_same_columns(files, tables)
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(
            f"The {len(files)} files matching {str(path)!r} hold different types in the same "
            f"column: {_first_line(error)}. Make the column of one type in all files."
        ) from error


def read_column(path: str | os.PathLike[str], name: str) -> pa.ChunkedArray:
    """Read one column of a file, or of several.

    Parameters
    ----------
    path : path
        As in `read_table`, which says what else is raised.
    name : str
        The column.

    Raises
    ------
    ColumnNotFound
        When there is none of this name.
    """
    table = read_table(path)
    if name not in table.column_names:
        raise ColumnNotFound(f"No column {name!r}; {nearest(name, table.column_names)}")
    return table[name]


def _files(path: str | os.PathLike[str]) -> list[Path]:
    given = Path(path)
    if given.is_dir():
        files = sorted(p for p in given.rglob("*") if p.is_file() and _reader(p) is not None)
        if not files:
            raise UnreadableFile(
                f"The folder {str(path)!r} holds no csv, tsv, jsonl or parquet file."
            )
        return files
    if given.exists():
        return [given]
    files = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file())
    if not files:
        raise UnreadableFile(f"There is no file {str(path)!r}. Check the path.")
    return files


def _reader(file: Path) -> Callable[[Path, str | None], pa.Table] | None:
    suffixes = [s.lower() for s in file.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    kind = suffixes[-1] if suffixes else ""
    return {
        ".csv": lambda f, c: _read_delimited(f, c, ","),
        ".tsv": lambda f, c: _read_delimited(f, c, "\t"),
        ".jsonl": _read_json_lines,
        ".ndjson": _read_json_lines,
        ".parquet": _read_parquet,
    }.get(kind)


def _read_file(file: Path) -> pa.Table:
    reader = _reader(file)
    if reader is None:
        raise UnreadableFile(
            f"{str(file)!r} is of no format that can be read: use csv, tsv, jsonl or parquet, "
            "alone or compressed as .gz, .bz2, .zst or .lz4."
        )
    try:
        if file.stat().st_size == 0:
            raise UnreadableFile(f"{str(file)!r} is empty (0 bytes).")
        return reader(file, COMPRESSIONS.get(file.suffix.lower()))
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:
        if isinstance(error, UnreadableFile):
            raise
        raise UnreadableFile(_explain(file, error)) from error


def _read_delimited(file: Path, compression: str | None, delimiter: str) -> pa.Table:
    with pa.input_stream(str(file), compression=compression) as stream:
        head = stream.read(4)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UnreadableFile(f"{str(file)!r} is UTF-16 text. Save the file as UTF-8.")
    with pa.input_stream(str(file), compression=compression) as stream:
        lines = io.TextIOWrapper(stream, "utf-8-sig", newline="")
        names = next(csv.reader(lines, delimiter=delimiter), [])
    with pa.input_stream(str(file), compression=compression) as stream:
        table = pacsv.read_csv(
            stream,
            read_options=pacsv.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.large_string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    return as_untyped(table)


def as_untyped(table: pa.Table) -> pa.Table:
    """Mark every column as cells of a file that has no types: strings, exactly as written."""
    fields = [field.with_metadata({UNTYPED: b"yes"}) for field in table.schema]
    return table.cast(pa.schema(fields))


def _read_json_lines(file: Path, compression: str | None) -> pa.Table:
    with pa.input_stream(str(file), compression=compression) as stream:
        return pajson.read_json(stream, read_options=pajson.ReadOptions(block_size=BLOCK_BYTES))


def _read_parquet(file: Path, compression: str | None) -> pa.Table:
    if compression is None:
        return pq.ParquetFile(file).read()
    with pa.input_stream(str(file), compression=compression) as stream:
        return pq.ParquetFile(pa.BufferReader(stream.read())).read()


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


def _require_same_columns(files: list[Path], tables: list[pa.Table]) -> None:
    expected = set(tables[0].column_names)
    for file, table in zip(files[1:], tables[1:], strict=True):
        names = set(table.column_names)
        if names != expected:
            shared = "no column" if not (names & expected) else f"only {sorted(names & expected)}"
            raise InputError(
                f"{str(file)!r} shares {shared} with {str(files[0])!r}; missing there: "
                f"{sorted(expected - names)}, new there: {sorted(names - expected)}. "
                "Files read together must have the same columns."
            )
