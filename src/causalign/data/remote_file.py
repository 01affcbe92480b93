"""A file that a publisher offers: its address, the name it gets here, and what proves it whole."""

import re
from dataclasses import dataclass

from causalign.errors import DownloadError

RECORD = "SOURCE.json"
LONGEST_NAME = 200

_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
# No slash, no backslash, no colon, no control character, and no dot in front or at the end.
_PART = re.compile(r"\w(?:[\w .,()+@=~&'-]*[\w)])?")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in a publisher's listing.

    Parameters
    ----------
    path : str
        Its name there.
    address : str
        Where it is downloaded.
    size : int or None
        Bytes.
    checksum : str or None
        ``sha256:`` and the digits, or the same with another algorithm; None where the publisher
        states none.
    """

    path: str
    address: str
    size: int | None
    checksum: str | None

    @property
    def name(self) -> str:
        """Return the name that the file gets; folders become ``--``, as in ``test--a.csv``.

        Raises `DownloadError` for a name that could leave the folder or hide in it.
        """
        parts = self.path.split("/")
        name = "--".join(parts)
        reserved = name.upper() == RECORD.upper()
        if reserved or len(name) > LONGEST_NAME or not all(map(_PART.fullmatch, parts)):
            raise DownloadError(f"The publisher lists a file with the unsafe name {self.path!r}.")
        return name


def read_checksum(algorithm: object, value: object) -> str | None:
    """Return the checksum in a listing, or nothing when there is none that can be read."""
    name, digits = str(algorithm).lower().replace("-", ""), str(value).lower()
    if name not in _DIGITS or not re.fullmatch(f"[0-9a-f]{{{_DIGITS[name]}}}", digits):
        return None
    return f"{name}:{digits}"
