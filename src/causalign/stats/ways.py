"""Variances of sums over the groups of one or two ways of clustering."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from causalign.stats.sandwich import Groups

Floats = NDArray[np.float64]

# The most that leverage may take from a group.
FULL = 1.0 - 1e-9


def combine_ways(terms: Sequence[Floats]) -> Floats:
    """Return the variances of one way of clustering, or of two less their overlap.

    With two ways the result is at least the larger of both, since the combination need not be
    positive.
    """
    if len(terms) == 1:
        return np.maximum(terms[0], 0.0)
    both = terms[0] + terms[1] - terms[2]
    return np.asarray(np.maximum(both, np.maximum(terms[0], terms[1])))


def variance_if_independent(
    squares: Floats,
    together: Sequence[Floats],
    values: Floats,
    w: Floats,
    groups: Groups,
) -> Floats:
    """Return the variance of ``Σ v y`` if x and y were independent, y alike within clusters.

    ``squares (m,)`` sums v², ``together`` the squares of its sums within the groups of each way.
    """
    h = values - w @ values / len(values)
    spread = float(w @ h**2) / max(len(h) - 1, 1)
    terms = [squares * spread]
    for (_, codes, _), sums in zip(groups[:2], together, strict=False):
        if codes is None:
            continue
        of_groups, sizes = np.bincount(codes, weights=h), np.bincount(codes)
        pairs = float(sizes @ (sizes - 1.0))
        alike = 0.0
        if pairs * spread:
            alike = (float(of_groups @ of_groups) - float(h @ h)) / (spread * pairs)
        alike = min(max(alike, 0.0), 1.0)
        terms.append((1 - alike) * terms[0] + alike * spread * sums)
    return np.asarray(np.max(terms, axis=0))
