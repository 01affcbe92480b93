"""The parts of which an effect of confounders is the sum: a slope, or one number per category."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import block_diag

from causalign.errors import InputError
from causalign.logs import Logs
from causalign.logs.covariates import Covariate, Kind, covariate


class Term(Protocol):
    """A part of h(C) that reads one or several columns."""

    @property
    def column(self) -> str:
        """Return the column that the term reads."""
        ...

    def contribution(self, logs: Logs) -> np.ndarray:
        """Return ``(n,)``, in units of the outcome, relative to the average of the fitted logs."""
        ...

    def unknown(self, logs: Logs) -> int:
        """Return how many rows hold values for which the term knows no effect."""
        ...


WORDS: dict[Kind, str] = {
    "numeric": "numbers",
    "boolean": "truth values",
    "datetime": "dates",
    "categorical": "categories",
}


def read_numbers(column: Covariate, fitted: Kind | None = None) -> np.ndarray:
    """Return a column ``(n,)`` of the kind that was ``fitted``, of any but categories by default.

    Truth values and the numbers 0 and 1 are the same. Raises `InputError` for another kind.
    """
    if column.is_categorical or (fitted is not None and not _mean_the_same(column, fitted)):
        raise InputError(_say_change(column, fitted or "numeric"))
    return np.asarray(column.values)


def read_categories(column: Covariate, logs: Logs, known: Collection[str] = ()) -> Covariate:
    """Return a column as categories, also where these logs hold them as numbers: weeks, postcodes.

    Raises `InputError` when it holds another kind, none of whose values is one of the ``known``
    levels, and when all its levels are known ones in another spelling (1.0 for 1).
    """
    if column.kind == "datetime" and known:
        raise InputError(_say_change(column, "categorical"))
    read = column
    if not column.is_categorical:
        read = covariate(column.name, logs.data[column.name], categorical=True)
    if not known or any(level in known for level in read.levels):
        return read
    if not column.is_categorical:
        raise InputError(_say_change(column, "categorical"))
    numbers = {_as_number(level) for level in known} - {None}
    respelled = [level for level in read.levels if _as_number(level) in numbers]
    if respelled:
        raise InputError(
            f"Column {column.name!r} spells the categories of the logs that were fitted in another "
            f"way here: {respelled[0]!r}, not one of {', '.join(map(repr, list(known)[:3]))}."
        )
    return read


def _mean_the_same(column: Covariate, fitted: Kind) -> bool:
    if column.kind == fitted or (column.kind, fitted) == ("boolean", "numeric"):
        return True
    binary = fitted == "boolean" and column.kind == "numeric"
    return binary and bool(np.isin(column.values, (0.0, 1.0)).all())


def _say_change(column: Covariate, fitted: Kind) -> str:
    return (
        f"Column {column.name!r} held {WORDS[fitted]} in the logs that were fitted and holds "
        f"{WORDS[column.kind]} here. Make it of one kind."
    )


def _as_number(level: str) -> float | None:
    try:
        return float(level)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Slope:
    """Contribute ``coefficient * (value - mean)``; the mean is that of the fitted logs."""

    column: str
    coefficient: float
    mean: float
    kind: Kind = "numeric"

    def contribution(self, logs: Logs) -> np.ndarray:
        """Return the contributions ``(n,)`` in units of the outcome."""
        values = read_numbers(logs.covariate(self.column), self.kind)
        return np.asarray(self.coefficient * (values - self.mean))

    def unknown(self, logs: Logs) -> int:
        """Return 0: a slope extrapolates to every number."""
        del logs
        return 0


@dataclass(frozen=True, slots=True)
class Categories:
    """Contribute the deviation of a row's category from the average of the fitted logs.

    A category without an effect of its own (never seen, or seen too rarely to tell) contributes 0:
    it is taken to be an average one.
    """

    column: str
    deviations: dict[str, float]

    def contribution(self, logs: Logs) -> np.ndarray:
        """Return the contributions ``(n,)`` in units of the outcome."""
        column = self._read(logs)
        by_level = np.array([self.deviations.get(level, 0.0) for level in column.levels])
        return np.asarray(by_level[column.values])

    def unknown(self, logs: Logs) -> int:
        """Return how many rows hold a category that has no effect of its own."""
        column = self._read(logs)
        missing = np.array([level not in self.deviations for level in column.levels])
        return int(missing[column.values].sum())

    def _read(self, logs: Logs) -> Covariate:
        return read_categories(logs.covariate(self.column), logs, self.deviations)


@dataclass(frozen=True, slots=True, eq=False)
class LinearTerms:
    """Hold the terms of a linear h(C); names and estimates are ``(k,)``, covariance ``(k, k)``.

    Of very many estimates ``covariance`` holds the variances ``(k,)`` only. ``repaired`` says that
    two ways of clustering had to be made positive; ``unknown`` why some variances are NaN.
    ``categories`` are the fitted rows of each category that has effects.
    """

    terms: tuple[Term, ...]
    names: tuple[str, ...]
    estimates: np.ndarray
    covariance: np.ndarray
    repaired: bool = False
    unknown: str = ""
    categories: tuple[Covariate, ...] = ()


def combine_terms(
    terms: Sequence[Term],
    shown: Sequence[tuple[tuple[str, ...], np.ndarray]],
    coefficients: np.ndarray,
    covariance: np.ndarray,
) -> LinearTerms:
    """Return terms with what is shown of them: names, and the matrix from coefficients to numbers.

    ``coefficients (k,)`` and ``covariance (k, k)`` are those of all terms, one after the other.
    """
    names = tuple(name for labels, _ in shown for name in labels)
    matrix = block_diag(*(block for _, block in shown))
    estimates, covariance = matrix @ coefficients, matrix @ covariance @ matrix.T
    return LinearTerms(tuple(terms), names, estimates, covariance)
