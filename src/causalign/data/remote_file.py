"""A file that a publisher offers: its address, the name it gets here, and what proves it whole."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from causalign.errors import DownloadError

RECORD = "SOURCE.json"
PARTIAL = ".part"
LONGEST_NAME = 200

_DIGITS = {"md5": 32, "sha1": 40, "git-sha1": 40, "sha256": 64, "sha512": 128}
# No slash, no backslash, no colon, no control character, and no dot in front or at the end.
_PART = re.compile(r"\w(?:[\w .,()+@=~&'-]*[\w)])?")


@dataclass(frozen=True, slots=True)
class Checksum:
    """The checksum that a publisher states, as hexadecimal digits.

    ``algorithm`` is ``md5``, ``sha1``, ``sha256``, ``sha512`` or ``git-sha1``. ``git-sha1`` is what
    git names a file by: SHA-1 of ``blob SIZE``, a zero byte and the content.
    """

    algorithm: str
    value: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"

    def started(self, size: int | None) -> Any:
        """Return the hash object that, fed with the content, gives the value."""
        if self.algorithm != "git-sha1":
            return hashlib.new(self.algorithm, usedforsecurity=False)
        if size is None:
            raise DownloadError("The publisher states no size, which its checksum needs.")
        return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)

    def fits(self, path: Path) -> bool:
        """Return whether the file's content has this checksum."""
        size = path.stat().st_size
        with path.open("rb") as file:
            return bool(
                hashlib.file_digest(file, lambda: self.started(size)).hexdigest() == self.value
            )


def stated(algorithm: Any, value: Any) -> Checksum | None:
    """Return the checksum in a listing, or nothing when there is none that can be read."""
    name, digits = str(algorithm).lower(), str(value).lower()
    length = _DIGITS.get(name) or _DIGITS.get(name.replace("-", ""))
    if length is None or not re.fullmatch(f"[0-9a-f]{{{length}}}", digits):
        return None
    return Checksum(name if name in _DIGITS else name.replace("-", ""), digits)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in a publisher's listing; ``path`` is its name there, ``size`` is in bytes."""

    path: str
    address: str
    size: int | None
    checksum: Checksum | None

    @property
    def name(self) -> str:
        """Return the name that the file gets; folders become ``--``, as in ``test--a.csv``.

        Raises `DownloadError` for a name that could leave the folder or hide in it.
        """
        parts = self.path.split("/")
        name = "--".join(parts)
        reserved = name.upper() == RECORD.upper() or name.endswith(PARTIAL)
        if reserved or len(name) > LONGEST_NAME or not all(map(_PART.fullmatch, parts)):
            raise DownloadError(f"The publisher lists a file with the unsafe name {self.path!r}.")
        return name


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
