"""What a column holds beyond those that it is nested in: its residual on them, as a transform."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]

# Beyond this share of entries that are not zero, dense products are faster.
DENSE = 0.05
ROWS_AT_ONCE = 4096


def beyond_parts(
    columns: sparse.csc_array, parts: Sequence[Sequence[int]], weights: Floats | None = None
) -> tuple[sparse.csc_array, Floats]:
    """Return M ``(m, m)`` and what is left of each of m columns once its parts are known ``(m,)``.

    ``columns @ M`` holds in place j the residual, up to a constant, of column j of ``(n, m)`` on
    the columns ``parts[j]``, by least squares with ``weights (n,)``; column j itself where it has
    no parts. The coefficient of that residual in a regression is then that of column j beside its
    parts (Frisch and Waugh 1933). ``left`` is the residual's share of the column's variance.
    """
    n, m = columns.shape
    w = np.full(n, 1.0 / n) if weights is None else weights / weights.sum()
    nested = [j for j in range(m) if len(parts[j])]
    used = np.unique([*nested, *(i for j in nested for i in parts[j])]).astype(np.int64)
    place = {int(j): k for k, j in enumerate(used)}
    covariance = _covariance(columns[:, used], w)
    left, rows, places, values = np.ones(m), [], [], []
    for j in nested:
        own, at = place[j], [place[i] for i in parts[j]]
        with_parts = covariance[at, own]
        slopes = np.linalg.lstsq(covariance[np.ix_(at, at)], with_parts, rcond=1e-9)[0]
        variance = covariance[own, own]
        left[j] = 1.0 - float(slopes @ with_parts) / variance if variance > 0 else 0.0
        rows += list(parts[j])
        places += [j] * len(at)
        values += list(-slopes)
    beyond = sparse.csc_array((values, (rows, places)), shape=(m, m)) if rows else None
    unit = sparse.eye_array(m, format="csc")
    return sparse.csc_array(unit if beyond is None else unit + beyond), left


def _covariance(columns: sparse.csc_array, w: Floats) -> Floats:
    n, m = columns.shape
    mean = columns.T @ w
    if columns.nnz <= DENSE * n * m:
        cross = np.asarray((columns.T @ columns.multiply(w[:, None])).todense())
        return np.asarray(cross - np.outer(mean, mean))
    by_row, cross = sparse.csr_array(columns), np.zeros((m, m))
    for start in range(0, n, ROWS_AT_ONCE):
        block = by_row[start : start + ROWS_AT_ONCE].toarray()
        cross += block.T @ (block * w[start : start + ROWS_AT_ONCE, None])
    return np.asarray(cross - np.outer(mean, mean))
