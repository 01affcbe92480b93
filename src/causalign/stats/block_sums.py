"""Blocks of rows, and the sums of their cross products, whether columns are sparse or not."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from causalign.stats.directions import Turn
from causalign.stats.rounding import DOUBLE, SINGLE, are_whole, fit_single

Floats = NDArray[np.float64]
Matrix: TypeAlias = Floats | sparse.csr_array

# Sums over dense columns are made of so many rows at once.
CUT_ROWS = 4096


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Hold some rows: ``y (b,)``, ``endogenous (b, p)``, ``exogenous (b, m)``, ``instruments
    (b, q)``, ``weights (b,)`` and ``clusters (b,)``, numbers in [0, 1), or None. No intercept.

    Exogenous columns may be sparse; ``full (m,)`` then says which hold a number in every row.
    """

    y: Floats
    endogenous: Floats
    exogenous: Matrix
    instruments: Floats
    weights: Floats
    clusters: Floats | None = None
    full: NDArray[np.bool_] | None = None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Return how many columns are exogenous, endogenous and instruments."""
        return self.exogenous.shape[1], self.endogenous.shape[1], self.instruments.shape[1]

    def cut(self) -> "Iterator[Block]":
        """Return some rows after the other: copies of dense columns then fit into the cache."""
        step = CUT_ROWS if isinstance(self.exogenous, np.ndarray) else max(len(self.y), 1)
        for start in range(0, len(self.y), step):
            rows = slice(start, start + step)
            yield Block(
                self.y[rows],
                self.endogenous[rows],
                self.exogenous[rows],
                self.instruments[rows],
                self.weights[rows],
                None if self.clusters is None else self.clusters[rows],
            )


def scale_of(block: Block) -> tuple[Floats, Floats]:
    """Return by what columns are shifted and divided, ``(K,)`` each, from some of the rows.

    They are intercept, exogenous, endogenous, instruments and y. Sparse ones that are not full are
    not shifted.
    """
    columns = _stack(block)
    if isinstance(columns, np.ndarray):
        shift, scale = columns.mean(axis=0), columns.std(axis=0)
        shift[0] = 0.0
    else:
        shift = np.zeros(columns.shape[1])
        if block.full is not None:
            own = 1 + np.flatnonzero(block.full)
            shift[own] = np.asarray(columns[:, own].mean(axis=0)).ravel()
        shift[-1] = block.y.mean()
        square = np.asarray(columns.power(2).mean(axis=0)).ravel()
        scale = np.sqrt(np.maximum(square - shift**2, 0.0))
        scale[-1] = block.y.std()
    scale[scale == 0] = 1.0
    scale[0] = 1.0
    return shift, scale


def columns_of(block: Block, shift: Floats, scale: Floats) -> Matrix:
    """Return intercept and columns, shifted and scaled, ``(b, K)``."""
    columns = _stack(block)
    if isinstance(columns, np.ndarray):
        columns -= shift
        columns /= scale
        return columns
    # Only columns that hold every number are shifted, zeros among them.
    numbers = (columns.data - shift[columns.indices]) / scale[columns.indices]
    return sparse.csr_array((numbers, columns.indices, columns.indptr), shape=columns.shape)


def _stack(block: Block) -> Matrix:
    ones = np.ones((len(block.y), 1))
    parts = [ones, block.exogenous, block.endogenous, block.instruments, block.y[:, None]]
    if isinstance(block.exogenous, np.ndarray):
        return np.hstack(parts)
    return sparse.csr_array(sparse.hstack(list(map(keep_zeros, parts)), format="csr"))


def to_dense(matrix: Matrix) -> Floats:
    """Return a matrix with all of its zeros."""
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.toarray())


def keep_zeros(columns: Matrix) -> sparse.csr_array:
    """Return dense columns as sparse ones that hold every number, zeros too; others as they are."""
    if not isinstance(columns, np.ndarray):
        return sparse.csr_array(columns)
    rows, width = columns.shape
    places = np.tile(np.arange(width), rows), np.arange(rows + 1) * width
    return sparse.csr_array((columns.ravel().astype(np.float64), *places), shape=(rows, width))


@dataclass(frozen=True, slots=True, eq=False)
class ColumnPlan:
    """Say which columns are regressed: features in their directions, the others as they are.

    ``mean`` is that of the ``features`` columns after the intercept, shifted and scaled; ``names``
    and ``rounding`` are those of what is regressed, y left out.
    """

    features: int
    mean: Floats
    turn: Turn
    names: tuple[str, ...]
    rounding: Floats

    @property
    def directions(self) -> int:
        """Return how many directions the features have."""
        return len(self.turn.rounding)

    def columns(self, scaled: Floats) -> Floats:
        """Return intercept, directions and the other columns of rows of all columns."""
        if not self.features:
            return scaled
        start, end = 1, 1 + self.features
        text = (scaled[:, start:end] - self.mean) @ self.turn.matrix
        return np.hstack([scaled[:, :start], text, scaled[:, end:]])

    @property
    def matrix(self) -> Floats:
        """Return the matrix ``(K, K')`` that does the same."""
        outer = np.eye(len(self.rounding) + 1 - self.directions + self.features)
        text = slice(1, 1 + self.features)
        turned = outer[:, text] @ self.turn.matrix
        turned[0] = -self.mean @ self.turn.matrix
        return np.hstack([outer[:, :1], turned, outer[:, text.stop :]])


class Products:
    """Gather the cross products of intercept, exogenous, endogenous columns, instruments and y.

    ``products (K, K)`` are those of the columns shifted and scaled; ``roundoff (K,)`` says by which
    share of itself a number of a column was rounded as it came; ``clusters`` are the different
    ones, ascending.
    """

    def __init__(self, shift: Floats, scale: Floats) -> None:
        self.shift, self.scale = shift, scale
        self.products = np.zeros((len(scale), len(scale)))
        self.rows, self.sizes, self.sparse = 0, (0, 0, 0), False
        self.clusters = np.zeros(0)
        self._single = self._whole = np.ones(len(scale), dtype=bool)

    def add(self, block: Block) -> None:
        """Add some rows."""
        self._glance(_stack(block))
        columns = columns_of(block, self.shift, self.scale)
        if isinstance(columns, np.ndarray):
            self.products += columns.T @ (columns * block.weights[:, None])
        else:
            weighted = sparse.diags_array(block.weights) @ columns
            self.products += (columns.T @ weighted).toarray()
            self.sparse = True
        self.rows += len(block.y)
        self.sizes = block.sizes
        if block.clusters is not None:
            self.clusters = np.union1d(self.clusters, block.clusters)

    def merge(self, other: Self) -> None:
        """Add what was gathered over later rows."""
        self.products += other.products
        self.rows += other.rows
        self.sizes, self.sparse = max(self.sizes, other.sizes), self.sparse or other.sparse
        self.clusters = np.union1d(self.clusters, other.clusters)
        self._single = self._single & other._single
        self._whole = self._whole & other._whole

    @property
    def roundoff(self) -> Floats:
        """Return by which share of itself a number of each column was rounded."""
        return np.where(self._single & ~self._whole, SINGLE, DOUBLE)

    @property
    def mean(self) -> Floats:
        """Return the weighted means of the columns as they came."""
        means: Floats = self.shift + self.scale * self.products[0] / self.products[0, 0]
        return means

    @property
    def spread(self) -> Floats:
        """Return the lengths of the columns about their means, in units of ``scale``."""
        square = np.diag(self.products) - self.products[0] ** 2 / self.products[0, 0]
        return np.asarray(np.sqrt(np.maximum(square, 0.0)))

    @property
    def length(self) -> Floats:
        """Return the lengths of the columns as they came, in units of ``scale``."""
        start = self.shift / self.scale
        square = np.diag(self.products) + 2 * start * self.products[0]
        square = square + start**2 * self.products[0, 0]
        return np.asarray(np.sqrt(np.maximum(square, 0.0)))

    def _glance(self, columns: Matrix) -> None:
        """Remember which columns hold numbers of 32 bits, and which hold whole ones."""
        single, whole = self._single.copy(), self._whole.copy()
        if isinstance(columns, np.ndarray):
            single[single] = fit_single(columns[:, single])
            whole[whole] = are_whole(columns[:, whole])
        else:
            numbers = columns.data[:, None]
            own = columns.indices
            single[own[columns.data != columns.data.astype(np.float32)]] = False
            whole[own[(numbers != np.rint(numbers))[:, 0]]] = False
        self._single, self._whole = single, whole
