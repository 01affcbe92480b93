"""Fit linear models by least squares and instruments, with covariances that survive clusters.

All estimators here are k-class estimators: ordinary least squares is ``kappa = 0``, two-stage
least squares ``kappa = 1``, LIML the smallest root of a determinant. Each makes one pass of cross
products, factors a ``k x k`` matrix whose columns were scaled to unit length, and refines the
solution once against the residuals, so that nothing of size ``n x n`` is ever built.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.stats.factor import COLLINEAR, Factorisation, factorise, residualise
from causalign.stats.projection import project
from causalign.stats.rounding import weighted_rounding
from causalign.stats.sandwich import Correction, Sandwich, no_freedom, sandwich

Floats = NDArray[np.float64]
Kind = Literal["robust", "unadjusted"]


@dataclass(frozen=True, slots=True, eq=False)
class LinearFit:
    """Hold a fitted linear model.

    ``coefficients (k,)`` in units of y per unit of x; ``covariance (k, k)``; ``residuals (n,)``
    are ``y - X b``, not weighted; ``kappa`` names the k-class estimator; ``bread (k, k)`` is the
    inverse of the moment matrix, with weights scaled to mean 1; ``degrees_of_freedom`` is k plus
    what was absorbed, or the trace of the hat matrix when coefficients were penalised;
    ``factor`` is that of the scaled columns; ``cluster_counts`` holds the
    numbers of clusters, one for each way; ``repaired (k,)`` says of which coefficients two ways of
    clustering combined to a negative variance, which was replaced.
    """

    coefficients: Floats
    covariance: Floats
    residuals: Floats
    kappa: float
    bread: Floats
    degrees_of_freedom: float
    factor: Factorisation
    cluster_counts: tuple[int, ...]
    repaired: NDArray[np.bool_]

    @property
    def condition(self) -> float:
        """Return the condition number of the scaled columns."""
        return self.factor.condition

    @property
    def standard_errors(self) -> Floats:
        """Return ``(k,)``."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))


@dataclass(frozen=True, slots=True, eq=False)
class FirstStage:
    """Hold, for each endogenous column, how strongly the instruments move it: all ``(p,)``.

    ``f`` is the Wald statistic of the excluded instruments divided by ``numerator``, the number of
    restrictions; ``partial_r2`` the share of what the exogenous columns leave unexplained that the
    instruments explain.
    """

    f: Floats
    partial_r2: Floats
    numerator: int


def ordinary(
    y: ArrayLike,
    X: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    kind: Kind = "robust",
    correction: Correction = "none",
    absorbed: int = 0,
    penalty: ArrayLike | None = None,
    rounding: ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> LinearFit:
    """Fit ``y = X b + e`` by (weighted, optionally ridge-penalised) least squares.

    ``b = argmin sum_i w_i (y_i - x_i b)^2 + sum_j penalty_j b_j^2``, weights scaled to mean 1.
    Assumption: ``E[X'e] = 0``. No intercept is added: put a column of ones into X.

    ``y (n,)``, ``X (n, k)``, ``weights (n,)`` positive, ``clusters (n,)`` or ``(n, 2)`` of any
    labels (given clusters, the covariance is clustered, otherwise of the ``kind`` asked for),
    ``penalty (k,)`` not negative. ``correction`` is the small-sample factor (see
    `causalign.stats.sandwich.sandwich`) and ``absorbed`` the degrees of freedom already spent.
    Under a penalty the covariance does not contain the bias. ``rounding (k,)`` is the length of
    each column of X that may be rounding, where X was computed from other columns; without it the
    numbers of X tell (see `causalign.stats.rounding.rounding_lengths`).

    Raises `InputError` for shapes and values that cannot be used and `NotIdentified`, naming the
    column when ``names`` is given, when columns are collinear.
    """
    y, X, w = _check_arrays(y, X, weights)
    if penalty is not None and kind == "unadjusted" and clusters is None:
        raise SettingsError("A penalised fit has robust or clustered covariances only.")
    root = np.sqrt(w)
    Xw, yw = (X, y) if weights is None else (X * root[:, None], y * root)
    ridge = None if penalty is None else np.asarray(penalty, dtype=np.float64)
    lost = weighted_rounding(X, Xw, rounding)
    factor = factorise(Xw, names, ridge, rounding=lost)
    shrink = np.zeros(X.shape[1]) if ridge is None else ridge
    coefficients = factor.solve(Xw.T @ yw)
    coefficients += factor.solve(Xw.T @ (yw - Xw @ coefficients) - shrink * coefficients)
    bread = factor.solve(np.eye(X.shape[1]))
    spent = X.shape[1] + absorbed - float(np.diag(bread) @ shrink)
    residuals, middle = y - X @ coefficients, _outer(factor, bread, np.eye(len(bread)), Xw)
    errors = _covariance(bread, middle, residuals * root, clusters, kind, correction, spent)
    return _as_fit(coefficients, residuals, 0.0, bread, spent, factor, errors)


def two_stage(
    y: ArrayLike,
    X_endogenous: ArrayLike,
    X_exogenous: ArrayLike,
    Z: ArrayLike,
    *,
    kappa: float | Literal["liml"] = 1.0,
    weights: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    kind: Kind = "robust",
    correction: Correction = "none",
    rounding: ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> LinearFit:
    """Fit ``y = X b + e`` with instruments Z for the endogenous columns (2SLS, LIML, k-class).

    ``b = (X'(I - kappa M) X)^-1 X'(I - kappa M) y``, M the annihilator of ``[X_exogenous, Z]``;
    ``kappa`` 1 is two-stage least squares, 0 ordinary least squares, ``"liml"`` the smallest
    eigenvalue that maximum likelihood with limited information asks for.
    Assumption: ``E[Z'e] = 0`` (Z reaches y only through X) and Z moves every endogenous column.

    ``y (n,)``, ``X_endogenous (n, p)``, ``X_exogenous (n, m)`` (put the column of ones here; m may
    be 0), ``Z (n, q)`` with ``q >= p``. Coefficients come exogenous first, then endogenous, and so
    do ``names`` and ``rounding (m + p + q,)``, instruments last. Other settings as in `ordinary`.
    Equal to `linearmodels`.

    Raises `InputError`, and `NotIdentified` when there are fewer instruments than endogenous
    columns, when columns are collinear, or when the instruments do not move what they should.
    Reference: Anderson and Rubin (1949); arXiv:2506.00152 removes confounding of logs with it.
    """
    endogenous, exogenous, excluded = _matrices(X_endogenous, X_exogenous, Z)
    p, m = endogenous.shape[1], exogenous.shape[1]
    # One copy of the columns: X and W = [exogenous, Z] are overlapping views of it.
    y, block, w = _check_arrays(y, np.hstack([endogenous, exogenous, excluded]), weights)
    root, labels = np.sqrt(w), _labels(names, m, p, excluded.shape[1])
    block_w, yw = (block, y) if weights is None else (block * root[:, None], y * root)
    X, W = block_w[:, : p + m], block_w[:, p:]
    _require_order(p, excluded.shape[1])
    place = np.r_[m : m + p, 0:m, m + p : block.shape[1]]
    given = None if rounding is None else np.asarray(rounding, dtype=np.float64)[place]
    lost = weighted_rounding(block, block_w, given)
    first = project(block_w[:, :p], W, m, labels, lost)
    # X^ is columns times turn, and not made: its products with anything are turn' theirs.
    factor, columns, turn = first.factorise(W, labels[0], "once projected on the instruments")
    order = np.r_[p : p + m, 0:p]
    k_class = _liml(yw, X[:, order], W, m) if kappa == "liml" else float(kappa)
    bread = _k_class_bread(factor, block_w[:, :p] - first.fitted, k_class)
    coefficients, left = np.zeros(p + m), yw
    for _ in range(2):  # the second refines the first
        normal = k_class * (turn.T @ (columns.T @ left))
        if k_class != 1.0:
            normal += (1 - k_class) * (X.T @ left)[order]
        coefficients += bread @ normal
        left = yw - X @ coefficients[np.argsort(order)]
    residuals = left if weights is None else left / root
    spent = float(p + m)
    middle = _outer(factor if k_class == 1.0 else None, bread, turn, columns)
    errors = _covariance(bread, middle, left, clusters, kind, correction, spent)
    return _as_fit(coefficients, residuals, k_class, bread, spent, factor, errors)


def first_stage(
    X_endogenous: ArrayLike,
    X_exogenous: ArrayLike,
    Z: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    kind: Kind = "robust",
) -> FirstStage:
    """Measure how strongly the instruments move each endogenous column.

    With one endogenous column: the F statistic of Z in ``x = W g + Z d + v``, built from the
    covariance asked for. With several, the conditional F of Sanderson and Windmeijer (2016): the
    same for ``x_j`` less its two-stage prediction from the other endogenous columns, because each
    may be moved while they cannot be told apart. Covariances carry the small-sample factor.

    Shapes as in `two_stage`. Raises as `two_stage`.
    """
    endogenous, exogenous, excluded = _matrices(X_endogenous, X_exogenous, Z)
    count, q, m = endogenous.shape[1], excluded.shape[1], exogenous.shape[1]
    _require_order(count, q)
    W, numerator = np.hstack([exogenous, excluded]), q - count + 1
    f, partial = np.empty(count), np.empty(count)
    for j in range(count):
        target = endogenous[:, j]
        others = np.delete(endogenous, j, axis=1)
        if count > 1:
            target = two_stage(target, others, exogenous, excluded, weights=weights).residuals
        fit = ordinary(
            target, W, weights=weights, clusters=clusters, kind=kind, correction="conventional"
        )
        effect, spread = fit.coefficients[m:], fit.covariance[m:, m:]
        f[j] = _wald(effect, spread) / numerator
        left = target if m == 0 else ordinary(target, exogenous, weights=weights).residuals
        w = np.ones(len(target)) if weights is None else np.asarray(weights, dtype=np.float64)
        partial[j] = 1 - (w @ fit.residuals**2) / (w @ left**2)
    return FirstStage(f, partial, numerator)


def _wald(effect: Floats, covariance: Floats) -> float:
    """Return ``b'V^-1 b`` with a pseudo-inverse that no coefficient's unit decides about."""
    unit = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    unit = np.where(unit > 0, unit, 1.0)
    scaled = effect / unit
    return float(scaled @ np.linalg.lstsq(covariance / np.outer(unit, unit), scaled, rcond=None)[0])


def _k_class_bread(factor: Factorisation, off: Floats, kappa: float) -> Floats:
    """Invert ``(1 - kappa) X'X + kappa X^'X^``, well scaled by the factor of ``X^'X^``.

    ``off (n, p)`` is what W leaves of the endogenous columns, the last of X.
    """
    bread = factor.solve(np.eye(len(factor.scale)))
    if kappa == 1.0:
        return bread
    # X'X = X^'X^ + off'off, so that the sum is X^'X^ + (1 - kappa) off'off, and with the factor
    # X^'X^ = S^-1 R'R S^-1 its inverse is S R^-1 (I + (1 - kappa) G)^-1 R^-T S, free of units.
    unit = linalg.solve_triangular(factor.root, np.diag(factor.scale), trans="T")  # R^-T S
    off = off @ unit[:, -off.shape[1] :].T
    gram = off.T @ off
    inner = np.eye(len(bread)) + (1 - kappa) * gram
    highest = 1 + 1 / max(float(np.linalg.eigvalsh(gram)[-1]), 1e-300)
    if kappa >= highest:
        raise SettingsError(
            f"kappa must be below {highest:.4g} for these columns, not {kappa:g}: beyond, the sum "
            "of squares has no least value. Use 1, or 'liml'."
        )
    inverse = unit.T @ np.linalg.solve(inner, unit)
    return np.asarray((inverse + inverse.T) / 2)


def _liml(yw: Floats, Xw: Floats, W: Floats, m: int) -> float:
    """Return the smallest root of ``|E1'E1 - kappa EW'EW| = 0``, E1 and EW residuals of [y, X].

    It is one over the largest root of ``|EW'EW - mu E1'E1| = 0``, which also stands where the
    instruments leave nothing of a column of X.
    """
    stacked = np.column_stack([yw, Xw[:, m:]])
    within, short = residualise(stacked, W), residualise(stacked, W[:, :m])
    scale = np.linalg.norm(short, axis=0)
    left = np.linalg.norm(within, axis=0) / np.where(scale > 0, scale, 1.0)
    if len(yw) - W.shape[1] < stacked.shape[1] or not (scale > 0).all() or left[0] < COLLINEAR:
        raise NotIdentified(
            f"LIML needs more rows than the {len(yw)} here, or instruments that do not explain "
            "the outcome perfectly. Use kappa=1 (two-stage least squares)."
        )
    within, short = within / scale, short / scale
    unexplained = left >= COLLINEAR
    directions = within[:, unexplained] / left[unexplained]
    if np.linalg.svd(np.linalg.qr(directions, mode="r"), compute_uv=False)[-1] < COLLINEAR:
        raise NotIdentified(
            "Once the instruments are known, the outcome is an exact combination of the "
            "confounders, or they are of each other: LIML has no answer. Use kappa=1 (two-stage "
            "least squares), and ask where such an outcome comes from."
        )
    return 1 / float(linalg.eigh(within.T @ within, short.T @ short, eigvals_only=True)[-1])


def _as_fit(
    coefficients: Floats,
    residuals: Floats,
    kappa: float,
    bread: Floats,
    spent: float,
    factor: Factorisation,
    errors: Sandwich,
) -> LinearFit:
    covariance, counts, repaired = errors.covariance, errors.cluster_counts, errors.repaired
    return LinearFit(
        coefficients, covariance, residuals, kappa, bread, spent, factor, counts, repaired
    )


def _outer(
    factor: Factorisation | None, bread: Floats, turn: Floats, columns: Floats
) -> tuple[Floats, Floats]:
    """Return the slices of bread and the columns whose scores lie between them.

    ``columns @ turn`` are the regressors. Where a ``factor`` says that they are close, orthonormal
    columns between half inverses keep the digits.
    """
    if factor is not None and factor.is_close:
        half = factor.half_inverse()
        return half, columns @ (turn @ half)
    return bread @ turn.T, columns


def _covariance(
    bread: Floats,
    middle: tuple[Floats, Floats],
    residuals: Floats,
    clusters: ArrayLike | None,
    kind: Kind,
    correction: Correction,
    spent: float,
) -> Sandwich:
    n = len(residuals)
    if clusters is None and kind == "unadjusted":
        left = n if correction == "none" else n - spent
        if left <= 0:
            raise NotIdentified(no_freedom(n, spent))
        variance = float(residuals @ residuals) / left
        return Sandwich(bread * variance, (), np.zeros(len(bread), dtype=bool))
    if kind not in ("robust", "unadjusted"):
        raise SettingsError(f"kind must be 'robust' or 'unadjusted', not {kind!r}.")
    slices, columns = middle
    return sandwich(columns, slices, clusters, times=residuals, correction=correction, spent=spent)


def _labels(
    names: Sequence[str] | None, m: int, p: int, q: int
) -> tuple[Sequence[str], Sequence[str]]:
    """Return the names of the columns of X and of [exogenous, instruments]."""
    given = [
        *(f"exogenous {i}" for i in range(m)),
        *(f"endogenous {i}" for i in range(p)),
        *(f"instrument {i}" for i in range(q)),
    ]
    named = given if names is None else list(names)
    if len(named) != m + p + q:
        raise InputError(f"There are {m + p + q} columns but {len(named)} names.")
    return named[: m + p], named[:m] + named[m + p :]


def _require_order(endogenous: int, instruments: int) -> None:
    if instruments < endogenous:
        raise NotIdentified(
            f"There are {endogenous} endogenous columns but only {instruments} instruments. "
            f"At least {endogenous} instruments are needed: declare more, or fewer confounders."
        )


def _matrices(*values: ArrayLike) -> list[Floats]:
    """Return two-dimensional float arrays that have the same number of rows."""
    matrices = [np.asarray(value, dtype=np.float64) for value in values]
    matrices = [value[:, None] if value.ndim == 1 else value for value in matrices]
    if len({len(value) for value in matrices}) > 1 or any(value.ndim != 2 for value in matrices):
        shapes = ", ".join(str(value.shape) for value in matrices)
        raise InputError(f"Endogenous, exogenous and instruments differ in rows: {shapes}.")
    if not np.isfinite(matrices[-1]).all():
        raise InputError("Instruments must be finite: remove or fill in the missing values.")
    return matrices


def _check_arrays(
    y: ArrayLike, X: ArrayLike, weights: ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    """Return y, X and weights of mean 1 as floats of fitting shapes."""
    outcome, matrix = np.asarray(y, dtype=np.float64), np.asarray(X, dtype=np.float64)
    if outcome.ndim != 1 or matrix.ndim != 2 or len(matrix) != len(outcome):
        raise InputError(f"y must be (n,) and X (n, k), not {outcome.shape} and {matrix.shape}.")
    if not (np.isfinite(outcome).all() and np.isfinite(matrix).all()):
        raise InputError("y and X must be finite: remove or fill in the missing values.")
    w = np.ones(len(outcome)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != outcome.shape or not (np.isfinite(w) & (w > 0)).all():
        raise InputError("Weights must be one positive, finite number for each row.")
    return outcome, matrix, w / w.mean()
