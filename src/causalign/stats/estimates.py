"""Estimates with standard errors, their p-values and intervals, and q-values of many of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Hold m estimates with standard errors and degrees of freedom, all ``(m,)``.

    ``stderr`` is robust or clustered; ``independent`` that under independence of marker and
    outcome. Tests and intervals use the larger: a rare marker may by chance meet a single value
    of the outcome, and its robust error is then zero.
    """

    estimate: Floats
    stderr: Floats
    independent: Floats
    degrees_of_freedom: Floats

    @property
    def error(self) -> Floats:
        """Return the larger of both standard errors."""
        return np.maximum(self.stderr, self.independent)

    @property
    def p_value(self) -> Floats:
        """Return two-sided p-values of no effect, NaN where the error is not known."""
        ratio = np.abs(self.estimate) / np.where(self.error > 0, self.error, np.nan)
        return np.asarray(2 * stdtr(self.degrees_of_freedom, -ratio))

    def interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Return lower and upper ends ``(m,)``."""
        half = stdtrit(self.degrees_of_freedom, 0.5 + level / 2) * self.error
        return self.estimate - half, self.estimate + half

    def take(self, places: NDArray[np.int64]) -> "Estimates":
        """Return the estimates at the places."""
        return Estimates(*(column[places] for column in self.columns()))

    def replace_at(self, places: NDArray[np.int64], others: "Estimates") -> "Estimates":
        """Return the estimates, those at the places being others."""
        every = [column.copy() for column in self.columns()]
        for column, own in zip(every, others.columns(), strict=True):
            column[places] = own
        return Estimates(*every)

    def spread(self, places: NDArray[np.int64], count: int) -> "Estimates":
        """Return ``count`` estimates, these at their places and NaN elsewhere."""
        nothing = np.full(count, np.nan)
        return Estimates(nothing, nothing, nothing, nothing).replace_at(places, self)

    def columns(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the fields, each ``(m,)``."""
        return self.estimate, self.stderr, self.independent, self.degrees_of_freedom


def q_values(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return Benjamini and Yekutieli's q-values ``(m,)``; NaN where there is no p-value.

    Calling a discovery what has ``q <= α`` keeps the expected share of false discoveries at or
    below α under any dependence of the tests. Phrases share words and exclude each other, and
    tests are two-sided, so that the condition of Benjamini and Hochberg (1995) is not known to
    hold; the price is the factor ``Σ_{i <= m} 1/i``, about ``ln m + 0.58``.

    Assumption: each p-value is valid by itself. Reference: Benjamini and Yekutieli (2001).
    """
    # Here, because all of scipy.stats takes a while to import.
    from scipy.stats import false_discovery_control

    p = np.asarray(p_values, dtype=np.float64)
    q = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        q[known] = false_discovery_control(p[known], method="by")
    return q
