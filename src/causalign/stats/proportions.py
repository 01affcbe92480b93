"""Shares of two groups of texts: exact tests and intervals, paired by prompt or not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from causalign.errors import InputError
from causalign.settings import require_number
from causalign.stats.ratio_of_means import clustered_error

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SharesCompared:
    """Hold two shares, their difference (first minus second), its interval and a p-value."""

    first: float
    second: float
    difference: float
    lower: float
    upper: float
    p_value: float


def share_interval(hits: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Return the Wilson interval of a share; rows are independent."""
    require_number("level", level, above=0, below=1)
    interval = stats.binomtest(hits, count).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def unpaired_shares(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> SharesCompared:
    """Compare the shares of two independent samples of 0 and 1, ``(n,)`` and ``(m,)``.

    Fisher's exact test; Newcombe's interval, which joins the Wilson intervals of both shares and
    stays inside [-1, 1] where a share is 0. Assumption: all rows are independent. Reference:
    Fisher (1935); Newcombe (1998), method 10.
    """
    a, b = _zero_one(first), _zero_one(second)
    hits = int(a.sum()), int(b.sum())
    p = stats.fisher_exact([[hits[0], len(a) - hits[0]], [hits[1], len(b) - hits[1]]]).pvalue
    one, other = a.mean(), b.mean()
    (l1, u1), (l2, u2) = (
        share_interval(h, n, level) for h, n in zip(hits, (len(a), len(b)), strict=True)
    )
    low = one - other - np.hypot(one - l1, u2 - other)
    high = one - other + np.hypot(u1 - one, other - l2)
    return SharesCompared(
        float(one), float(other), float(one - other), float(low), float(high), float(p)
    )


def paired_shares(first: ArrayLike, second: ArrayLike, level: float = 0.95) -> SharesCompared:
    """Compare two shares that answer the same prompts, one text each: 0 and 1, ``(n,)`` each.

    McNemar's exact test: of the prompts on which the two differ, does one side hold more than
    half? The interval is Bonett and Price's (2012), Wald's with one added to each kind of
    disagreement, so that it has a width where nobody disagrees. Assumption: prompts are
    independent.
    """
    require_number("level", level, above=0, below=1)
    a, b = _pairs_of_zero_one(first, second)
    gained, lost, n = int(((a == 1) & (b == 0)).sum()), int(((a == 0) & (b == 1)).sum()), len(a)
    p = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    one, other = (gained + 1) / (n + 2), (lost + 1) / (n + 2)
    reach = stats.norm.ppf(0.5 + level / 2) * np.sqrt((one + other - (one - other) ** 2) / (n + 2))
    low, high = max(one - other - reach, -1.0), min(one - other + reach, 1.0)
    return SharesCompared(
        float(a.mean()),
        float(b.mean()),
        float((gained - lost) / n),
        float(low),
        float(high),
        float(p),
    )


def clustered_shares(
    first: ArrayLike, second: ArrayLike, clusters: ArrayLike, level: float = 0.95
) -> SharesCompared:
    """Compare two shares of texts that are paired row by row, several for each prompt.

    The mean of the differences ``(n,)`` with the standard error of sums over ``clusters (n,)`` and
    t with as many degrees of freedom as clusters less one. Where no row differs p is 1. Assumption:
    clusters are independent, and many. Raises ``NotIdentified`` with one cluster.
    """
    require_number("level", level, above=0, below=1)
    a, b = _pairs_of_zero_one(first, second)
    change = a - b
    difference = float(change.mean())
    error, count = clustered_error(change - difference, clusters)
    reach = float(stats.t.ppf(0.5 + level / 2, count - 1)) * error
    p = 2 * stats.t.sf(abs(difference) / error, count - 1) if error > 0 else float(difference == 0)
    return SharesCompared(
        float(a.mean()),
        float(b.mean()),
        difference,
        max(difference - reach, -1.0),
        min(difference + reach, 1.0),
        float(p),
    )


def _pairs_of_zero_one(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    a, b = _zero_one(first), _zero_one(second)
    if len(a) != len(b):
        raise InputError(f"Pairs need as many texts on both sides; there are {len(a)}, {len(b)}.")
    return a, b


def _zero_one(values: ArrayLike) -> Floats:
    given = np.asarray(values, dtype=np.float64)
    if given.ndim != 1 or len(given) == 0 or not np.isin(given, (0, 1)).all():
        raise InputError("Shares are of 0 and 1, (n,), at least one.")
    return given
