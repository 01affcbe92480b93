"""How well one set of columns predicts another, on rows that the prediction never saw."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from causalign.stats.cross_fit import ridge_cross_fit
from causalign.stats.folds import group_folds

Array = NDArray[np.float64]


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
    features: Array, targets: Array, groups: NDArray[np.generic], *, folds: int = 5, seed: int = 0
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
    groups: NDArray[np.generic],
    *,
    classes: int | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Predictability:
    """Score how well ``features`` ``(n, d)`` predict ``target`` ``(n,)``.

    With ``classes`` the target holds codes 0 ... classes − 1 and each class gets its own ridge
    score. Rows of a group are treated as one draw in the p-value's sample size.
    """
    given = target[:, None] if classes is None else target[:, None] == np.arange(classes)
    predicted = cross_fit_predictions(
        features, given.astype(np.float64), groups, folds=folds, seed=seed
    )
    return score_predictions(predicted, target, len(np.unique(groups)), classes=classes)


def score_predictions(
    predicted: Array, target: Array, draws: int, *, classes: int | None = None
) -> Predictability:
    """Score predictions ``(n, 1)`` of numbers, or ``(n, classes)`` of codes, ``target`` ``(n,)``.

    ``draws`` is the number of rows or groups that are independent.
    """
    if classes is None:
        residual, spread = np.mean((target - predicted[:, 0]) ** 2), np.var(target)
        score = 1.0 - float(residual / spread) if spread > 0 else 0.0
        return Predictability("R²", score, _p_value(predicted[:, 0], target, draws))
    indicator = (target[:, None] == np.arange(classes)).astype(np.float64)
    share = indicator.mean(axis=0)
    scores = [auc(predicted[:, k], indicator[:, k]) for k in range(classes)]
    centred = predicted - predicted.mean(axis=0)
    # Without a relation the cells of different classes are almost independent draws.
    p_value = _p_value(centred.ravel(), (indicator - share).ravel(), draws * (classes - 1))
    return Predictability("AUC", float(np.average(scores, weights=share)), p_value)


def auc(score: Array, label: Array) -> float:
    """Return P(score of a 1 > score of a 0), ties counting half; .5 when a class is absent."""
    # Here, because all of scipy.stats takes a while to import and one function is needed.
    from scipy.stats import rankdata

    positive = label > 0.5
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        return 0.5
    return float((rankdata(score)[positive].sum() - m * (m + 1) / 2) / (m * n))


def _p_value(predicted: Array, target: Array, draws: int) -> float:
    if np.ptp(predicted) == 0 or np.ptp(target) == 0:
        return 1.0
    correlation = np.corrcoef(predicted, target)[0, 1]
    return float(ndtr(-correlation * np.sqrt(draws)))
