"""What a column holds beyond those that it is nested in: its residual on them, as a transform."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]

# So many products of entries are made at once, before those of one pair are added up.
PRODUCTS_AT_ONCE = 20_000_000


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
    covariance = _Covariance.of(columns, [(j, *parts[j]) for j in nested], w)
    left, rows, places, values = np.ones(m), [], [], []
    for j in nested:
        own = covariance.among([j, *parts[j]])
        slopes = np.linalg.lstsq(own[1:, 1:], own[1:, 0], rcond=1e-9)[0]
        left[j] = 1.0 - float(slopes @ own[1:, 0]) / own[0, 0] if own[0, 0] > 0 else 0.0
        rows += list(parts[j])
        places += [j] * len(parts[j])
        values += list(-slopes)
    beyond = sparse.csc_array((values, (rows, places)), shape=(m, m)) if rows else None
    unit = sparse.eye_array(m, format="csc")
    return sparse.csc_array(unit if beyond is None else unit + beyond), left


@dataclass(frozen=True, slots=True, eq=False)
class _Covariance:
    """Covariances of pairs of columns, ``keys`` ascending, and no others: those that are asked."""

    keys: NDArray[np.int64]
    values: Floats
    count: int

    @staticmethod
    def of(
        columns: sparse.csc_array, families: Sequence[Sequence[int]], w: Floats
    ) -> "_Covariance":
        """Take the covariances within each of some families of columns."""
        count, pairs = columns.shape[1], [np.zeros(0, dtype=np.int64)]
        for family in families:
            at = np.array(family, dtype=np.int64)
            pairs.append((at[:, None] * count + at).ravel())
        keys = np.unique(np.concatenate(pairs))
        mean = columns.T @ w
        cross = _cross_products(columns, keys, w)
        return _Covariance(keys, cross - mean[keys // count] * mean[keys % count], count)

    def among(self, family: Sequence[int]) -> Floats:
        """Return the covariance matrix of one of the families."""
        at = np.array(family, dtype=np.int64)
        places = np.searchsorted(self.keys, at[:, None] * self.count + at)
        return np.asarray(self.values[places])


def _cross_products(columns: sparse.csc_array, keys: NDArray[np.int64], w: Floats) -> Floats:
    """Return weighted cross products of pairs ``first · m + second``, some first ones at a time."""
    m, cross = columns.shape[1], np.zeros(len(keys))
    if not len(keys):
        return cross
    by_row = sparse.csr_array(columns.multiply(w[:, None]))
    firsts, starts = np.unique(keys // m, return_index=True)
    # So many products each of them makes: the entries of all rows that hold it.
    pattern = sparse.csc_array(
        (np.ones(columns.nnz), columns.indices, columns.indptr), columns.shape
    )
    work = np.cumsum((pattern.T @ np.diff(by_row.indptr))[firsts])
    for some in np.split(np.arange(len(firsts)), _cuts(work)):
        product = sparse.csr_array(columns[:, firsts[some]].T @ by_row)
        product.sort_indices()
        rows = np.repeat(firsts[some], np.diff(product.indptr))
        known = rows * m + product.indices
        stop = starts[some[-1] + 1] if some[-1] + 1 < len(starts) else len(keys)
        asked = keys[starts[some[0]] : stop]
        place = np.minimum(np.searchsorted(known, asked), max(len(known) - 1, 0))
        if len(known):
            is_known = known[place] == asked
            cross[starts[some[0]] : stop] = np.where(is_known, product.data[place], 0.0)
    return cross


def _cuts(work: Floats) -> NDArray[np.int64]:
    return np.flatnonzero(np.diff(work // PRODUCTS_AT_ONCE)) + 1
