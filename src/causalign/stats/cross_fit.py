"""Predict rows of arrays from fits that never saw them: by ridge, or by any regressor."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError, SettingsError
from causalign.stats.fold_ridge import FoldRidge
from causalign.stats.folds import check_folds
from causalign.stats.row_blocks import RowBlocks

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class CrossFit:
    """Hold predictions ``(n, m)`` of m targets, each row's by a fit on the other folds.

    ``penalties (k, m)`` are those that ridge chose for each fold and target, else None.
    """

    predicted: Floats
    penalties: Floats | None = None


def ridge_cross_fit(
    features: ArrayLike,
    targets: ArrayLike,
    *,
    folds: ArrayLike,
    weights: ArrayLike | None = None,
    penalties: ArrayLike | None = None,
) -> CrossFit:
    """Predict each fold of ``targets (n, m)`` by ridge on the others, penalties chosen there.

    As `FoldRidge` does, for arrays. Without ``penalties`` the grid scales with the training rows
    of each fold. Raises as `FoldRidge.of` does.
    """
    X, T, w = _check_arrays(features, targets, weights)
    fit = FoldRidge.of(RowBlocks.of(X), folds, w, few_targets=True).fit(RowBlocks.of(T), penalties)
    return CrossFit(fit.predicted.read(slice(0, len(X))), fit.penalties)


def learner_cross_fit(
    learner: object,
    features: ArrayLike,
    targets: ArrayLike,
    *,
    folds: ArrayLike,
    weights: ArrayLike | None = None,
) -> CrossFit:
    """Predict each fold of ``targets (n, m)`` by a fresh copy of ``learner`` fitted on the others.

    ``learner`` is a scikit-learn regressor; each target gets its own copy. Raises `SettingsError`
    when it is none, or when there are ``weights`` and its ``fit`` takes no ``sample_weight``.
    """
    # Here, because scikit-learn takes more time and memory to import than the rest together.
    from sklearn.base import clone
    from sklearn.utils.validation import has_fit_parameter

    X, T, w = _check_arrays(features, targets, weights)
    member = check_folds(folds, len(X))
    if not (hasattr(learner, "fit") and hasattr(learner, "predict")):
        raise SettingsError(f"learner must be a scikit-learn regressor, not {learner!r}.")
    if weights is not None and not has_fit_parameter(learner, "sample_weight"):
        raise SettingsError(
            f"These logs have weights, and the fit of {type(learner).__name__} takes no "
            "sample_weight. Use another learner, or logs without weights."
        )
    predicted = np.empty_like(T)
    for f in range(int(member.max()) + 1):
        train, held = member != f, member == f
        extra = {} if weights is None else {"sample_weight": w[train]}
        for j in range(T.shape[1]):
            fitted = clone(learner).fit(X[train], T[train, j], **extra)
            predicted[held, j] = np.ravel(fitted.predict(X[held]))
    if not np.isfinite(predicted).all():
        raise InputError(f"{type(learner).__name__} predicted values that are not finite.")
    return CrossFit(predicted)


def _check_arrays(
    features: ArrayLike, targets: ArrayLike, weights: ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    X, T = np.asarray(features, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if X.ndim != 2 or T.ndim != 2 or len(X) != len(T) or X.shape[1] == 0:
        raise InputError(f"features must be (n, d), targets (n, m), not {X.shape} and {T.shape}.")
    w = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (len(X),) or not np.isfinite(w).all() or (w < 0).any() or w.sum() <= 0:
        raise InputError("weights must be one number for each row, not negative, not all zero.")
    for name, values in (("features", X), ("targets", T)):
        if not np.isfinite(values).all():
            raise InputError(f"{name} holds values that are missing or infinite; remove the rows.")
    return X, T, w
