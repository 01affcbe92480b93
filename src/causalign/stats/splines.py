"""Write a curve as columns for least squares: cubic B-splines, straight beyond the last knots."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BSpline

from causalign.errors import InputError

__all__ = ["DEGREE", "spline_columns", "spline_knots"]

Floats = NDArray[np.float64]
DEGREE = 3


def spline_knots(values: ArrayLike, columns: int) -> Floats:
    """Return the knots of a cubic spline with as many ``columns``: smallest, quantiles, largest.

    ``columns - 3`` knots lie inside, at equally spaced quantiles of ``values (n,)``. Raises
    `InputError` when fewer than 3 columns are asked for or when the values are too few to differ
    at the knots.
    """
    if columns < DEGREE:
        raise InputError(f"A cubic spline has at least {DEGREE} columns, not {columns}.")
    x = np.asarray(values, dtype=np.float64)
    shares = np.linspace(0, 1, columns - DEGREE + 2)
    knots: Floats = np.quantile(x, shares)
    distinct = len(np.unique(x))
    if (np.diff(knots) <= 0).any() or distinct <= columns:
        raise InputError(
            f"{distinct} distinct values, or many equal ones, do not carry a spline of {columns} "
            "columns. Ask for fewer columns, or use the values as categories."
        )
    return knots


def spline_columns(values: ArrayLike, knots: ArrayLike) -> Floats:
    """Return the cubic B-splines ``(n, k)`` at ``values (n,)``, without the first: no intercept.

    ``k`` is three more than the inner knots. Between the outer knots equal to `patsy` ``bs(x,
    df=k)``; beyond them each column goes on along its tangent, because a cubic would run away.
    Reference: de Boor (1978).
    """
    x, given = np.asarray(values, dtype=np.float64), np.asarray(knots, dtype=np.float64)
    low, high = given[0], given[-1]
    padded = np.concatenate([[low] * DEGREE, given, [high] * DEGREE])
    inside = np.clip(x, low, high)
    columns = BSpline.design_matrix(inside, padded, DEGREE).toarray()
    beyond = x - inside
    if beyond.any():
        splines = BSpline(padded, np.eye(columns.shape[1]), DEGREE)
        columns = columns + beyond[:, None] * splines(inside, nu=1)
    found: Floats = columns[:, 1:]
    return found
