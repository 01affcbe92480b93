"""Factor the cross products of a design matrix, and name the column that is redundant."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from causalign.errors import NotIdentified

Floats = NDArray[np.float64]

# Below this share of a column that is not explained by the columns before it, the Gram matrix has
# lost too many digits to tell, and the columns themselves are factored.
GRAM_IS_SAFE = 1e-6
# The same share, as a length, below which a column is called a combination of the others.
COLLINEAR = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Factorisation:
    """Hold ``X'X + diag(penalty) = S^-1 R'R S^-1`` with S the scales and R upper triangular."""

    scale: Floats
    root: Floats

    def solve(self, right: Floats) -> Floats:
        """Return the solution of the normal equations, ``(k,)`` or ``(k, m)``."""
        scale = self.scale if right.ndim == 1 else self.scale[:, None]
        half = linalg.solve_triangular(self.root, right * scale, trans="T", check_finite=False)
        solution = linalg.solve_triangular(self.root, half, check_finite=False)
        return np.asarray(solution * scale)


def factorise(
    X: Floats, names: Sequence[str] | None, penalty: Floats | None = None, *, reason: str = ""
) -> Factorisation:
    """Factor ``X'X + diag(penalty)``: Cholesky where that is accurate, else Householder QR."""
    gram = X.T @ X
    if penalty is not None:
        gram[np.diag_indices_from(gram)] += penalty
    length = np.sqrt(np.diag(gram))
    if not (length > 0).all():
        zero = int(np.argmin(length))
        raise NotIdentified(f"Column {_name(names, zero)} is zero in every row{_with(reason)}.")
    scale = 1 / length
    root = _safe_root(gram * np.outer(scale, scale))
    if root is None:
        rows = X * scale
        if penalty is not None:
            rows = np.vstack([rows, np.diag(np.sqrt(penalty) * scale)])
        root = _qr_root(rows, names, reason)
    return Factorisation(scale, root)


def factorise_gram(gram: Floats, names: Sequence[str], *, reason: str = "") -> Factorisation:
    """Factor ``X'X`` where the rows of X are no longer at hand; raise where digits are lacking."""
    length = np.sqrt(np.diag(gram))
    if not (length > 0).all():
        zero = int(np.argmin(length))
        raise NotIdentified(f"Column {_name(names, zero)} is zero in every row{_with(reason)}.")
    scaled = gram / np.outer(length, length)
    root = _safe_root(scaled)
    if root is None:
        # The first column whose leading block has no safe root is the redundant one.
        sizes = range(1, len(gram) + 1)
        bad = next(k for k in sizes if _safe_root(scaled[:k, :k]) is None) - 1
        raise NotIdentified(
            f"Column {_name(names, bad)} is a linear combination of the columns before it, or so "
            f"nearly that one pass over the rows cannot tell{_with(reason)}. Leave it out."
        )
    return Factorisation(1 / length, root)


def independent_columns(X: Floats) -> NDArray[np.int64]:
    """Return the positions of a largest set of columns of ``X (n, k)`` that are not redundant."""
    length = np.linalg.norm(X, axis=0)
    used = np.flatnonzero(length > COLLINEAR * length.max(initial=0.0))
    scaled = X[:, used] / length[used]
    if _safe_root(scaled.T @ scaled) is not None:
        return used
    root = np.linalg.qr(scaled, mode="r")
    triangle, order = linalg.qr(root, mode="r", pivoting=True)[-2:]
    rank = int((np.abs(np.diag(triangle)) > COLLINEAR).sum())
    return np.sort(used[order[:rank]])


def residualise(values: Floats, columns: Floats) -> Floats:
    """Return what ``columns (n, m)`` leave unexplained of ``values (n, k)``, refined once."""
    if columns.shape[1] == 0:
        return values
    factor = factorise(columns, None)
    left = values - columns @ factor.solve(columns.T @ values)
    refined: Floats = left - columns @ factor.solve(columns.T @ left)
    return refined


def _safe_root(gram: Floats) -> Floats | None:
    """Return R with ``R'R = gram``, of unit diagonal, or None where it would lack digits."""
    try:
        root = np.linalg.cholesky(gram).T
    except np.linalg.LinAlgError:
        return None
    return np.asarray(root) if np.square(np.diag(root)).min(initial=1.0) >= GRAM_IS_SAFE else None


def _qr_root(X: Floats, names: Sequence[str] | None, reason: str) -> Floats:
    n, k = X.shape
    if n < k:
        raise NotIdentified(
            f"There are {n} rows for {k} coefficients{_with(reason)}. Use fewer columns, more "
            "rows or a penalty."
        )
    root: Floats = np.asarray(np.linalg.qr(X, mode="r"), dtype=np.float64)
    bad = np.flatnonzero(np.abs(np.diag(root)) < COLLINEAR)
    if bad.size:
        j = int(bad[0])
        share = np.asarray(np.linalg.lstsq(root[:j, :j], root[:j, j], rcond=None)[0])
        parts = [_name(names, i) for i in np.argsort(-np.abs(share)) if abs(share[i]) > 1e-6]
        of = ", ".join(parts[:6]) + (", ..." if len(parts) > 6 else "")
        raise NotIdentified(
            f"Column {_name(names, j)} is a linear combination of {of or 'the others'}"
            f"{_with(reason)}. Leave one of them out."
        )
    return root


def _with(reason: str) -> str:
    return f" {reason}" if reason else ""


def _name(names: Sequence[str] | None, index: int) -> str:
    return f"number {index}" if names is None else repr(names[index])
