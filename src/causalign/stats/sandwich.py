"""Turn scores into covariances: robust, and clustered one or two ways."""

from typing import Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from causalign.errors import InputError, NotIdentified, SettingsError

Floats = NDArray[np.float64]
Correction = Literal["none", "conventional", "min"]
Rows = TypeVar("Rows")
# A sign (the overlap of two ways is subtracted), the code of each row, the number of clusters.
Groups = list[tuple[int, NDArray[np.int64] | None, int]]


def sandwich(
    scores: Floats,
    bread: Floats,
    clusters: ArrayLike | None = None,
    *,
    correction: Correction = "none",
    spent: float = 0.0,
) -> tuple[Floats, tuple[int, ...]]:
    """Sum the outer products of scores, within clusters first, between two slices of bread.

    ``V = B (sum_g s_g s_g') B'`` with ``s_g`` the sum of the scores of the rows of g; two ways are
    combined as ``V_1 + V_2 - V_12`` (Cameron, Gelbach and Miller 2011), which need not be
    positive. Assumption: rows (clusters) are independent of each other.

    ``scores (n, k)`` have mean zero at the estimate, ``bread (k, k)`` turns them into units of the
    estimate; ``clusters`` ``(n,)`` or ``(n, 2)``. ``correction``: ``none``; ``conventional``, the
    factor ``n / (n - spent)`` without clusters and ``G/(G - 1) (n - 1)/(n - spent)`` with G
    clusters, as `linearmodels` with debiased=True; ``min``, the same with the smallest G for both
    ways, as `pyfixest` does by default. Returns the covariance ``(k, k)`` and the cluster counts.
    """
    groups = group_rows(clusters, len(scores))
    meat = np.zeros((scores.shape[1], scores.shape[1]))
    for (_, codes, count), factor in zip(
        groups, factors(groups, len(scores), correction, spent), strict=True
    ):
        gathered = sum_groups(scores, codes, count)
        meat += factor * (gathered.T @ gathered)
    ways = groups[:2]
    return bread @ meat @ bread.T, tuple(count for _, codes, count in ways if codes is not None)


def factors(groups: Groups, n: int, correction: Correction, spent: float) -> list[float]:
    """Return, for each term of the covariance, its sign times its small-sample factor."""
    if correction not in ("none", "conventional", "min"):
        raise SettingsError(
            f"correction must be 'none', 'conventional' or 'min', not {correction!r}."
        )
    if correction == "none":
        return [float(sign) for sign, _, _ in groups]
    if n <= spent:
        raise NotIdentified(
            f"{n} rows leave no degrees of freedom after {spent:g} coefficients. Use fewer "
            "columns or more rows."
        )
    if groups[0][1] is None:
        return [n / (n - spent)]
    smallest = min(count for _, _, count in groups)
    used = [smallest if correction == "min" else count for _, _, count in groups]
    return [
        sign * g / (g - 1) * (n - 1) / (n - spent)
        for (sign, _, _), g in zip(groups, used, strict=True)
    ]


def group_rows(clusters: ArrayLike | None, n: int) -> Groups:
    """Return one group of rows for each term of the covariance: one, or three for two ways."""
    if clusters is None:
        return [(1, None, n)]
    labels = np.asarray(clusters)
    if labels.ndim not in (1, 2) or len(labels) != n or (labels.ndim == 2 and labels.shape[1] > 2):
        raise InputError(f"Clusters must be ({n},) or ({n}, 2), not {labels.shape}.")
    ways = [labels] if labels.ndim == 1 else list(labels.T)
    coded = [np.unique(way, return_inverse=True)[1].astype(np.int64) for way in ways]
    if len(coded) == 2:
        joint = coded[0] * (int(coded[1].max()) + 1) + coded[1]
        coded.append(np.unique(joint, return_inverse=True)[1].astype(np.int64))
    counts = [int(codes.max()) + 1 for codes in coded]
    if min(counts) < 2:
        raise NotIdentified("Clustered standard errors need at least two clusters; there is one.")
    return [
        (sign, codes, count) for sign, codes, count in zip((1, 1, -1), coded, counts, strict=False)
    ]


def sum_groups(values: Rows, codes: NDArray[np.int64] | None, count: int) -> Rows:
    """Sum the rows ``(n, k)`` that share a code: ``(count, k)``, sparse if the rows are.

    Without codes every row is a group of its own.
    """
    if codes is None:
        return values
    rows = np.arange(len(codes))
    picker = sparse.csr_array((np.ones(len(codes)), (codes, rows)), shape=(count, len(codes)))
    sums: Rows = picker @ values
    return sums
