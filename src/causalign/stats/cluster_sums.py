"""Sums within clusters, of any number of clusters in bounded memory."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]

# The sums of all clusters may be so many numbers (64 MiB); of more clusters some share a sum.
MOST_NUMBERS = 2**23
FEWEST_BUCKETS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """Say in which of ``count`` sums each cluster is, and with which sign.

    ``known (G,)`` are the clusters' numbers in [0, 1), ascending, and each has a sum of its own;
    where they are too many, it is None, and clusters share a sum with random signs: the sum of the
    squares is then right on average, and the standard errors that follow are off by about
    ``√(1/(2 count))`` of themselves, 1 % for 4,096.
    """

    count: int
    known: Floats | None

    def place(self, clusters: Floats) -> sparse.csr_array:
        """Return the matrix ``(count, b)`` that sums b rows within their clusters."""
        rows, sign = np.arange(len(clusters)), np.asarray(np.ones(len(clusters)))
        if self.known is not None:
            at = np.searchsorted(self.known, clusters)
        else:
            half = np.asarray(clusters * (2 * self.count), dtype=np.int64)
            at, sign = half // 2, np.asarray(1.0 - 2.0 * (half % 2))
        return sparse.csr_array((sign, (at, rows)), shape=(self.count, len(rows)))


def choose_buckets(clusters: Floats, width: int) -> Buckets:
    """Return a sum for each of the different ``clusters (G,)``, or fewer for ``width`` columns."""
    most = max(FEWEST_BUCKETS, MOST_NUMBERS // max(width, 1))
    if len(clusters) <= most:
        return Buckets(len(clusters), clusters)
    return Buckets(most, None)
