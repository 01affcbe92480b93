"""The exceptions that causalign raises, each saying what is wrong, what was found, what to do.

::

    CausalignError
    ├── InputError (ValueError)             the data cannot be used as they are
    │   ├── ColumnNotFound (KeyError)       a role names a column that the table lacks
    │   ├── RoleNotDeclared (LookupError)   a method needs a role that was not declared
    │   └── UnreadableFile (OSError)        a file is missing, damaged or in another format
    ├── SettingsError (ValueError)          a setting is unknown, of the wrong type or out of range
    ├── NotIdentified (ArithmeticError)     the data do not determine what was asked for
    ├── ArtifactError (OSError)             a run folder cannot be written or does not fit the run
    ├── DownloadError (OSError)             a publisher does not give a file, or gives another one
    └── ExtraNotInstalled (ImportError)     an optional dependency is needed
"""

import difflib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import unquote

# Variables of the environment whose value no message may show.
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)
_SHORTEST_SECRET = 6  # shorter values stand in ordinary words too
_SHORTEST_PART = 2  # of an address
_USER_IN_ADDRESS = re.compile(r"(?<=://)(?:[^/\s:@'\"]*:[^/\s'\"]*|[^/\s@?#'\"]+)@")
_QUERY_IN_ADDRESS = re.compile(r"(://[^\s?'\"]+\?)[^\s'\"]+")


class CausalignError(Exception):
    """Stand for every error that causalign raises on purpose; it shows no secret."""

    def __str__(self) -> str:
        return hide_secrets(str(self.args[0])) if self.args else ""


def hide_secrets(words: str) -> str:
    """Return words without the secrets of the environment, nor users and queries in addresses."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_SECRET and value in words and _SECRET.search(name):
            words = words.replace(value, f"${name}")
    return _QUERY_IN_ADDRESS.sub(r"\1***", _USER_IN_ADDRESS.sub("***@", words))


def mask_address(address: str) -> str:
    """Return an address without user, password and query string: ``postgresql://***@host/shop``."""
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address
    user, place, query = _split_address(rest)
    return f"{scheme}://{'***@' if user else ''}{place}{'?***' if query else ''}"


def hide_address(words: str, address: str) -> str:
    """Return what a library says without the address, nor any part of it that may be secret."""
    user, _, query = _split_address(address.partition("://")[2])
    parts = [*re.split(r"[:/@?#]", user), *(pair.partition("=")[2] for pair in query.split("&"))]
    words = words.replace(address, mask_address(address))
    for part in sorted({*parts, *map(unquote, parts)}, key=len, reverse=True):
        if len(part) >= _SHORTEST_PART:
            words = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "***", words)
    return words


def _split_address(rest: str) -> tuple[str, str, str]:
    """Return the user with the password, the place and the query of what follows ``://``."""
    host = re.split(r"[/?#]", rest)[0]
    user = host.rpartition("@")[0]
    # A password may hold the signs that end a host, though it should not.
    if not user and ":" in host:
        user = rest.rpartition("@")[0]
    place = rest[len(user) + 1 :] if user else rest
    place, *query = re.split(r"[?#]", place, maxsplit=1)
    return user, place, "".join(query)


@contextmanager
def show_as_written(paths: Iterable[tuple[str, str]]) -> Iterator[None]:
    """Show paths in the messages of the block's errors as they were written.

    ``paths`` are pairs: a path with its variables filled in, and what a person wrote.
    """
    try:
        yield
    except CausalignError as error:
        if error.args:
            message = str(error.args[0])
            for filled, written in paths:
                message = message.replace(filled, written)
            error.args = (message, *error.args[1:])
        raise


class InputError(CausalignError, ValueError):
    """Say that the data cannot be used as they are."""


class ColumnNotFound(InputError, KeyError):
    """Say that a role names a column that the table lacks."""


class RoleNotDeclared(InputError, LookupError):
    """Say that a method needs a role which these logs do not declare.

    ``why`` says who needs what; ``roles`` are the roles any one of which would do. The message
    tells how to declare them in Python; other doors make their own words of the two.
    """

    def __init__(self, why: str, *roles: str) -> None:
        self.why, self.roles, self.is_reworded = why, roles, False
        super().__init__(self._tell("in", lambda role: f"`Roles({role}=...)`"))

    def reword(self, preposition: str, declare: Callable[[str], str]) -> "RoleNotDeclared":
        """Put the message in the words of a door, unless one did before; return the error.

        ``declare`` says how a role is declared there: "with", such as "--group COLUMN".
        """
        if not self.is_reworded:
            self.args, self.is_reworded = (self._tell(preposition, declare),), True
        return self

    def _tell(self, preposition: str, declare: Callable[[str], str]) -> str:
        ways = " or ".join(map(declare, self.roles))
        return f"{self.why} Name the column {preposition} {ways}."

    def __reduce__(self) -> tuple[type["RoleNotDeclared"], tuple[str, ...]]:
        # One process tells the others of an error: there it is made again of its parts.
        return type(self), (self.why, *self.roles)


class UnreadableFile(InputError, OSError):
    """Say that a file is missing, damaged or not in the format its name promises."""


class SettingsError(CausalignError, ValueError):
    """Say that a setting is unknown, has the wrong type or is out of range."""


class NotIdentified(CausalignError, ArithmeticError):
    """Say that the data do not determine the quantity that was asked for."""


class ArtifactError(CausalignError, OSError):
    """Say that a run folder cannot be written, or belongs to another run."""


class DownloadError(CausalignError, OSError):
    """Say that a publisher's file could not be fetched, or is not the one that was promised."""


class WorkerDied(CausalignError, RuntimeError):
    """Say that the processes which were to do a job died of it, one after the other."""


class ExtraNotInstalled(CausalignError, ImportError):
    """Say which optional dependency is missing and how to install it."""


@contextmanager
def needs_extra(what: str, install: str = "`pip install 'causalign[lm]'`") -> Iterator[None]:
    """Say who needs which library, and how to install it, if an import in the block fails."""
    try:
        yield
    except ImportError as missing:
        library = missing.name or str(missing)
        if isinstance(missing, ExtraNotInstalled) or library.startswith("causalign"):
            raise
        raise ExtraNotInstalled(
            f"{what} needs {library}, which is not installed: {install}."
        ) from missing


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return a hint such as ``did you mean 'price'?`` naming the closest candidates, or all few."""
    names = list(candidates)
    # Blanks, a byte order mark and the case of letters are what names differ in most often.
    plain = {one.strip(" \ufeff").casefold(): one for one in reversed(names)}
    alike = difflib.get_close_matches(name.strip(" \ufeff").casefold(), plain, n=3, cutoff=0.6)
    close = [plain[one] for one in alike]
    if close:
        return "did you mean " + " or ".join(repr(n) for n in close) + "?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"there are: {shown}" if names else "there are none"
