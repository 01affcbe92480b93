"""Download one file: into ``NAME.part``, verified as it comes, renamed when it is whole."""

import os
from collections.abc import Callable
from hashlib import sha256
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO

from causalign.data.remote_file import PARTIAL, Checksum, RemoteFile
from causalign.data.web import opened
from causalign.errors import DownloadError

CHUNK = 1 << 16


def verifiable(file: RemoteFile) -> Checksum:
    """Return the checksum of a file; raise `DownloadError` if its publisher states none."""
    if file.checksum is None:
        raise DownloadError(f"The publisher states no checksum for {file.path!r} that can be read.")
    return file.checksum


def download(
    file: RemoteFile, folder: Path, advance: Callable[[RemoteFile, int], object] | None = None
) -> str:
    """Download a file into a folder and return its SHA-256.

    ``advance`` is told how many bytes came. Raises `DownloadError` when the bytes are not those
    that the publisher's listing promises, and `OSError` when they cannot be written; nothing is
    left then.
    """
    partial = folder / f"{file.name}{PARTIAL}"
    promised = verifiable(file)
    seen, identity = promised.started(file.size), sha256()
    try:
        partial.unlink(missing_ok=True)
        with opened(file.address) as response, partial.open("xb") as out:
            count = 0
            for block in _blocks(response, file.size):
                seen.update(block)
                identity.update(block)
                out.write(block)
                count += len(block)
                if advance is not None:
                    advance(file, len(block))
            _settle(out)
        _check(file, count, promised, seen)
        os.replace(partial, folder / file.name)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return identity.hexdigest()


def _blocks(response: HTTPResponse, size: int | None) -> Any:
    """Yield what comes, and stop soon after more came than was promised."""
    count = 0
    while block := response.read(CHUNK):
        yield block
        count += len(block)
        if size is not None and count > size:
            return


def _settle(out: BinaryIO) -> None:
    """Have the bytes on the disk before the name says that they are there."""
    out.flush()
    os.fsync(out.fileno())


def _check(file: RemoteFile, count: int, promised: Checksum, seen: Any) -> None:
    if file.size is not None and count < file.size:
        raise DownloadError(f"{file.path!r} broke off after {count} of {file.size} bytes.")
    if file.size is not None and count > file.size:
        raise DownloadError(f"{file.path!r} is longer than the {file.size} bytes that are listed.")
    if seen.hexdigest() != promised.value:
        raise DownloadError(
            f"{file.path!r} is not the file that is listed: its {promised.algorithm} is "
            f"{seen.hexdigest()}, the publisher states {promised.value}."
        )
