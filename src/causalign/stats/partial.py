"""Remove from outcome, endogenous columns and instruments what the exogenous columns explain."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError, NotIdentified
from causalign.stats.factor import factorise, residualise
from causalign.stats.sandwich import sandwich

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Partialled:
    """Hold ``y (n,)``, ``X (n, p)`` and ``Z (n, q)`` less what the exogenous columns explain.

    By the theorem of Frisch, Waugh and Lovell every statistic of ``X`` and ``Z`` can be computed
    from these, with ``exogenous`` degrees of freedom spent. Rows are scaled by the root of weights
    of mean 1. ``basis (n, q)`` is orthonormal and spans ``Z = basis @ root``; ``clusters`` are
    labels ``(n,)`` or ``(n, 2)``, or None.
    """

    y: Floats
    X: Floats
    Z: Floats
    basis: Floats
    root: Floats
    exogenous: int
    clusters: NDArray[np.generic] | None

    @property
    def residual_degrees_of_freedom(self) -> int:
        """Return rows less exogenous columns less instruments."""
        return len(self.y) - self.exogenous - int(self.Z.shape[1])

    def test_degrees_of_freedom(self, cluster_counts: tuple[int, ...]) -> int:
        """Return those of an F statistic: clusters less one, or those of the residuals."""
        return min(cluster_counts) - 1 if cluster_counts else self.residual_degrees_of_freedom

    def on_basis(self, values: Floats) -> tuple[Floats, Floats]:
        """Regress ``(n,)`` on the basis: coefficients ``(q,)`` and residuals ``(n,)``."""
        coefficients = self.basis.T @ values
        return coefficients, values - self.basis @ coefficients

    def robust_covariance(self, left: Floats) -> Floats:
        """Return the covariance ``(q, q)`` of coefficients on the basis, given residuals (n,)."""
        spent = self.exogenous + self.Z.shape[1]
        scores = self.basis * left[:, None]
        bread = np.eye(self.Z.shape[1])
        return sandwich(
            scores, bread, self.clusters, correction="conventional", spent=spent
        ).covariance


def partial_out(
    y: ArrayLike,
    X_endogenous: ArrayLike,
    X_exogenous: ArrayLike,
    Z: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> Partialled:
    """Prepare instruments for their diagnostics, in one pass for all of them.

    ``y (n,)``, ``X_endogenous (n, p)``, ``X_exogenous (n, m)`` with the column of ones,
    ``Z (n, q)`` with ``q >= p``, ``weights (n,)`` positive, ``clusters (n,)`` or ``(n, 2)``;
    ``names`` names the m exogenous columns and then the q instruments.

    Raises `InputError` for shapes that do not fit or values that are not finite, and
    `NotIdentified` when there are too few instruments or rows, or when a column is redundant.
    """
    outcome = np.asarray(y, dtype=np.float64)
    X, E, instruments = (_matrix(value, len(outcome)) for value in (X_endogenous, X_exogenous, Z))
    w = np.ones(len(outcome)) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != outcome.shape or not (np.isfinite(w) & (w > 0)).all():
        raise InputError("Weights must be one positive, finite number for each row.")
    if not all(np.isfinite(part).all() for part in (outcome, X, E, instruments)):
        raise InputError("Outcome, columns and instruments must be finite numbers.")
    m, p, q = E.shape[1], X.shape[1], instruments.shape[1]
    if q < p or len(outcome) <= m + q:
        raise NotIdentified(
            f"{q} instruments for {p} endogenous columns, {len(outcome)} rows for {m + q} "
            "coefficients of the first stage: declare more instruments, or use more rows."
        )
    root_weight = np.sqrt(w / w.mean())[:, None]
    E = E * root_weight
    factorise(np.hstack([E, instruments * root_weight]), names)
    stacked = np.column_stack([outcome, X, instruments]) * root_weight
    left = residualise(stacked, E)
    basis, root = np.linalg.qr(left[:, 1 + p :])
    labels = None if clusters is None else np.asarray(clusters)
    return Partialled(left[:, 0], left[:, 1 : 1 + p], left[:, 1 + p :], basis, root, m, labels)


def _matrix(value: ArrayLike, rows: int) -> Floats:
    matrix = np.asarray(value, dtype=np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if matrix.ndim != 2 or len(matrix) != rows:
        raise InputError(f"Each matrix must have {rows} rows, as the outcome; got {matrix.shape}.")
    return matrix
