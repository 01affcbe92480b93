"""Fit ridge regression for a whole path of penalties from one factorisation for each fold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

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
    ``best`` minimises ``cv_error``; ``out_of_fold`` holds the predictions at ``best``, of no row
    where only sums were given. ``gram`` is the weighted product of the features about their mean,
    in the coordinates of ``origin``, and ``weight`` that of all rows.
    """

    intercepts: Array
    fold_intercepts: Array
    origin: "Origin"
    gram: Array
    weight: float

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
        X, Y, w, _ = check_arrays(features, outcome, weights)
        centred, basis = X - self.origin.mean_x, self.origin.basis
        Z = centred if basis is None else centred @ basis
        errors = Y[:, 0] - self.out_of_fold_at(X, index)
        design = w[:, None] * np.column_stack([np.ones(len(Z)), Z])
        return self.factor_of_scores(score_covariance(design, errors, groups), index)

    def factor_of_scores(self, meat: Array, index: int) -> Array:
        """Return what `covariance_factor` does, from the covariance of the scores.

        ``meat (k + 1, k + 1)`` is that of ``Σ w_i e_i [1, z_i]``, z the features about their mean,
        in the coordinates of ``origin``.
        """
        basis = self.origin.basis
        gram = block_diag(self.weight, self.gram)
        penalty = np.r_[0.0, np.full(len(self.gram), self.penalties[index])]
        best = float(self.penalties[self.best])
        prior = implied_prior_variance(self.gram, meat[1:, 1:], best)
        slopes = self.coefficients[index] if basis is None else self.coefficients[index] @ basis
        inner = penalised_factor(gram, meat, penalty, prior, np.r_[0.0, slopes])
        return with_level(inner, self.origin.mean_x, basis, prior)


@dataclass(frozen=True, slots=True, eq=False)
class RidgeMoments:
    """Hold weighted sums over some rows, about an origin that is near the mean of all.

    ``weight``, ``features (d,)``, ``outcome (m,)``, and the products ``gram (d, d)``, ``cross
    (d, m)`` and ``squares (m,)`` of features, of both and of the outcomes.
    """

    weight: float
    features: Array
    outcome: Array
    gram: Array
    cross: Array
    squares: Array

    def plus(self, other: "RidgeMoments") -> "RidgeMoments":
        """Return the sums over the rows of both."""
        return self._combine(other, 1.0)

    def minus(self, other: "RidgeMoments") -> "RidgeMoments":
        """Return the sums over the rows that are not among ``other``'s."""
        return self._combine(other, -1.0)

    def _combine(self, other: "RidgeMoments", sign: float) -> "RidgeMoments":
        return RidgeMoments(
            self.weight + sign * other.weight,
            self.features + sign * other.features,
            self.outcome + sign * other.outcome,
            self.gram + sign * other.gram,
            self.cross + sign * other.cross,
            self.squares + sign * other.squares,
        )

    def errors(self, coefficients: Array, intercepts: Array) -> Array:
        """Return the sums of squared errors ``(L, m)`` of L fits ``(L, d, m)`` on these rows."""
        explained = np.einsum("ldm,dm->lm", coefficients, self.cross) + intercepts * self.outcome
        level = intercepts * np.einsum("ldm,d->lm", coefficients, self.features)
        size = np.einsum(
            "ldm,ldm->lm",
            coefficients,
            np.tensordot(coefficients, self.gram, (1, 0)).transpose(0, 2, 1),
        )
        size += 2 * level + self.weight * np.square(intercepts)
        return np.asarray(np.maximum(self.squares - 2 * explained + size, 0.0))


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
    X, Y, w, single = check_arrays(features, outcome, weights)
    member = check_folds(folds, len(X))
    parts, origin = _sum_folds(X, Y, w, member, single=single)
    return _predict_held_out(fit_moments(parts, origin, penalties), X, member)


def ridge_paths(
    features: ArrayLike,
    outcomes: ArrayLike,
    *,
    folds: ArrayLike,
    penalties: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> tuple[RidgePath, ...]:
    """Fit each of the outcomes ``(n, m)`` as `ridge_path` does alone, from one factorisation."""
    X, Y, w, _ = check_arrays(features, outcomes, weights)
    member = check_folds(folds, len(X))
    parts, origin = _sum_folds(X, Y, w, member, single=False)
    paths = fit_each_outcome(parts, origin, penalties)
    return tuple(_predict_held_out(path, X, member) for path in paths)


def _sum_folds(
    X: Array, Y: Array, w: Array, member: NDArray[np.int64], *, single: bool
) -> tuple[list[RidgeMoments], "Origin"]:
    mean_x, mean_y = w @ X / w.sum(), w @ Y / w.sum()
    centred, Y = X - mean_x, Y - mean_y
    basis = row_space(centred)
    Z = centred if basis is None else centred @ basis
    parts = [row_moments(Z, Y, w, member == fold) for fold in range(member.max() + 1)]
    return parts, Origin(basis, mean_x, mean_y, single)


def _predict_held_out(path: RidgePath, X: Array, member: NDArray[np.int64]) -> RidgePath:
    at, levels = path.fold_coefficients[:, path.best], path.fold_intercepts[:, path.best]
    return replace(path, out_of_fold=_held_out(X, member, at, levels), folds=member)


def fit_moments(
    parts: Sequence[RidgeMoments], origin: "Origin", penalties: ArrayLike | None = None
) -> RidgePath:
    """Fit all rows and all but each fold, and choose a penalty, from the sums over folds.

    ``parts`` are the sums over each fold about ``origin``. Raises `NotIdentified` if the features
    do not vary, `InputError` for a fold without weight.
    """
    return _fit_moments(parts, origin.mean_x, penalties).choose(slice(None), origin)


def fit_each_outcome(
    parts: Sequence[RidgeMoments], origin: "Origin", penalties: ArrayLike | None = None
) -> tuple[RidgePath, ...]:
    """Return what `fit_moments` does for each outcome alone, from one factorisation."""
    fitted = _fit_moments(parts, origin.mean_x, penalties)
    means = enumerate(origin.mean_y)
    return tuple(
        fitted.choose(slice(i, i + 1), replace(origin, mean_y=np.array([mean]), single=True))
        for i, mean in means
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """Hold fits of m outcomes before a penalty is chosen, on all rows and without each fold.

    ``errors (k, L, m)`` and ``nulls (k, m)`` are mean squares of the rows of each fold.
    """

    total: RidgeMoments
    penalties: Array
    weights: Array
    fit: tuple[Array, Array]
    fold_fits: tuple[Array, Array]
    errors: Array
    nulls: Array

    def choose(self, outcomes: slice, origin: "Origin") -> RidgePath:
        """Return the path of some outcomes, which share a penalty."""
        choice = choose_penalty(
            self.penalties, self.errors[..., outcomes].mean(axis=2), self.weights
        )
        coefficients, intercepts = origin.restore(*(part[..., outcomes] for part in self.fit))
        folds = origin.restore(*(part[..., outcomes] for part in self.fold_fits))
        return RidgePath(
            choice.cv_error,
            choice.cv_standard_error,
            choice.best,
            choice.one_standard_error,
            self.penalties,
            coefficients,
            float(np.average(self.nulls[:, outcomes].mean(axis=1), weights=self.weights)),
            np.zeros(0),
            folds[0],
            np.zeros(0, dtype=np.int64),
            intercepts,
            folds[1],
            origin,
            self.total.gram,
            self.total.weight,
        )


def _fit_moments(
    parts: Sequence[RidgeMoments], mean_x: Array, penalties: ArrayLike | None
) -> _Fitted:
    total = reduce(RidgeMoments.plus, parts)
    size = np.square(mean_x).max()
    if total.gram.diagonal().max() <= 1e-20 * total.weight * size:
        raise NotIdentified("The features do not vary, so no coefficient can be estimated.")
    grid = _grid(total.gram) if penalties is None else check_penalties(penalties)
    fits = [_solve(_require_weight(total.minus(part), part), grid) for part in parts]
    return _Fitted(
        total,
        grid,
        np.array([part.weight for part in parts]),
        _solve(total, grid),
        (np.array([fit[0] for fit in fits]), np.array([fit[1] for fit in fits])),
        np.array([part.errors(*fit) / part.weight for part, fit in zip(parts, fits, strict=True)]),
        np.array([_null_errors(total.minus(part), part) for part in parts]),
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


def row_moments(X: Array, Y: Array, w: Array, rows: NDArray[np.bool_]) -> RidgeMoments:
    """Return the weighted sums over some of the rows."""
    X, Y, w = X[rows], Y[rows], w[rows]
    Xw = X * w[:, None]
    return RidgeMoments(float(w.sum()), Xw.sum(axis=0), w @ Y, Xw.T @ X, Xw.T @ Y, w @ np.square(Y))


def _require_weight(train: RidgeMoments, held: RidgeMoments) -> RidgeMoments:
    if train.weight <= 0 or held.weight <= 0:
        raise InputError("A fold, or all rows outside it, have zero weight; cut other folds.")
    return train


def _null_errors(train: RidgeMoments, held: RidgeMoments) -> Array:
    """Return the mean squared error ``(m,)`` on held rows of the mean of the others."""
    mean = train.outcome / train.weight
    error = held.squares - 2 * mean * held.outcome + held.weight * mean**2
    return np.asarray(error / held.weight)


def _solve(moments: RidgeMoments, penalties: Array) -> tuple[Array, Array]:
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


def _held_out(X: Array, member: NDArray[np.int64], coefficients: Array, intercepts: Array) -> Array:
    """Predict each row with the coefficients ``(k, d[, m])`` of the fit that did not see it."""
    predicted = np.empty((len(X), *intercepts.shape[1:]))
    for fold in range(len(coefficients)):
        held = member == fold
        predicted[held] = X[held] @ coefficients[fold] + intercepts[fold]
    return predicted


def check_arrays(
    features: ArrayLike, outcome: ArrayLike, weights: ArrayLike | None
) -> tuple[Array, Array, Array, bool]:
    """Return features ``(n, d)``, outcomes ``(n, m)``, weights, and whether one outcome was given.

    Raises `InputError` for shapes that do not fit or values that are not finite.
    """
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
