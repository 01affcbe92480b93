"""Kendall's rank correlation, within groups or of pairs, with intervals that survive clusters."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from causalign.errors import InputError, NotIdentified
from causalign.stats.pair_metrics import RankingMetric, clustered_metric

Floats = NDArray[np.float64]


def kendall_within(
    scores: ArrayLike,
    outcomes: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> RankingMetric:
    """Return (concordant - discordant) / (pairs whose outcomes differ), pairs within groups.

    ``scores``, ``outcomes``, ``groups`` ``(n,)``; default: one group. Texts of different groups
    (tests, questions) never compete. A tie of scores counts 0, so that with scores and outcomes
    without ties and one group it is Kendall's tau. The standard error sums the influence of each
    row, twice its share of the numerator less tau times that of the denominator, in clusters
    (default: the groups; rows, when there is one group).

    Assumption: clusters are independent and many. Raises ``InputError`` for shapes that do not
    fit, ``NotIdentified`` when no two outcomes of a group differ or there is one cluster.
    """
    s, y = (np.asarray(v, dtype=np.float64) for v in (scores, outcomes))
    if s.ndim != 1 or s.shape != y.shape or not (np.isfinite(s).all() and np.isfinite(y).all()):
        raise InputError("scores and outcomes must be (n,) finite numbers.")
    n = len(s)
    group = np.zeros(n, dtype=int) if groups is None else np.unique(groups, return_inverse=True)[1]
    if group.shape != (n,):
        raise InputError(f"groups must be ({n},).")
    agreement, comparable = np.zeros(n), np.zeros(n)
    order = np.argsort(group, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        for part in np.array_split(rows, max(1, len(rows) ** 2 // 4_000_000 + 1)):
            apart = np.sign(y[part, None] - y[rows])
            agreement[part] = (apart * np.sign(s[part, None] - s[rows])).sum(axis=1)
            comparable[part] = np.abs(apart).sum(axis=1)
    if not comparable.sum() > 0:
        raise NotIdentified("No two outcomes of a group differ, so nothing can be ranked.")
    tau = float(agreement.sum() / comparable.sum())
    labels = clusters if clusters is not None else (np.arange(n) if groups is None else group)
    _, member = np.unique(np.asarray(labels), return_inverse=True)
    if member.shape != (n,) or member.max() < 1:
        raise NotIdentified("A standard error needs at least two clusters, one label for each row.")
    count = int(member.max()) + 1
    # A pair across clusters moves with both of its rows; a pair within one is counted once there.
    twice = 2.0 if groups is None else 1.0
    sums = np.bincount(member, weights=twice * (agreement - tau * comparable))
    error = float(np.sqrt(count / (count - 1) * (sums @ sums)) / comparable.sum())
    reach = float(student.ppf(0.5 + level / 2, count - 1)) * error
    lower, upper = max(tau - reach, -1.0), min(tau + reach, 1.0)
    pairs = int(comparable.sum() / 2)
    return RankingMetric("Kendall tau", tau, error, lower, upper, pairs, count)


def pair_tau(
    differences: ArrayLike,
    margins: ArrayLike | None = None,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> RankingMetric:
    """Return Kendall's tau-b of score differences and margins, both orders of a pair counted.

    ``differences`` and ``margins`` ``(n,)`` are the score and the outcome of the first side minus
    those of the second (default: margins of 1, the first side won). With the 2n rows ``(d, m)``
    and ``(-d, -m)``, so that it does not depend on which side was written first,

        tau = Σ sign(d_i - d_j) sign(m_i - m_j) / sqrt(Σ 1(d_i ≠ d_j) Σ 1(m_i ≠ m_j)).

    It asks whether large differences of the score belong to large margins; that of two texts, the
    winner and the loser, is twice the accuracy less one. The standard error sums the influence
    ``2 a_i / sqrt(PQ) - tau (p_i / P + q_i / Q)`` inside each cluster, where a_i, p_i and q_i are
    what pair i adds to the three sums.

    Assumption: clusters ``(n,)`` (default: every pair one) are independent, and many. Raises
    ``InputError`` for shapes that do not fit or fewer than two clusters, ``NotIdentified`` when
    all differences or all margins are zero. Reference: Kendall (1945).
    """
    d = np.asarray(differences, dtype=np.float64)
    m = np.ones_like(d) if margins is None else np.asarray(margins, dtype=np.float64)
    if d.ndim != 1 or len(d) == 0 or d.shape != m.shape:
        raise InputError(f"differences and margins must be (n,), not {d.shape} and {m.shape}.")
    if not (np.isfinite(d).all() and np.isfinite(m).all()):
        raise InputError("differences and margins must be finite numbers.")
    n = len(d)
    both, rank = np.r_[d, -d], np.r_[m, -m]
    # Each pair stands for two of the 2n rows, which add the same.
    agreement = 2.0 * _agreement(both, rank)[:n]
    apart, ranked = (2.0 * (2 * n - _equal(v)[:n]) for v in (both, rank))
    if not (apart.any() and ranked.any()):
        what = "score difference" if not apart.any() else "margin"
        raise NotIdentified(f"Every {what} is zero, so nothing is ordered.")
    scale = float(np.sqrt(apart.sum() * ranked.sum()))
    tau = float(agreement.sum()) / scale
    share = apart / apart.sum() + ranked / ranked.sum()
    influence = n * (2.0 * agreement / scale - tau * share)
    return clustered_metric("Kendall tau-b", tau, influence, clusters, level, -1.0)


def _agreement(x: Floats, y: Floats) -> Floats:
    """Return ``Σ_j sign(x_i - x_j) sign(y_i - y_j)`` for each row, ``(n,)``."""
    total = np.zeros(len(x))
    for a, b in ((1, 1), (-1, -1), (1, -1), (-1, 1)):
        total += a * b * _dominated(a * x, b * y)
    return total


def _dominated(x: Floats, y: Floats) -> Floats:
    """Return for each row how many others are smaller in both, in ``n log² n`` steps.

    With ranks in binary, the rows of smaller rank are those which, at one bit, have the same
    higher bits, a zero where this row has a one, and whatever below.
    """
    order = np.argsort(x, kind="stable")
    _, rank = np.unique(y, return_inverse=True)
    _, level = np.unique(x, return_inverse=True)
    rank, level = rank[order], level[order]
    count = np.zeros(len(x))
    for bit in range(int(rank.max(initial=0)).bit_length()):
        block = rank >> (bit + 1)
        low = (rank >> bit) & 1 == 0
        place = np.argsort(block, kind="stable")  # by block, in it by x
        before = np.r_[0, np.cumsum(low[place])]
        # Rows of equal x in a block see what was there before the first of them.
        start = np.flatnonzero(np.r_[True, np.diff(block[place]) != 0])
        tied = np.flatnonzero(
            np.r_[True, (np.diff(block[place]) != 0) | (np.diff(level[place]) != 0)]
        )
        first = np.repeat(tied, np.diff(np.r_[tied, len(x)]))
        begin = np.repeat(start, np.diff(np.r_[start, len(x)]))
        smaller = before[first] - before[begin]
        count[order[place]] += np.where(low[place], 0, smaller)
    return count


def _equal(values: Floats) -> Floats:
    """Return how many values equal each one, itself included, ``(n,)``."""
    _, member, count = np.unique(values, return_inverse=True, return_counts=True)
    return count[member].astype(np.float64)
