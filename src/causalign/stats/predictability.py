"""How well one set of columns predicts another, on rows that the prediction never saw."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from causalign.stats.cross_fit import ridge_cross_fit
from causalign.stats.folds import group_folds

Array = NDArray[np.float64]
Groups = NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Predictability:
    """Hold a cross-fitted score with the p-value of having none.

    ``metric`` is "R²" for numbers (at most 1; negative when worse than the mean) and "AUC" for
    classes (averaged one-against-the-rest, weighted by class size; .5 is chance). ``p_value`` is
    one-sided, of the correlation between out-of-fold prediction and target.
    """

    metric: Literal["R²", "AUC"]
    score: float
    p_value: float


def cross_fit_predictions(
    features: Array, targets: Array, groups: Groups, *, folds: int = 5, seed: int = 0
) -> Array:
    """Predict each fold of ``targets`` ``(n, m)`` by ridge fitted on the others.

    The penalty of each target is chosen by cross-validation inside the training folds only, so no
    row takes part in any choice behind its own prediction. Groups are kept together at both
    levels. At least three folds are cut; raises `InputError` with fewer than three groups.
    """
    count = max(3, min(folds, len(np.unique(groups))))
    return ridge_cross_fit(features, targets, folds=group_folds(groups, count, seed)).predicted


def predictability(
    features: Array,
    target: Array,
    groups: Groups,
    *,
    classes: int | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Predictability:
    """Score how well ``features`` ``(n, d)`` predict ``target`` ``(n,)``.

    With ``classes`` the target holds codes 0 ... classes − 1 and each class gets its own ridge
    score. Rows of a group need not be independent: see `score_predictions`.
    """
    given = target[:, None] if classes is None else target[:, None] == np.arange(classes)
    predicted = cross_fit_predictions(
        features, given.astype(np.float64), groups, folds=folds, seed=seed
    )
    return score_predictions(predicted, target, groups, classes=classes)


def score_predictions(
    predicted: Array, target: Array, groups: Groups, *, classes: int | None = None
) -> Predictability:
    """Score predictions ``(n, 1)`` of numbers, or ``(n, classes)`` of codes, ``target`` ``(n,)``.

    The p-value is that of ``z = Σ p_i t_i / se``, both centred, against Student's t with the
    number of ``groups`` ``(n,)`` less one. The error is the larger of two: the root of the sum of
    squares of what each group adds, and the one under independence of p and t, with t alike within
    groups. The first alone would trust a class that by chance met no extreme value of a target
    with heavy tails; the second alone knows nothing of unequal spreads.
    """
    codes = np.unique(groups, return_inverse=True)[1]
    if classes is None:
        residual, spread = np.mean((target - predicted[:, 0]) ** 2), np.var(target)
        score = 1.0 - float(residual / spread) if spread > 0 else 0.0
        return Predictability("R²", score, _p_value(predicted, target[:, None], codes))
    indicator = (target[:, None] == np.arange(classes)).astype(np.float64)
    share = indicator.mean(axis=0)
    scores = [auc(predicted[:, k], indicator[:, k]) for k in range(classes)]
    score = float(np.average(scores, weights=share))
    return Predictability("AUC", score, _p_value(predicted, indicator, codes))


def auc(score: Array, label: Array) -> float:
    """Return P(score of a 1 > score of a 0), ties counting half; .5 when a class is absent."""
    # Here, because all of scipy.stats takes a while to import and one function is needed.
    from scipy.stats import rankdata

    positive = label > 0.5
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        return 0.5
    return float((rankdata(score)[positive].sum() - m * (m + 1) / 2) / (m * n))


def _p_value(predicted: Array, target: Array, codes: NDArray[np.int64]) -> float:
    """Return the one-sided p-value of no relation between two arrays ``(n, k)``."""
    P, T = predicted - predicted.mean(axis=0), target - target.mean(axis=0)
    count = int(codes.max()) + 1
    if not (np.ptp(predicted, axis=0) > 0).any() or not T.any() or count < 2:
        return 1.0
    added = np.bincount(codes, weights=np.einsum("ij,ij->i", P, T))
    robust = float(added @ added)
    # Columns that are classes add up to one, so that they are k - 1 in truth.
    columns = max(T.shape[1] - 1, 1)
    spread = float(np.mean(T**2)) * T.shape[1] / columns
    together = np.column_stack([np.bincount(codes, weights=column) for column in P.T])
    alike = _alike(T, codes)
    independent = spread * ((1 - alike) * float(np.sum(P**2)) + alike * float(np.sum(together**2)))
    error = np.sqrt(max(robust, independent))
    return float(stdtr(count - 1, -float(added.sum()) / error)) if error > 0 else 1.0


def _alike(T: Array, codes: NDArray[np.int64]) -> float:
    """Return the correlation, from 0 to 1, of two rows of one group."""
    sizes = np.bincount(codes)
    pairs = float(sizes @ (sizes - 1.0))
    if pairs == 0:
        return 0.0
    sums = np.column_stack([np.bincount(codes, weights=column) for column in T.T])
    within = float(np.sum(sums**2) - np.sum(T**2)) / pairs
    return min(max(within / (float(np.sum(T**2)) / len(T)), 0.0), 1.0)
