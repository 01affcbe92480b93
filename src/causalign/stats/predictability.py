"""How well one set of columns predicts another, on rows that the prediction never saw."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from causalign.stats.fold_ridge import FoldRidge
from causalign.stats.folds import group_folds
from causalign.stats.row_blocks import RowBlocks

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
    features: Array | RowBlocks, targets: Array, groups: Groups, *, folds: int = 5, seed: int = 0
) -> Array:
    """Predict each fold of ``targets`` ``(n, m)`` by ridge fitted on the others.

    The penalty of each target is chosen by cross-validation inside the training folds only, so no
    row takes part in any choice behind its own prediction. Groups are kept together at both
    levels. At least three folds are cut; raises `InputError` with fewer than three groups.
    """
    count = max(3, min(folds, len(np.unique(groups))))
    ridge = FoldRidge.of(features, group_folds(groups, count, seed))
    return ridge.fit(RowBlocks.of(targets)).predicted.whole()


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
        return Predictability("R²", score, _p_value(predicted, target, codes))
    share = np.bincount(target.astype(np.int64), minlength=classes) / len(target)
    scores = [auc(predicted[:, k], target == k) for k in range(classes)]
    score = float(np.average(scores, weights=share))
    return Predictability("AUC", score, _p_value(predicted, target, codes, classes))


def auc(score: Array, label: NDArray[np.generic]) -> float:
    """Return P(score of a 1 > score of a 0), ties counting half; .5 when a class is absent."""
    positive = np.asarray(label) > 0.5
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        return 0.5
    ordered, own = np.sort(score), score[positive]
    # Ranks from 1, ties sharing their mean rank.
    ranks = (np.searchsorted(ordered, own) + np.searchsorted(ordered, own, side="right") + 1) / 2
    return float((ranks.sum() - m * (m + 1) / 2) / (m * n))


def _p_value(
    predicted: Array, target: Array, codes: NDArray[np.int64], classes: int | None = None
) -> float:
    """Return the one-sided p-value of no relation between two arrays ``(n, k)``.

    ``target (n,)`` holds numbers, or codes of classes, which have a column each.
    """
    n, k = predicted.shape
    sizes = np.bincount(codes).astype(np.float64)
    added, products = np.zeros(len(sizes)), np.zeros(4)
    varies = False
    for column in range(k):
        p = predicted[:, column]
        t = target if classes is None else (target == column).astype(np.float64)
        varies = varies or bool(np.ptp(p) > 0)
        p, t = p - p.mean(), t - t.mean()
        added += np.bincount(codes, weights=p * t)
        sums_p, sums_t = np.bincount(codes, weights=p), np.bincount(codes, weights=t)
        products += p @ p, t @ t, sums_p @ sums_p, sums_t @ sums_t
    of_p, of_t, together_p, together_t = products.tolist()
    if not varies or of_t == 0 or len(sizes) < 2:
        return 1.0
    robust = float(added @ added)
    # Columns that are classes add up to one, so that they are k - 1 in truth.
    spread = of_t / n / max(k - 1, 1)
    pairs = float(sizes @ (sizes - 1.0))
    # The correlation of two rows of one group.
    alike = min(max((together_t - of_t) / pairs / (of_t / n), 0.0), 1.0) if pairs else 0.0
    error = np.sqrt(max(robust, spread * ((1 - alike) * of_p + alike * together_p)))
    return float(stdtr(len(sizes) - 1, -float(added.sum()) / error)) if error > 0 else 1.0
