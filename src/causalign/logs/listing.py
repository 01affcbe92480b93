"""Which files a path means: a file, a folder or a glob; and what folders' names say of the rows."""

import glob
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from causalign.errors import InputError, UnreadableFile
from causalign.logs.kinds import UNTYPED

COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
# How Hive, Spark and Arrow write a missing value into the name of a folder.
MISSING = "__HIVE_DEFAULT_PARTITION__"
# What programs leave beside the files that they write.
TEMPORARY = (".tmp", ".crc", "._copying_", ".swp", ".part", ".crdownload", "~")
DEEPEST = 40


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file of a known format, and the columns that the names of its folders write.

    ``partitions`` holds one value for each name such as ``week=3``, as it is written, or null.
    ``remote`` is, of an object in a storage, the address that was given and the object's name
    there; ``path`` is then what messages show.
    """

    path: Path
    format: str
    compression: str | None
    partitions: tuple[tuple[str, pa.Scalar], ...] = ()
    remote: tuple[str, str] | None = None

    def add_partitions(self, table: pa.Table) -> pa.Table:
        """Return the table with a column for each partition; raise when the file contradicts it."""
        for name, value in self.partitions:
            if name in table.column_names:
                self._require_equal(table[name], name, value)
                continue
            written = pa.types.is_large_string(value.type)
            field = pa.field(name, value.type, metadata={UNTYPED: b"yes"} if written else None)
            table = table.append_column(field, pa.repeat(value, table.num_rows))
        return table

    def _require_equal(self, column: pa.ChunkedArray, name: str, value: pa.Scalar) -> None:
        try:
            written = pc.unique(column.cast(pa.string())).to_pylist()
        except pa.ArrowException:
            written = None
        expected = value.cast(pa.string()).as_py()
        if written not in ([], [expected]):
            raise InputError(
                f"{str(self.path)!r} holds a column {name!r} that differs from its folder's name, "
                f"{name}={expected}. Rename one of them."
            )


def list_files(
    path: str | os.PathLike[str], formats: Collection[str] = tuple(FORMATS.values())
) -> tuple[LogFile, ...]:
    """Return the files that a path means, in the order of their names.

    Below a folder, and where a glob matches, files and folders are passed over that begin with
    ``.`` or ``_`` or are temporary, as Spark and Arrow do, and files of other formats. Names of
    folders such as ``week=3`` become columns. A file that two links reach is read once.

    Parameters
    ----------
    path : path
        A file, a folder or a glob.
    formats : names
        What may be read: csv, tsv, jsonl, parquet.

    Raises
    ------
    UnreadableFile
        When there is none, or a file or a folder cannot be opened.
    InputError
        When files are of several formats, or their folders' names do not agree.
    """
    given = Path(path)
    if given.is_dir():
        listed = [f for f in _walk(given, (), ()) if find_format(f[0]) in formats]
        if not listed:
            raise UnreadableFile(f"The folder {str(path)!r} holds no {_one_of(formats)} file.")
    elif given.is_symlink() or given.exists():
        listed = [(given, ())]
    else:
        listed = list(_match(str(path), formats))
        if not listed:
            raise UnreadableFile(f"There is no file {str(path)!r}. Check the path.")
    listed = sorted(set(_once(listed)))
    for file, _ in listed:
        _require_file(file)
        if find_format(file) not in formats:
            raise UnreadableFile(_other_format(file, formats))
    _require_one_format(path, [file for file, _ in listed])
    return with_partitions(listed)


Names = tuple[tuple[str, str], ...]  # of partitions, with what is written
Listed = tuple[Path, Names]


def _walk(folder: Path, names: Names, above: Sequence[tuple[int, int]]) -> Iterator[Listed]:
    """Yield the files below a folder; raise where one cannot be looked into."""
    try:
        status = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UnreadableFile(f"The folder {str(folder)!r} cannot be read: {error}") from error
    here = (status.st_dev, status.st_ino)
    if here in above or len(above) > DEEPEST:
        raise UnreadableFile(f"The folder {str(folder)!r} lies in itself by a link. Remove it.")
    for entry in entries:
        file = folder / entry.name
        if is_hidden(entry.name):
            continue
        if entry.is_dir():
            yield from _walk(file, names + read_partition(entry.name), (*above, here))
        elif find_format(file) is not None or (entry.is_symlink() and not file.exists()):
            _require_file(file)
            yield file, names


def _match(pattern: str, formats: Collection[str]) -> Iterator[Listed]:
    """Yield what a glob matches; folders that it matches are walked."""
    parts = PurePath(pattern).parts
    first = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    meant_hidden = [part for part in parts[first:] if is_hidden(part)]
    for match in sorted(glob.glob(pattern, recursive=True)):
        below = PurePath(match).parts[first:]
        if any(is_hidden(p) and not any(fnmatchcase(p, m) for m in meant_hidden) for p in below):
            continue
        names = tuple(pair for part in below[:-1] for pair in read_partition(part))
        if Path(match).is_dir():
            # "**" gives each folder, and what lies in it as well.
            if "**" not in parts[-1]:
                inside = _walk(Path(match), names + read_partition(below[-1]), ())
                yield from (f for f in inside if find_format(f[0]) in formats)
        else:
            yield Path(match), names


def _once(listed: Sequence[Listed]) -> Iterator[Listed]:
    """Yield every file once, however many links lead to it."""
    seen = set()
    for file, names in listed:
        try:
            key = (os.path.realpath(file, strict=True), names)
        except OSError:
            key = (str(file), names)
        if key not in seen:
            seen.add(key)
            yield file, names


def is_hidden(name: str) -> bool:
    """Return whether a name says that a file or a folder is not meant to be read."""
    marked = name.startswith(".") or (name.startswith("_") and "=" not in name)
    return marked or name.lower().endswith(TEMPORARY)


def read_partition(name: str) -> Names:
    """Return the column and the value that a folder's name such as ``week=3`` writes, if any."""
    key, equals, value = name.partition("=")
    return ((unquote(key), unquote(value)),) if key and equals else ()


def find_format(file: Path) -> str | None:
    """Return the format that a name says, packed or not; None for any other."""
    suffixes = [s.lower() for s in file.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return FORMATS.get(suffixes[-1]) if suffixes else None


def _require_file(file: Path) -> None:
    """Raise unless this is a file that can be opened; a pipe would wait for ever."""
    try:
        kind = file.stat().st_mode
    except OSError as error:
        raise UnreadableFile(f"{str(file)!r} cannot be read: {error}") from error
    if not stat.S_ISREG(kind):
        raise UnreadableFile(
            f"{str(file)!r} is no file but a pipe, a socket or a device. Write it to a file first."
        )
    if not os.access(file, os.R_OK):
        raise UnreadableFile(f"{str(file)!r} may not be read: permission denied.")


def _one_of(formats: Collection[str]) -> str:
    names = list(dict.fromkeys(name.replace("parquet", "Parquet") for name in formats))
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _other_format(file: Path, formats: Collection[str]) -> str:
    last = file.suffix.lower()
    hints = {
        ".json": "If each line is an object, name it .jsonl; else write it with "
        "`pandas.read_json(...).to_json('x.jsonl', orient='records', lines=True)`.",
        ".xlsx": "Save the sheet as csv, in UTF-8.",
        ".xls": "Save the sheet as csv, in UTF-8.",
        ".txt": "If it is a table, name it .csv or .tsv.",
        ".zip": "Unpack it, or compress the file as .gz.",
        ".feather": "Read it with `pandas.read_feather` and use Logs.of.",
        ".arrow": "Load it with `datasets` or `pyarrow.ipc` and use Logs.of.",
    }
    if last in hints and set(formats) == set(FORMATS.values()):
        return f"{str(file)!r} is of no format that can be read. {hints[last]}"
    if set(formats) == {"parquet"}:
        return (
            f"{str(file)!r} is no Parquet file. Write the logs as Parquet, for instance with "
            "pandas.DataFrame.to_parquet."
        )
    return (
        f"{str(file)!r} is of no format that can be read: use {_one_of(formats)}, "
        "alone or compressed as .gz, .bz2, .zst or .lz4."
    )


def _require_one_format(path: str | os.PathLike[str], files: Sequence[Path]) -> None:
    """Raise where a log seems to be there twice, in two formats or packed and unpacked."""
    kinds = sorted({str(find_format(file)) for file in files})
    if len(kinds) > 1:
        raise InputError(
            f"{str(path)!r} holds files of several formats ({' and '.join(kinds)}), perhaps the "
            f"same rows twice. Name one kind, such as '*.{kinds[-1]}' in that folder."
        )
    plain = {file: file.with_suffix("") for file in files if file.suffix.lower() in COMPRESSIONS}
    for packed, unpacked in plain.items():
        if unpacked in files:
            raise InputError(
                f"{str(packed)!r} lies beside {unpacked.name!r}, perhaps the same rows twice. "
                "Remove one of them."
            )


def with_partitions(listed: Sequence[Listed]) -> tuple[LogFile, ...]:
    """Give each file the values that its folders write; their names must agree."""
    keys = [tuple(name for name, _ in names) for _, names in listed]
    for (file, _), own in zip(listed, keys, strict=True):
        if own != keys[0] or len(set(own)) < len(own):
            raise InputError(
                f"The folders of {str(file)!r} write the columns ({', '.join(own)}), those of "
                f"{str(listed[0][0])!r} ({', '.join(keys[0])}). Partitions must agree."
            )
    return tuple(
        LogFile(
            file,
            str(find_format(file)),
            COMPRESSIONS.get(file.suffix.lower()),
            tuple((name, _value(text)) for name, text in names),
        )
        for file, names in listed
    )


def _value(text: str) -> pa.Scalar:
    return pa.scalar(None if text == MISSING else text, pa.large_string())
