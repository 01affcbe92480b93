"""Fit the Bradley-Terry logistic regression on differences for a whole path of penalties."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag, eigh
from scipy.special import expit

from causalign.errors import InputError, NotIdentified
from causalign.stats.folds import check_folds
from causalign.stats.penalised_covariance import (
    implied_prior_variance,
    penalised_factor,
    score_covariance,
    with_level,
)
from causalign.stats.penalties import PenaltyPath, check_penalties, choose_penalty, penalty_grid
from causalign.stats.ridge_path import row_space

Array = NDArray[np.float64]

# A weighted pair adds at most a quarter of its squared difference to the curvature.
MOST_CURVATURE = 0.25
_NEWTON_STEPS = 100


@dataclass(frozen=True, slots=True, eq=False)
class LogisticPath(PenaltyPath):
    """Hold Bradley-Terry fits for ``L`` ascending penalties and their cross-validation.

    ``coefficients`` is ``(L, d)``; ``cv_error`` ``(L,)`` the mean negative log-likelihood (nats a
    pair) of pairs that the fit did not see, ``null_error`` that of coefficients zero, so that
    ``cv_r2`` is McFadden's; ``best`` minimises it; ``out_of_fold`` ``(n,)`` holds the score
    differences (log-odds, without margin) at ``best``. ``is_floored`` says that lighter penalties
    than the first were left out, since the pairs are then ordered almost without an error.
    """

    is_floored: bool = False

    def out_of_fold_at(self, differences: ArrayLike, index: int) -> Array:
        """Return out-of-fold score differences at penalty ``index``, for the pairs of the fit."""
        return _held_out(
            np.asarray(differences, dtype=np.float64), self.folds, self.fold_coefficients[:, index]
        )

    def covariance_factor(
        self,
        differences: ArrayLike,
        index: int,
        *,
        weights: ArrayLike | None = None,
        margins: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Array:
        """Return ``(L, δ)`` ``(d + 1, k + 1)``: the error of coefficients, by Laplace's method.

        The first side is the preferred one. The intercept, which comes first, is 0 by definition.
        See `causalign.stats.penalised_covariance.penalised_factor`, A the curvature of the
        likelihood at the fit.

        Parameters
        ----------
        differences, weights, margins
            Those of the fit.
        index : int
            Of the penalty.
        groups : (n,) labels, optional
            Pairs that are not independent.
        """
        data = _check_arrays(differences, None, weights, margins)
        basis = row_space(data.Z)
        Z = data.Z if basis is None else data.Z @ basis
        p = expit(data.Z @ self.coefficients[index] - data.margins)
        surprise = 1 - expit(self.out_of_fold_at(data.Z, index) - data.margins)
        curvature = (Z * (data.weights * p * (1 - p))[:, None]).T @ Z
        meat = score_covariance(Z * data.weights[:, None], surprise, groups)
        prior = implied_prior_variance(curvature, meat, float(self.penalties[self.best]))
        slopes = self.coefficients[index] if basis is None else self.coefficients[index] @ basis
        penalty = float(self.penalties[index])
        inner = penalised_factor(curvature, meat, penalty, prior, slopes)
        return with_level(block_diag(0.0, inner), np.zeros(data.Z.shape[1]), basis, prior)


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """Hold rotated differences ``(n, r)``, labels, weights, margins and their curvature bound."""

    Z: Array
    labels: Array
    weights: Array
    margins: Array

    def curvature(self) -> Array:
        """Return the weighted sum of squares in each direction, ``(r,)``."""
        return np.asarray(np.einsum("nr,nr,n->r", self.Z, self.Z, self.weights))

    def loss(self, scores: Array, b: Array, penalty: float) -> float:
        eta = scores - self.margins
        return float(self.weights @ _log_loss(eta, self.labels) + 0.5 * penalty * b @ b)

    def rows(self, keep: NDArray[np.bool_]) -> "_Problem":
        return _Problem(self.Z[keep], self.labels[keep], self.weights[keep], self.margins[keep])


def logistic_path(
    differences: ArrayLike,
    *,
    folds: ArrayLike,
    labels: ArrayLike | None = None,
    penalties: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    margins: ArrayLike | None = None,
) -> LogisticPath:
    """Fit ``min_b Σ_i w_i ℓ(D_i'b - m_i, y_i) + ½ λ‖b‖²`` for every λ, and cross-validate.

    ``differences`` is ``(n, d)``, first side minus second; ``labels`` ``(n,)`` the probability in
    [0, 1] that the first is preferred (default: always); ``weights`` and ``margins`` ``(n,)``; ℓ is
    the logistic loss. A positive margin asks the preferred side to win by that many log-odds.
    There is no intercept, so swapping both sides and the label changes nothing.

    The differences are rotated once to the eigenvectors of ``D'WD``; there the Hessian is close to
    diagonal, and Newton steps solved by preconditioned conjugate gradients, warm-started from the
    next heavier penalty, take a few products each.

    Unless penalties are given they end where lighter ones would claim more than n pairs can show.
    Where the features separate the pairs, ``‖b‖`` grows without limit as λ falls; of n pairs that
    are all ordered rightly, Jeffreys' prior says that the next is so with odds of n + ½ to ½. So λ
    is not lighter than where the loss of all pairs is that of ``n log((n+1)/(n+½))``, about half a
    nat (n after Kish, if weights differ); where pairs contradict each other, no λ is.

    Assumption: given the features, preferences follow Bradley-Terry, ``P(first) = σ(r₁ - r₂)``, and
    folds are independent (keep groups together). Penalties follow scikit-learn's
    ``LogisticRegression(C=1/λ, fit_intercept=False)``.

    Raises ``InputError`` for shapes or values that do not fit, ``NotIdentified`` if all sides are
    identical or the fit does not converge. References: Bradley and Terry (1952), Biometrika 39;
    Krichevsky and Trofimov (1981), IEEE Transactions on Information Theory 27, for n + ½.
    """
    data = _check_arrays(differences, labels, weights, margins)
    member = check_folds(folds, len(data.Z))
    rotated, basis, top = _rotate(data)
    if penalties is not None:
        grid = check_penalties(penalties)
        return _validated(rotated, member, grid, _descend(rotated, grid), basis)
    grid = penalty_grid(MOST_CURVATURE * top)
    coefficients = _descend(rotated, grid, _least_loss(rotated.weights))
    left_out = len(grid) - len(coefficients)
    path = _validated(rotated, member, grid[left_out:], coefficients, basis)
    return replace(path, is_floored=left_out > 0)


def _least_loss(weights: Array) -> float:
    """Return the loss of n pairs, all ordered rightly, in the eyes of Jeffreys' prior."""
    n = weights.sum() ** 2 / (weights**2).sum()
    return float(weights.sum() * np.log((n + 1) / (n + 0.5)))


def _validated(
    rotated: _Problem,
    member: NDArray[np.int64],
    grid: Array,
    coefficients: Array,
    basis: Array,
) -> LogisticPath:
    """Fit all but each fold as all pairs were, coefficients ``(L, r)``, and choose a penalty."""
    fold_coefficients, errors = [], []
    for fold in range(member.max() + 1):
        held = member == fold
        if not rotated.weights[held].any() or not rotated.weights[~held].any():
            raise InputError("A fold, or all pairs outside it, have zero weight; cut other folds.")
        path = _descend(rotated.rows(~held), grid)
        fold_coefficients.append(path)
        errors.append(_errors(rotated.rows(held), path))
    choice = choose_penalty(grid, np.array(errors), np.bincount(member, weights=rotated.weights))
    by_fold = np.array(fold_coefficients)  # (k, L, r)
    null = np.average(_log_loss(-rotated.margins, rotated.labels), weights=rotated.weights)
    return LogisticPath(
        choice.cv_error,
        choice.cv_standard_error,
        choice.best,
        choice.one_standard_error,
        grid,
        coefficients @ basis.T,
        float(null),
        _held_out(rotated.Z, member, by_fold[:, choice.best]),
        by_fold @ basis.T,
        member,
    )


def _rotate(data: _Problem) -> tuple[_Problem, Array, float]:
    """Return the problem in eigenvectors of ``D'WD``, those ``(d, r)``, the largest eigenvalue."""
    span = row_space(data.Z)
    Z = data.Z if span is None else data.Z @ span
    spectrum, V = eigh((Z * data.weights[:, None]).T @ Z, check_finite=False)
    if spectrum[-1] <= 0:
        raise NotIdentified("Both sides of every pair are identical; nothing can be learned.")
    basis = V if span is None else span @ V
    return _Problem(Z @ V, data.labels, data.weights, data.margins), basis, float(spectrum[-1])


def _descend(problem: _Problem, penalties: Array, least_loss: float = 0.0) -> Array:
    """Return coefficients ``(L, r)``, fitted from the heaviest penalty to the lightest.

    It ends before the loss falls below ``least_loss``.
    """
    path: list[Array] = []
    curvature = problem.curvature()
    b = np.zeros(problem.Z.shape[1])
    for penalty in penalties[::-1]:
        b = _newton(problem, float(penalty), b, curvature)
        if path and problem.loss(problem.Z @ b, b, 0.0) < least_loss:
            break
        path.insert(0, b)
    return np.array(path)


def _newton(problem: _Problem, penalty: float, b: Array, curvature: Array) -> Array:
    """Minimise the penalised loss from ``b``; raise ``NotIdentified`` without convergence."""
    Z, w = problem.Z, problem.weights
    scores = Z @ b
    loss = problem.loss(scores, b, penalty)
    for _ in range(_NEWTON_STEPS):
        p = expit(scores - problem.margins)
        gradient = Z.T @ (w * (p - problem.labels)) + penalty * b
        s = w * p * (1 - p)
        scale = curvature * (s.sum() / w.sum()) + penalty  # diagonal of the Hessian, nearly
        size = float(gradient @ (gradient / scale))
        if size <= 1e-18 * max(1e-6, float(b @ (scale * b))):
            return b
        step = _conjugate_gradients(Z, s, penalty, scale, -gradient)
        moved = Z @ step
        rate, slope = 1.0, float(gradient @ step)
        while (new := problem.loss(scores + rate * moved, b + rate * step, penalty)) > (
            loss + 1e-4 * rate * slope + 1e-13 * abs(loss)
        ):
            rate /= 2
            if rate < 1e-10:
                raise NotIdentified(_not_converged(penalty))
        b, scores, loss = b + rate * step, scores + rate * moved, new
    raise NotIdentified(_not_converged(penalty))


def _not_converged(penalty: float) -> str:
    return (
        f"The pairwise fit did not converge at penalty {penalty:.3g}. "
        "Give penalties that are larger, or bring the features to one scale."
    )


def _conjugate_gradients(Z: Array, s: Array, penalty: float, scale: Array, target: Array) -> Array:
    """Solve ``(Z'SZ + λ) x = target`` with the diagonal ``scale`` as preconditioner."""
    x = np.zeros_like(target)
    residual = target.copy()
    z = residual / scale
    direction = z.copy()
    size = first = float(residual @ z)
    for _ in range(2 * len(target)):
        image = Z.T @ (s * (Z @ direction)) + penalty * direction
        rate = size / float(direction @ image)
        x += rate * direction
        residual -= rate * image
        z = residual / scale
        new = float(residual @ z)
        # A tenth of the residual's norm is enough for Newton's outer loop to gain two digits.
        if new <= 1e-4 * first:
            break
        direction = z + (new / size) * direction
        size = new
    return x


def _log_loss(eta: Array, labels: Array) -> Array:
    return np.logaddexp(0.0, eta) - labels * eta


def _errors(held: _Problem, path: Array) -> Array:
    """Return the weighted mean loss ``(L,)`` of unseen pairs at each penalty."""
    eta = held.Z @ path.T - held.margins[:, None]  # (n_f, L)
    share = held.weights / held.weights.sum()
    return np.asarray(share @ _log_loss(eta, held.labels[:, None]))


def _held_out(Z: Array, member: NDArray[np.int64], coefficients: Array) -> Array:
    return np.asarray(np.einsum("nd,nd->n", Z, coefficients[member]))


def _check_arrays(
    differences: ArrayLike,
    labels: ArrayLike | None,
    weights: ArrayLike | None,
    margins: ArrayLike | None,
) -> _Problem:
    D = np.asarray(differences, dtype=np.float64)
    if D.ndim != 2 or D.shape[1] == 0:
        raise InputError(f"differences must have shape (n, d); their shape is {D.shape}.")
    n = len(D)
    y = np.ones(n) if labels is None else np.asarray(labels, dtype=np.float64)
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    m = np.zeros(n) if margins is None else np.asarray(margins, dtype=np.float64)
    for name, values in (("labels", y), ("weights", w), ("margins", m)):
        if values.shape != (n,):
            raise InputError(f"{name} must have shape ({n},); its shape is {values.shape}.")
    for name, values in (("differences", D), ("labels", y), ("weights", w), ("margins", m)):
        if not np.isfinite(values).all():
            raise InputError(f"{name} holds values that are missing or infinite; remove the pairs.")
    if ((y < 0) | (y > 1)).any():
        raise InputError("labels must lie in [0, 1]: the probability that the first is preferred.")
    if (w < 0).any() or w.sum() <= 0:
        raise InputError("weights must not be negative, and some must be positive.")
    return _Problem(D, y, w, m)
