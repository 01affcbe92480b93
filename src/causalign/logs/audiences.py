"""Which audience each row went to: the levels of one column, or of several crossed."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, NotIdentified
from causalign.logs.covariates import MICROSECONDS_PER_DAY, Covariate
from causalign.logs.table import Logs
from causalign.results import Card

# Numbers are cut into so many classes of equally many rows.
CLASSES = 3
# A reward for each of more audiences than this is read by nobody, and learned from few rows.
MOST = 50


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Audiences(Card):
    """Which audience each row went to.

    Parameters
    ----------
    names : tuple of a str
        Of the audiences.
    codes : (n,) integers
        Places in ``names``.
    """

    names: tuple[str, ...]
    codes: NDArray[np.int64]

    def card_lines(self) -> list[str]:
        """Return what a card says: how many rows each audience has."""
        counts = zip(self.names, self.rows, strict=True)
        return [", ".join(f"{name}: {count:,} rows" for name, count in counts)]

    @property
    def rows(self) -> NDArray[np.int64]:
        """How many rows each has, ``(a,)``."""
        return np.bincount(self.codes, minlength=len(self.names))


def read_audiences(logs: Logs) -> Audiences:
    """Return the audiences of logs: levels of the role ``audience``, crossed where it is several.

    Numbers and dates are cut into thirds of the rows, for an audience is somebody whom one can
    write to.

    Parameters
    ----------
    logs : Logs

    Raises
    ------
    RoleNotDeclared
        Without the role.
    NotIdentified
        If all rows are of one audience.
    InputError
        If there are more than 50.
    """
    logs.require("audience")
    columns = [_cut(column) for column in logs.audience]
    joint = np.column_stack([codes for _, codes in columns])
    cells, codes = np.unique(joint, axis=0, return_inverse=True)
    shown = ", ".join(map(repr, logs.roles.audience))
    if len(cells) < 2:
        raise NotIdentified(
            f"All rows are of one audience: {shown} has the same value in every row. Name a column "
            "in which readers differ."
        )
    if len(cells) > MOST:
        raise InputError(
            f"{shown} makes {len(cells):,} audiences, and at most {MOST} are told apart. Merge "
            "rare levels, or name a coarser column."
        )
    names = [
        ", ".join(labels[place] for (labels, _), place in zip(columns, cell, strict=True))
        for cell in cells
    ]
    return Audiences(tuple(names), codes.ravel().astype(np.int64))


def require_audience(name: str, known: Sequence[str]) -> str:
    """Return the name of an audience; raise `InputError` for one that was not among those known."""
    if name not in known:
        raise InputError(
            f"The audience {name!r} is not among those that were learned from: "
            f"{', '.join(map(repr, known))}. Name one of these, or ask for the mean of all."
        )
    return name


def address(audience: str, prompt: str = "") -> str:
    """Return a prompt that names the audience first, as `address_prompts` writes it.

    Parameters
    ----------
    audience : str
    prompt : str
        What the text answers.
    """
    return f"Reader: {audience}\n{prompt}"


def address_prompts(logs: Logs) -> Logs:
    """Return logs whose prompts name the audience of their row, so that a policy learns of it.

    A policy that is tuned on them (`causalign.policy.tune`) writes for whom it is told:
    ``address("new", prompt)``. Logs without prompts get such that name the audience alone. Rewards
    that read prompts would read the audience in them; fit `causalign.reward.ForAudience` before.

    Parameters
    ----------
    logs : Logs
        With the role ``audience``; raises as `read_audiences` does.
    """
    audiences = read_audiences(logs)
    asked = logs.prompts or [""] * len(logs)
    named = [
        address(audiences.names[code], prompt)
        for code, prompt in zip(audiences.codes, asked, strict=True)
    ]
    return logs.with_prompts(named, "named the audience in the prompts")


def _cut(column: Covariate) -> tuple[Sequence[str], NDArray[np.int64]]:
    """Return the names of the classes of one column, and the class of each row."""
    if column.is_categorical:
        return column.levels, column.values.astype(np.int64)
    if column.kind == "boolean":
        return (f"{column.name}: no", f"{column.name}: yes"), column.values.astype(np.int64)
    inner = np.linspace(0, 1, CLASSES + 1)[1:-1]
    edges = np.unique(np.quantile(column.values, inner, method="lower"))
    edges = edges[edges < column.values.max()]
    shown = [_show(edge, column) for edge in edges]
    if not shown:
        return (column.name,), np.zeros(len(column.values), dtype=np.int64)
    middle = [f"{column.name} over {a} to {b}" for a, b in pairwise(shown)]
    names = [f"{column.name} to {shown[0]}", *middle, f"{column.name} over {shown[-1]}"]
    return names, np.searchsorted(edges, column.values, side="left").astype(np.int64)


def _show(edge: float, column: Covariate) -> str:
    if column.kind == "datetime":
        micros = np.datetime64(int(edge * MICROSECONDS_PER_DAY), "us")
        return str(micros.astype("datetime64[D]"))
    return f"{edge:.6g}"
