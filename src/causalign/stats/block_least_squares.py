"""Least squares and instruments over blocks of rows: sums over them, in bounded memory."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from causalign.errors import NotIdentified
from causalign.stats.block_scores import ScoreReading, Scores
from causalign.stats.block_sums import Block, ColumnPlan, Products, columns_of, scale_of
from causalign.stats.cluster_sums import choose_buckets
from causalign.stats.directions import ROTATED, Turn, independent
from causalign.stats.factor import safe_root
from causalign.stats.least_squares import LinearFit, two_stage
from causalign.stats.projection import project
from causalign.stats.rounding import MARGIN, SINGLE, is_exact

Floats = NDArray[np.float64]


class BlockTotal(Protocol):
    """What is gathered over blocks of rows."""

    def add(self, block: Block) -> None:
        """Add some rows."""
        ...

    def merge(self, other: Self) -> None:
        """Add what was gathered over later rows."""
        ...


T = TypeVar("T", bound=BlockTotal)


class Blocks(Protocol):
    """What gives the rows, as often as they are asked for."""

    def first(self) -> Block:
        """Return some rows, by which columns are centred and scaled."""
        ...

    def gather(self, start: Callable[[], T]) -> T:
        """Gather a total over all rows."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class BlockFit:
    """Hold slopes, exogenous columns first, and their covariance; intercept and features left out.

    ``means`` ``(k,)`` are the weighted means of the same columns; ``carried (r,)`` says on how many
    rows, or clusters, each of the estimates rests that were asked for; ``features`` counts the
    directions of the text; ``exact`` says that nothing but rounding is left of the outcome.
    """

    coefficients: Floats
    covariance: Floats
    means: Floats
    rows: int
    clusters: int
    kappa: float
    carried: Floats
    features: int
    exact: bool


def fit_blocks(
    blocks: Blocks,
    names: tuple[str, ...],
    *,
    contrast: Callable[[Floats], Floats],
    kappa: float | Literal["liml"] = 1.0,
    features: int = 0,
) -> BlockFit:
    """Fit ``y = a + X b + e``, with instruments where there are endogenous columns.

    The same estimator as `causalign.stats.least_squares.two_stage` (without endogenous columns:
    `ordinary`) with correction ``min``. The first ``features`` exogenous columns are text features,
    of which only the `causalign.stats.directions` count. The first pass sums cross products of all
    columns, shifted and scaled by the first block so that no digits are lost; where exogenous
    columns are sparse they stay so, and are scaled only. All that a fit needs of n rows of k
    columns are those products, and so it is made from a k x k triangle that has the same; where
    products hold too few digits, another pass makes the triangle from the rows. The last pass sums
    the outer products of the scores ``x^_i e_i``, within clusters first. Memory: O(k²), and O(G k)
    with G clusters, as far as `causalign.stats.cluster_sums` gives each a sum of its own.

    ``names`` are those of exogenous, endogenous and instrument columns; ``contrast`` turns the
    means into the matrix ``(r, k)`` from slopes to the estimates whose rows are counted. Raises
    `NotIdentified`.
    """
    shift, scale = scale_of(blocks.first())
    total = blocks.gather(partial(Products, shift, scale))
    if not total.rows:
        raise NotIdentified("There are no rows to fit.")
    m, p, q = total.sizes
    if q < p:
        raise NotIdentified(
            f"There are {p} endogenous columns but only {q} instruments. At least {p} are needed."
        )
    plan = _plan(total, features, names)
    solved = _solve(_triangle(blocks, total, plan), plan, total.sizes, kappa)
    fit = solved.fit
    skipped, own = 1 + plan.directions, slice(1 + features, 1 + m + p)
    unit, means = total.scale[own] / total.scale[-1], total.mean[own]
    reading = _read_scores(total, plan, solved, contrast(means), own)
    buckets = choose_buckets(total.clusters, len(shift)) if len(total.clusters) else None
    scores = blocks.gather(partial(Scores, reading, buckets))
    slopes = fit.coefficients + solved.slices @ scores.left(fit.kappa)
    correction = _correction(total.rows, len(slopes), len(total.clusters))
    covariance = correction * solved.slices @ scores.meat() @ solved.slices.T
    left = float(np.sqrt(scores.squares))
    return BlockFit(
        slopes[skipped:] / unit,
        covariance[skipped:, skipped:] / np.outer(unit, unit),
        means,
        total.rows,
        len(total.clusters),
        fit.kappa,
        scores.carried(),
        plan.directions,
        is_exact(left, total.spread[-1], total.length[-1], total.roundoff[-1]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Solution:
    """Hold a fit, and how its covariance is made of sums over the rows.

    ``projection`` takes exogenous columns and instruments to the columns whose scores are summed,
    ``turn`` all columns of X to the same; their outer products lie between ``slices``.
    """

    fit: LinearFit
    projection: Floats
    turn: Floats
    slices: Floats


def _solve(
    root: Floats, plan: ColumnPlan, sizes: tuple[int, int, int], kappa: float | Literal["liml"]
) -> _Solution:
    """Fit the rows of a triangle that has the cross products of all rows."""
    _, p, q = sizes
    own = len(plan.rounding) - p - q  # intercept, directions and other exogenous columns
    exogenous, endogenous, instruments, y = np.hsplit(root, [own, own + p, own + p + q])
    fit = two_stage(
        y[:, 0],
        endogenous,
        exogenous,
        instruments,
        kappa=kappa,
        rounding=plan.rounding,
        names=plan.names,
    )
    labels = plan.names[: own + p], (*plan.names[:own], *plan.names[own + p :])
    W = np.hstack([exogenous, instruments])
    place = np.r_[own : own + p, 0:own, own + p : own + p + q]
    first = project(endogenous, W, own, labels, plan.rounding[place])
    factor, _, _ = first.factorise(W, labels[0])
    if not factor.is_close or fit.kappa != 1.0:
        return _Solution(fit, first.slopes, np.eye(own + p), fit.bread)
    # Scores of orthonormal columns keep the digits that those of close ones lose.
    half = factor.half_inverse()
    return _Solution(fit, first.slopes @ half, half, half)


def _plan(total: Products, features: int, names: tuple[str, ...]) -> ColumnPlan:
    """Find the directions of the features, and how much of each column may be rounding."""
    lost = MARGIN * total.roundoff * total.length
    lost[0] = 0.0
    text = slice(1, 1 + features)
    G = total.products
    mean = G[0, text] / G[0, 0]
    centred = G[text, text] - G[0, 0] * np.outer(mean, mean)
    length = np.sqrt(np.maximum(np.diag(centred), 0.0))
    shares = np.maximum(MARGIN * SINGLE * length, lost[text])
    used = np.flatnonzero(length > shares)
    unit = centred[np.ix_(used, used)] / np.outer(length[used], length[used])
    turn = independent(unit, shares[used] / length[used])
    matrix = np.zeros((features, len(turn.rounding)))
    matrix[used] = turn.matrix / length[used, None]
    labels = tuple(names[int(i)] for i in used)
    if turn.rotated:
        labels = (ROTATED,) * len(turn.rounding)
    return ColumnPlan(
        features,
        mean,
        Turn(matrix, turn.rounding, turn.rotated),
        ("intercept", *labels, *names[features:]),
        np.concatenate([[0.0], turn.rounding, lost[1 + features : -1]]),
    )


def _read_scores(
    total: Products, plan: ColumnPlan, solved: _Solution, contrast: Floats, own: slice
) -> ScoreReading:
    """Say how rows are read; ``contrast`` turns slopes, of the columns ``own``, into estimates."""
    shown = np.zeros((len(contrast), len(total.scale)))
    shown[:, own] = contrast
    unit = total.scale[own] / total.scale[-1]
    pull = (contrast / unit) @ solved.slices[1 + plan.directions :]
    return ScoreReading(
        total.shift,
        total.scale,
        plan,
        solved.fit.coefficients,
        total.sizes[1],
        solved.projection,
        solved.turn,
        pull / np.abs(pull).max(axis=1, keepdims=True),
        shown,
        total.sparse,
    )


def _triangle(blocks: Blocks, total: Products, plan: ColumnPlan) -> Floats:
    """Return a triangle ``(K', K')`` with the cross products of all rows."""
    if not plan.turn.rotated or total.sparse:
        outer = plan.matrix
        gram = outer.T @ total.products @ outer
        length = np.sqrt(np.diag(gram))
        if (length > 0).all():
            lost = np.append(plan.rounding, 0.0) / length
            root = safe_root(gram / np.outer(length, length), lost)
            if root is not None:
                return root * length
    return blocks.gather(partial(_Triangle, total.shift, total.scale, plan)).root()


class _Triangle:
    """Gather the triangle of a QR decomposition of all rows."""

    def __init__(self, shift: Floats, scale: Floats, plan: ColumnPlan) -> None:
        self.shift, self.scale, self.plan = shift, scale, plan
        self.above = np.zeros((0, len(plan.rounding) + 1))

    def add(self, block: Block) -> None:
        """Add some rows."""
        columns = columns_of(block, self.shift, self.scale)
        if not isinstance(columns, np.ndarray):
            columns = columns.toarray()
        self._stack(self.plan.columns(columns) * np.sqrt(block.weights)[:, None])

    def merge(self, other: Self) -> None:
        """Add what was gathered over later rows."""
        self._stack(other.above)

    def root(self) -> Floats:
        """Return the triangle, with rows of zeros where rows were too few."""
        width = self.above.shape[1]
        return np.vstack([self.above, np.zeros((width - len(self.above), width))])

    def _stack(self, rows: Floats) -> None:
        self.above = np.asarray(np.linalg.qr(np.vstack([self.above, rows]), mode="r"))


def _correction(rows: int, spent: int, clusters: int) -> float:
    if rows <= spent:
        raise NotIdentified(f"{rows} rows leave no degrees of freedom after {spent} coefficients.")
    if clusters:
        return clusters / (clusters - 1) * (rows - 1) / (rows - spent)
    return rows / (rows - spent)
