"""Predict rows from fits that never saw them: ridge from one pass of sums, or any regressor."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from causalign.errors import InputError, SettingsError
from causalign.stats.folds import check_folds
from causalign.stats.penalties import check_penalties, penalty_grid
from causalign.stats.ridge_path import row_space

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

    For fold f and target j, ``min_{a,b} Σ_{i∉f} w_i (t_ij - a - x_i'b)² + λ_fj ‖b‖²`` with λ_fj
    the penalty whose error is least when each fold g ≠ f in turn is left out as well. Every fit
    needs sums over folds only, and those are taken once: k + k(k - 1)/2 eigendecompositions serve
    all folds, targets and penalties. Columns of ``features (n, d)`` are first divided by their
    standard deviation, so that units do not matter; ``penalties`` refer to those. Without them the
    grid scales with the training rows of each fold.

    Assumption: rows of different folds are independent (keep clusters together).

    Raises `SettingsError` with fewer than three folds: with two, no rows are left for choosing.
    """
    X, T, w = _check_arrays(features, targets, weights)
    member = check_folds(folds, len(X))
    count = int(member.max()) + 1
    if count < 3:
        raise SettingsError(
            f"Ridge needs at least 3 folds, not {count}: one to predict, the others to fit and to "
            "choose the penalty. Ask for more folds, or give a learner with its penalty fixed."
        )
    scaled = _standardised(X, w)
    centre = w @ T / w.sum()
    root = np.sqrt(w)[:, None]
    D = np.column_stack([np.ones(len(X)), scaled, T - centre]) * root  # (n, 1 + d + m)
    parts = np.array([_cross_products(D[member == f]) for f in range(count)])
    given = None if penalties is None else check_penalties(penalties)
    chosen, coefficients = _nested(parts, scaled.shape[1], given)
    predicted = np.empty_like(T)
    for f in range(count):
        rows = member == f
        predicted[rows] = coefficients[f, 0] + scaled[rows] @ coefficients[f, 1:] + centre
    return CrossFit(predicted, chosen)


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


def _cross_products(rows: Floats) -> Floats:
    # One array on both sides, so that only half of the symmetric product is computed.
    return np.asarray(rows.T @ rows)


def _nested(parts: Floats, d: int, given: Floats | None) -> tuple[Floats, Floats]:
    """Return penalties ``(k, m)`` and coefficients ``(k, 1 + d, m)``, intercept first."""
    total, count = parts.sum(axis=0), len(parts)
    outer = [_path(total - part, d) for part in parts]
    grids = [penalty_grid(top) if given is None else given for _, top in outer]
    errors = np.zeros((count, len(grids[0]), parts.shape[1] - 1 - d))
    for f in range(count):
        for g in range(f + 1, count):
            without_both, _ = _path(total - parts[f] - parts[g], d)
            errors[f] += _error(parts[g], without_both(grids[f]))
            errors[g] += _error(parts[f], without_both(grids[g]))
    best = errors.argmin(axis=1)  # (k, m)
    chosen = np.array([grids[f][best[f]] for f in range(count)])
    targets = np.arange(best.shape[1])
    fitted = np.array([outer[f][0](grids[f])[best[f], :, targets].T for f in range(count)])
    return chosen, fitted


def _path(sums: Floats, d: int) -> tuple[Callable[[Floats], Floats], float]:
    """Return a function from penalties ``(L,)`` to fits ``(L, 1 + d, m)``, and the top eigenvalue.

    ``sums`` are the cross products of ``[1, X, T]`` over the training rows.
    """
    if sums[0, 0] <= 0:
        raise InputError("All rows outside some folds have zero weight; cut other folds.")
    mean = sums[0] / sums[0, 0]
    about = sums - sums[0, 0] * np.outer(mean, mean)
    eigenvalues, V = eigh(about[1 : d + 1, 1 : d + 1], check_finite=False)
    spectrum = np.clip(eigenvalues, 0.0, None)
    rotated = V.T @ about[1 : d + 1, d + 1 :]  # (d, m)

    def fit(penalties: Floats) -> Floats:
        shrunk = rotated / (spectrum[:, None] + penalties[:, None, None])  # (L, d, m)
        slopes = V @ shrunk
        intercepts = mean[d + 1 :] - np.einsum("d,ldm->lm", mean[1 : d + 1], slopes)
        return np.concatenate([intercepts[:, None], slopes], axis=1)

    # Features that do not vary at all still need a grid of positive penalties.
    return fit, max(float(spectrum[-1]), float(np.finfo(np.float64).tiny * 1e10))


def _error(sums: Floats, fits: Floats) -> Floats:
    """Return the squared errors ``(L, m)`` of fits ``(L, 1 + d, m)`` on the rows of ``sums``."""
    width = fits.shape[1]
    gram, cross = sums[:width, :width], sums[:width, width:]
    size = np.diag(sums)[width:]
    explained = 2 * np.einsum("lkm,km->lm", fits, cross)
    return np.asarray(size - explained + np.einsum("lkm,lkm->lm", fits, gram @ fits))


def _standardised(X: Floats, w: Floats) -> Floats:
    """Centre and scale the columns; where ``d > n`` rotate the rows into their own span."""
    centred = X - w @ X / w.sum()
    spread = np.sqrt(w @ centred**2 / w.sum())
    flat = spread <= 1e-12 * np.abs(X).max(axis=0, initial=0.0)
    scaled = centred / np.where(flat, 1.0, spread)
    scaled[:, flat] = 0.0
    basis = row_space(scaled)
    return np.asarray(scaled if basis is None else scaled @ basis)


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
