"""Turn scores into covariances: robust, and clustered one or two ways."""

from collections.abc import Sequence
from dataclasses import dataclass
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

# Codes up to so many times the number of rows are counted, larger ones sorted.
SPARSE = 4
BLOCK = 4096
# Shares of the sum of all terms: directions of less are rounding, and so are negative parts.
EMPTY, NEGATIVE = 1e-8, 1e-6
# The share of what one way says below which a repaired variance says nothing.
LEAST = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Sandwich:
    """Hold a covariance ``(k, k)`` and the numbers of clusters, one for each way.

    ``repaired (k,)`` says which variances two ways combined to a negative one, which was replaced.
    """

    covariance: Floats
    cluster_counts: tuple[int, ...]
    repaired: NDArray[np.bool_]


def sandwich(
    scores: Floats,
    bread: Floats,
    clusters: ArrayLike | None = None,
    *,
    times: Floats | None = None,
    correction: Correction = "none",
    spent: float = 0.0,
) -> Sandwich:
    """Sum the outer products of scores, within clusters first, between two slices of bread.

    ``V = B (sum_g s_g s_g') B'`` with ``s_g`` the sum of the scores of the rows of g; two ways are
    combined as ``V_1 + V_2 - V_12`` (Cameron, Gelbach and Miller 2011), and made positive where it
    is not: see `combine`. Assumption: rows (clusters) are independent of each other.

    ``scores (n, k)`` have mean zero at the estimate, ``bread (k, k)`` turns them into units of the
    estimate; with ``times (n,)`` they are their rows times these numbers. ``clusters`` are ``(n,)``
    or ``(n, 2)``. ``correction``: ``none``; ``conventional``, the
    factor ``n / (n - spent)`` without clusters and ``G/(G - 1) (n - 1)/(n - spent)`` with G
    clusters, as `linearmodels` with debiased=True; ``min``, the same with the smallest G for both
    ways, as `pyfixest` does by default.
    """
    groups = group_rows(clusters, len(scores))
    meats = []
    for (_, codes, count), factor in zip(
        groups, factors(groups, len(scores), correction, spent), strict=True
    ):
        meats.append(factor * _outer_products(scores, times, codes, count))
    counts = tuple(count for _, codes, count in groups[:2] if codes is not None)
    return combine([bread @ meat @ bread.T for meat in meats], counts)


def _outer_products(
    scores: Floats, times: Floats | None, codes: NDArray[np.int64] | None, count: int
) -> Floats:
    """Sum the outer products of the sums of each group's scores."""
    if codes is not None or times is None:
        gathered = sum_groups(scores if times is None else scores * times[:, None], codes, count)
        return np.asarray(gathered.T @ gathered)
    meat = np.zeros((scores.shape[1], scores.shape[1]))
    # Blocks of rows that stay near the processor, instead of all scores in memory.
    for start in range(0, len(scores), BLOCK):
        rows = slice(start, start + BLOCK)
        block = scores[rows] * times[rows, None]
        meat += block.T @ block
    return meat


def combine(terms: Sequence[Floats], counts: tuple[int, ...]) -> Sandwich:
    """Add the covariances ``(k, k)`` of one way, or the three of two ways, the last negative.

    ``V = V_1 + V_2 - V_12`` may have negative variances, most of all with few clusters. Then its
    negative eigenvalues are set to zero (Cameron, Gelbach and Miller 2011, as `fixest` does); they
    are those relative to ``S = V_1 + V_2 + V_12``, ``V v = l S v`` with l from -1 to 1, so that no
    unit decides what is repaired. Variances that were positive keep their value; where less than 1%
    of ``V_1 + V_2`` is left of one that was not, it is called zero: nothing is known of it.
    """
    nowhere = np.zeros(len(terms[0]), dtype=bool)
    if len(terms) == 1:
        return Sandwich(terms[0], counts, nowhere)
    total, size = terms[0] + terms[1] + terms[2], terms[0] + terms[1] - terms[2]
    before, unit = np.diag(total), np.sqrt(np.diag(size))
    right = before > NEGATIVE * unit**2
    if right[unit > 0].all():
        return Sandwich(total, counts, nowhere)
    unit = np.divide(1.0, unit, out=np.zeros_like(unit), where=unit > 0)
    spread, turn = np.linalg.eigh(size * np.outer(unit, unit))
    held = spread > EMPTY * spread.max()
    root = unit[:, None] * turn[:, held] / np.sqrt(spread[held])
    shares, vectors = np.linalg.eigh(root.T @ total @ root)
    back = size @ root @ vectors
    positive = (back * np.maximum(shares, 0.0)) @ back.T
    least = LEAST * np.diag(terms[0] + terms[1])
    variances = np.where(right, before, np.where(np.diag(positive) > least, np.diag(positive), 0.0))
    return Sandwich(_with_variances(positive, variances), counts, ~right & (unit > 0))


def make_possible(covariance: Floats) -> Floats:
    """Return a covariance ``(k, k)`` of positive variances without negative eigenvalues.

    Two ways of clustering may combine to variances that are all positive and covariances that
    cannot go with them. Negative eigenvalues of the correlations are set to zero, and variances
    keep their value: what is shown stays, and every combination has a variance.
    """
    unit = np.sqrt(np.diag(covariance))
    correlations = covariance / np.outer(unit, unit)
    values, vectors = np.linalg.eigh((correlations + correlations.T) / 2)
    if values.min(initial=0.0) > -(NEGATIVE**2):
        return covariance
    positive = (vectors * np.maximum(values, 0.0)) @ vectors.T
    possible: Floats = _with_variances(positive, np.ones(len(unit))) * np.outer(unit, unit)
    return possible


def _with_variances(matrix: Floats, variances: Floats) -> Floats:
    """Scale rows and columns of a positive matrix so that ``variances (k,)`` are its diagonal."""
    now = np.diag(matrix)
    scale = np.sqrt(np.divide(variances, now, out=np.zeros_like(now), where=now > 0))
    scaled: Floats = matrix * np.outer(scale, scale)
    return scaled


def factors(groups: Groups, n: int, correction: Correction, spent: float) -> list[float]:
    """Return, for each term of the covariance, its sign times its small-sample factor."""
    if correction not in ("none", "conventional", "min"):
        raise SettingsError(
            f"correction must be 'none', 'conventional' or 'min', not {correction!r}."
        )
    if correction == "none":
        return [float(sign) for sign, _, _ in groups]
    if n <= spent:
        raise NotIdentified(no_freedom(n, spent))
    if groups[0][1] is None:
        return [n / (n - spent)]
    smallest = min(count for _, _, count in groups)
    used = [smallest if correction == "min" else count for _, _, count in groups]
    return [
        sign * g / (g - 1) * (n - 1) / (n - spent)
        for (sign, _, _), g in zip(groups, used, strict=True)
    ]


def no_freedom(n: int, spent: float) -> str:
    """Say that as many coefficients as rows fit every outcome, and leave nothing to judge by."""
    return (
        f"{n} rows leave no degrees of freedom after {spent:g} coefficients. Use fewer "
        "columns or more rows."
    )


def group_rows(clusters: ArrayLike | None, n: int) -> Groups:
    """Return one group of rows for each term of the covariance: one, or three for two ways."""
    if clusters is None:
        return [(1, None, n)]
    labels = np.asarray(clusters)
    if labels.ndim not in (1, 2) or len(labels) != n or (labels.ndim == 2 and labels.shape[1] > 2):
        raise InputError(f"Clusters must be ({n},) or ({n}, 2), not {labels.shape}.")
    ways = [labels] if labels.ndim == 1 else list(labels.T)
    coded = [number_labels(way)[1] for way in ways]
    if len(coded) == 2:
        joint = coded[0] * (int(coded[1].max()) + 1) + coded[1]
        coded.append(number_labels(joint)[1])
    counts = [int(codes.max()) + 1 for codes in coded]
    if min(counts) < 2:
        raise NotIdentified("Clustered standard errors need at least two clusters; there is one.")
    return [
        (sign, codes, count) for sign, codes, count in zip((1, 1, -1), coded, counts, strict=False)
    ]


def number_labels(labels: ArrayLike) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    """Return the distinct labels in order, and which of them each of n rows has, ``(n,)``.

    As `numpy.unique` does; codes are counted instead of sorted.
    """
    given = np.asarray(labels)
    are_codes = given.dtype.kind in "iu" and given.size and given.min() >= 0
    if not are_codes or given.max() > SPARSE * given.size:
        distinct, codes = np.unique(given, return_inverse=True)
        return distinct, codes.astype(np.int64)
    present = np.bincount(given) > 0
    return np.flatnonzero(present), (np.cumsum(present) - 1)[given]


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
