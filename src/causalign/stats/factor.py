"""Factor the cross products of a design matrix, and name the column that is redundant."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from causalign.errors import NotIdentified
from causalign.stats.rounding import rounding_lengths

Floats = NDArray[np.float64]

# Below this share of a column that is not explained by the columns before it, the Gram matrix has
# lost too many digits to tell, and the columns themselves are factored.
GRAM_IS_SAFE = 1e-6
# The same share, as a length, below which a column is called a combination of the others however
# many digits its numbers have.
COLLINEAR = 1e-9
# Above this share that is not explained, no combination of rounded columns explains the column.
CLEAR = 1e-2


@dataclass(frozen=True, slots=True, eq=False)
class Factorisation:
    """Hold ``X'X + diag(penalty) = S^-1 R'R S^-1`` with S the scales and R upper triangular.

    ``is_close`` says that columns are nearly combinations of others: products of the inverse then
    lose twice the digits of its `half_inverse`.
    """

    scale: Floats
    root: Floats
    is_close: bool = False

    def half_inverse(self) -> Floats:
        """Return ``H = S R^-1``, ``(k, k)``: ``H H'`` is the inverse, ``X H`` orthonormal."""
        inverse = linalg.solve_triangular(self.root, np.eye(len(self.root)), check_finite=False)
        return np.asarray(self.scale[:, None] * inverse)

    @property
    def condition(self) -> float:
        """Return the condition number of the columns of unit length, 1 where there are none."""
        return float(np.linalg.cond(self.root)) if self.root.size else 1.0

    def solve(self, right: Floats) -> Floats:
        """Return the solution of the normal equations, ``(k,)`` or ``(k, m)``."""
        scale = self.scale if right.ndim == 1 else self.scale[:, None]
        half = linalg.solve_triangular(self.root, right * scale, trans="T", check_finite=False)
        solution = linalg.solve_triangular(self.root, half, check_finite=False)
        return np.asarray(solution * scale)


def factorise(
    X: Floats,
    names: Sequence[str] | None,
    penalty: Floats | None = None,
    *,
    rounding: Floats | None = None,
    reason: str = "",
) -> Factorisation:
    """Factor ``X'X + diag(penalty)``: Cholesky where that is accurate, else Householder QR.

    Raises `NotIdentified`, naming the column, where what the columns before it leave of a column is
    no longer than the rounding of all of them: ``rounding (k,)``, in units of the columns, or what
    the numbers show (see `causalign.stats.rounding.rounding_lengths`).
    """
    lost = rounding_lengths(X) if rounding is None else rounding
    gram = X.T @ X
    if penalty is not None:
        gram[np.diag_indices_from(gram)] += penalty
    factor = factorise_products(gram, lost)
    if factor is not None:
        return factor
    length = np.sqrt(np.diag(gram))
    if not (length > lost).all():
        raise NotIdentified(_nothing_left(int(np.argmin(length > lost)), length, names, reason))
    scale = 1 / length
    rows = X * scale
    if penalty is not None:
        rows = np.vstack([rows, np.diag(np.sqrt(penalty) * scale)])
    return Factorisation(scale, _qr_root(rows, lost * scale, names, reason), is_close=True)


def factorise_products(gram: Floats, rounding: Floats) -> Factorisation | None:
    """Factor cross products ``(k, k)`` by Cholesky, or return None where they lack digits.

    ``rounding (k,)`` is the length of each column that may be rounding.
    """
    length = np.sqrt(np.maximum(np.diag(gram), 0.0))
    if not (length > rounding).all():
        return None
    scale = 1 / length
    root = safe_root(gram * np.outer(scale, scale), rounding * scale)
    return None if root is None else Factorisation(scale, root)


def residualise(values: Floats, columns: Floats) -> Floats:
    """Return what ``columns (n, m)`` leave unexplained of ``values (n, k)``, refined once."""
    if columns.shape[1] == 0:
        return values
    factor = factorise(columns, None)
    left = values - columns @ factor.solve(columns.T @ values)
    refined: Floats = left - columns @ factor.solve(columns.T @ left)
    return refined


def safe_root(gram: Floats, rounding: Floats) -> Floats | None:
    """Return R with ``R'R = gram``, of unit diagonal, or None where it would lack digits.

    Its columns have the share ``rounding (k,)`` of rounding: where that is not small beside what is
    left of each of them, the columns themselves must be asked.
    """
    try:
        root = np.linalg.cholesky(gram).T
    except np.linalg.LinAlgError:
        return None
    left = np.square(np.diag(root)).min(initial=1.0)
    enough = max(GRAM_IS_SAFE, float(rounding.max(initial=0.0)))
    return np.asarray(root) if left >= enough else None


def _qr_root(X: Floats, rounding: Floats, names: Sequence[str] | None, reason: str) -> Floats:
    n, k = X.shape
    if n < k:
        raise NotIdentified(
            f"There are {n} rows for {k} coefficients{_with(reason)}. Use fewer columns, more "
            "rows or a penalty."
        )
    root: Floats = np.asarray(np.linalg.qr(X, mode="r"), dtype=np.float64)
    left = np.abs(np.diag(root))
    for j in np.flatnonzero(left < max(CLEAR, 2 * float(rounding.max(initial=0.0)))):
        share = linalg.solve_triangular(root[:j, :j], root[:j, j]) if j else np.zeros(0)
        lost = np.sqrt(rounding[j] ** 2 + np.square(share * rounding[:j]).sum())
        if left[j] > max(COLLINEAR, float(lost)):
            continue
        parts = [_name(names, i) for i in np.argsort(-np.abs(share)) if abs(share[i]) > 1e-6]
        parts = list(dict.fromkeys(parts))
        of = ", ".join(parts[:6]) + (", ..." if len(parts) > 6 else "")
        raise NotIdentified(
            f"Column {_name(names, int(j))} is a linear combination of {of or 'the others'}"
            f"{_with(reason)}. Leave one of them out."
        )
    return root


def _nothing_left(column: int, length: Floats, names: Sequence[str] | None, reason: str) -> str:
    name = _name(names, column)
    if length[column] == 0:
        return f"Column {name} is zero in every row{_with(reason)}."
    return (
        f"Column {name} varies by no more than its numbers are rounded{_with(reason)}. Leave it "
        "out, or give it with more digits."
    )


def _with(reason: str) -> str:
    return f" {reason}" if reason else ""


def _name(names: Sequence[str] | None, index: int) -> str:
    return f"number {index}" if names is None else repr(names[index])
