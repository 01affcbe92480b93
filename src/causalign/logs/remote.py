"""What does not lie on this machine, or is a stream, as files that do: cloud storage, web, stdin.

Every reader and every hash then sees files; what a message shows of them is where they came from.
"""

import errno
import glob
import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from causalign.config import FilledPath
from causalign.errors import (
    CausalignError,
    ExtraNotInstalled,
    InputError,
    UnreadableFile,
    hide_address,
    mask_address,
    nearest,
    needs_extra,
    show_as_written,
)
from causalign.logs.database import DRIVERS, name_scheme, query_table
from causalign.logs.listing import (
    COMPRESSIONS,
    LogFile,
    find_format,
    is_hidden,
    read_partition,
    with_partitions,
)

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

# Where rows may be: a path, an address of files, or a stream of bytes.
Source = str | os.PathLike[str] | BinaryIO
STANDARD_INPUT = "standard input"
# Seconds of silence after which the web is given up.
SECONDS_TO_CONNECT, SECONDS_TO_READ = 20, 60
_WEB = ("http", "https")
_INSTALL = "`pip install 'causalign[cloud]'`"
# What fsspec needs beside itself.
_PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "hf": "huggingface_hub",
    "https": "aiohttp",
    "http": "aiohttp",
    "abfs": "adlfs",
    "az": "adlfs",
}
_PACKED = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\x28\xb5\x2f\xfd": ".zst",
    b"\x04\x22\x4d\x18": ".lz4",
}


@contextmanager
def open_locally(source: Source, query: str | None = None) -> Iterator[str]:
    """Give a path on this machine to what a source holds, for as long as the block runs.

    Messages about the files name the source, without its user, password and query string.

    Parameters
    ----------
    source : path, URI or stream of bytes
        A path is given back as it is; objects behind a URI are fetched; a stream is read to its
        end, and its format recognised by its first bytes.
    query : str, optional
        What to select, where the URI is that of a database.

    Raises
    ------
    UnreadableFile
        When there is nothing, or it cannot be fetched.
    InputError
        When the URI is of a scheme that is not known, or the query cannot be answered.
    ExtraNotInstalled
        When the library for its scheme is missing.
    """
    if query is None and isinstance(source, str | os.PathLike) and not is_address(source):
        yield os.fspath(source)
        return
    with tempfile.TemporaryDirectory(prefix="causalign-") as folder:
        room = Path(folder)
        if not isinstance(source, str | os.PathLike):
            written, place = STANDARD_INPUT, _copy_stream(source, room)
        elif query is not None:
            written, place = mask_address(os.fspath(source)), room / "query.parquet"
            pq.write_table(query_table(os.fspath(source), query), place)
        else:
            written, place = mask_address(os.fspath(source)), _fetch(os.fspath(source), room)
        with show_as_written([(str(place), written), (folder, written)]):
            yield FilledPath(str(place), written)


def list_remote(address: str) -> tuple[LogFile, ...]:
    """Return the Parquet files behind an address, which `open_parquet` then reads where they lie.

    Raises as `open_locally` does.
    """
    system, path = _open_filesystem(address)
    try:
        objects = _list_objects(system, path, name_scheme(address) in _WEB)
    except Exception as error:
        raise UnreadableFile(_explain(error, address)) from None
    shown = mask_address(address).rstrip("/")
    listed, names = [], []
    for name, below in sorted(objects.items()):
        own = below.parts[1:] if below.parts[0] == "objects" else ()
        if find_format(Path(below)) == "parquet":
            written = tuple(pair for part in own[:-1] for pair in read_partition(part))
            listed.append((Path("/".join([shown, *own])), written))
            names.append(name)
    if not listed:
        raise UnreadableFile(f"{shown!r} holds no Parquet file. Check the address.")
    files = with_partitions(listed)
    return tuple(
        replace(file, remote=(address, name)) for file, name in zip(files, names, strict=True)
    )


@contextmanager
def open_parquet(file: LogFile, **options: bool | int) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file here or in its storage; raise ``UnreadableFile`` where that fails."""
    if file.remote is None:
        with pq.ParquetFile(file.path, **options) as reader:
            yield reader
        return
    address, _ = file.remote
    with open_stream(file) as stream:
        try:
            yield pq.ParquetFile(stream, **options)
        except (pa.ArrowException, CausalignError):
            raise
        except Exception as error:  # each storage has errors of its own
            raise UnreadableFile(_explain(error, address)) from None


@contextmanager
def open_stream(file: LogFile) -> Iterator[BinaryIO]:
    """Open the bytes of a file here or in its storage."""
    if file.remote is None:
        with file.path.open("rb") as here:
            yield here
        return
    address, name = file.remote
    system, _ = _open_filesystem(address)
    try:
        stream = system.open(name, "rb")
    except Exception as error:
        raise UnreadableFile(_explain(error, address)) from None
    with stream:
        yield stream


def hash_log_file(file: LogFile) -> str:
    """Return the SHA-256 of a file's bytes, here or in its storage."""
    digest = hashlib.sha256()
    with open_stream(file) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_address(source: Source) -> bool:
    """Return whether this is a URI and no path on this machine."""
    return isinstance(source, str) and "://" in source


def say_origin(table: pa.Table, source: Source) -> str:
    """Return what a history says of a table's source, without secrets."""
    name = STANDARD_INPUT
    if isinstance(source, str | os.PathLike):
        written = source.written if isinstance(source, FilledPath) else os.fspath(source)
        is_uri = "://" in written
        name = mask_address(written) if is_uri else os.path.basename(written.rstrip("/"))
    return f"read {table.num_rows} rows from {name}"


def _copy_stream(stream: BinaryIO, room: Path) -> Path:
    copy = room / "input"
    try:
        with copy.open("wb") as file:
            shutil.copyfileobj(stream, file)
    except (OSError, TypeError, ValueError) as error:
        raise UnreadableFile(f"The stream cannot be read as bytes: {error}.") from error
    return _name_by_content(copy)


def _name_by_content(file: Path) -> Path:
    """Give a file the name that its first bytes ask for; what is neither is read as csv."""
    with file.open("rb") as stream:
        packed = next((end for m, end in _PACKED.items() if stream.peek(4).startswith(m)), "")
    try:
        with pa.input_stream(str(file), compression=COMPRESSIONS.get(packed)) as stream:
            begin = stream.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    except (pa.ArrowException, OSError):
        begin = b""  # damaged, as its reader will say
    if begin.startswith(b"PAR1"):
        kind = ".parquet"
    else:
        kind = ".jsonl" if begin.startswith((b"{", b"[{")) else ".csv"
    return file.rename(file.with_name(f"{file.name}{kind}{packed}"))


def _fetch(address: str, room: Path) -> Path:
    """Copy the file, the folder or what a glob matches into a folder; return the path there."""
    system, path = _open_filesystem(address)
    is_web = name_scheme(address) in _WEB
    try:
        objects = _list_objects(system, path, is_web)
        for name, below in objects.items():
            copy = room / below
            copy.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(name, str(copy))
    except Exception as error:  # each storage has errors of its own
        raise UnreadableFile(_explain(error, address)) from None
    if not objects:
        shown = repr(mask_address(address))
        raise UnreadableFile(
            f"{shown} holds no csv, tsv, jsonl or Parquet file. Check the address."
        )
    first = room / next(iter(objects.values()))
    if is_web and not first.suffix:
        return _name_by_content(first)
    return first if path in objects else room / first.relative_to(room).parts[0]


def _open_filesystem(address: str) -> tuple["AbstractFileSystem", str]:
    """Return what reads a storage, and the path of the address in it."""
    scheme = name_scheme(address)
    with needs_extra(f"Reading {scheme}://", _INSTALL):
        import fsspec
    if scheme in DRIVERS:
        raise InputError(
            f"{mask_address(address)!r} is a database. Say what to read: `--query` on the command "
            "line, `Logs.query` in Python, `data.query` in a recipe."
        )
    if scheme not in fsspec.available_protocols():
        known = ("s3", "gs", "hf", "https", *DRIVERS)
        raise InputError(f"There is no way to read {scheme + '://'!r}; {nearest(scheme, known)}")
    options: dict[str, object] = {"skip_instance_cache": True, "use_listings_cache": False}
    try:
        if scheme in _WEB:
            from aiohttp import ClientTimeout

            limits = {"sock_connect": SECONDS_TO_CONNECT, "sock_read": SECONDS_TO_READ}
            options["client_kwargs"] = {"timeout": ClientTimeout(total=None, **limits)}
        system, path = fsspec.url_to_fs(address, **options)
    except ImportError as missing:
        package = _PACKAGES.get(scheme) or missing.name or str(missing)
        raise ExtraNotInstalled(
            f"Reading {scheme}:// needs {package}, which is not installed: `pip install {package}`."
        ) from missing
    except Exception as error:
        raise UnreadableFile(_explain(error, address)) from None
    return system, path


def _list_objects(
    system: "AbstractFileSystem", path: str, is_web: bool
) -> dict[str, PurePosixPath]:
    """Return the objects that a path means, and where the copy of each lies in a folder."""
    if is_web:
        name = PurePosixPath(unquote(urlsplit(path).path)).name
        return {path: PurePosixPath(name if name.strip(".") else "input")}
    parts = PurePosixPath(path).parts
    if glob.has_magic(path):
        above = list(itertools.takewhile(lambda part: not glob.has_magic(part), parts))
        listed = [file for match in system.glob(path) for file in system.find(match)]
    elif system.isdir(path):
        above, listed = list(parts), system.find(path)
    else:
        return {path: PurePosixPath(parts[-1])}
    below = {file: PurePosixPath(file).parts[len(above) :] for file in dict.fromkeys(listed)}
    return {
        file: PurePosixPath("objects", *names)
        for file, names in below.items()
        if ".." not in names
        and not any(map(is_hidden, names))
        and find_format(Path(*names)) is not None
    }


def _explain(error: Exception, address: str) -> str:
    """Return in one line why nothing could be fetched, without secrets of the address."""
    shown = repr(mask_address(address))
    if isinstance(error, FileNotFoundError):
        return f"There is no file {shown}. Check the address."
    lines = str(error).strip().splitlines()
    words = " ".join(lines[0].split())[:300] if lines else type(error).__name__
    reason = hide_address(words, address).rstrip(".!")
    if isinstance(error, TimeoutError):
        return f"{shown} cannot be read: no answer within {SECONDS_TO_READ} seconds."
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"{shown} does not fit into {tempfile.gettempdir()!r}. Name more room with TMPDIR."
    if isinstance(error, PermissionError) or getattr(error, "status", None) in (401, 403):
        return f"{shown} may not be read ({reason}). Check the credentials in the environment."
    return f"{shown} cannot be read: {reason}."
