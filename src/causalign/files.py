"""Write files and folders whole or not at all; read back those of a known format."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from causalign.errors import ArtifactError
from causalign.results import Finding

_PARTIAL = ".partial-"


@contextmanager
def write_whole(target: Path) -> Iterator[Path]:
    """Give a hidden neighbour of ``target`` to write a file or a folder to; put it in its place.

    A reader, also one who comes after a kill or a failure of power, meets the old content or the
    new one, never a part: everything is flushed to the disk before it is renamed. (A folder that
    is replaced is away for the moment between two renames.) When the block raises, nothing is left
    of the neighbour and the old content stays; what a kill leaves of it `remove_partial` removes.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    room = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}{_PARTIAL}"))
    partial = room / target.name
    try:
        yield partial
        for path in [partial, *partial.rglob("*")] if partial.is_dir() else [partial]:
            _flush(path)
        if target.is_dir() and not target.is_symlink():
            os.replace(target, room / "old")
        os.replace(partial, target)
        _flush(target.parent)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def remove_partial(folder: Path) -> None:
    """Remove what killed writers left in a folder, where nobody else is writing now."""
    for room in folder.glob(f".*{_PARTIAL}*"):
        shutil.rmtree(room, ignore_errors=True)


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


def _flush(path: Path) -> None:
    """Ask the system to write a file, or the names in a folder, to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders; its renames are flushed with the file
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
