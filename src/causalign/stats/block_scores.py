"""What the covariance of a fit needs of the rows: sums of the outer products of their scores."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from causalign.stats.block_sums import Block, ColumnPlan, Matrix, columns_of, to_dense
from causalign.stats.carrying_rows import effective_number
from causalign.stats.cluster_sums import Buckets

Floats = NDArray[np.float64]

# Of more estimates than this, and sparse columns, every row is asked how much it carries only of
# those that are read from one column; of the others, levels of categories, rows are counted.
MOST_READ = 256


@dataclass(frozen=True, eq=False)
class ScoreReading:
    """Say how rows are read, once the slopes are known.

    Columns are shifted and scaled, and regressed as the ``plan`` says, with ``slopes (k,)``, the
    last ``endogenous`` of which need instruments. ``projection`` takes what is exogenous to the r
    columns whose scores are summed, ``turn (k, r)`` what is regressed. ``pull (e, r)`` times these
    is what one unit more of the outcome of a row does to e estimates; ``shown (e, K)`` are the
    columns that these are read from.
    """

    shift: Floats
    scale: Floats
    plan: ColumnPlan
    slopes: Floats
    endogenous: int
    projection: Floats
    turn: Floats
    pull: Floats
    shown: Floats
    sparse: bool

    @cached_property
    def error(self) -> Floats:
        """Return what makes residuals of columns ``(K,)``."""
        matrix = self.plan.matrix
        return np.asarray(matrix[:, -1] - matrix[:, : len(self.slopes)] @ self.slopes)

    @cached_property
    def pulled(self) -> Floats:
        """Return what makes of columns how much a row carries of the estimates asked for."""
        return np.asarray(self.through @ self.pull[self.asked].T)

    @property
    def reached(self) -> NDArray[np.int64]:
        """Return which columns of the regression are exogenous or instruments."""
        k = len(self.slopes)
        return np.asarray(np.r_[0 : k - self.endogenous, k : len(self.plan.rounding)])

    @cached_property
    def through(self) -> Floats:
        """Return the matrix ``(K, r)`` from columns to those whose scores are summed."""
        return np.asarray(self.plan.matrix[:, self.reached] @ self.projection)

    @property
    def asked(self) -> NDArray[np.bool_]:
        """Return of which estimates every row is asked how much it carries, ``(e,)``."""
        if not self.sparse or len(self.shown) <= MOST_READ:
            return np.ones(len(self.shown), dtype=bool)
        return np.asarray((self.shown != 0).sum(axis=1) == 1)

    @property
    def counted(self) -> Floats:
        """Return the columns ``(K, e')`` that say which rows are in the level of an estimate.

        A level's own, or, of the first level of a category, which has none, no other's.
        """
        levels = self.shown[~self.asked]
        own = np.argmax(levels, axis=1)
        columns = np.zeros((len(self.scale), len(levels)))
        columns[own, np.arange(len(levels))] = self.scale[own]
        for place in np.flatnonzero(levels.max(axis=1, initial=0.0) <= 0):
            columns[:, place] = np.where(levels[place] != 0, -self.scale, 0.0)
            columns[0, place] = 1.0
        return columns


class Scores:
    """Gather the outer products of scores, within clusters first, and what each row carries.

    Of sparse columns their own products are gathered, which the matrices then lie about.
    """

    def __init__(self, reading: ScoreReading, buckets: Buckets | None) -> None:
        self.reading, self.buckets = reading, buckets
        K, k = len(reading.scale), len(reading.slopes)
        asked = int(reading.asked.sum())
        width = K if reading.sparse else reading.projection.shape[1]
        self.squares = 0.0
        self._meat = np.zeros((width, width))
        self._left, self._own = np.zeros(width), np.zeros(K if reading.sparse else k)
        self._shares, self._rows = np.zeros((2, asked)), np.zeros((2, K))
        count = 0 if buckets is None else buckets.count
        self._sums, self._pulled = np.zeros((count, width)), np.zeros((count, asked))
        self._held = np.zeros((count, 0 if reading.asked.all() else K))

    def add(self, block: Block) -> None:
        """Add some rows."""
        reading, w = self.reading, block.weights
        columns = columns_of(block, reading.shift, reading.scale)
        if isinstance(columns, np.ndarray):
            columns = reading.plan.columns(columns)
            k = len(reading.slopes)
            residual = columns[:, -1] - columns[:, :k] @ reading.slopes
            base = columns[:, reading.reached] @ reading.projection
            own, pulled = columns[:, :k], base @ reading.pull.T
        else:
            base = own = columns
            residual, pulled = columns @ reading.error, columns @ reading.pulled
            self._rows += columns.T @ w, columns.power(2).T @ w**2
        weighted = residual * w
        self.squares += float(weighted @ residual)
        self._left += base.T @ weighted
        self._own += own.T @ weighted
        self._gather(block, base, weighted, np.square(pulled * w[:, None]))

    def _gather(
        self,
        block: Block,
        base: Matrix,
        weighted: Floats,
        pulled: Floats,
    ) -> None:
        """Add scores and shares by row, or to the sums of the clusters."""
        if self.buckets is None or block.clusters is None:
            self._shares += pulled.sum(axis=0), np.square(pulled).sum(axis=0)
            scores = sparse.diags_array(weighted) @ base
            self._meat += to_dense(scores.T @ scores)
            return
        place = self.buckets.place(block.clusters)
        sums = place @ sparse.diags_array(weighted) @ base
        self._sums += to_dense(sums)
        self._pulled += abs(place) @ pulled
        if self._held.size:
            self._held += to_dense(abs(place) @ sparse.diags_array(block.weights) @ base)

    def merge(self, other: Self) -> None:
        """Add what was gathered over later rows."""
        self.squares += other.squares
        for name in ("_meat", "_left", "_own", "_shares", "_rows", "_sums", "_pulled", "_held"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def meat(self) -> Floats:
        """Return the sum of the outer products ``(r, r)``."""
        meat = self._meat if self.buckets is None else self._sums.T @ self._sums
        if not self.reading.sparse:
            return np.asarray(meat)
        through = self.reading.through
        return np.asarray(through.T @ meat @ through)

    def left(self, kappa: float) -> Floats:
        """Return what the normal equations still lack ``(r,)``."""
        reading, fitted, own = self.reading, self._left, self._own
        if reading.sparse:
            fitted = reading.through.T @ fitted
            own = reading.plan.matrix[:, : len(reading.slopes)].T @ own
        return np.asarray(kappa * fitted + (1 - kappa) * (reading.turn.T @ own))

    def carried(self) -> Floats:
        """Return on how many rows, or clusters, each estimate rests ``(e,)``."""
        reading, asked = self.reading, self.reading.asked
        carried = np.zeros(len(asked))
        shares = self._shares
        if self.buckets is not None:
            shares = np.array([self._pulled.sum(axis=0), np.square(self._pulled).sum(axis=0)])
        carried[asked] = effective_number(*shares)
        if not asked.all():
            counted = reading.counted
            held, squares = counted.T @ self._rows[0], np.square(counted).T @ self._rows[1]
            first = (counted < 0).any(axis=0)
            # An indicator is its own square: the rows of no other level are all less those.
            squares[first] = self._rows[1, 0] - squares[first] + self._rows[1, 0]
            if self.buckets is not None:
                squares = np.square(self._held @ counted).sum(axis=0)
            carried[~asked] = effective_number(held, squares)
        return carried
