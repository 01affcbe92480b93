"""Fetch a public original: list, download what is missing, verify, and say where it came from."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from causalign.artifacts import locked, open_run, read_json, write_json
from causalign.data.download import download, verifiable
from causalign.data.originals import Source
from causalign.data.publishers import Deposit
from causalign.data.remote_file import RECORD, RemoteFile, sha256_of
from causalign.errors import ArtifactError, CausalignError, DownloadError


@dataclass(frozen=True, slots=True)
class Fetched:
    """What lies in the folder now: the files, and which of them were downloaded just now."""

    folder: Path
    files: tuple[str, ...]
    downloaded: tuple[str, ...]


def fetch(
    source: Source,
    folder: Path,
    *,
    announce: Callable[[Sequence[RemoteFile]], object] | None = None,
    advance: Callable[[RemoteFile, int], object] | None = None,
) -> Fetched:
    """Fetch the files of a source into a folder, with ``SOURCE.json`` beside them.

    Every file is verified against the checksum that the publisher's own listing states; nothing
    is unpacked. Files that are there and whole stay; once ``SOURCE.json`` says that all are, and
    their SHA-256 agree, the publisher is not asked. ``announce`` is told the files to download
    before the first, ``advance`` the file and the number of bytes as they come.

    Raises `DownloadError` when a publisher does not give what it lists, or a person must ask for
    it, and `ArtifactError` when the folder holds something else or is full.
    """
    if source.deposit is None:
        raise DownloadError(
            f"{source.name!r} is not fetched: {source.by_hand}. Get it by hand: {source.page}"
        )
    there = _recorded(source, folder)
    if there:
        return Fetched(folder, there, ())
    try:
        return _fetched(source, source.deposit, folder, announce, advance)
    except DownloadError as error:
        raise DownloadError(f"{error} Try again later, or by hand: {source.page}") from error
    except CausalignError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtifactError(f"Cannot write to the folder {str(folder)!r}: {reason}.") from error


def _fetched(
    source: Source,
    deposit: Deposit,
    folder: Path,
    announce: Callable[[Sequence[RemoteFile]], object] | None,
    advance: Callable[[RemoteFile, int], object] | None,
) -> Fetched:
    files = _wanted(source, deposit)
    with locked(open_run(folder)):
        missing = [file for file in files if not _is_whole(file, folder)]
        if announce is not None:
            announce(missing)
        _require_space(folder, missing)
        sums = {file.name: download(file, folder, advance) for file in missing}
        sums |= {f.name: sha256_of(folder / f.name) for f in files if f.name not in sums}
        write_json(folder / RECORD, _record(source, deposit, files, sums))
    return Fetched(folder, tuple(f.name for f in files), tuple(f.name for f in missing))


def _wanted(source: Source, deposit: Deposit) -> list[RemoteFile]:
    """Return the files of a source; raise `DownloadError` if the listing lacks one or is odd."""
    try:
        offered = list(deposit.files())
        chosen = [
            file for file in offered if any(fnmatchcase(file.path, name) for name in source.files)
        ]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DownloadError(
            f"The listing at {deposit.listing} is not of the form that was expected "
            f"({type(error).__name__}: {error})."
        ) from error
    for name in source.files:
        if not any(fnmatchcase(file.path, name) for file in chosen):
            raise DownloadError(
                f"The listing at {deposit.listing} names no file {name!r} among {len(offered)}."
            )
    if len({file.name.casefold() for file in chosen}) < len(chosen):
        raise DownloadError(f"The listing at {deposit.listing} names a file twice.")
    for file in chosen:
        verifiable(file)
    return chosen


def _is_whole(file: RemoteFile, folder: Path) -> bool:
    """Return whether the file is there; raise `ArtifactError` if other content has its name."""
    path = folder / file.name
    if not path.exists():
        return False
    if path.is_file() and verifiable(file).fits(path):
        return True
    raise ArtifactError(
        f"{str(path)!r} is not the file that the publisher lists. Move it away, or choose another "
        "folder."
    )


def _recorded(source: Source, folder: Path) -> tuple[str, ...]:
    """Return the files that ``SOURCE.json`` names if all are whole, otherwise none."""
    if not (folder / RECORD).exists():
        return ()
    record: Any = read_json(folder / RECORD)
    if not isinstance(record, dict) or record.get("source") != source.name:
        raise ArtifactError(
            f"{str(folder)!r} holds other data, as its {RECORD} says. Choose another folder."
        )
    try:
        named = {entry["name"]: entry["sha256"] for entry in record["files"]}
        whole = all(sha256_of(folder / name) == sha256 for name, sha256 in named.items())
    except (KeyError, TypeError, OSError):
        return ()
    return tuple(named) if whole else ()


def _require_space(folder: Path, files: Sequence[RemoteFile]) -> None:
    needed, free = sum(file.size or 0 for file in files), shutil.disk_usage(folder).free
    if needed > free:
        raise ArtifactError(
            f"The files need {needed:,} bytes, and {str(folder)!r} has {free:,} left. Make room, "
            "or choose another disk."
        )


def _record(
    source: Source, deposit: Deposit, files: Sequence[RemoteFile], sums: dict[str, str]
) -> dict[str, Any]:
    return {
        "source": source.name,
        "title": source.title,
        "publisher": source.publisher,
        "page": source.page,
        "licence": source.licence,
        "citation": source.citation,
        "listing": deposit.listing,
        "retrieved": datetime.now(UTC).date().isoformat(),
        "files": [
            {
                "name": file.name,
                "path": file.path,
                "address": file.address,
                "bytes": file.size,
                "checksum": str(file.checksum),
                "sha256": sums[file.name],
            }
            for file in files
        ],
    }
