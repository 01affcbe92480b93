"""Ridge regression on deviations within groups: what texts did where they were compared."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh
from scipy.optimize import minimize_scalar
from scipy.sparse import coo_array

from causalign.errors import InputError, NotIdentified
from causalign.stats.penalties import check_penalties, penalty_grid
from causalign.stats.ridge_path import row_space

Array = NDArray[np.float64]
Codes = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Deviations:
    """Hold rows as weighted deviations from the mean of their group.

    ``features`` ``(n, d)`` and ``outcome`` ``(n,)`` are ``√w (x - x̄_g)`` and ``√w (z - z̄_g)``, so
    that ``features'features`` is the weighted product within groups. With one group for all rows
    they are what a regression with an intercept sees.
    """

    features: Array
    outcome: Array
    weights: Array
    group: Codes

    def take(self, rows: NDArray[np.bool_]) -> "Deviations":
        """Return whole groups of the rows."""
        return Deviations(
            self.features[rows], self.outcome[rows], self.weights[rows], self.group[rows]
        )

    def products(self) -> tuple[Array, Array]:
        """Return ``X̃'WX̃`` ``(d, d)`` and ``X̃'Wz̃`` ``(d,)``."""
        return self.features.T @ self.features, self.features.T @ self.outcome


def deviate(
    features: ArrayLike, outcome: ArrayLike, group: ArrayLike, weights: ArrayLike | None = None
) -> Deviations:
    """Take from features ``(n, d)`` and outcome ``(n,)`` the weighted mean of each group.

    Raises ``InputError`` for shapes that do not fit, values that are not finite, or weights that
    are not positive.
    """
    X, z = np.asarray(features, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    w = np.ones(len(z)) if weights is None else np.asarray(weights, dtype=np.float64)
    code = np.unique(np.asarray(group), return_inverse=True)[1].ravel()
    if X.ndim != 2 or not len(X) == len(z) == len(w) == len(code):
        raise InputError(
            f"features must be (n, d), outcome, group and weights (n,); found {X.shape}, "
            f"{z.shape}, {code.shape} and {w.shape}."
        )
    if not (np.isfinite(w).all() and (w > 0).all()):
        raise InputError("Weights within groups must be finite and above 0.")
    if not (np.isfinite(X).all() and np.isfinite(z).all()):
        raise InputError("features or outcome hold values that are missing or infinite.")
    together = coo_array((w, (code, np.arange(len(z)))), shape=(code.max() + 1, len(z))).tocsr()
    total, root = np.bincount(code, weights=w), np.sqrt(w)
    mean_x, mean_z = (together @ X) / total[:, None], (together @ z) / total
    return Deviations(root[:, None] * (X - mean_x[code]), root * (z - mean_z[code]), w, code)


def between_variance(
    features: ArrayLike, outcome: ArrayLike, variances: ArrayLike, group: ArrayLike
) -> float:
    """Estimate τ² of ``z_gi = α_g + x_gi'b + e_gi`` by restricted maximum likelihood.

    ``e_gi ~ N(0, v_gi + τ²)`` with the sampling variances v known, ``b ~ N(0, s² I)`` and free
    α_g. With ``w = 1/(v + τ²)``, A and c the weighted products within groups, and ``A = UΛU'``,

        -2ℓ = Σ ln(v + τ²) + Σ_g ln Σ_{i∈g} w_gi + Σ_j ln(1 + s²Λ_j)
              + z̃'Wz̃ - Σ_j s² (U'c)_j² / (1 + s²Λ_j),

    minimised over ln s² for each τ², and over τ² from 0.

    Raises ``NotIdentified`` without a group of two rows. Reference: Patterson and Thompson (1971),
    Biometrika 58.
    """
    X, z = np.asarray(features, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    v = np.asarray(variances, dtype=np.float64)
    code = np.unique(np.asarray(group), return_inverse=True)[1].ravel()
    if np.bincount(code).max() < 2:
        raise NotIdentified("No group has two rows, so nothing was compared within one.")

    def deviance(root: float) -> float:
        return _profile(deviate(X, z, code, 1 / (v + root**2)), v + root**2)

    sampling = deviate(X, z, code, 1 / v)
    dispersion = float(sampling.outcome @ sampling.outcome) / max(len(z) - code.max() - 1, 1)
    # τ² is no larger than what the dispersion of the arms leaves beside sampling, with room.
    most = 2 * np.sqrt(np.median(v) * max(dispersion, 1.0))
    options = {"xatol": 1e-2 * most}
    optimum = minimize_scalar(deviance, bounds=(0.0, most), method="bounded", options=options)
    return 0.0 if deviance(0.0) <= optimum.fun else float(optimum.x) ** 2


def _profile(within: Deviations, variances: Array) -> float:
    """Return the smallest -2ℓ over s² at given variances."""
    X, z = within.features, within.outcome
    wide = X.shape[1] > len(X)
    eigenvalues, U = eigh(X @ X.T if wide else X.T @ X, check_finite=False)
    spectrum = np.clip(eigenvalues, 0.0, None)
    square = spectrum * (U.T @ z) ** 2 if wide else (U.T @ (X.T @ z)) ** 2
    fixed = np.log(variances).sum() + z @ z
    fixed += np.log(np.bincount(within.group, weights=within.weights)).sum()

    def deviance(log_slope: float) -> float:
        shrink = 1 + np.exp(log_slope) * spectrum
        return float(np.log(shrink).sum() - (np.exp(log_slope) * square / shrink).sum())

    centre = -np.log(max(float(spectrum.mean()), np.finfo(float).tiny))
    best = minimize_scalar(deviance, bounds=(centre - 14, centre + 14), method="bounded")
    return float(fixed + min(best.fun, 0.0))


def deviate_arms(
    features: ArrayLike, outcome: ArrayLike, variances: ArrayLike, group: ArrayLike, *, known: bool
) -> tuple[Deviations, float]:
    """Return deviations of arms from their tests in units of their noise, and τ².

    Parameters
    ----------
    features : (n, d) array
    outcome, variances : (n,) arrays
        Variances by sampling alone, in squared units of the outcome where ``known``, else relative;
        their size is then that of the deviations, and τ² is 0.
    group : (n,) integers
    known : bool
    """
    z, v = np.asarray(outcome, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if known:
        between = between_variance(features, z, v, group)
        return deviate(features, z, group, 1 / (v + between)), between
    relative = deviate(features, z, group, 1 / v)
    freedom = len(z) - relative.group.max() - 1
    noise = float(relative.outcome @ relative.outcome) / freedom
    return deviate(features, z, group, 1 / (v * noise)), 0.0


def penalties_for(given: Sequence[float] | None, tests: Deviations) -> Array:
    """Return the penalties to try: those given, or a grid scaled to the tests."""
    if given is not None:
        return check_penalties(given)
    gram = tests.features.T @ tests.features
    return penalty_grid(float(np.linalg.eigvalsh(gram)[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class WithinPath:
    """Hold fits for R ``shares`` of a log and L ascending ``penalties``, and how tests judge them.

    ``coefficients`` ``(R, L, d)``; ``fold_coefficients`` ``(k, R, L, d)`` of fits without the tests
    of a fold, and what the log shows of them. For each group g of tests, in the fit that did not
    see it, with predicted deviations p and observed ones z̃, both over the noise: ``cross``
    ``(g, R, L)`` is Σ p z̃, ``square`` ``(g, R, L)`` is Σ p² and ``null`` ``(g,)`` is Σ z̃².
    """

    shares: Array
    penalties: Array
    coefficients: Array
    fold_coefficients: Array
    cross: Array
    square: Array
    null: Array

    @property
    def error(self) -> Array:
        """Squared error of unseen groups as a share of that of no reward, ``(g, R, L)`` summed."""
        return np.asarray(self.group_error.sum(axis=0))

    @property
    def group_error(self) -> Array:
        """What each group adds to ``error``, ``(g, R, L)``."""
        error = self.null[:, None, None] - 2 * self.cross + self.square
        return np.asarray(error / max(self.null.sum(), np.finfo(float).tiny))

    def fold_spread(self, folds: ArrayLike, group: ArrayLike) -> Array:
        """Return the standard error of ``error`` over folds, ``(R, L)``, a guide to penalties.

        Parameters
        ----------
        folds, group : (n,) integers
            Of the rows of the tests.
        """
        first = np.unique(np.asarray(group), return_index=True)[1]
        fold = np.unique(np.asarray(folds)[first], return_inverse=True)[1].ravel()
        total = np.zeros((fold.max() + 1, *self.error.shape))
        np.add.at(total, fold, self.group_error)
        share = np.bincount(fold, weights=self.null) / self.null.sum()
        each = total / np.maximum(share, np.finfo(float).tiny)[:, None, None]
        return np.asarray(each.std(axis=0, ddof=1) / np.sqrt(len(each)))

    @property
    def correlation(self) -> Array:
        """How unseen groups' deviations are ordered, whatever the scale, ``(R, L)``.

        ``Σ p z̃ / √(Σ p² Σ z̃²)`` over all groups.
        """
        size = self.square.sum(axis=0) * self.null.sum()
        return np.asarray(self.cross.sum(axis=0) / np.sqrt(np.maximum(size, np.finfo(float).tiny)))


def within_path(
    tests: Deviations,
    folds: ArrayLike,
    penalties: ArrayLike,
    *,
    log: Deviations | None = None,
    log_folds: ArrayLike | None = None,
    shares: ArrayLike = (0.0,),
) -> WithinPath:
    """Fit ``min_b Σ_tests (z̃ - x̃'b)² + ρ Σ_log (y - x'b)² + λ‖b‖²`` for every ρ and λ.

    Rows come divided by the standard deviation of their noise, so that ρ = 1 weighs both kinds by
    their information. Judged on the tests of each fold by a fit without them; rows of the log in
    that fold (those that show its texts) are left out of it too.

    Parameters
    ----------
    tests : Deviations
        Of n rows.
    folds : (n,) integers
        Whole groups of tests share one.
    penalties : (L,) array
    log : Deviations, optional
        Of m rows, in one group.
    log_folds : (m,) integers, optional
        -1 for rows that no fold leaves out.
    shares : (R,) array
        The ρ to try; 0 ignores the log.

    Returns
    -------
    WithinPath

    References
    ----------
    Rosenman, Basse, Owen and Baiocchi, arXiv 2002.06708.
    """
    basis = span_rows(tests, log)
    if basis is not None:
        turned = None if log is None else replace(log, features=log.features @ basis)
        small = within_path(
            replace(tests, features=tests.features @ basis),
            folds,
            penalties,
            log=turned,
            log_folds=log_folds,
            shares=shares,
        )
        return replace(
            small,
            coefficients=small.coefficients @ basis.T,
            fold_coefficients=small.fold_coefficients @ basis.T,
        )
    fold, lam = np.asarray(folds), np.asarray(penalties, dtype=np.float64)
    rho = np.asarray(shares, dtype=np.float64)
    numbers = np.unique(fold)
    parts = [tests.take(fold == f).products() for f in numbers]
    gram, cross = (np.sum([part[side] for part in parts], axis=0) for side in (0, 1))
    left_out = np.full(0 if log is None else len(log.outcome), -1)
    left_out = left_out if log_folds is None else np.asarray(log_folds)
    whole = _log_products(log, np.ones(len(left_out), dtype=bool), gram)
    coefficients = _solve_all(gram, cross, whole, rho, lam)
    fitted = np.empty((len(numbers), *coefficients.shape))
    unit = np.unique(tests.group, return_inverse=True)[1].ravel()
    cross_z = np.zeros((unit.max() + 1, len(rho), len(lam)))
    square = np.zeros_like(cross_z)
    for place, (number, part) in enumerate(zip(numbers, parts, strict=True)):
        left = whole
        if (left_out == number).any():
            left = _log_products(log, left_out != number, gram)
        fitted[place] = _solve_all(gram - part[0], cross - part[1], left, rho, lam)
        rows = fold == number
        predicted = np.einsum("nd,rld->nrl", tests.features[rows], fitted[place], optimize=True)
        np.add.at(cross_z, unit[rows], predicted * tests.outcome[rows, None, None])
        np.add.at(square, unit[rows], predicted**2)
    null = np.bincount(unit, weights=tests.outcome**2).astype(np.float64)
    return WithinPath(rho, lam, coefficients, fitted, cross_z, square, null)


def span_rows(tests: Deviations, log: Deviations | None) -> Array | None:
    """Return a basis of the rows' span where there are fewer rows than columns, else None."""
    parts = [tests.features] if log is None else [tests.features, log.features]
    rows = sum(len(part) for part in parts)
    return None if rows >= tests.features.shape[1] else row_space(np.vstack(parts))


def _log_products(
    log: Deviations | None, rows: NDArray[np.bool_], like: Array
) -> tuple[Array, Array]:
    if log is None or not rows.any():
        return np.zeros_like(like), np.zeros(len(like))
    return log.take(rows).products()


def _solve_all(
    gram: Array, cross: Array, log: tuple[Array, Array], shares: Array, penalties: Array
) -> Array:
    """Return the coefficients ``(R, L, d)``, one eigendecomposition for each share."""
    coefficients = np.empty((len(shares), len(penalties), len(cross)))
    for place, share in enumerate(shares):
        eigenvalues, U = eigh(gram + share * log[0], check_finite=False, overwrite_a=True)
        spectrum = np.clip(eigenvalues, 0.0, None)
        target = U.T @ (cross + share * log[1])
        coefficients[place] = (U @ (target[:, None] / (spectrum[:, None] + penalties))).T
    return coefficients
