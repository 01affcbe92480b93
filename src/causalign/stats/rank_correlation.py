"""Kendall's rank correlation within groups, with an interval that survives clusters."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from causalign.errors import InputError, NotIdentified
from causalign.stats.ranking import RankingMetric

__all__ = ["kendall_within"]

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
