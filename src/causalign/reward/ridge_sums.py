"""What ridge needs of logs that no memory holds: sums over batches, fold by fold."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from causalign.errors import InputError
from causalign.lm.cache import EmbeddingCache
from causalign.lm.embeddings import embed_block
from causalign.lm.encoder import Encoder
from causalign.lm.vector_block import VectorBlock
from causalign.logs import Logs, LogScan, gather, hash_column, hash_folds, hash_units
from causalign.stats.block_sums import Matrix, to_dense
from causalign.stats.cluster_sums import FEWEST_BUCKETS, Buckets
from causalign.stats.ridge_path import Origin, RidgeMoments, RidgePath, fit_each_outcome
from causalign.stats.support import ROWS_SAMPLED, Support, support_of_sums

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ScannedPath:
    """Hold paths of ridge fits on a scan, of the outcome and guardrails, and what was read."""

    paths: tuple[RidgePath, ...]
    shift: Array
    rows: int
    truncated: int


def scan_path(
    scan: LogScan, encoder: Encoder, folds: int, seed: int, penalties: ArrayLike | None
) -> ScannedPath:
    """Fit a path of penalties for each outcome on logs that are read batch by batch.

    The same as `causalign.stats.ridge_path.ridge_paths` on the same rows, with folds drawn by a
    hash of the units: clusters, else groups, else texts.
    """
    levels = read_outcomes(next(scan.batches())).mean(axis=0)
    sums = gather(scan, partial(FoldSums, encoder, folds, seed, levels))
    total = sums.products.sum(axis=0)
    mean = total[0] / total[0, 0]
    features = slice(1, -len(levels))
    parts = [_about(products, mean, features) for products in sums.products]
    if any(part.weight <= 0 for part in parts):
        raise InputError(f"A fold of {folds} holds no rows; ask for fewer, or name a finer group.")
    centre = mean[features] - sums.shift
    origin = Origin(None, centre, mean[-len(levels) :] + levels, single=False)
    paths = fit_each_outcome(parts, origin, penalties)
    return ScannedPath(paths, sums.shift, sums.rows, sums.truncated)


def read_outcomes(logs: Logs) -> Array:
    """Return the outcome and the guardrails ``(n, 1 + m)``."""
    names = (logs.roles.outcome, *logs.roles.guardrails)
    return np.column_stack([logs.rate(name) for name in names])


def scan_error(
    scan: LogScan,
    encoder: Encoder,
    folds: int,
    seed: int,
    fitted: ScannedPath,
    indices: Sequence[int],
) -> tuple[list[Array], Support]:
    """Return the factors of the covariance of intercept and coefficients, and what rows cover.

    There is a factor for each outcome, ``(d + 1, k + 1)``: see
    `causalign.stats.ridge_path.RidgePath.covariance_factor`. The scores of units are summed in
    4,096 sums with random signs: see `causalign.stats.cluster_sums`. Of the distinct texts those
    10,000 with the smallest hash tell how far the support reaches, each as often as it was logged.
    """
    paths, region = fitted.paths, path_support(fitted.paths[0], indices[0])
    gathered = gather(scan, partial(ScoreSums, encoder, folds, seed, paths, indices, region))
    factors, drawn = [], gathered.drawn
    for path, index, scores in zip(paths, indices, gathered.sums, strict=True):
        # From [1, x] to [1, x - mean].
        scores[:, 1:] -= np.outer(scores[:, 0], path.origin.mean_x + fitted.shift)
        held = int((scores != 0).any(axis=1).sum())
        meat = scores.T @ scores * (held / max(held - 1, 1))
        factors.append(path.factor_of_scores(meat, index))
    return factors, region.reaching(drawn.leverage, drawn.weights / drawn.counts, drawn.counts)


def path_support(path: RidgePath, index: int) -> Support:
    """Return the region that the rows of a path cover at a penalty, as yet without a limit."""
    origin = path.origin
    return support_of_sums(path.gram, float(path.penalties[index]), origin.mean_x, origin.basis)


class FoldSums:
    """Gather the cross products of ``[1, x, y - levels]`` of each fold, x the values of vectors."""

    def __init__(self, encoder: Encoder, folds: int, seed: int, levels: Array) -> None:
        self.encoder, self.folds, self.seed, self.levels = encoder, folds, seed, levels
        width = encoder.dimension + 1 + len(levels)
        self.products = np.zeros((folds, width, width))
        self.shift = np.zeros(encoder.dimension)
        self.rows = self.truncated = 0

    def add(self, logs: Logs) -> None:
        """Add some rows."""
        block, weights = embed_block(logs.texts, self.encoder, EmbeddingCache()), _weights(logs)
        rows = _stack(block, read_outcomes(logs) - self.levels)
        fold = hash_folds(logs, self.folds, self.seed)
        for number in range(self.folds):
            held = np.flatnonzero(fold == number)
            some = rows[held]
            self.products[number] += to_dense(some.T @ _scale(some, weights[held]))
        self.shift = block.shift
        self.rows += len(logs)
        self.truncated += block.truncated

    def merge(self, other: Self) -> None:
        """Add what was gathered over later rows."""
        self.products += other.products
        self.shift = other.shift if other.rows else self.shift
        self.rows += other.rows
        self.truncated += other.truncated


class ScoreSums:
    """Gather the scores ``w e [1, x]`` of rows that a fit did not see, units in hashed sums."""

    def __init__(
        self,
        encoder: Encoder,
        folds: int,
        seed: int,
        paths: Sequence[RidgePath],
        indices: Sequence[int],
        region: Support,
    ) -> None:
        self.encoder, self.folds, self.seed = encoder, folds, seed
        self.paths, self.indices, self.region = paths, indices, region
        self.drawn = DrawnTexts()
        self.sums = np.zeros((len(paths), FEWEST_BUCKETS, encoder.dimension + 1))

    def add(self, logs: Logs) -> None:
        """Add some rows."""
        block, rows = embed_block(logs.texts, self.encoder, EmbeddingCache()), np.arange(len(logs))
        fold = hash_folds(logs, self.folds, self.seed)
        place = Buckets(FEWEST_BUCKETS, None).place(hash_units(logs, self.seed, "scores"))
        vectors, outcomes = _stack(block), read_outcomes(logs)
        for number, (path, index) in enumerate(zip(self.paths, self.indices, strict=True)):
            slopes = path.fold_coefficients[:, index]  # (folds, d)
            levels = path.fold_intercepts[:, index] - slopes @ block.shift
            predicted = (np.asarray(block.values @ slopes.T) + levels)[rows, fold]
            error = outcomes[:, number] - predicted
            self.sums[number] += to_dense(place @ _scale(vectors, _weights(logs) * error))
        self._draw(logs, block)

    def _draw(self, logs: Logs, block: VectorBlock) -> None:
        """Keep the leverage of those texts whose hash is among the smallest so far."""
        read = [name for name in (logs.roles.completion, logs.roles.prompt) if name is not None]
        code = sum(hash_column(logs.data[name], self.seed, f"support {name}") for name in read) % 1
        key, first, place = np.unique(code, return_index=True, return_inverse=True)
        near = np.flatnonzero(key <= self.drawn.last)
        some = replace(block, values=block.values[first[near]])
        of_text = np.column_stack([_weights(logs), np.ones(len(logs))])
        sums = np.array([np.bincount(place.ravel(), column, len(key)) for column in of_text.T])
        leverage = self.region.leverage(some.dense())
        self.drawn = self.drawn.plus(DrawnTexts(key[near], leverage, *sums[:, near]))

    def merge(self, other: Self) -> None:
        """Add what was gathered over later rows."""
        self.sums += other.sums
        self.drawn = self.drawn.plus(other.drawn)


@dataclass(frozen=True, slots=True, eq=False)
class DrawnTexts:
    """Hold the distinct texts with the smallest hashes: leverage, weight and number of rows.

    Which they are depends on no order of rows, and no text is drawn for being logged often.
    """

    key: Array = field(default_factory=lambda: np.zeros(0))
    leverage: Array = field(default_factory=lambda: np.zeros(0))
    weights: Array = field(default_factory=lambda: np.zeros(0))
    counts: Array = field(default_factory=lambda: np.zeros(0))

    @property
    def last(self) -> float:
        """The largest hash that is kept; no text is too large where there is room."""
        return float(self.key[-1]) if len(self.key) == ROWS_SAMPLED else 1.0

    def plus(self, other: "DrawnTexts") -> "DrawnTexts":
        """Return the texts with the smallest hashes of both."""
        key, first, place = np.unique(
            np.r_[self.key, other.key], return_index=True, return_inverse=True
        )
        weights, counts = (
            np.bincount(place.ravel(), np.r_[mine, theirs], len(key)).astype(np.float64)
            for mine, theirs in ((self.weights, other.weights), (self.counts, other.counts))
        )
        leverage = np.r_[self.leverage, other.leverage][first]
        n = ROWS_SAMPLED
        return DrawnTexts(key[:n], leverage[:n], weights[:n], counts[:n])


def _about(products: Array, mean: Array, x: slice) -> RidgeMoments:
    """Return the sums over a fold about the mean ``(1 + d + m,)`` of all rows, ``x`` its d."""
    first = products[0]
    shifted = products - np.outer(mean, first) - np.outer(first, mean)
    shifted += first[0] * np.outer(mean, mean)
    level = first - first[0] * mean
    return RidgeMoments(
        float(first[0]),
        level[x],
        level[x.stop :],
        shifted[x, x],
        shifted[x, x.stop :],
        shifted.diagonal()[x.stop :],
    )


def _weights(logs: Logs) -> Array:
    return np.ones(len(logs)) if logs.weights is None else logs.weights


def _stack(block: VectorBlock, *more: Array) -> Matrix:
    """Return the rows ``[1, x]`` and what comes after them."""
    columns = [np.ones((block.values.shape[0], 1))]
    ends = list(more)
    if isinstance(block.values, np.ndarray):
        return np.hstack([*columns, block.values.astype(np.float64), *ends])
    parts = [*map(sparse.csr_array, columns), sparse.csr_array(block.values, dtype=np.float64)]
    joined = sparse.hstack([*parts, *map(sparse.csr_array, ends)], format="csr")
    return sparse.csr_array(joined)


def _scale(rows: Matrix, factors: Array) -> Matrix:
    scaled: Matrix = sparse.diags_array(factors) @ rows
    return scaled
