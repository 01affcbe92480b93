"""Fetch a public original: list, download what is missing, verify, and say where it came from."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from causalign.artifacts import lock, open_run
from causalign.data.originals import Source
from causalign.data.publishers import Deposit
from causalign.data.remote_file import RECORD, RemoteFile
from causalign.data.web import HEADERS, SECONDS, downloads, explain
from causalign.errors import ArtifactError, DownloadError
from causalign.files import hash_file, read_json, write_json, write_whole


@dataclass(frozen=True, slots=True)
class Fetched:
    """What lies in the folder now.

    Attributes
    ----------
    folder : Path
        Where the files lie.
    files : tuple of str
        Their names.
    downloaded : tuple of str
        Those that were downloaded just now.
    """

    folder: Path
    files: tuple[str, ...]
    downloaded: tuple[str, ...]


def fetch(
    source: Source,
    folder: Path,
    *,
    announce: Callable[[Sequence[RemoteFile]], object] | None = None,
    bar: Callable[[RemoteFile], object] | None = None,
) -> Fetched:
    """Fetch the files of a source into a folder, with ``SOURCE.json`` beside them.

    Every file is verified against the checksum that the publisher's own listing states, before it
    gets its name; nothing is unpacked. Files that are there and whole stay; once ``SOURCE.json``
    says that all are, and their SHA-256 agree, the publisher is not asked.

    Parameters
    ----------
    source : Source
        What to fetch; see `find_source`.
    folder : Path
        Made when it is not there.
    announce : callable, optional
        Called with the files to download before the first.
    bar : callable, optional
        Gives a file its progress bar, as pooch wants it.

    Returns
    -------
    Fetched

    Raises
    ------
    DownloadError
        When a publisher does not give what it lists, or a person must ask for it.
    ArtifactError
        When the folder holds something else or is full.
    ExtraNotInstalled
        Without pooch.
    """
    if source.deposit is None:
        raise DownloadError(
            f"{source.name!r} is not fetched: {source.by_hand}. Get it by hand: {source.page}"
        )
    there = _recorded_files(source, folder)
    if there:
        return Fetched(folder, there, ())
    try:
        files = _choose_files(source, source.deposit)
        with lock(open_run(folder)):
            missing = [file for file in files if not _is_whole(file, folder)]
            if announce is not None:
                announce(missing)
            _require_space(folder, missing)
            for file in missing:
                with write_whole(folder / file.name) as partial:
                    _download(file, partial, None if bar is None else bar(file))
            write_json(folder / RECORD, _record(source, source.deposit, files, folder))
    except DownloadError as error:
        raise DownloadError(f"{error} Try again later, or by hand: {source.page}") from error
    except ArtifactError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArtifactError(f"Cannot write to the folder {str(folder)!r}: {reason}.") from error
    return Fetched(folder, tuple(f.name for f in files), tuple(f.name for f in missing))


def _download(file: RemoteFile, path: Path, bar: object) -> None:
    requests, pooch = downloads()
    pooch.get_logger().setLevel("WARNING")
    downloader = pooch.HTTPDownloader(progressbar=bar or False, timeout=SECONDS, headers=HEADERS)
    try:
        pooch.retrieve(file.address, file.checksum, path.name, path.parent, downloader=downloader)
    except requests.RequestException as error:
        raise DownloadError(explain(error, file.address)) from error
    except ValueError as error:
        raise DownloadError(f"{file.path!r} is not the file that is listed: {error}") from error


def _choose_files(source: Source, deposit: Deposit) -> list[RemoteFile]:
    """Return the files of a source; raise `DownloadError` if the listing lacks one or is odd."""
    try:
        offered = list(deposit.files())
        chosen = [
            file for file in offered if any(fnmatchcase(file.path, name) for name in source.files)
        ]
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
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
        if file.checksum is None:
            raise DownloadError(
                f"The publisher states no checksum for {file.path!r} that can be read."
            )
    return chosen


def _is_whole(file: RemoteFile, folder: Path) -> bool:
    """Return whether the file is there; raise `ArtifactError` if other content has its name."""
    path = folder / file.name
    if not path.exists():
        return False
    algorithm, _, digits = str(file.checksum).partition(":")
    if path.is_file() and hash_file(path, algorithm) == digits:
        return True
    raise ArtifactError(
        f"{str(path)!r} is not the file that the publisher lists. Move it away, or choose another "
        "folder."
    )


def _recorded_files(source: Source, folder: Path) -> tuple[str, ...]:
    """Return the files that ``SOURCE.json`` names if all are whole, otherwise none."""
    if not (folder / RECORD).exists():
        return ()
    record = read_json(folder / RECORD)
    if record.get("source") != source.name:
        raise ArtifactError(
            f"{str(folder)!r} holds other data, as its {RECORD} says. Choose another folder."
        )
    try:
        named = {entry["name"]: entry["sha256"] for entry in record["files"]}
        whole = all(hash_file(folder / name) == sha256 for name, sha256 in named.items())
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
    source: Source, deposit: Deposit, files: Sequence[RemoteFile], folder: Path
) -> dict[str, object]:
    fields = ("title", "publisher", "page", "licence", "citation")
    return {name: getattr(source, name) for name in fields} | {
        "source": source.name,
        "listing": deposit.listing,
        "retrieved": datetime.now(UTC).date().isoformat(),
        "files": [
            {
                "name": file.name,
                "path": file.path,
                "address": file.address,
                "bytes": file.size,
                "checksum": file.checksum,
                "sha256": hash_file(folder / file.name),
            }
            for file in files
        ],
    }
