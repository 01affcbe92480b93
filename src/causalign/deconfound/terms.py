"""The parts of which an effect of confounders is the sum: a slope, or one number per category."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import block_diag

from causalign.errors import InputError
from causalign.logs import Logs
from causalign.logs.covariates import Covariate, covariate


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


def read_numbers(column: Covariate) -> np.ndarray:
    """Return a numeric column ``(n,)``; raise `InputError` for one that holds categories."""
    if column.is_categorical:
        raise InputError(
            f"Column {column.name!r} was numeric in the logs that were fitted and holds "
            "categories here. Convert it to numbers."
        )
    return np.asarray(column.values)


def read_categories(column: Covariate, logs: Logs) -> Covariate:
    """Return a column as categories, also where these logs hold numbers in it."""
    if column.is_categorical:
        return column
    return covariate(column.name, logs.data[column.name], categorical=True)


@dataclass(frozen=True, slots=True)
class Slope:
    """Contribute ``coefficient * (value - mean)``; the mean is that of the fitted logs."""

    column: str
    coefficient: float
    mean: float

    def contribution(self, logs: Logs) -> np.ndarray:
        """Return the contributions ``(n,)`` in units of the outcome."""
        values = read_numbers(logs.covariate(self.column))
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
        return read_categories(logs.covariate(self.column), logs)


@dataclass(frozen=True, slots=True, eq=False)
class LinearTerms:
    """Hold the terms of a linear h(C); names and estimates are ``(k,)``, covariance ``(k, k)``.

    ``contrast (k, c)`` leads from the c coefficients of the regression to the estimates.
    """

    terms: tuple[Term, ...]
    names: tuple[str, ...]
    estimates: np.ndarray
    covariance: np.ndarray
    contrast: np.ndarray


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
    return LinearTerms(tuple(terms), names, estimates, covariance, matrix)
