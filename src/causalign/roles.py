"""Which column plays which causal role."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from causalign.errors import SettingsError

MANY = ("confounders", "instruments", "features", "categorical")
# A column may be split on, clustered by or ordered by and be a confounder as well.
MAY_REPEAT = ("group", "cluster", "time", "categorical", "objective")


@dataclass(frozen=True, slots=True)
class Roles:
    """Name the columns that play a causal role; nothing else.

    ``completion`` is the text and ``outcome`` what happened after it. Optional: ``trials`` (the
    outcome counts successes out of so many: clicks of impressions; the outcome is then the rate),
    ``prompt``, ``confounders`` (moved the outcome and travelled with the text), ``instruments``
    (moved a confounder and reach the outcome only through it), ``propensity`` (probability with
    which the text was chosen), ``group`` (texts that compete: one test, one question),
    ``cluster`` (rows that are not independent, in one way or in two: ``("author", "week")``),
    ``time``, ``weight``, ``features`` (numbers that describe the text), ``objective`` (what a
    labeller judged by), ``categorical`` (columns whose numbers are names: week numbers,
    postcodes).
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
                self._claim(taken, field.name, names)
        for name in (self.completion, self.outcome):
            splits = (self.group, *_names(self.cluster), self.time, self.objective)
            if name in splits:
                raise SettingsError(f"Column {name!r} cannot also group, cluster or order rows.")

    def _settle_clusters(self, names: tuple[Any, ...]) -> None:
        """Keep one column as a string and two as a tuple; more are not combined."""
        if len(names) > 2:
            raise SettingsError(
                f"Role 'cluster' names {len(names)} columns; errors are clustered by one or two."
            )
        settled = names if len(names) == 2 else names[0] if names else None
        object.__setattr__(self, "cluster", settled)

    @staticmethod
    def _claim(taken: dict[str, str], role: str, names: Sequence[str]) -> None:
        for name in names:
            if name in taken:
                raise SettingsError(
                    f"Column {name!r} is named as {taken[name]!r} and as {role!r}. "
                    "A column has one of these roles: remove it from the other."
                )
            taken[name] = role

    def columns(self) -> dict[str, str]:
        """Return every named column with the first role that names it."""
        found: dict[str, str] = {}
        for field in fields(self):
            for name in _names(getattr(self, field.name)):
                found.setdefault(name, field.name)
        return found

    def cluster_columns(self) -> tuple[str, ...]:
        """Return the one or two columns by which rows cluster: ``cluster``, else ``group``."""
        return _names(self.cluster) or _names(self.group)


def _names(value: Any) -> tuple[Any, ...]:
    """Return the columns that a role names: none, one or several."""
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (value,)
