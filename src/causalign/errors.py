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
from collections.abc import Iterable


class CausalignError(Exception):
    """Stand for every error that causalign raises on purpose."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class InputError(CausalignError, ValueError):
    """Say that the data cannot be used as they are."""


class ColumnNotFound(InputError, KeyError):
    """Say that a role names a column that the table lacks."""


class RoleNotDeclared(InputError, LookupError):
    """Say that a method needs a role which these logs do not declare."""


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


class ExtraNotInstalled(CausalignError, ImportError):
    """Say which optional dependency is missing and how to install it."""


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return a hint such as ``did you mean 'price'?`` naming the closest candidates, or all few."""
    names = list(candidates)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(n) for n in close) + "?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"there are: {shown}" if names else "there are none"
