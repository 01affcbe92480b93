"""Sums of squared influence of very many sparse columns, group by group, zeros in closed form."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from causalign.stats.confounder_part import ConfounderPart
from causalign.stats.row_blocks import row_slices
from causalign.stats.sandwich import sum_groups
from causalign.stats.ways import FULL

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

# The leverage of a group that does not hold a marker, beyond which it is summed by itself: below,
# so many terms of the geometric series that the first left out is PRECISION.
LARGE, PRECISION = 0.05, 1e-16
# Beyond this leverage of zeros, in units of one row of n, a column is treated as dense.
DENSE = 10.0
CHUNK = 2_000_000
# So many entries are summed at once: what is computed of them stays near the processor.
ENTRIES = 250_000


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """m sparse columns and what they are compared with, all centred.

    ``values (n, m)`` by rows; ``mean``, ``size`` (the centred sum of squares) and ``estimate (3,
    m)``, the slopes on the outcome, on the confounders' part h and on the outcome without it,
    ``travels (m, k)`` those of the confounders' basis; ``outcomes (n, 3)``.
    """

    values: sparse.csr_array
    mean: Floats
    size: Floats
    outcomes: Floats
    estimate: Floats
    travels: Floats

    @property
    def ratio(self) -> Floats:
        """The squared mean over the sum of squares: the leverage of a zero of weight one."""
        return np.asarray(np.nan_to_num(self.mean**2 / self.size))

    @staticmethod
    def of(values: sparse.csr_array, outcome: Floats, part: ConfounderPart) -> "Columns":
        """Take the moments of the columns, and store zeros where the series would be long."""
        w, n = part.weights, len(outcome)
        mean, squares = values.T @ w / n, values.power(2).T @ w
        size = squares - n * mean**2
        size = np.where(size > 1e-13 * squares, size, np.nan)
        y = outcome - w @ outcome / n
        h = part.part - w @ part.part / n
        outcomes = np.column_stack([y, h, y - h])
        cross = np.zeros((values.shape[1], part.basis.shape[1]))
        for rows, block in part.basis:
            cross += values[rows].T @ (block * w[rows, None])
        slopes = ((values.T @ (w[:, None] * outcomes[:, :2])) / size[:, None]).T
        estimate = np.array([*slopes, slopes[0] - slopes[1]])
        columns = Columns(values, mean, size, outcomes, estimate, cross / size[:, None])
        return columns._with_zeros_stored(np.flatnonzero(columns.ratio * n > DENSE))

    def squared_weights(self, w: Floats) -> Floats:
        """Return the sum of squares of each marker's weights ``w (x - x̄)/Σ w (x - x̄)²``."""
        squares = w**2
        X, mean = self.values, self.mean
        sums = X.power(2).T @ squares - 2 * mean * (X.T @ squares) + mean**2 * squares.sum()
        return np.asarray(np.maximum(sums, 0.0) / self.size**2)

    def _with_zeros_stored(self, which: Codes) -> "Columns":
        if not len(which):
            return self
        n, m = self.values.shape
        others = self.values.tocoo()
        sparse_still = ~np.isin(others.col, which)
        dense = self.values[:, which].toarray()
        at = np.broadcast_to(which, dense.shape)
        rows = np.repeat(np.arange(n), len(which))
        data = np.r_[others.data[sparse_still], dense.ravel()]
        places = (
            np.r_[others.row[sparse_still], rows],
            np.r_[others.col[sparse_still], at.ravel()],
        )
        values = sparse.csr_array((data, places), shape=(n, m))
        return Columns(values, self.mean, self.size, self.outcomes, self.estimate, self.travels)


@dataclass(frozen=True, slots=True, eq=False)
class InfluenceSums:
    """Sums over the groups of one way of clustering, of each of m columns.

    ``squares (3, m)``: of the influence on each slope, divided by one minus leverage; ``through
    (3, m)``: twice its products with the influence of γ; ``extra (m,)``: the squares of the
    latter. ``carried (m,)`` sums squares of the groups' shares, ``together (m,)`` of their sums of
    the marker's weights.
    """

    squares: Floats
    through: Floats
    extra: Floats
    carried: Floats
    together: Floats


def sum_influence(
    columns: Columns, part: ConfounderPart, codes: Codes | None, count: int
) -> InfluenceSums:
    """Sum squares of influence within ``count`` groups, ``codes (n,)``; None: rows are groups."""
    w = part.weights
    weight: Floats = sum_groups(w, codes, count)
    outcomes = sum_groups(w[:, None] * columns.outcomes, codes, count)
    steepest = float(columns.ratio.max(initial=0.0)) + 1 / len(w)
    large = weight * steepest > LARGE
    sums = _Sums.empty(columns, steepest, float(weight[~large].max(initial=0.0)))
    for groups, psi, entries in _blocks(columns, part, codes, count):
        W, Y = weight[groups], outcomes[groups]
        apart = large[groups]
        at = np.flatnonzero(apart)
        for chunk in np.array_split(at, max(1, len(at) * len(columns.mean) // CHUNK)):
            sums.add_dense(entries.dense(chunk), W[chunk], Y[chunk], psi[chunk])
        sums.add_entries(entries, ~apart, W, Y, psi)
        sums.add_zeros(W[~apart], Y[~apart], psi[~apart])
        sums.gram[:] += psi.T @ psi
    return sums.finish()


@dataclass(frozen=True, slots=True, eq=False)
class _Entries:
    """Sums over the rows of groups ``(b, m)``: of w x, of w x² and of w x times two outcomes."""

    pattern: sparse.csr_array
    data: Floats  # (4, nnz)

    def dense(self, at: Codes) -> Floats:
        """Return some groups, ``(4, a, m)``."""
        return np.array([self._with(data)[at].toarray() for data in self.data])

    def groups(self) -> Codes:
        """Return the group of each entry."""
        sizes = np.diff(self.pattern.indptr)
        return np.repeat(np.arange(len(sizes)), sizes)

    def _with(self, data: Floats) -> sparse.csr_array:
        own = self.pattern
        return sparse.csr_array((data, own.indices, own.indptr), shape=own.shape)

    @staticmethod
    def of(values: sparse.csr_array, w: Floats, outcomes: Floats) -> "_Entries":
        rows = np.repeat(np.arange(len(w)), np.diff(values.indptr))
        wx = w[rows] * values.data
        data = np.array([wx, wx * values.data, *(wx * outcomes[rows, o] for o in (0, 1))])
        return _Entries(values, data)

    def gather(self, codes: Codes, count: int) -> "_Entries":
        """Sum the entries of one column within groups."""
        shape = (count, self.pattern.shape[1])
        places = (codes[self.groups()], self.pattern.indices)
        # All are sorted alike and keep entries that are zero, so that they share a pattern.
        sums = [sparse.csr_array((data, places), shape=shape) for data in self.data]
        return _Entries(sums[0], np.array([s.data for s in sums]))


def _blocks(
    columns: Columns, part: ConfounderPart, codes: Codes | None, count: int
) -> Iterator[tuple[slice, Floats, _Entries]]:
    """Yield slices of groups, the sums of the influence of γ in each, and the columns' sums."""
    w, influence = part.weights, part.influence
    if codes is None:
        for block, psi in influence:
            for rows in _cut(columns.values.indptr, block):
                entries = _Entries.of(columns.values[rows], w[rows], columns.outcomes[rows])
                yield rows, psi[rows.start - block.start : rows.stop - block.start], entries
        return
    gathered = np.zeros((count, influence.shape[1]))
    for rows, psi in influence:
        gathered += sum_groups(psi, codes[rows], count)
    everything = _Entries.of(columns.values, w, columns.outcomes).gather(codes, count)
    pattern = everything.pattern
    for block in row_slices(count):
        for groups in _cut(pattern.indptr, block):
            inside = slice(pattern.indptr[groups.start], pattern.indptr[groups.stop])
            yield groups, gathered[groups], _Entries(pattern[groups], everything.data[:, inside])


def _cut(starts: NDArray[np.integer], block: slice) -> Iterator[slice]:
    """Cut a block of rows, whose entries begin at ``starts``, into parts of few entries."""
    number = (starts[block] - starts[block.start]) // ENTRIES
    ends = block.start + 1 + np.flatnonzero(np.diff(number))
    for start, stop in pairwise([block.start, *ends.tolist(), block.stop]):
        yield slice(start, stop)


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Running sums over blocks of groups: of entries less what zeros would be, and of zeros.

    A group g without the marker adds ``α (O_g + β W_g)/(1 - γ W_g)`` with ``α = -mean/size``, ``β =
    slope · mean`` and ``γ = mean²/size + 1/n``, Y and W its outcome and weight. So all of them
    together are a series in γ whose coefficients are moments of Y and W, the same for all columns;
    with ``u = W/unit``: ``zeros_squared (7, P)`` of the squares of three Y, of their products with
    u and of u², times ``u^p``, and ``zeros_through (3, P, k)`` of O_y, O_h and u, times the
    influence of γ and ``u^p``.
    """

    columns: Columns
    unit: float
    squares: Floats
    through: Floats  # (2, m, k)
    carried: Floats
    together: Floats
    gram: Floats
    zeros_squared: Floats
    zeros_through: Floats

    @staticmethod
    def empty(columns: Columns, steepest: float, unit: float) -> "_Sums":
        m, k = columns.travels.shape
        terms, size = 1, steepest * unit
        while (terms + 1) * size**terms > PRECISION:
            terms += 1
        return _Sums(
            columns,
            max(unit, 1e-300),
            np.zeros((3, m)),
            np.zeros((2, m, k)),
            np.zeros(m),
            np.zeros(m),
            np.zeros((k, k)),
            np.zeros((7, terms)),
            np.zeros((3, terms, k)),
        )

    def add_dense(self, entries: Floats, W: Floats, Y: Floats, psi: Floats) -> None:
        """Add groups ``(4, a, m)`` whole, those without the marker included."""
        every = slice(None)
        share, own, together = self._influence(entries, W[:, None], Y.T[:, :, None], every)
        np.add(self.squares, np.einsum("oam,oam->om", own, own), out=self.squares)
        for o in (0, 1):
            self.through[o] += own[o].T @ psi
        self.carried[:] += np.einsum("am,am->m", share, share)
        self.together[:] += np.einsum("am,am->m", together, together)

    def add_entries(
        self, entries: _Entries, small: NDArray[np.bool_], W: Floats, Y: Floats, psi: Floats
    ) -> None:
        """Add what entries of small groups add beyond zeros."""
        g, j, m = entries.groups(), entries.pattern.indices, len(self.carried)
        W, Y, small_group = W[g], Y[g].T, small[g].astype(np.float64)
        share, own, together = self._influence(entries.data, W, Y, j)
        nothing = np.zeros((4, 1))
        share0, own0, together0 = self._influence(nothing, W, Y, j)
        for o in range(3):
            added = small_group * (own[o] ** 2 - own0[o] ** 2)
            self.squares[o] += np.bincount(j, added, m)
        for o in (0, 1):
            self.through[o] += entries._with(small_group * (own[o] - own0[o])).T @ psi
        self.carried[:] += np.bincount(j, small_group * (share**2 - share0**2), m)
        self.together[:] += np.bincount(j, small_group * (together**2 - together0**2), m)

    def add_zeros(self, W: Floats, Y: Floats, psi: Floats) -> None:
        """Add groups as if none of them held any marker."""
        u = W / self.unit
        powers = u[:, None] ** np.arange(self.zeros_squared.shape[1])
        products = np.column_stack([Y**2, Y * u[:, None], u**2])
        self.zeros_squared[:] += products.T @ powers
        for o, values in enumerate((Y[:, 0], Y[:, 1], u)):
            self.zeros_through[o] += (powers * values[:, None]).T @ psi

    def finish(self) -> InfluenceSums:
        """Put entries and zeros together."""
        c, n = self.columns, len(self.columns.outcomes)
        at_zero, slope = -c.mean / c.size, c.estimate * c.mean * self.unit  # α, β
        p = np.arange(self.zeros_squared.shape[1])
        series = ((c.ratio + 1 / n) * self.unit) ** p[:, None]  # (P, m)
        one, two = series, (p[:, None] + 1) * series
        ss = self.zeros_squared @ two
        squares = self.squares + at_zero**2 * (ss[:3] + 2 * slope * ss[3:6] + slope**2 * ss[6])
        zeros = np.einsum("opk,pm->omk", self.zeros_through, one)
        y, h = (
            self.through[o] + at_zero[:, None] * (zeros[o] + slope[o][:, None] * zeros[2])
            for o in (0, 1)
        )
        through = np.array([np.einsum("mk,mk->m", part, c.travels) for part in (y, h)])
        extra = np.einsum("mk,mk->m", c.travels @ self.gram, c.travels)
        weight = self.unit**2 * self.zeros_squared[6, 0]
        return InfluenceSums(
            squares,
            2 * np.array([*through, through[0] - through[1]]),
            extra,
            np.where(np.isfinite(c.size), self.carried + c.ratio**2 * weight, np.nan),
            self.together + at_zero**2 * weight,
        )

    def _influence(
        self, entries: Floats, W: Floats, Y: Floats, j: "Codes | slice"
    ) -> tuple[Floats, Floats, Floats]:
        """Return share, influence on three slopes, and the sum of the marker's weights."""
        c = self.columns
        mean, size, slope = c.mean[j], c.size[j], c.estimate[:, j]
        wx, wxx, with_y, with_h = entries
        squares = wxx - 2 * mean * wx + mean**2 * W
        share = squares / size
        own_size = size * (1.0 - np.clip(share + W / len(c.outcomes), 0.0, FULL))
        y = (with_y - mean * Y[0] - slope[0] * squares) / own_size
        h = (with_h - mean * Y[1] - slope[1] * squares) / own_size
        return share, np.array([y, h, y - h]), (wx - mean * W) / size
