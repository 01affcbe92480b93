"""Keep vectors of texts on disk, so that a text is encoded once by every process and run.

A killed process loses at most the batch it was writing. Every row carries a checksum over its key
and its vector; a row that does not fit is encoded again. A file that is no cache is moved aside.
A cache that a stranger could have written is not read: the checksum keeps out damage, not malice.
"""

import hashlib
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from causalign.errors import ArtifactError
from causalign.files import distrust

T = TypeVar("T")
Stored = tuple[NDArray[np.float32], bool]

_APPLICATION = 0x63616C67  # marks a SQLite file as ours
_FORMAT = 1
_KEYS_IN_QUERY = 500
_SECONDS_TO_WAIT = 120.0
_TABLE = (
    "CREATE TABLE IF NOT EXISTS embedding (key BLOB PRIMARY KEY, vector BLOB NOT NULL,"
    " truncated INTEGER NOT NULL, checksum BLOB NOT NULL)"
)


def default_cache_folder() -> Path:
    """Return ``$CAUSALIGN_CACHE``, or the folder for caches of the platform."""
    try:
        if chosen := os.environ.get("CAUSALIGN_CACHE"):
            return Path(chosen).expanduser()
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "causalign"
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "causalign" / "Cache"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "causalign"
    except RuntimeError:  # nobody's home folder is known, as for a bare number in a container
        return Path(tempfile.gettempdir()) / f"causalign-{os.getuid()}"


def make_cache_folder(folder: Path) -> None:
    """Make a folder for a cache that its owner alone can read, unless it is there.

    Raises `ArtifactError` for one in which a stranger could have written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    require_trusted(folder)


def require_trusted(*paths: Path) -> None:
    """Raise `ArtifactError` when what lies here could come from a stranger."""
    for path in paths:
        if path.exists() and (problem := distrust(path)):
            raise ArtifactError(
                f"{problem}, so what it holds is not used. Set CAUSALIGN_CACHE to a folder of "
                "your own."
            )


def text_keys(name: str, revision: str, dimension: int, texts: Sequence[str]) -> list[bytes]:
    """Return a key of 32 bytes for each text under one encoder."""
    encoder = hashlib.sha256("\0".join((name, revision, str(dimension))).encode())
    keys = []
    for text in texts:
        key = encoder.copy()
        # A lone surrogate is no valid UTF-8, but it is a text all the same.
        key.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        keys.append(key.digest())
    return keys


class EmbeddingCache:
    """Vectors of texts in ``folder/embeddings.sqlite``; several processes may share it.

    Where the folder cannot be written or read, `causalign.lm.embed` goes on without the cache and
    says so.

    Parameters
    ----------
    folder : path, optional
        By default ``$CAUSALIGN_CACHE``, or the folder for caches of the platform.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = default_cache_folder() if folder is None else Path(folder).expanduser()

    @property
    def path(self) -> Path:
        """The file that holds the vectors."""
        return self.folder / "embeddings.sqlite"

    def get(self, keys: Sequence[bytes], dimension: int) -> dict[bytes, Stored]:
        """Return what is stored and intact under some keys.

        Parameters
        ----------
        keys : list of bytes
            As `text_keys` makes them.
        dimension : int
            Length d of a vector.

        Returns
        -------
        dict
            Of a key, its vector ``(d,)`` and whether the end of the text was not read.

        Raises
        ------
        ArtifactError
            Where the file cannot be read: no permission, for example.
        """
        if not self.path.exists():
            return {}
        stored: dict[bytes, Stored] = {}
        for key, vector, truncated, checksum in self._attempt(lambda db: _select(db, keys)):
            if not (isinstance(vector, bytes) and isinstance(truncated, int)):
                continue
            if checksum == _checksum(key, vector, truncated) and len(vector) == 4 * dimension:
                stored[key] = (np.frombuffer(vector, dtype="<f4"), bool(truncated))
        return stored

    def put(
        self, keys: Sequence[bytes], vectors: NDArray[np.float32], truncated: NDArray[np.bool_]
    ) -> None:
        """Store vectors, all or none; an entry of the same key is replaced.

        Parameters
        ----------
        keys : n bytes
        vectors : (n, d)
        truncated : (n,) booleans
            Whether the end of the text was not read.

        Raises
        ------
        ArtifactError
            Where the file cannot be written: disk full, no permission.
        """
        rows = []
        for key, vector, flag in zip(keys, vectors, truncated, strict=True):
            data = np.ascontiguousarray(vector, dtype="<f4").tobytes()
            rows.append((key, data, int(flag), _checksum(key, data, int(flag))))
        self._attempt(lambda db: _insert(db, rows))

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work; if the file is damaged, move it aside and do it on a new one."""
        try:
            make_cache_folder(self.folder)
            require_trusted(self.path)
            before = _identity(self.path)
            try:
                with _connection(self.path) as db:
                    return work(db)
            except sqlite3.DatabaseError as damage:
                if isinstance(damage, sqlite3.OperationalError):
                    raise
                self._set_aside(before)
                with _connection(self.path) as db:
                    return work(db)
        except ArtifactError:
            raise
        except (OSError, sqlite3.Error) as failure:
            raise ArtifactError(
                f"The cache of embeddings {self.path} cannot be used: {failure}. Free space or set "
                "CAUSALIGN_CACHE to another folder."
            ) from failure

    def _set_aside(self, seen: tuple[int, int] | None) -> None:
        """Rename the damaged file, unless another process has already replaced it."""
        with FileLock(self.folder / "embeddings.lock", timeout=_SECONDS_TO_WAIT):
            if seen is None or _identity(self.path) != seen:
                return
            suffix = f".damaged-{time.time_ns()}"
            # The journal belongs to the damaged file: replayed into a new one it would ruin that.
            journal = self.path.with_name(self.path.name + "-journal")
            if journal.exists():
                journal.rename(journal.with_name(journal.name + suffix))
            self.path.rename(self.path.with_name(self.path.name + suffix))


@contextmanager
def _connection(path: Path) -> Iterator[sqlite3.Connection]:
    # A rollback journal, not a write-ahead log: it also holds on network file systems.
    with closing(sqlite3.connect(path, timeout=_SECONDS_TO_WAIT, isolation_level=None)) as db:
        db.text_factory = bytes
        db.execute("PRAGMA synchronous=NORMAL")
        # One snapshot: between two reads another process may be creating the table.
        db.execute("BEGIN")
        mark = (_pragma(db, "application_id"), _pragma(db, "user_version"))
        empty = db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None
        db.execute("COMMIT")
        if mark == (0, 0) and empty:
            _create(db)
        elif mark != (_APPLICATION, _FORMAT):
            raise sqlite3.DatabaseError("file is not a cache of this format")
        yield db


def _create(db: sqlite3.Connection) -> None:
    with db:
        db.execute("BEGIN IMMEDIATE")
        db.execute(_TABLE)
        db.execute(f"PRAGMA application_id={_APPLICATION}")
        db.execute(f"PRAGMA user_version={_FORMAT}")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _select(db: sqlite3.Connection, keys: Sequence[bytes]) -> list[tuple[bytes, bytes, int, bytes]]:
    rows: list[tuple[bytes, bytes, int, bytes]] = []
    for start in range(0, len(keys), _KEYS_IN_QUERY):
        some = keys[start : start + _KEYS_IN_QUERY]
        marks = ",".join("?" * len(some))
        query = f"SELECT key, vector, truncated, checksum FROM embedding WHERE key IN ({marks})"
        rows += db.execute(query, some).fetchall()
    return rows


def _insert(db: sqlite3.Connection, rows: list[tuple[bytes, bytes, int, bytes]]) -> None:
    with db:  # commits, or rolls back when the block raises
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT OR REPLACE INTO embedding VALUES (?, ?, ?, ?)", rows)


def _checksum(key: bytes, vector: bytes, truncated: int) -> bytes:
    content = b"".join((key, bytes([truncated & 255]), vector))
    return hashlib.blake2b(content, digest_size=16).digest()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return (status.st_dev, status.st_ino)
