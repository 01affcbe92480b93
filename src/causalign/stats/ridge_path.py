"""Fit ridge regression for a whole path of penalties from one factorisation for each fold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag, eigh, qr

from causalign.errors import InputError, NotIdentified
from causalign.stats.folds import check_folds
from causalign.stats.penalised_covariance import (
    implied_prior_variance,
    penalised_factor,
    score_covariance,
    with_level,
)
from causalign.stats.penalties import PenaltyPath, check_penalties, choose_penalty, penalty_grid

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RidgePath(PenaltyPath):
    """Hold ridge fits for ``L`` ascending penalties and their cross-validation.

    With one outcome the shapes are: ``coefficients`` ``(L, d)``, ``intercepts`` ``(L,)``,
    ``out_of_fold`` ``(n,)``; with ``m`` outcomes ``(L, d, m)``, ``(L, m)``, ``(n, m)``.
    ``cv_error`` is the mean squared error of rows that the fit did not see, in squared units of
    the outcome (averaged over outcomes); ``null_error`` that of predicting the training mean.
    ``best`` minimises ``cv_error``; ``out_of_fold`` holds the predictions at ``best``. ``gram`` is
    the weighted product of the features about their mean, in the coordinates of ``origin``.
    """

    intercepts: Array
    fold_intercepts: Array
    origin: "Origin"
    gram: Array

    def out_of_fold_at(self, features: ArrayLike, index: int) -> Array:
        """Return out-of-fold predictions at penalty ``index``, for the rows of the fit."""
        return _held_out(
            np.asarray(features, dtype=np.float64),
            self.folds,
            self.fold_coefficients[:, index],
            self.fold_intercepts[:, index],
        )

    def covariance_factor(
        self,
        features: ArrayLike,
        outcome: ArrayLike,
        index: int,
        *,
        weights: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Array:
        """Return ``(L, δ)`` ``(d + 1, k + 1)``: the error of intercept and coefficients.

        ``L L'`` is its mean square, δ what was shrunk away along the coefficients. Noise is that of
        rows which the fit at penalty ``index`` did not see, summed within groups; what was shrunk
        away from any direction is judged by the penalty that predicts best. See
        `causalign.stats.penalised_covariance.penalised_factor`.

        Parameters
        ----------
        features, outcome, weights
            Those of the fit; one outcome.
        index : int
            Of the penalty.
        groups : (n,) labels, optional
            Rows that are not independent.
        """
        X, Y, w, _ = _check_arrays(features, outcome, weights)
        centred, basis = X - self.origin.mean_x, self.origin.basis
        Z = centred if basis is None else centred @ basis
        errors = Y[:, 0] - self.out_of_fold_at(X, index)
        design = w[:, None] * np.column_stack([np.ones(len(Z)), Z])
        gram = block_diag(w.sum(), self.gram)
        penalty = np.r_[0.0, np.full(Z.shape[1], self.penalties[index])]
        meat = score_covariance(design, errors, groups)
        best = float(self.penalties[self.best])
        prior = implied_prior_variance(self.gram, meat[1:, 1:], best)
        slopes = self.coefficients[index] if basis is None else self.coefficients[index] @ basis
        inner = penalised_factor(gram, meat, penalty, prior, np.r_[0.0, slopes])
        return with_level(inner, self.origin.mean_x, basis, prior)


@dataclass(frozen=True, slots=True, eq=False)
class _Moments:
    """Weighted sums of some rows: weight, means, and products about a fixed origin."""

    weight: float
    features: Array  # (d,)
    outcome: Array  # (m,)
    gram: Array  # (d, d)
    cross: Array  # (d, m)

    def minus(self, other: "_Moments") -> "_Moments":
        return _Moments(
            self.weight - other.weight,
            self.features - other.features,
            self.outcome - other.outcome,
            self.gram - other.gram,
            self.cross - other.cross,
        )


def ridge_path(
    features: ArrayLike,
    outcome: ArrayLike,
    *,
    folds: ArrayLike,
    penalties: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> RidgePath:
    """Fit ``min_{a,b} Σ_i w_i (y_i - a - x_i'b)² + λ‖b‖²`` for every λ, and cross-validate.

    ``features`` is ``(n, d)``, ``outcome`` ``(n,)`` or ``(n, m)``, ``weights`` ``(n,)``, ``folds``
    ``(n,)`` as cut by ``group_folds``. The intercept is not penalised. With
    ``X'WX = VΛV'`` about the mean, ``b(λ) = V (Λ + λ)⁻¹ V'X'Wy``: one eigendecomposition serves all
    penalties, and each fold's training matrix is the total minus the fold's own. Where ``d > n``
    the rows are first rotated into their own span, which changes no prediction.

    Assumption: the folds are independent of each other given the features (keep groups together);
    otherwise the cross-validated error is too small. Penalties follow scikit-learn's ``Ridge``;
    without ``penalties`` a grid scaled to the data is used.

    Raises ``InputError`` for shapes that do not fit, values that are not finite, or negative
    weights; ``NotIdentified`` if the features do not vary. Reference: Hoerl and Kennard (1970).
    """
    X, Y, w, single = _check_arrays(features, outcome, weights)
    member = check_folds(folds, len(X))
    mean_x, mean_y = w @ X / w.sum(), w @ Y / w.sum()
    X = X - mean_x
    Y = Y - mean_y
    basis = row_space(X)
    Z = X if basis is None else X @ basis
    total = _moments(Z, Y, w)
    if total.gram.diagonal().max() <= 1e-20 * w.sum() * np.square(mean_x).max():
        raise NotIdentified("The features do not vary, so no coefficient can be estimated.")
    grid = _grid(total.gram) if penalties is None else check_penalties(penalties)
    back = Origin(basis, mean_x, mean_y, single)
    return _validated(Z, Y, w, member, total, grid, back)


def _validated(
    Z: Array,
    Y: Array,
    w: Array,
    member: NDArray[np.int64],
    total: _Moments,
    grid: Array,
    back: "Origin",
) -> RidgePath:
    """Fit all rows and all but each fold, and choose a penalty."""
    coefficients, intercepts = _solve(total, grid)
    fitted = [_fit_fold(Z, Y, w, member == f, total, grid) for f in range(member.max() + 1)]
    fold_weights = np.bincount(member, weights=w)
    choice = choose_penalty(grid, np.array([f[2] for f in fitted]), fold_weights)
    fold_coefficients = np.array([f[0] for f in fitted])  # (k, L, d, m)
    fold_intercepts = np.array([f[1] for f in fitted])
    held_out = _held_out(
        Z, member, fold_coefficients[:, choice.best], fold_intercepts[:, choice.best]
    )
    coefficients, intercepts = back.restore(coefficients, intercepts)
    fold_coefficients, fold_intercepts = back.restore(fold_coefficients, fold_intercepts)
    return RidgePath(
        choice.cv_error,
        choice.cv_standard_error,
        choice.best,
        choice.one_standard_error,
        grid,
        coefficients,
        float(np.average([f[3] for f in fitted], weights=fold_weights)),
        back.squeeze(held_out + back.mean_y),
        fold_coefficients,
        member,
        intercepts,
        fold_intercepts,
        back,
        total.gram,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Undo the centring and the rotation that the arithmetic was done in."""

    basis: Array | None
    mean_x: Array
    mean_y: Array
    single: bool

    def restore(self, coefficients: Array, intercepts: Array) -> tuple[Array, Array]:
        """Return coefficients ``(..., d[, m])`` and intercepts ``(...[, m])`` of the raw data."""
        if self.basis is not None:
            coefficients = self.basis @ coefficients
        shift = np.einsum("d,...dm->...m", self.mean_x, coefficients)
        return self.squeeze(coefficients), self.squeeze(intercepts + self.mean_y - shift)

    def squeeze(self, values: Array) -> Array:
        """Return the values of a single outcome without its axis."""
        return values[..., 0] if self.single else values


def row_space(rows: Array) -> Array | None:
    """Return an orthonormal basis ``(d, n)`` of the rows' span if ``d > n``, else None.

    A penalised fit has no part outside the span, so fitting in these coordinates is exact and
    costs ``n³`` instead of ``d³``.
    """
    if rows.shape[1] <= rows.shape[0]:
        return None
    basis, _ = qr(rows.T, mode="economic")
    return np.asarray(basis)


def _grid(gram: Array) -> Array:
    last = len(gram) - 1
    return penalty_grid(float(eigh(gram, eigvals_only=True, subset_by_index=[last, last])[0]))


def _moments(X: Array, Y: Array, w: Array) -> _Moments:
    Xw = X * w[:, None]
    return _Moments(float(w.sum()), Xw.sum(axis=0), w @ Y, Xw.T @ X, Xw.T @ Y)


def _solve(moments: _Moments, penalties: Array) -> tuple[Array, Array]:
    """Return coefficients ``(L, d, m)`` and intercepts ``(L, m)`` from the sums alone."""
    mean_x, mean_y = moments.features / moments.weight, moments.outcome / moments.weight
    gram = moments.gram - moments.weight * np.outer(mean_x, mean_x)
    cross = moments.cross - moments.weight * np.outer(mean_x, mean_y)
    eigenvalues, V = eigh(gram, overwrite_a=True, check_finite=False)
    spectrum = np.clip(eigenvalues, 0.0, None)
    scaled = (V.T @ cross)[:, None, :] / (spectrum[:, None] + penalties)[:, :, None]  # (d, L, m)
    d, steps, m = scaled.shape
    coefficients = (V @ scaled.reshape(d, steps * m)).reshape(d, steps, m).transpose(1, 0, 2)
    return coefficients, mean_y - np.einsum("d,ldm->lm", mean_x, coefficients)


def _fit_fold(
    X: Array, Y: Array, w: Array, held: NDArray[np.bool_], total: _Moments, penalties: Array
) -> tuple[Array, Array, Array, float]:
    """Fit without one fold; return the path, its errors ``(L,)`` there and that of the mean."""
    out = _moments(X[held], Y[held], w[held])
    train = total.minus(out)
    if train.weight <= 0 or out.weight <= 0:
        raise InputError("A fold, or all rows outside it, have zero weight; cut other folds.")
    coefficients, intercepts = _solve(train, penalties)
    share = w[held] / out.weight
    errors = np.zeros(len(penalties))
    for j in range(Y.shape[1]):
        predicted = X[held] @ coefficients[:, :, j].T + intercepts[:, j]  # (n_f, L)
        errors += share @ (Y[held, j, None] - predicted) ** 2
    null = float((share @ (Y[held] - train.outcome / train.weight) ** 2).mean())
    return coefficients, intercepts, errors / Y.shape[1], null


def _held_out(X: Array, member: NDArray[np.int64], coefficients: Array, intercepts: Array) -> Array:
    """Predict each row with the coefficients ``(k, d[, m])`` of the fit that did not see it."""
    predicted = np.empty((len(X), *intercepts.shape[1:]))
    for fold in range(len(coefficients)):
        held = member == fold
        predicted[held] = X[held] @ coefficients[fold] + intercepts[fold]
    return predicted


def _check_arrays(
    features: ArrayLike, outcome: ArrayLike, weights: ArrayLike | None
) -> tuple[Array, Array, Array, bool]:
    X = np.asarray(features, dtype=np.float64)
    Y = np.asarray(outcome, dtype=np.float64)
    single = Y.ndim == 1
    Y = Y[:, None] if single else Y
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y) or X.shape[1] == 0:
        raise InputError(
            f"features must be (n, d) and the outcome (n,) or (n, m); their shapes are {X.shape} "
            f"and {np.shape(outcome)}."
        )
    w = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (len(X),):
        raise InputError(f"weights must have shape ({len(X)},); its shape is {w.shape}.")
    for name, values in (("features", X), ("outcome", Y), ("weights", w)):
        if not np.isfinite(values).all():
            raise InputError(f"{name} holds values that are missing or infinite; remove the rows.")
    if (w < 0).any() or w.sum() <= 0:
        raise InputError("weights must not be negative, and some must be positive.")
    return X, Y, w, single
