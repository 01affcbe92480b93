"""Ask of each estimate whether its standard error is one, and say why where it is not (DE104)."""

from collections.abc import Sequence

import numpy as np

from causalign.checks.check import Check
from causalign.deconfound.terms import LinearTerms
from causalign.results import Finding
from causalign.stats.rounding import MARGIN
from causalign.stats.sandwich import make_possible

# A standard error below this share of its estimate is the rounding of a zero.
ZERO = 1e-9
# A fit whose residuals are below this share of the outcome leaves nothing to judge by.
EXACT = 1e-11
NAMED = 3


def is_exact(unexplained: float, roundoff: float) -> bool:
    """Return whether what a fit leaves of the outcome, as a share of its length, is rounding.

    ``roundoff`` is by which share of itself each outcome was rounded.
    """
    return unexplained <= max(EXACT, MARGIN * roundoff)


def check_standard_errors(
    linear: LinearTerms, cluster_counts: Sequence[int], *, exact: bool
) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Return the covariance, NaN where a standard error is zero without saying anything.

    With it DE104, where there is something to say; ``exact`` says that the columns explain the
    outcome wholly.
    """
    covariance = np.array(linear.covariance, dtype=np.float64)
    variance = covariance if covariance.ndim == 1 else np.diag(covariance)
    missing = np.isnan(variance)
    with np.errstate(invalid="ignore"):
        zero = ~missing & (variance <= np.square(ZERO * linear.estimates))
    if exact:
        zero[:] = False
    covariance[zero] = np.nan
    if covariance.ndim == 2:
        covariance[:, zero] = np.nan
        known = np.flatnonzero(~missing & ~zero)
        if len(cluster_counts) > 1 and not exact:
            covariance[np.ix_(known, known)] = make_possible(covariance[np.ix_(known, known)])
    check = Check(
        "DE104",
        "Standard errors",
        estimates=len(variance),
        not_computed=int(missing.sum()),
        zero=int(zero.sum()),
        repaired=float(linear.repaired),
    )
    said = [
        *([_zero(linear, zero, cluster_counts)] if zero.any() else []),
        *([f"{_few(linear, missing)} without one: {linear.unknown}."] if missing.any() else []),
        *([EXPLAINED] if exact else []),
        *([_repaired(cluster_counts)] if linear.repaired else []),
    ]
    if not said:
        return covariance, ()
    return covariance, ((check.fails if zero.any() else check.warns)(" ".join(said)),)


EXPLAINED = (
    "Columns and categories explain the outcome of every row to its last digit: standard errors "
    "are rounding. Ask where such an outcome comes from."
)


def _repaired(counts: Sequence[int]) -> str:
    ways = " and ".join(f"{count:,}" for count in counts)
    return (
        f"The two ways of clustering ({ways} clusters) combine to negative variances; negative "
        "eigenvalues were set to zero (Cameron, Gelbach and Miller 2011), and standard errors may "
        "be too small. Cluster by one column, or by columns of more clusters."
    )


def _zero(linear: LinearTerms, zero: np.ndarray, counts: Sequence[int]) -> str:
    reason = "the rows that tell it are fitted exactly"
    if counts:
        reason = "within each cluster its errors sum to zero, as for a category that is a cluster"
    if len(counts) > 1:
        reason = "the two ways of clustering leave nothing of its variance"
    return f"{_few(linear, zero)} without one, since {reason}: how far off it is cannot be told."


def _few(linear: LinearTerms, which: np.ndarray) -> str:
    names = [linear.names[int(i)] for i in np.flatnonzero(which)]
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    verb = "are" if len(names) > 1 else "is"
    return ", ".join(names[:NAMED]) + f"{more} {verb}"
