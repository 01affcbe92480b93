"""Effects of markers with confounders and the rest of the text taken out of both sides."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from causalign.stats.confounder_part import ConfounderPart
from causalign.stats.estimates import Estimates
from causalign.stats.row_blocks import RowBlocks
from causalign.stats.sandwich import Groups, group_rows, sum_groups
from causalign.stats.ways import FULL, combine_ways, variance_if_independent

Floats = NDArray[np.float64]

# A marker of which less is left is held by the features: nothing is estimated.
LITTLE = 0.05
# Sums within clusters are held for so many clusters and markers at once.
AT_ONCE = 12_000_000


def marker_alone(
    markers: sparse.sparray, confounders: ConfounderPart, *, clusters: ArrayLike | None = None
) -> tuple[Estimates, Floats]:
    """Regress what the text leaves of y on what text and confounders leave of each marker.

    The confounders' part must be one with a text. Returns the estimates of ``markers (n, m)`` and
    the share ``(m,)`` of each that is left of it; below 5 % nothing is estimated (NaN). What is
    left of a marker is dense, so that few should be asked for. Three passes over the rows: one to
    predict the markers, one for the slopes, one for their errors, which are those of
    `causalign.stats.marker_effects.marker_effects`.
    """
    X = sparse.csr_array(markers, dtype=np.float64)
    groups = group_rows(clusters, X.shape[0])
    total = sum(number for _, codes, number in groups if codes is not None)
    step = max(AT_ONCE // max(total, 1), 1)
    starts = range(0, max(X.shape[1], 1), step)
    parts = [_alone(X[:, start : start + step], confounders, groups) for start in starts]
    columns = zip(*(own.columns() for own, _ in parts), strict=True)
    return Estimates(*map(np.concatenate, columns)), np.concatenate([left for _, left in parts])


def _alone(
    markers: sparse.csr_array, confounders: ConfounderPart, groups: Groups
) -> tuple[Estimates, Floats]:
    assert confounders.text is not None
    w, u = confounders.weights, confounders.error
    mean = markers.T @ w / len(w)
    size = markers.power(2).T @ w - len(w) * mean**2
    given = RowBlocks(markers.shape, lambda rows: markers[rows].toarray() - mean)
    rest = confounders.text.rest(given)
    slopes, remains, effect = _slopes(rest, confounders)
    left = np.divide(remains, size, out=np.zeros_like(remains), where=size > 0)
    remains = np.where(left >= LITTLE, remains, np.nan)
    effect = effect / remains
    ways = [_Way.empty(codes, number, len(mean)) for _, codes, number in groups]
    squares = np.zeros(len(mean))
    for rows, block in rest:
        block = block - confounders.basis_left.read(rows) @ slopes
        v = w[rows, None] * block / remains
        squares += np.einsum("ij,ij->j", v, v)
        for way in ways:
            way.add(rows, (v * (u[rows, None] - effect * block), v * block, v))
    influence, carried, together = zip(*(way.finish() for way in ways), strict=True)
    freedom = np.maximum(1.0 / np.max(carried[:2], axis=0) - 1.0, 1.0)
    variance = combine_ways(influence)
    floor = variance_if_independent(squares, together, u, w, groups)
    return Estimates(effect, np.sqrt(variance), np.sqrt(floor), freedom), left


def _slopes(rest: RowBlocks, confounders: ConfounderPart) -> tuple[Floats, Floats, Floats]:
    """Return slopes ``(k, m)`` on the confounders, what they leave, and its product with y."""
    w, u, V = confounders.weights, confounders.error, confounders.basis_left
    cross = np.zeros((V.shape[1], rest.shape[1]))
    squares, effect = np.zeros(rest.shape[1]), np.zeros(rest.shape[1])
    for rows, block in rest:
        weighted = w[rows, None] * block
        cross += V.read(rows).T @ weighted
        squares += np.einsum("ij,ij->j", weighted, block)
        effect += u[rows] @ weighted
    slopes = confounders.inverse_left @ cross
    return slopes, squares - np.einsum("kj,kj->j", cross, slopes), effect


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """Sums over the groups of one way of clustering; ``held`` keeps those of unfinished groups."""

    codes: NDArray[np.int64] | None
    count: int
    held: Floats  # (3, G, m)
    sums: Floats  # (3, m)

    @staticmethod
    def empty(codes: NDArray[np.int64] | None, count: int, markers: int) -> "_Way":
        groups = 0 if codes is None else count
        return _Way(codes, count, np.zeros((3, groups, markers)), np.zeros((3, markers)))

    def add(self, rows: slice, terms: tuple[Floats, Floats, Floats]) -> None:
        """Add what rows add: influence, share and weight of each marker, ``(b, m)`` each."""
        if self.codes is None:
            self._square(*terms)
            return
        for held, term in zip(self.held, terms, strict=True):
            held += sum_groups(term, self.codes[rows], self.count)

    def finish(self) -> tuple[Floats, Floats, Floats]:
        """Return sums of squared influence, of squared shares and of squared weights."""
        if self.codes is not None:
            self._square(*self.held)
        squares, carried, together = self.sums
        return squares, carried, together

    def _square(self, own: Floats, share: Floats, v: Floats) -> None:
        influence = own / (1.0 - np.clip(share, 0.0, FULL))
        for total, term in zip(self.sums, (influence, share, v), strict=True):
            total += np.einsum("gj,gj->j", term, term)
