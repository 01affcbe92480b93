"""Absorb categorical factors: subtract their effects, recover them, count what they cost.

The least-squares problem on the indicators of several factors is solved through its Schur
complement: the factor with most levels is eliminated exactly by group sums, the rest is a system
as large as the other factors have levels. Small systems are inverted (by Cholesky where levels can
be compared, else by eigenvalues, which tell the rank), large ones solved by conjugate gradients to
a relative residual of 1e-13.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.linalg import block_diag, lapack
from scipy.sparse.linalg import LinearOperator, cg

from causalign.errors import InputError, NotIdentified
from causalign.stats.factor import safe_root
from causalign.stats.least_squares import LinearFit
from causalign.stats.sandwich import (
    Correction,
    Sandwich,
    combine,
    factors,
    group_rows,
    number_labels,
    sum_groups,
)

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

# Up to here an eigendecomposition takes a second or two.
LARGEST_DENSE = 1500
NULL = 1e-10
TOLERANCE = 1e-13


@dataclass(frozen=True, slots=True, eq=False)
class Absorber:
    """Solve weighted least squares on the indicators D of one or several factors.

    Made by `absorb`. ``codes`` holds for each of f factors ``(n,)`` integers below ``counts[f]``;
    ``redundant`` is the number of levels that the other levels determine (f - 1 when the factors
    are connected), or None where only conjugate gradients were affordable. ``indicators (n, L)``
    is D, the factors side by side in their own order.
    """

    codes: tuple[Codes, ...]
    counts: tuple[int, ...]
    weights: Floats
    redundant: int | None
    indicators: sparse.csr_array
    _order: tuple[int, ...]
    _totals: Floats
    _cross: sparse.csr_array
    _rest: sparse.csr_array
    _inverse: Floats | None

    def solve(self, right: Floats) -> Floats:
        """Solve ``D'WD a = right`` for ``right (L, p)`` in the range of ``D'WD``."""
        starts = np.concatenate([[0], np.cumsum(self.counts)])
        place = np.concatenate([np.arange(starts[f], starts[f + 1]) for f in self._order])
        ordered, first = right[place], len(self._totals)
        mean = ordered[:first] / self._totals[:, None]
        others = self._solve_rest(ordered[first:] - self._cross.T @ mean)
        solved = np.empty_like(ordered)
        solved[place] = np.vstack([mean - self._cross @ others / self._totals[:, None], others])
        return np.asarray(solved)

    def effects(self, values: ArrayLike) -> Floats:
        """Return the least-squares effects of all levels, ``(L,)`` or ``(L, p)``.

        ``a = argmin sum_i w_i (v_i - d_i a)^2``. Levels of the same factor can be compared; what
        is common to a factor is shared out arbitrarily, so centre each factor before reading it.
        """
        columns = _as_columns(values, len(self.weights))
        indicator = self.indicators
        solution = self.solve(indicator.T @ (columns * self.weights[:, None]))
        if self._inverse is not None:
            # One step of refinement recovers the digits that the group sums lost.
            left = columns - indicator @ solution
            solution += self.solve(indicator.T @ (left * self.weights[:, None]))
        return solution[:, 0] if np.ndim(values) == 1 else solution

    def within(self, values: ArrayLike) -> Floats:
        """Return ``values (n,)`` or ``(n, p)`` less the least-squares effects of the factors."""
        given = np.asarray(values, dtype=np.float64)
        return np.asarray(given - self.indicators @ self.effects(values))

    def split(self, effects: Floats) -> tuple[Floats, ...]:
        """Cut the effects of all levels ``(L, ...)`` into those of each factor."""
        return tuple(np.split(effects, np.cumsum(self.counts)[:-1]))

    def _solve_rest(self, right: Floats) -> Floats:
        if self._inverse is not None:
            return self._inverse @ right
        diagonal = self._rest.diagonal()

        def schur(vector: Floats) -> Floats:
            through = self._cross.T @ (self._cross @ vector / self._totals)
            return np.asarray(self._rest @ vector - through)

        size = (len(diagonal), len(diagonal))
        operator = LinearOperator(size, matvec=schur, dtype=np.float64)
        scaling = LinearOperator(size, matvec=lambda v: v / diagonal, dtype=np.float64)
        columns = []
        for column in right.T:
            solution, failed = cg(operator, column, rtol=TOLERANCE, M=scaling, maxiter=20_000)
            if failed:
                raise NotIdentified(
                    "The categorical confounders are too weakly connected to be absorbed "
                    "together. Leave one out, or merge its rare categories."
                )
            columns.append(solution)
        return np.column_stack(columns)


def absorb(codes: Sequence[ArrayLike], weights: ArrayLike | None = None) -> Absorber:
    """Prepare to absorb f factors, given as f arrays ``(n,)`` of integers 0 .. L_f - 1.

    Every level must occur. ``weights (n,)`` must be positive; ``None`` weighs rows equally.
    Raises `InputError` when codes are not of that form.
    """
    given = tuple(np.asarray(code, dtype=np.int64) for code in codes)
    if not given or any(code.ndim != 1 or len(code) != len(given[0]) for code in given):
        raise InputError("Factors must be one or more arrays (n,) of integer codes.")
    n = len(given[0])
    counts = tuple(int(code.max(initial=-1)) + 1 for code in given)
    for code, count in zip(given, counts, strict=True):
        if n == 0 or code.min() < 0 or (np.bincount(code, minlength=count) == 0).any():
            raise InputError("The codes of a factor must use every integer from 0 to L - 1.")
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (n,) or not (np.isfinite(w) & (w > 0)).all():
        raise InputError("Weights must be one positive, finite number for each row.")
    order = tuple(sorted(range(len(given)), key=lambda f: -counts[f]))
    others = [given[f] for f in order[1:]]
    rest = _indicators(others, [counts[f] for f in order[1:]], n)
    weighted = sparse.csr_array(rest.multiply(w[:, None]))
    totals = np.bincount(given[order[0]], weights=w).astype(np.float64)
    cross = sparse.csr_array(sum_groups(weighted, given[order[0]], len(totals)))
    gram = sparse.csr_array(rest.T @ weighted)
    inverse, redundant = _schur_inverse(gram, cross, totals, [counts[f] for f in order[1:]])
    indicators = _indicators(given, counts)
    return Absorber(given, counts, w, redundant, indicators, order, totals, cross, gram, inverse)


def singletons(codes: Sequence[ArrayLike]) -> NDArray[np.bool_]:
    """Return which rows ``(n,)`` are the only one of some level, again once those are left out.

    Such a row is fitted perfectly by the effect of its level: it says nothing about anything
    else, yet counts as an observation. Reference: Correia (2015); `pyfixest` drops the same rows.
    """
    coded = [number_labels(code)[1] for code in codes]
    alone = np.zeros(len(coded[0]), dtype=bool)
    while True:
        wider = alone.copy()
        for code in coded:
            wider |= np.bincount(code[~wider], minlength=int(code.max()) + 1)[code] == 1
        if (wider == alone).all():
            return alone
        alone = wider


def degrees_of_freedom(codes: Sequence[ArrayLike], clusters: ArrayLike | None = None) -> int:
    """Count the degrees of freedom that absorbed factors spend, as `pyfixest` does by default.

    ``sum_f L_f - (f - 1)``; a factor nested in the clusters (each of its levels lies in a single
    cluster) counts once instead of L_f times, since its effects cannot make rows of different
    clusters dependent. That is ssc(k_adj=True, k_fixef="nonnested", G_adj=True, G_df="min").
    """
    coded = [number_labels(code)[1] for code in codes]
    counts = [int(code.max()) + 1 for code in coded]
    spent = sum(counts) - (len(counts) - 1)
    ways = [] if clusters is None else [c for _, c, _ in group_rows(clusters, len(coded[0]))]
    for code, count in zip(coded, counts, strict=True):
        if any(way is not None and _nested(code, count, way) for way in ways):
            spent -= count - 1
    return spent


def level_covariance(
    absorber: Absorber,
    X: Floats,
    fit: LinearFit,
    *,
    clusters: ArrayLike | None = None,
    correction: Correction = "none",
    reading: Floats | None = None,
) -> Sandwich:
    """Return the joint covariance ``(L + k, L + k)`` of level effects and coefficients.

    With ``reading (r, L + k)``, that of r combinations of them, ``(r, r)``.

    ``fit`` is the fit of ``within(y)`` on ``within(X)`` and ``X (n, k)`` the columns before the
    transformation. Level effects are ``a = (D'WD)^+ D'W (y - X b)``; their scores and those of b
    are summed within clusters together, so that the errors of b reach a. Equal to the
    covariance of a regression on indicators, for contrasts within a factor.
    """
    within = absorber.within(X)
    weight = absorber.weights / absorber.weights.mean()
    moved = weight * fit.residuals
    level_scores = sparse.csr_array(absorber.indicators.multiply(moved[:, None]))
    scores = within * moved[:, None]
    groups = group_rows(clusters, len(moved))
    scale = factors(groups, len(moved), correction, fit.degrees_of_freedom)
    meats = []
    for (_, codes, count), factor in zip(groups, scale, strict=True):
        levels = sum_groups(level_scores, codes, count)
        slopes = sum_groups(scores, codes, count)
        alone, cross = (levels.T @ levels).toarray(), levels.T @ slopes
        meats.append(factor * np.block([[alone, cross], [cross.T, slopes.T @ slopes]]))
    bread = level_bread(absorber, X, fit)
    bread = bread if reading is None else reading @ bread
    return combine([bread @ meat @ bread.T for meat in meats], fit.cluster_counts)


def level_bread(absorber: Absorber, X: Floats, fit: LinearFit) -> Floats:
    """Return what leads from scores of levels and columns to their effects, as `level_covariance`.

    ``(L + k, L + k)``, for weights of mean 1.
    """
    total, k = sum(absorber.counts), X.shape[1]
    bread = np.zeros((total + k, total + k))
    bread[:total, :total] = absorber.solve(np.eye(total)) * absorber.weights.mean()
    bread[:total, total:] = -absorber.effects(X) @ fit.bread
    bread[total:, total:] = fit.bread
    return bread


def _schur_inverse(
    gram: sparse.csr_array, cross: sparse.csr_array, totals: Floats, counts: Sequence[int]
) -> tuple[Floats | None, int | None]:
    """Invert ``gram - cross' cross / totals`` on its range; count the directions outside it.

    ``counts`` are the levels of each factor in ``gram``: raising all of one changes nothing that
    the first factor does not undo, and where levels can be compared no other direction is lost.
    """
    size = gram.shape[0]
    if size > LARGEST_DENSE:
        return None, None
    scaled = sparse.csr_array(cross.multiply(1 / totals[:, None]))
    schur = (gram - cross.T @ scaled).toarray()
    scale = 1 / np.sqrt(gram.diagonal())
    schur *= np.outer(scale, scale)
    common = np.split(1 / scale, np.cumsum(counts)[:-1]) if counts else []
    lost = block_diag(*(np.outer(one, one) / (one @ one) for one in common))
    root = safe_root(schur + lost, np.zeros(size)) if counts else None
    if root is not None:
        upper, _ = lapack.dpotri(root)
        inverse = np.triu(upper) + np.triu(upper, 1).T - lost
        return scale[:, None] * inverse * scale, len(counts)
    values, vectors = np.linalg.eigh(schur)
    usable = values > NULL
    basis = vectors[:, usable] * scale[:, None]
    return (basis / values[usable]) @ basis.T, int(size - usable.sum())


def _indicators(
    codes: Sequence[Codes], counts: Sequence[int], n: int | None = None
) -> sparse.csr_array:
    rows = len(codes[0]) if n is None else n
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    columns = np.column_stack([c + s for c, s in zip(codes, starts, strict=False)] or [np.empty(0)])
    width = columns.shape[1] if len(codes) else 0
    pointer = np.arange(rows + 1) * width
    flat = columns.ravel().astype(np.int64)
    return sparse.csr_array((np.ones(len(flat)), flat, pointer), shape=(rows, int(starts[-1])))


def _as_columns(values: ArrayLike, n: int) -> Floats:
    columns = np.asarray(values, dtype=np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    if columns.ndim != 2 or len(columns) != n:
        raise InputError(f"Values to absorb must be ({n},) or ({n}, p), not {np.shape(values)}.")
    return columns


def _nested(code: Codes, count: int, cluster: Codes) -> bool:
    first = np.full(count, -1, dtype=np.int64)
    first[code] = cluster
    return bool((first[code] == cluster).all())
