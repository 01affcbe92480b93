"""Columns of very many rows, of which a block of rows at a time is an array."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.linalg import eigh

Floats = NDArray[np.float64]

BLOCK = 8192
# Blocks that are read several times are held in memory where that takes no more bytes.
HELD = 200_000_000
# Directions whose variance is below this share of the largest are left out.
REDUNDANT = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class RowBlocks:
    """Columns of ``shape (n, k)`` whose rows are made when they are read.

    ``read(rows)`` returns the block ``(b, k)`` of a slice of the rows. Passes over the blocks add
    up sums, so that nothing of n rows and many columns is ever held; few rows are one block.
    """

    shape: tuple[int, int]
    read: Callable[[slice], Floats]

    @staticmethod
    def of(values: "ArrayLike | sparse.csr_array | RowBlocks") -> "RowBlocks":
        """Return the rows of an array ``(n, k)``, sparse or not."""
        if isinstance(values, RowBlocks):
            return values
        if sparse.issparse(values):
            rows_of = sparse.csr_array(values)
            return RowBlocks(rows_of.shape, lambda rows: _floats(rows_of[rows].toarray()))
        array = np.asarray(values)
        return RowBlocks((len(array), array.shape[1]), lambda rows: _floats(array[rows]))

    @staticmethod
    def side_by_side(*parts: "RowBlocks") -> "RowBlocks":
        """Return the columns of all parts."""
        shape = (parts[0].shape[0], sum(part.shape[1] for part in parts))
        return RowBlocks(shape, lambda rows: np.hstack([part.read(rows) for part in parts]))

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[tuple[slice, Floats]]:
        for rows in row_slices(len(self)):
            yield rows, self.read(rows)

    def hold(self) -> "RowBlocks":
        """Return the same, read once and held in memory if it fits: in 64 bits, or else in 32."""
        size = self.shape[0] * self.shape[1]
        if 8 * size <= HELD:
            return RowBlocks.of(self.whole())
        if 4 * size > HELD:
            return self
        array = np.empty(self.shape, dtype=np.float32)
        for rows, block in self:
            array[rows] = block
        return RowBlocks.of(array)

    def whole(self) -> Floats:
        """Return all rows as one array."""
        array = np.empty(self.shape)
        for rows, block in self:
            array[rows] = block
        return array

    def less(self, other: "RowBlocks") -> "RowBlocks":
        """Return these columns less others of the same shape."""
        return RowBlocks(self.shape, lambda rows: self.read(rows) - other.read(rows))

    def shift(self, by: Floats) -> "RowBlocks":
        """Return each column less a number, ``by (k,)``."""
        return RowBlocks(self.shape, lambda rows: self.read(rows) - by)

    def scale(self, shift: Floats, unit: Floats) -> "RowBlocks":
        """Return each column less a number, then times one, ``shift`` and ``unit (k,)``."""

        def read(rows: slice) -> Floats:
            block = self.read(rows) - shift
            block *= unit
            return block

        return RowBlocks(self.shape, read)

    def product(self, matrix: Floats) -> "RowBlocks":
        """Return these columns times a matrix ``(k, c)``."""
        return RowBlocks((len(self), matrix.shape[1]), lambda rows: self.read(rows) @ matrix)

    def columns(self, which: slice) -> "RowBlocks":
        """Return some of the columns."""
        width = len(range(self.shape[1])[which])
        return RowBlocks((len(self), width), lambda rows: self.read(rows)[:, which])

    def mean(self, weights: Floats) -> Floats:
        """Return the weighted mean of each column ``(k,)``."""
        total = np.zeros(self.shape[1])
        for rows, block in self:
            total += weights[rows] @ block
        return np.asarray(total / weights.sum())

    def gram(self, weights: Floats) -> Floats:
        """Return the weighted cross products of the columns ``(k, k)``."""
        total = np.zeros((self.shape[1], self.shape[1]))
        for rows, block in self:
            total += block.T @ (block * weights[rows, None])
        return total

    def times(self, coefficients: Floats) -> Floats:
        """Return the product with ``coefficients (k,)`` or ``(k, c)``."""
        product = np.empty((len(self), *coefficients.shape[1:]))
        for rows, block in self:
            product[rows] = block @ coefficients
        return product

    def take(self, places: NDArray[np.int64]) -> Floats:
        """Return the rows at ascending places."""
        parts = []
        for rows in row_slices(len(self)):
            first, last = np.searchsorted(places, [rows.start, rows.stop])
            if last > first:
                parts.append(self.read(rows)[places[first:last] - rows.start])
        return np.concatenate(parts)


def row_slices(rows: int) -> list[slice]:
    """Return slices that cut so many rows into blocks; one empty slice of no rows."""
    return [slice(start, min(start + BLOCK, rows)) for start in range(0, max(rows, 1), BLOCK)]


def leading_components(features: NDArray[np.generic] | sparse.csr_array, most: int) -> RowBlocks:
    """Return ``features (n, d)``, or where d is larger their ``most`` first principal components.

    Ridge shrinks the others most; leaving them out saves what grows with the cube of d. Directions
    in which the features do not vary are left out too: what is seen there is rounding, which is
    another on every machine. Sparse features stay sparse where their components would not fit in
    memory: then only blocks of rows are made dense.
    """
    X = RowBlocks.of(features)
    n, d = X.shape
    if d <= most:
        return X
    mean = X.mean(np.ones(n))
    small = min(n, d)
    top = [max(small - most, 0), small - 1]
    if n < d:
        centred = X.whole() - mean
        values, vectors = eigh(centred @ centred.T, subset_by_index=top)
        usable = _usable(values)
        return RowBlocks.of(vectors[:, usable] * np.sqrt(np.maximum(values[usable], 0.0)))
    is_sparse = sparse.issparse(features)
    cross = _sparse_cross(features, mean) if is_sparse else X.shift(mean).gram(np.ones(n))
    values, directions = eigh(cross, subset_by_index=top)
    directions = np.ascontiguousarray(directions[:, _usable(values)])
    if not is_sparse:
        return X.shift(mean).product(directions).hold()
    projected = RowBlocks(
        (n, directions.shape[1]), lambda rows: np.asarray(features[rows] @ directions)
    )
    return projected.shift(mean @ directions).hold()


def _sparse_cross(features: sparse.csr_array, mean: Floats) -> Floats:
    """Return the cross products ``(d, d)`` about the mean, from one block of rows at a time."""
    cross = np.zeros((len(mean), len(mean)))
    for rows in row_slices(features.shape[0]):
        block = features[rows].astype(np.float64)
        cross += (block.T @ block).toarray()
    return np.asarray(cross - features.shape[0] * np.outer(mean, mean))


def _usable(eigenvalues: Floats) -> NDArray[np.bool_]:
    """Return which directions vary, of ascending eigenvalues; the last one in any case."""
    usable = eigenvalues > REDUNDANT * max(float(eigenvalues[-1]), 1e-300)
    usable[-1] = True
    return np.asarray(usable)


def _floats(block: NDArray[np.generic]) -> Floats:
    return np.asarray(block, dtype=np.float64)
