"""Ask of each estimate whether its standard error is one, and say why where it is not (DE105)."""

from collections.abc import Sequence

import numpy as np

from causalign.checks.check import Check
from causalign.deconfound.terms import LinearTerms
from causalign.logs.covariates import Covariate
from causalign.results import Finding
from causalign.stats.sandwich import make_possible

# A standard error below this share of its estimate is the rounding of a zero.
ZERO = 1e-9
NAMED = 3


def find_told_once(categories: Sequence[Covariate], clusters: np.ndarray | None) -> frozenset[str]:
    """Return the names of the levels of which one cluster (or one row) holds all rows.

    The errors of the rows of a level sum to zero, whatever they are. Where they lie in one cluster,
    so does what is summed within it, and how far the level is off cannot be told.
    """
    ways = () if clusters is None else clusters.reshape(len(clusters), -1).T
    members = [np.unique(way, return_inverse=True)[1] for way in ways]
    names: set[str] = set()
    for one in categories:
        levels = len(one.levels)
        counted = [np.bincount(np.unique(one.values + levels * m) % levels, minlength=levels)
                   for m in members] or [np.bincount(one.values, minlength=levels)]  # fmt: skip
        alone = np.flatnonzero(np.any([count == 1 for count in counted], axis=0))
        names |= {f"{one.name}[{one.levels[int(level)]}]" for level in alone}
    return frozenset(names)


def check_standard_errors(
    linear: LinearTerms,
    cluster_counts: Sequence[int],
    *,
    exact: bool,
    once: frozenset[str] = frozenset(),
) -> tuple[np.ndarray, tuple[Finding, ...]]:
    """Return the covariance, NaN where a standard error is zero without saying anything.

    With it DE105, where there is something to say; ``exact`` says that the columns explain the
    outcome wholly, ``once`` are the names that a single cluster or row tells.
    """
    covariance = np.array(linear.covariance, dtype=np.float64)
    variance = covariance if covariance.ndim == 1 else np.diag(covariance)
    missing = np.isnan(variance)
    alone = ~missing
    alone[alone] = [linear.names[int(i)] in once for i in np.flatnonzero(alone)]
    with np.errstate(invalid="ignore"):
        zero = ~missing & ~alone & (variance <= np.square(ZERO * linear.estimates)) & (not exact)
    known = ~missing & ~alone & ~zero
    covariance[~known] = np.nan
    if covariance.ndim == 2:
        covariance[:, ~known] = np.nan
        places = np.ix_(known, known)
        if len(cluster_counts) > 1 and not exact:
            covariance[places] = make_possible(covariance[places])
    numbers = {"not_computed": missing, "told_once": alone, "zero": zero}
    check = Check(
        "DE105",
        "Standard errors",
        estimates=len(variance),
        repaired=float(linear.repaired),
        **{name: int(which.sum()) for name, which in numbers.items()},
    )
    unit = "cluster" if cluster_counts else "row"
    nothing = (
        "the two ways of clustering leave nothing" if len(cluster_counts) > 1 else "it is zero"
    )
    reasons = (
        (zero, f"{nothing}, and how far off it is cannot be told"),
        (alone, f"all rows lie in one {unit}, so that how far off it is cannot be told"),
        (missing, linear.unknown),
    )
    sentences = [
        f"{_few(linear, which)} without one: {why}." for which, why in reasons if which.any()
    ]
    sentences += [EXPLAINED] if exact else []
    sentences += [_repaired(cluster_counts)] if linear.repaired else []
    return covariance, (check.warns(" ".join(sentences)),) if sentences else ()


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


def _few(linear: LinearTerms, which: np.ndarray) -> str:
    places = np.flatnonzero(which)
    more = f" and {len(places) - NAMED:,} more" if len(places) > NAMED else ""
    verb = "are" if len(places) > 1 else "is"
    return ", ".join(linear.names[int(i)] for i in places[:NAMED]) + f"{more} {verb}"
