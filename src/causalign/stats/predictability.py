"""How well one set of columns predicts another, on rows that the prediction never saw."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from causalign.stats.folds import group_folds
from causalign.stats.ridge_path import ridge_path

__all__ = ["Predictability", "auc", "cross_fitted", "predictability"]

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


def cross_fitted(
    features: Array, target: Array, groups: NDArray, *, folds: int = 5, seed: int = 0
) -> Array:
    """Predict each fold of ``target`` ``(n,)`` or ``(n, m)`` by ridge fitted on the others.

    The penalty is chosen by cross-validation inside the training folds only, so no row takes part
    in any choice behind its own prediction. Groups are kept together at both levels.
    """
    member = group_folds(groups, folds, seed)
    predicted = np.empty_like(np.asarray(target, dtype=np.float64))
    for fold in range(folds):
        train, test = member != fold, member == fold
        inner = group_folds(groups[train], folds, seed + 1)
        path = ridge_path(features[train], target[train], folds=inner)
        predicted[test] = path.intercepts[path.best] + features[test] @ path.coefficients[path.best]
    return predicted


def predictability(
    features: Array,
    target: Array,
    groups: NDArray,
    *,
    classes: int | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Predictability:
    """Score how well ``features`` ``(n, d)`` predict ``target`` ``(n,)``.

    With ``classes`` the target holds codes 0 ... classes − 1 and each class gets its own ridge
    score. Rows of a group are treated as one draw in the p-value's sample size.
    """
    distinct = len(np.unique(groups))
    if classes is None:
        predicted = cross_fitted(features, target, groups, folds=folds, seed=seed)
        residual = np.mean((target - predicted) ** 2)
        score = 1.0 - float(residual / np.var(target))
        return Predictability("R²", score, _p_value(predicted, target, distinct))
    indicator = (target[:, None] == np.arange(classes)).astype(np.float64)
    predicted = cross_fitted(features, indicator, groups, folds=folds, seed=seed)
    share = indicator.mean(axis=0)
    scores = [auc(predicted[:, k], indicator[:, k]) for k in range(classes)]
    centred = predicted - predicted.mean(axis=0)
    # Without a relation the cells of different classes are almost independent draws.
    draws = distinct * (classes - 1)
    p_value = _p_value(centred.ravel(), (indicator - share).ravel(), draws)
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
