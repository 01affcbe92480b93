"""Write files and folders whole or not at all; read back those of a known format."""

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from causalign.errors import ArtifactError, CausalignError
from causalign.results import Finding

# What other programs leave has other names, and is never removed.
_PARTIAL = ".partial-causalign-"
_NAME_BYTES = 120
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def write_whole(target: Path) -> Iterator[Path]:
    """Give a hidden neighbour of ``target`` to write a file or a folder to; put it in its place.

    A reader, also one who comes after a kill or a failure of power, meets the old content or the
    new one, never a part: everything is flushed to the disk before it is renamed. (A folder that
    is replaced is away for the moment between two renames.) When the block raises, nothing is left
    of the neighbour and the old content stays; what a kill leaves of it `remove_partial` removes.
    What is written can be read by whomever the umask lets read. Raises `ArtifactError` when the
    disk refuses: full, read-only, no permission.
    """
    try:
        if target.is_symlink() and target.is_dir():
            target = target.resolve()  # the folder is replaced, not the link to it
        target.parent.mkdir(parents=True, exist_ok=True)
        with _make_room(target) as room:
            partial = room / target.name
            yield partial
            readable = _default_mode(room) & 0o444
            for path in [partial, *partial.rglob("*")] if partial.is_dir() else [partial]:
                # Temporary files of libraries are for their owner alone.
                if path.is_file() and not path.is_symlink():
                    path.chmod(stat.S_IMODE(path.stat().st_mode) | readable)
                _flush(path)
            if target.is_dir() and not target.is_symlink():
                os.replace(target, room / "old")
            os.replace(partial, target)
            _flush(target.parent)
    except CausalignError:
        raise
    except OSError as failure:
        refusal = ArtifactError(explain_failure(target, failure))
        refusal.errno, refusal.strerror = failure.errno, failure.strerror or str(failure)
        raise refusal from failure


def explain_failure(target: Path, failure: OSError) -> str:
    """Return a sentence that says why a file or folder cannot be written, and what to do."""
    reason = os.strerror(failure.errno) if failure.errno else str(failure)
    full = "Free some space and run again." if failure.errno in _FULL else "Choose another folder."
    return f"Cannot write to {str(target)!r}: {reason}. {full}"


@contextmanager
def _make_room(target: Path) -> Iterator[Path]:
    """Make a hidden folder beside ``target``, held until the block ends or the process dies."""
    while True:
        room = Path(tempfile.mkdtemp(dir=target.parent, prefix=_room_prefix(target.name)))
        held = _hold(room, wait=True)
        if room.exists():  # else another process took it for one that a kill had left
            break
        _release(held)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)
        _release(held)


def remove_partial(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers left in a folder, or left of the file or folder ``name`` there.

    What a living process is writing stays.
    """
    wanted = rf"\..+{_PARTIAL}" if name is None else re.escape(_room_prefix(name))
    for room in folder.iterdir() if folder.is_dir() else ():
        if not re.match(wanted, room.name) or room.is_symlink() or not room.is_dir():
            continue
        held = _hold(room, wait=False)
        if held is not None:
            shutil.rmtree(room, ignore_errors=True)
            _release(held)


def _room_prefix(name: str) -> str:
    """Return how the hidden neighbour is named; a long name is cut, since names have a limit."""
    return f".{os.fsdecode(os.fsencode(name)[:_NAME_BYTES])}{_PARTIAL}"


def _hold(room: Path, *, wait: bool) -> int | None:
    """Lock a folder for as long as this process lives; None if another has it or it is away."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        handle = os.open(room, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks
        os.close(handle)
        return None
    return handle


def _release(held: int | None) -> None:
    if held is not None:
        os.close(held)


def _default_mode(room: Path) -> int:
    """Return the mode that the umask gives to new folders, without touching the umask."""
    sample = room / ".mode"
    sample.mkdir()
    mode = stat.S_IMODE(sample.stat().st_mode)
    sample.rmdir()
    return mode


def distrust(path: Path) -> str | None:
    """Return why what lies here may come from a stranger, or None.

    A file or folder is trusted when it belongs to this user or to root, and not everybody may
    write to it. (In a folder such as ``/tmp`` nobody can replace what belongs to another.)
    """
    if sys.platform == "win32":
        return None
    status = path.stat()
    if status.st_uid not in (os.geteuid(), 0):
        return f"{path} belongs to another user"
    kept_apart = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & stat.S_IWOTH and not kept_apart:
        return f"everybody may write to {path}"
    return None


def hash_content(path: Path) -> str:
    """Return a hash of what a file holds, or all files in a folder: wherever and whenever written.

    Within a folder the names count as well; hidden files do not.
    """
    if path.is_file():
        return hash_file(path)[:32]
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        place = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in place.parts):
            total.update(f"{place.as_posix()}\0{hash_file(file)}\n".encode())
    return total.hexdigest()[:32]


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """Return the digits of a file's hash; raise ``OSError`` if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write a JSON file whole or not at all."""
    text = json.dumps(to_json(value), indent=2, sort_keys=True, ensure_ascii=False)
    with write_whole(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file; raise `ArtifactError` when it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{str(path)!r} is damaged ({error}). Delete it and run again."
        ) from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{str(path)!r} is damaged (no mapping). Delete it and run again.")
    return content


def read_format(path: Path, name: str, version: int, *, again: str) -> dict[str, Any]:
    """Read a JSON file that says its ``format`` and ``version``.

    ``again`` tells what to do when it cannot be used, such as "fit the reward again". Raises
    `ArtifactError` when the file is missing, damaged, of another format or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"There is no {path.name} in {path.parent}: {again}.") from None
    except (OSError, ValueError, RecursionError) as damage:
        raise ArtifactError(f"{path} cannot be read: {damage}. To mend it, {again}.") from damage
    if not isinstance(content, dict) or content.get("format") != name:
        raise ArtifactError(f"{path} does not describe a {name}: {again}.")
    if content.get("version") != version:
        raise ArtifactError(
            f"{path} has format version {content.get('version')!r}; this causalign reads version "
            f"{version}. Install the causalign that wrote it, or {again}."
        )
    return content


def to_json(value: object) -> Any:
    """Return a value as JSON types: dataclasses, mappings, tuples, paths and numpy scalars."""
    if is_dataclass(value) and not isinstance(value, type):
        content = {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
        return content if isinstance(value, Finding) else {"type": type(value).__name__, **content}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        return to_json(value.item())
    if hasattr(value, "tolist"):
        return to_json(value.tolist())
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def flush_folder(folder: Path) -> None:
    """Ask the system to write all files of a folder to the disk, before a mark says they are."""
    for path in [folder, *folder.rglob("*")]:
        _flush(path)


def _flush(path: Path) -> None:
    """Ask the system to write a file, or the names in a folder, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders; its renames are flushed with the file
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
