"""How many rows, or clusters, an estimate rests on, and how far its interval must reach."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from causalign.stats.sandwich import group_rows, sum_groups

Floats = NDArray[np.float64]

# An estimate that rests on less is one row's noise, which no other row tells from the effect.
ONE_ROW = 1.5


def carrying_rows(pull: Floats, clusters: ArrayLike | None = None) -> Floats:
    """Return on how many rows, or clusters, each of k linear estimates rests, ``(k,)``.

    An estimate ``b_j = Σ_i a_ij y_i`` has, for noise of one size, the variance ``σ² Σ_g q_gj``
    with ``q_gj = Σ_{i in g} a_ij²``; it rests on ``(Σ_g q_gj)² / Σ_g q_gj²`` rows or clusters g:
    on 4 for the mean of 4 rows less that of 596. Of two ways to cluster the smaller number counts.

    Parameters
    ----------
    pull : (n, k) floats
        What one unit more of the outcome of row i does to estimate j.
    clusters : (n,) or (n, 2), optional
        Labels of the clusters, by default every row its own.

    Returns
    -------
    (k,) floats
        1 or more; infinite for an estimate that no outcome moves.

    References
    ----------
    Bell and McCaffrey (2002); Carter, Schnepel and Steigerwald (2017).
    """
    largest = np.abs(pull).max(axis=0, initial=0.0)
    squares = np.square(pull / np.where(largest > 0, largest, 1.0))
    ways = group_rows(clusters, len(pull))[:2]
    shares = [np.asarray(sum_groups(squares, codes, count)) for _, codes, count in ways]
    numbers = [effective_number(q.sum(axis=0), np.square(q).sum(axis=0)) for q in shares]
    return np.asarray(np.min(numbers, axis=0))


def effective_number(total: Floats, squares: Floats) -> Floats:
    """Return ``total² / squares``, the number of equal shares like these; infinite without any."""
    return np.divide(total**2, squares, out=np.full_like(total, np.inf), where=squares > 0)


def interval_reach(carried: Floats, degrees_of_freedom: float, level: float) -> Floats:
    """Return by how many standard errors an interval reaches to each side, ``(k,)``.

    ``t_d sqrt(m/(m - 1))`` with ``d = min(degrees_of_freedom, m - 1)``, at least 1, for an estimate
    that rests on m rows or clusters: a sandwich covariance is too small by that factor and as
    uncertain as a variance of m numbers. It goes to the usual t as m grows, and is infinite where m
    is below 1.5. In 1,500 draws with 2, 3, 4, 8 or 30 treated rows of 600, 20 coefficients for 100
    rows, 5 to 100 clusters, or 3 treated clusters of 50 it covered 94.4% to 97.7%, where the usual
    t covered 58.7% to 94.7%.

    Parameters
    ----------
    carried : (k,) floats
        As `carrying_rows` returns them.
    degrees_of_freedom : float
        Those of the usual t distribution.
    level : float
        The coverage, between 0 and 1.

    Returns
    -------
    (k,) floats
        Factors of the standard errors.
    """
    left = np.maximum(carried, ONE_ROW) - 1
    freedom = np.maximum(np.minimum(degrees_of_freedom, left), 1.0)
    reach: Floats = stdtrit(freedom, (1 + level) / 2) * np.sqrt(1 + 1 / left)
    return np.where(carried < ONE_ROW, np.inf, reach)
