"""Which column plays which causal role."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import cast

from causalign.errors import SettingsError, nearest
from causalign.results import Card

MANY = ("confounders", "instruments", "features", "categorical", "audience", "guardrails")
# A column may be split on, clustered by or ordered by and be a confounder as well.
MAY_REPEAT = ("group", "cluster", "time", "categorical", "objective", "audience")


@dataclass(frozen=True, slots=True, repr=False)
class Roles(Card):
    """The columns that play a causal role, by name.

    Parameters
    ----------
    completion : str
        The text.
    outcome : str
        What happened after it: numbers or booleans.
    trials : str, optional
        The outcome counts successes out of so many, such as clicks of impressions; the outcome is
        then the rate.
    prompt : str, optional
        What the text answers.
    confounders : tuple of str
        What moved the outcome and travelled with the text.
    instruments : tuple of str
        What moved a confounder and reaches the outcome only through it.
    propensity : str, optional
        The probability with which the text was chosen.
    group : str, optional
        Texts that compete: one test, one question.
    cluster : str or two of them, optional
        Rows that are not independent, in one way or in two: ``("author", "week")``.
    time : str, optional
        When the text was sent.
    weight : str, optional
        How much a row counts.
    features : tuple of str
        Numbers that describe the text.
    objective : str, optional
        What a labeller judged by.
    categorical : tuple of str
        Columns whose numbers are names: week numbers, postcodes.
    audience : tuple of str
        What was known of the reader before the text was sent; may be confounders as well.
    guardrails : tuple of str
        Further outcomes, which must not get worse: unsubscriptions, complaints. With ``trials``
        they count among these too.

    Raises
    ------
    SettingsError
        When one column is given two roles that exclude each other, or a role names no column.
    """

    completion: str
    outcome: str
    trials: str | None = None
    prompt: str | None = None
    confounders: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    propensity: str | None = None
    group: str | None = None
    cluster: str | tuple[str, ...] | None = None
    time: str | None = None
    weight: str | None = None
    features: tuple[str, ...] = ()
    objective: str | None = None
    categorical: tuple[str, ...] = ()
    audience: tuple[str, ...] = ()
    guardrails: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        taken: dict[str, str] = {}
        for field in fields(self):
            names = _names(getattr(self, field.name))
            if field.name in MANY:
                object.__setattr__(self, field.name, names)
            if field.name == "cluster":
                self._settle_clusters(names)
            for name in names:
                if not isinstance(name, str) or not name:
                    raise SettingsError(
                        f"Role {field.name!r} must name a column, but holds {name!r}."
                    )
            if len(set(names)) < len(names):
                twice = next(n for n in names if names.count(n) > 1)
                raise SettingsError(f"Role {field.name!r} names column {twice!r} twice.")
            if field.name not in MAY_REPEAT:
                for name in names:
                    if name in taken:
                        raise SettingsError(
                            f"Column {name!r} is named as {taken[name]!r} and as {field.name!r}. "
                            "A column has one of these roles: remove it from the other."
                        )
                    taken[name] = field.name
        for name in (self.completion, self.outcome):
            splits = (self.group, *_names(self.cluster), self.time, self.objective)
            if name in splits:
                raise SettingsError(f"Column {name!r} cannot also group, cluster or order rows.")

    def _settle_clusters(self, names: tuple[str, ...]) -> None:
        """Keep one column as a string and two as a tuple; more are not combined."""
        if len(names) > 2:
            raise SettingsError(
                f"Role 'cluster' names {len(names)} columns; errors are clustered by one or two."
            )
        settled = names if len(names) == 2 else names[0] if names else None
        object.__setattr__(self, "cluster", settled)

    def __repr__(self) -> str:
        held = ((one.name, getattr(self, one.name)) for one in fields(self))
        return f"Roles({', '.join(f'{name}={value!r}' for name, value in held if value)})"

    def card_lines(self) -> list[str]:
        """Return what a card says: the roles that are declared."""
        return self.describe()

    def columns(self) -> dict[str, str]:
        """Return every named column with the first role that names it."""
        roles: dict[str, str] = {}
        for field in fields(self):
            for name in _names(getattr(self, field.name)):
                roles.setdefault(name, field.name)
        return roles

    def roles_of(self, name: str) -> tuple[str, ...]:
        """Return every role that names a column, in the order of the fields."""
        return tuple(
            field.name for field in fields(self) if name in _names(getattr(self, field.name))
        )

    def describe(self) -> list[str]:
        """Return a line such as ``confounders: week, price`` for each role that is declared."""
        declared = ((field.name, _names(getattr(self, field.name))) for field in fields(self))
        return [f"{role}: {', '.join(names)}" for role, names in declared if names]

    def cluster_columns(self) -> tuple[str, ...]:
        """Return the one or two columns by which rows cluster: ``cluster``, else ``group``."""
        return _names(self.cluster) or _names(self.group)


def find_guardrail(name: str, known: Iterable[str]) -> str:
    """Return the guardrail of that name: the column as declared, or as it was adjusted since.

    Raises ``SettingsError`` for one that is not known.
    """
    names = list(known)
    for one in names:
        if re.fullmatch(rf"{re.escape(name)}(_adjusted)*", one):
            return one
    raise SettingsError(
        f"There is no guardrail {name!r}; {nearest(name, names)}"
        if names
        else f"There is no guardrail {name!r}: none was declared when this was fitted. Declare "
        "guardrails: Roles(guardrails=...), --guardrail."
    )


def _names(value: object) -> tuple[str, ...]:
    """Return the columns that a role names: none, one or several."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (cast(str, value),)
