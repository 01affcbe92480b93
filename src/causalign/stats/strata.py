"""Cut rows into strata: the levels of a category, the quantiles of a number, or their crossing."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from causalign.errors import InputError, SettingsError

__all__ = ["crossed", "quantile_strata", "rank_within"]

Codes = NDArray[np.int64]


def quantile_strata(values: ArrayLike, count: int = 10) -> Codes:
    """Return which of ``count`` equally full classes each number is in, ``(n,)``, from 0.

    Equal numbers share a class, so that there may be fewer classes than asked for.
    """
    given = np.asarray(values, dtype=np.float64)
    if count < 2:
        raise SettingsError(f"Strata need a count of at least 2, not {count}.")
    if given.ndim != 1 or not np.isfinite(given).all():
        raise InputError("Strata are cut from finite numbers (n,).")
    edges = np.unique(np.quantile(given, np.linspace(0, 1, count + 1)[1:-1]))
    return np.unique(np.searchsorted(edges, given, side="left"), return_inverse=True)[1]


def crossed(codes: Sequence[ArrayLike]) -> Codes:
    """Return one code ``(n,)`` for each combination of the given codes that occurs, from 0."""
    joint = np.column_stack([np.asarray(code) for code in codes])
    return np.unique(joint, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def rank_within(values: ArrayLike, strata: ArrayLike) -> NDArray[np.float64]:
    """Return the rank of each value among those of its stratum, less their mean rank.

    ``values`` are ``(n,)`` or ``(n, L)``, ranked column by column; ties share their mean rank.
    """
    given = np.asarray(values, dtype=np.float64)
    member = np.asarray(strata)
    ranks = np.empty_like(given)
    order = np.argsort(member, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(member[order])) + 1):
        ranks[rows] = rankdata(given[rows], axis=0) - (len(rows) + 1) / 2
    return ranks
