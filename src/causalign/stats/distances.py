"""Squared distances between many rows, a block at a time."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

__all__ = ["nearest_squared", "squared_distances"]

Floats = NDArray[np.float64]

CELLS = 4_000_000  # distances held at once


def squared_distances(first: Floats, second: Floats) -> Iterator[tuple[slice, Floats]]:
    """Yield rows of ``first (n, d)`` and their squared distances to ``second (m, d)``, by block.

    Distances below rounding error are 0, so that equal rows are at distance 0 exactly.
    """
    own, other = np.square(first).sum(axis=1), np.square(second).sum(axis=1)
    step = max(1, CELLS // len(second))
    for start in range(0, len(first), step):
        rows = slice(start, min(start + step, len(first)))
        sizes = own[rows, None] + other
        found = sizes - 2.0 * (first[rows] @ second.T)
        found[found < 1e-13 * sizes] = 0.0
        yield rows, found


def nearest_squared(first: Floats, second: Floats | None = None) -> Floats:
    """Return the squared distance of each row ``(n,)`` to the nearest row of ``second``.

    Without ``second``, to the nearest other row of ``first``.
    """
    found = np.empty(len(first))
    for rows, squared in squared_distances(first, first if second is None else second):
        if second is None:
            squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf
        found[rows] = squared.min(axis=1)
    return found
