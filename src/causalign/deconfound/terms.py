"""The parts of which an effect of confounders is the sum: a slope, or one number per category."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from causalign.covariates import Covariate, covariate
from causalign.errors import InputError
from causalign.logs import Logs

__all__ = ["Average", "Categories", "LinearTerms", "Slope", "Term", "terms_about"]


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


@dataclass(frozen=True, slots=True)
class Slope:
    """Contribute ``coefficient * (value - mean)``; the mean is that of the fitted logs."""

    column: str
    coefficient: float
    mean: float

    def contribution(self, logs: Logs) -> np.ndarray:
        """Return the contributions ``(n,)`` in units of the outcome."""
        found = logs.covariate(self.column)
        if found.is_categorical:
            raise InputError(
                f"Column {self.column!r} was numeric in the logs that were fitted and holds "
                "categories here. Convert it to numbers."
            )
        return self.coefficient * (found.values - self.mean)

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
        found = self._codes(logs)
        by_level = np.array([self.deviations.get(level, 0.0) for level in found.levels])
        return by_level[found.values]

    def unknown(self, logs: Logs) -> int:
        """Return how many rows hold a category that has no effect of its own."""
        found = self._codes(logs)
        missing = np.array([level not in self.deviations for level in found.levels])
        return int(missing[found.values].sum())

    def _codes(self, logs: Logs) -> Covariate:
        found = logs.covariate(self.column)
        if found.is_categorical:
            return found
        return covariate(self.column, logs.data[self.column], categorical=True)


@dataclass(frozen=True, slots=True, eq=False)
class LinearTerms:
    """Hold the terms of a linear h(C); names and estimates are ``(k,)``, covariance ``(k, k)``."""

    terms: tuple[Term, ...]
    names: tuple[str, ...]
    estimates: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Average:
    """Hold what the terms need to know of a confounder: its mean, or its levels' shares."""

    name: str
    mean: float = 0.0
    levels: tuple[str, ...] = ()
    shares: np.ndarray | None = None


def terms_about(
    averages: Sequence[Average], coefficients: np.ndarray, covariance: np.ndarray
) -> LinearTerms:
    """Turn the coefficients of a design into terms relative to the average row.

    ``coefficients (k,)`` and ``covariance (k, k)`` belong to the columns of the design, in order.
    Categories, coded against their first level, become deviations ``d_l = b_l - sum_m s_m b_m``
    from their average with the weighted shares s, so that no category is special and the effects
    of all of them, the first included, have intervals.
    """
    terms: list[Term] = []
    names: list[str] = []
    blocks: list[np.ndarray] = []
    start = 0
    for one in averages:
        if one.shares is not None:
            width = len(one.levels) - 1
            contrast = np.vstack([np.zeros(width), np.eye(width)]) - one.shares[1:]
            found = contrast @ coefficients[start : start + width]
            terms.append(Categories(one.name, dict(zip(one.levels, found.tolist(), strict=True))))
            names += [f"{one.name}[{level}]" for level in one.levels]
        else:
            width = 1
            contrast = np.ones((1, 1))
            terms.append(Slope(one.name, float(coefficients[start]), one.mean))
            names.append(one.name)
        block = np.zeros((len(contrast), len(coefficients)))
        block[:, start : start + width] = contrast
        blocks.append(block)
        start += width
    to_terms = np.vstack(blocks)
    return LinearTerms(
        tuple(terms),
        tuple(names),
        to_terms @ coefficients,
        to_terms @ covariance @ to_terms.T,
    )
