"""Tell how much of a column is rounding: what its numbers do not hold is no information."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Half the gap between neighbouring numbers, as a share of them, in floats of 16, 32 and 64 bits.
HALF, SINGLE, DOUBLE = 2.0**-11, 2.0**-24, 2.0**-53
# Sums of rounded numbers are off by a few times that.
MARGIN = 16.0
# A fit whose residuals are below this share of the outcome's spread leaves nothing to judge by.
EXACT = 1e-11
_LARGEST_EXACT = 2.0**24
_GLANCE = 64


def roundoff(columns: ArrayLike) -> Floats:
    """Return by which share of itself each number of each column ``(n, k)`` is rounded, ``(k,)``.

    Columns of 16 or 32 bits say it by their type. Numbers that came as 32 bits and were made wider
    since (vectors of texts) still show it: all of them fit into 32 bits. Whole numbers and
    fractions that are short in binary fit too; whole ones are exact, and for the others the wider
    margin does no harm.
    """
    given = np.asarray(columns)
    if given.dtype == np.float16:
        return np.where(are_whole(given), DOUBLE, HALF)
    if given.dtype == np.float32:
        return np.where(are_whole(given), DOUBLE, SINGLE)
    wide = given.astype(np.float64, copy=False)
    shares = np.full(wide.shape[1], DOUBLE)
    maybe = np.flatnonzero(fit_single(wide[:_GLANCE]))
    narrow = maybe[fit_single(wide[:, maybe])]
    shares[narrow[~are_whole(wide[:, narrow])]] = SINGLE
    return shares


def rounding_lengths(columns: ArrayLike, shares: ArrayLike | None = None) -> Floats:
    """Return the length ``(k,)`` up to which a combination of columns ``(n, k)`` may be rounding.

    ``16 e_j |x_j|``, with e_j the `roundoff` of the column as it came: ``shares (k,)``, or what its
    numbers show. Subtracting a mean or the means of categories does not shorten it.
    """
    given = np.asarray(columns)
    known = roundoff(given) if shares is None else np.asarray(shares, dtype=np.float64)
    wide = np.asarray(given, dtype=np.float64)
    return np.asarray(MARGIN * known * np.sqrt(np.einsum("ij,ij->j", wide, wide)))


def weighted_rounding(columns: Floats, weighted: Floats, rounding: ArrayLike | None) -> Floats:
    """Return the rounding of columns times the roots of weights: the same share as without.

    ``rounding (k,)`` is that of ``columns (n, k)``, or None for what the numbers show.
    """
    lost = rounding_lengths(columns) if rounding is None else np.asarray(rounding, dtype=float)
    if weighted is columns:
        return lost
    square = np.einsum("ij,ij->j", columns, columns)
    share = np.einsum("ij,ij->j", weighted, weighted) / np.where(square > 0, square, 1.0)
    return np.asarray(lost * np.sqrt(share))


def is_exact(residual: float, spread: float, size: float, share: float) -> bool:
    """Return whether residuals of that length are rounding.

    They belong to an outcome of length ``spread`` about its mean and ``size`` about zero, each of
    whose numbers was rounded by ``share`` of itself.
    """
    return residual <= max(EXACT * spread, MARGIN * share * size)


def fit_single(values: Floats) -> NDArray[np.bool_]:
    """Return which columns of ``(n, k)`` hold numbers that floats of 32 bits hold, ``(k,)``."""
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray((values.astype(np.float32) == values).all(axis=0))


def are_whole(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which columns of ``(n, k)`` hold whole numbers that 32 bits do not round, ``(k,)``."""
    small = np.abs(values).max(axis=0, initial=0.0).astype(np.float64) <= _LARGEST_EXACT
    return np.asarray(small & (np.rint(values) == values).all(axis=0))
