"""What each row, each sample and each further error did to an estimate of a policy's value."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from causalign.errors import InputError
from causalign.stats.ratio_of_means import Spread

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class FurtherError:
    """An error of an estimate that comes from elsewhere than rows and samples.

    Parameters
    ----------
    parts : (k,) floats
        Independent parts of it, in standard deviations: its variance is the sum of their squares.
    source : array, optional
        What it comes from; two estimates with errors of an equal source share their luck, part by
        part.
    freedom : float
        Degrees of freedom with which the variance was estimated.
    """

    parts: Floats
    source: Floats | None = None
    freedom: float = float("inf")

    @property
    def variance(self) -> float:
        """The variance of the error."""
        return float(self.parts @ self.parts)

    def is_shared_with(self, other: "FurtherError") -> bool:
        """Whether both are the luck of one source."""
        if self.source is None or other.source is None or len(self.parts) != len(other.parts):
            return False
        return np.array_equal(self.source, other.source)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Influence:
    """What each logged row ``(n,)`` and each sample ``(m,)`` did to an estimate.

    ``outcome`` and ``clusters`` say which log it was, so that only estimates from the same log
    are subtracted row by row. ``further`` are errors that come from neither.
    """

    rows: Floats
    samples: Floats
    outcome: Floats
    clusters: NDArray[np.int64] | None
    further: tuple[FurtherError, ...] = ()

    def minus(self, other: "Influence") -> "Influence":
        """Return the influence on a difference; samples of two policies are independent.

        Raises ``InputError`` when the two estimates come from different logs.
        """
        mine, theirs = self.clusters, other.clusters
        same = np.array_equal(self.outcome, other.outcome)
        if mine is None or theirs is None:
            same &= mine is None and theirs is None
        else:
            same &= np.array_equal(mine, theirs)
        if not same:
            raise InputError(
                "The two values come from different logs, so rows cannot be paired. Evaluate both "
                "policies on the same rows in the same order."
            )
        parts = [self.samples, -other.samples]
        # Each sample has its own size; scaled so that one mean of all has the variance of both.
        sizes = [len(p) for p in parts]
        total = sum(sizes)
        scaled = [p * total / max(size, 1) for p, size in zip(parts, sizes, strict=True)]
        return Influence(
            self.rows - other.rows,
            np.concatenate(scaled),
            self.outcome,
            self.clusters,
            _subtract(self.further, other.further),
        )

    def widen(self, spread: Spread, estimate: float, level: float) -> Spread:
        """Return the spread with the further errors in it.

        Errors are independent, so that variances add, and squares of what each interval reaches.

        Parameters
        ----------
        spread : Spread
            What rows and samples make.
        estimate : float
        level : float
            Of the interval.
        """
        if not self.further:
            return spread
        beyond, variance = 0.0, spread.stderr**2
        for error in self.further:
            reach = float(student.ppf(0.5 + level / 2, error.freedom))
            beyond += reach**2 * error.variance
            variance += error.variance
        below, above = estimate - spread.lower, spread.upper - estimate
        return Spread(
            float(np.sqrt(variance)),
            estimate - float(np.sqrt(below**2 + beyond)),
            estimate + float(np.sqrt(above**2 + beyond)),
        )


def _subtract(
    first: tuple[FurtherError, ...], second: tuple[FurtherError, ...]
) -> tuple[FurtherError, ...]:
    """Return the errors of a difference: those of one source part by part, others beside it."""
    left, errors = list(second), []
    for mine in first:
        theirs = next((e for e in left if mine.is_shared_with(e)), None)
        if theirs is None:
            errors.append(mine)
            continue
        left.remove(theirs)
        freedom = min(mine.freedom, theirs.freedom)
        errors.append(FurtherError(mine.parts - theirs.parts, mine.source, freedom))
    return (*errors, *left)
