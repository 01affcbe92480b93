"""Measure how well score differences order pairs, with cluster-robust intervals."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, stdtrit

from causalign.errors import InputError, SettingsError
from causalign.stats.folds import number_clusters

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RankingMetric:
    """Hold a ranking metric, or the difference of two, with a cluster-robust interval.

    The interval is ``estimate ± t·standard_error`` with as many degrees of freedom as clusters
    less one, cut to the values that the metric can take.
    """

    name: str
    estimate: float
    standard_error: float
    lower: float
    upper: float
    pairs: int
    clusters: int


def pair_auc(
    differences: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> RankingMetric:
    """Return the area under the ROC curve of score differences, both orders of a pair counted.

    ``differences`` ``(n,)`` are the score of the first side minus that of the second; ``labels``
    ``(n,)`` is 1 where the first was preferred, 0 where the second (default: always the first).
    With ``e_i`` the difference in favour of the preferred side,

        AUC = (1/n²) Σ_i Σ_j [ 1(e_i + e_j > 0) + ½ 1(e_i + e_j = 0) ],

    which is the ROC AUC of the 2n rows ``(d, label)`` and ``(-d, 1 - label)``, so that it does not
    depend on which side was written first. Its standard error sums the influence
    ``2 (mean_j h(e_i, e_j) - AUC)`` inside each cluster.

    Assumption: clusters ``(n,)`` (default: every pair one) are independent, and many.

    Raises ``InputError`` for shapes or values that do not fit, or fewer than two clusters.
    """
    estimate, influence = auc_influence(_favour(differences, labels))
    return clustered_metric("pair AUC", estimate, influence, clusters, level, 0.0)


def pair_accuracy(
    differences: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> RankingMetric:
    """Return the share of pairs whose preferred side scores higher; a tie counts one half.

    Arguments, assumption and errors are those of :func:`pair_auc`.
    """
    estimate, influence = _accuracy(_favour(differences, labels))
    return clustered_metric("pair accuracy", estimate, influence, clusters, level, 0.0)


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    metric: Literal["auc", "accuracy"] = "auc",
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> RankingMetric:
    """Return the metric of scorer ``first`` minus that of ``second`` on the same pairs.

    ``first`` and ``second`` are score differences ``(n,)``. The influences are subtracted pair by
    pair before they are summed in clusters, so that what both scorers find hard cancels; comparing
    two separate intervals would not. Assumption and errors are those of :func:`pair_auc`.
    """
    kernels = {"auc": auc_influence, "accuracy": _accuracy}
    if metric not in kernels:
        raise SettingsError(f"metric must be 'auc' or 'accuracy'; found {metric!r}.")
    a, psi_a = kernels[metric](_favour(first, labels))
    b, psi_b = kernels[metric](_favour(second, labels))
    if len(psi_a) != len(psi_b):
        raise InputError(f"The scorers have {len(psi_a)} and {len(psi_b)} pairs; give the same.")
    return clustered_metric(
        f"difference in pair {metric}", a - b, psi_a - psi_b, clusters, level, -1.0
    )


def odds_slope(
    differences: ArrayLike, weights: ArrayLike, clusters: ArrayLike
) -> tuple[float, float]:
    """Return s of ``P(chosen wins) = σ(s d)``, and its clustered variance.

    ``differences (m,)`` are scores of the chosen less the rejected text, by a fit that saw neither:
    s = 1 where they are the log-odds of winning, s > 1 where a penalty shrank them.

    Raises ``InputError`` where every pair is told right, or wrong: then s has no end.
    """
    d, w = np.asarray(differences, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    sides = np.sign(d[w > 0])
    if not len(sides) or (sides >= 0).all() or (sides <= 0).all():
        raise InputError("the pairs of a part are all told alike, so that they tell no slope")
    size = np.abs(d).max()  # so that the slope is of the order of one

    def loss(scaled: float) -> float:
        return float(w @ np.logaddexp(0.0, -scaled * d / size))

    slope = float(minimize_scalar(loss, tol=1e-10).x) / size
    member, count = number_clusters(clusters, len(d))
    scores = np.bincount(member, w * d * expit(-slope * d))
    curvature = float(w @ (d**2 * expit(slope * d) * expit(-slope * d)))
    return slope, float(scores @ scores) / curvature**2 * count / max(count - 1, 1)


def _favour(differences: ArrayLike, labels: ArrayLike | None) -> Array:
    """Return the differences in favour of the preferred side, ``(n,)``."""
    d = np.asarray(differences, dtype=np.float64)
    if d.ndim != 1 or len(d) == 0 or not np.isfinite(d).all():
        raise InputError("differences must be (n,) finite numbers, at least one.")
    if labels is None:
        return d
    preferred = np.asarray(labels)
    if preferred.shape != d.shape or not np.isin(preferred, (0, 1)).all():
        raise InputError(
            f"labels must be ({len(d)},) zeros and ones: 1 where the first side was preferred."
        )
    return np.where(preferred.astype(bool), d, -d)


def auc_influence(e: Array) -> tuple[float, Array]:
    """Return the AUC of score differences ``(n,)`` in favour of the preferred side, and influences.

    ``AUC + Σ_i (m_i - 1) influence_i / n`` is what a resample with multiplicities m gives, to
    first order.
    """
    ordered = np.sort(-e)
    below = np.searchsorted(ordered, e, side="left")
    up_to = np.searchsorted(ordered, e, side="right")
    wins = (below + up_to) / (2 * len(e))
    auc = float(wins.mean())
    return auc, 2 * (wins - auc)


def _accuracy(e: Array) -> tuple[float, Array]:
    right = (e > 0) + 0.5 * (e == 0)
    accuracy = float(right.mean())
    return accuracy, right - accuracy


def clustered_metric(
    name: str,
    estimate: float,
    influence: Array,
    clusters: ArrayLike | None,
    level: float,
    smallest: float,
    largest: float = 1.0,
) -> RankingMetric:
    """Return the estimate with the interval that its ``influence (n,)``, of mean zero, gives.

    The interval is cut to ``smallest`` and ``largest``. Raises as :func:`pair_auc` does.
    """
    if not 0 < level < 1:
        raise SettingsError(f"level must lie between 0 and 1; found {level}.")
    n = len(influence)
    member, count = number_clusters(clusters, n)
    if count < 2:
        raise InputError("A standard error needs at least two clusters of pairs; there is one.")
    sums = np.bincount(member, weights=influence)
    error = float(np.sqrt(count / (count - 1) * (sums @ sums)) / n)
    reach = float(stdtrit(count - 1, 0.5 + level / 2)) * error
    lower, upper = max(estimate - reach, smallest), min(estimate + reach, largest)
    return RankingMetric(name, estimate, error, lower, upper, n, count)
