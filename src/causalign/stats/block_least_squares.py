"""Least squares and instruments over blocks of rows: two passes, memory that rows do not grow."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from causalign.errors import NotIdentified
from causalign.stats.carrying_rows import effective_number
from causalign.stats.directions import ROTATED, Turn, independent
from causalign.stats.factor import factorise, safe_root
from causalign.stats.least_squares import LinearFit, project, two_stage
from causalign.stats.rounding import DOUBLE, MARGIN, SINGLE, are_whole, fit_single, is_exact

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Hold some rows: ``y (b,)``, ``endogenous (b, p)``, ``exogenous (b, m)``, ``instruments
    (b, q)``, ``weights (b,)`` and ``clusters (b,)``, labels of any type, or None. No intercept.
    """

    y: Floats
    endogenous: Floats
    exogenous: Floats
    instruments: Floats
    weights: Floats
    clusters: NDArray[np.generic] | None = None


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
    blocks: Callable[[], Iterable[Block]],
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
    columns, shifted and scaled by the first block so that no digits are lost. All that a fit needs
    of n rows of k columns are those products, and so it is made from a k x k triangle that has the
    same; where products hold too few digits, another pass makes the triangle from the rows. The
    last pass sums the outer products of the scores ``x^_i e_i``, within clusters first. Memory:
    O(k²), and O(G k) with G clusters.

    ``blocks`` must give the same blocks each time it is called; ``names`` are those of exogenous,
    endogenous and instrument columns; ``contrast`` turns the means into the matrix ``(r, k)`` from
    slopes to the estimates whose rows are counted. Raises `NotIdentified`.
    """
    total = _moments(blocks())
    m, p, q = total.sizes
    if q < p:
        raise NotIdentified(
            f"There are {p} endogenous columns but only {q} instruments. At least {p} are needed."
        )
    plan = _plan(total, features, names)
    solved = _solve(_triangle(blocks, total, plan), plan, total.sizes, kappa)
    fit = solved.fit
    skipped, own = 1 + plan.directions, slice(1 + features, 1 + m + p)
    scale, means = total.scale[own] / total.scale[-1], total.mean[own]
    shown = (contrast(means) / scale) @ solved.slices[skipped:]
    scores = _scores(blocks(), total, plan, solved, shown)
    slopes = fit.coefficients + solved.slices @ scores.left
    correction = _correction(total.rows, len(slopes), scores.clusters)
    covariance = correction * solved.slices @ scores.meat @ solved.slices.T
    left = float(np.sqrt(scores.squares))
    return BlockFit(
        slopes[skipped:] / scale,
        covariance[skipped:, skipped:] / np.outer(scale, scale),
        means,
        total.rows,
        scores.clusters,
        fit.kappa,
        scores.carried,
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
    root: Floats, plan: "_Plan", sizes: tuple[int, int, int], kappa: float | Literal["liml"]
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
    factor = factorise(first.fitted, labels[0], rounding=first.rounding)
    if not factor.is_close or fit.kappa != 1.0:
        return _Solution(fit, first.slopes, np.eye(own + p), fit.bread)
    # Scores of orthonormal columns keep the digits that those of close ones lose.
    half = factor.half_inverse()
    return _Solution(fit, first.slopes @ half, half, half)


@dataclass(frozen=True, slots=True, eq=False)
class _CrossProducts:
    products: Floats  # (K, K) of the scaled columns: intercept, exogenous, endogenous, Z, y
    shift: Floats
    scale: Floats
    roundoff: Floats  # of each column as it came
    rows: int
    sizes: tuple[int, int, int]

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


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Say which columns are regressed: features in their directions, the others as they are."""

    features: int
    mean: Floats  # (features,) of the scaled features
    turn: Turn
    names: tuple[str, ...]
    rounding: Floats

    @property
    def directions(self) -> int:
        return len(self.turn.rounding)

    def columns(self, scaled: Floats) -> Floats:
        """Return intercept, directions and the other columns of rows of all columns."""
        if not self.features:
            return scaled
        start, end = 1, 1 + self.features
        text = (scaled[:, start:end] - self.mean) @ self.turn.matrix
        return np.hstack([scaled[:, :start], text, scaled[:, end:]])


def _columns(block: Block, shift: Floats, scale: Floats) -> Floats:
    stacked = _stack(block)
    stacked -= shift
    stacked /= scale
    return stacked


def _stack(block: Block) -> Floats:
    ones = np.ones((len(block.y), 1))
    return np.hstack([ones, block.exogenous, block.endogenous, block.instruments, block.y[:, None]])


def _moments(blocks: Iterable[Block]) -> _CrossProducts:
    products, rows, shift, scale, sizes = np.zeros((0, 0)), 0, np.zeros(0), np.zeros(0), (0, 0, 0)
    single = whole = np.zeros(0, dtype=bool)
    for block in blocks:
        columns = _stack(block)
        if not rows:
            sizes = (
                block.exogenous.shape[1],
                block.endogenous.shape[1],
                block.instruments.shape[1],
            )
            shift, scale = columns.mean(axis=0), columns.std(axis=0)
            scale[scale == 0] = 1.0
            shift[0], scale[0] = 0.0, 1.0
            products = np.zeros((len(scale), len(scale)))
            single = whole = np.ones(len(scale), dtype=bool)
        single, whole = single.copy(), whole.copy()
        single[single] = fit_single(columns[:, single])
        whole[whole] = are_whole(columns[:, whole])
        columns -= shift
        columns /= scale
        products += columns.T @ (columns * block.weights[:, None])
        rows += len(block.y)
    if not rows:
        raise NotIdentified("There are no rows to fit.")
    roundoff = np.where(single & ~whole, SINGLE, DOUBLE)
    return _CrossProducts(products, shift, scale, roundoff, rows, sizes)


def _plan(total: _CrossProducts, features: int, names: tuple[str, ...]) -> _Plan:
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
    return _Plan(
        features,
        mean,
        Turn(matrix, turn.rounding, turn.rotated),
        ("intercept", *labels, *names[features:]),
        np.concatenate([[0.0], turn.rounding, lost[1 + features : -1]]),
    )


def _triangle(blocks: Callable[[], Iterable[Block]], total: _CrossProducts, plan: _Plan) -> Floats:
    """Return a triangle ``(K, K)`` with the cross products of all rows."""
    if not plan.turn.rotated:
        outer = np.eye(len(total.products))
        text = slice(1, 1 + plan.features)
        outer = np.hstack([outer[:, :1], outer[:, text] @ plan.turn.matrix, outer[:, text.stop :]])
        outer[0, 1 : 1 + plan.directions] = -plan.mean @ plan.turn.matrix
        gram = outer.T @ total.products @ outer
        length = np.sqrt(np.diag(gram))
        if (length > 0).all():
            lost = np.append(plan.rounding, 0.0) / length
            root = safe_root(gram / np.outer(length, length), lost)
            if root is not None:
                return root * length
    width = len(plan.rounding) + 1
    above = np.zeros((0, width))
    for block in blocks():
        rows = plan.columns(_columns(block, total.shift, total.scale))
        rows *= np.sqrt(block.weights)[:, None]
        above = np.asarray(np.linalg.qr(np.vstack([above, rows]), mode="r"))
    return np.vstack([above, np.zeros((width - len(above), width))])


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """Hold outer products of the scores, what the normal equations still lack, squared residuals,
    and how many rows or clusters carry each estimate.
    """

    meat: Floats
    left: Floats
    clusters: int
    squares: float
    carried: Floats


def _scores(
    blocks: Iterable[Block],
    total: _CrossProducts,
    plan: _Plan,
    solved: _Solution,
    shown: Floats,
) -> _Scores:
    """Sum over the rows what the covariance needs, and the squares that tell the rows behind.

    ``shown (r, k)`` times ``x^_i`` is what one unit more of the outcome of row i does to r
    estimates.
    """
    slopes, kappa = solved.fit.coefficients, solved.fit.kappa
    width = len(slopes)
    meat, left, squares = np.zeros((width, width)), np.zeros(width), 0.0
    shares = np.zeros((2, len(shown)))
    W = np.r_[0 : width - total.sizes[1], width : width + total.sizes[2]]
    shown = shown / np.abs(shown).max(axis=1, keepdims=True)
    sums: dict[object, Floats] = {}
    clustered = False
    for block in blocks:
        columns = plan.columns(_columns(block, total.shift, total.scale))
        residual = columns[:, -1] - columns[:, :width] @ slopes
        fitted = columns[:, W] @ solved.projection
        weighted = residual * block.weights
        squares += float(weighted @ residual)
        left += kappa * (fitted.T @ weighted)
        left += (1 - kappa) * (solved.turn.T @ (columns[:, :width].T @ weighted))
        scores = fitted * weighted[:, None]
        own = np.square((fitted * block.weights[:, None]) @ shown.T)
        if block.clusters is None:
            meat += scores.T @ scores
            shares += own.sum(axis=0), np.square(own).sum(axis=0)
            continue
        clustered = True
        labels, codes = np.unique(block.clusters, return_inverse=True)
        gathered = np.zeros((len(labels), width + len(shown)))
        np.add.at(gathered, codes, np.hstack([scores, own]))
        for label, row in zip(labels.tolist(), gathered, strict=True):
            sums[label] = sums[label] + row if label in sums else row
    if clustered:
        stacked, own = np.hsplit(np.array(list(sums.values())), [width])
        meat = stacked.T @ stacked
        shares += own.sum(axis=0), np.square(own).sum(axis=0)
        if len(sums) < 2:
            raise NotIdentified(
                "Clustered standard errors need at least two clusters; there is one."
            )
    return _Scores(meat, left, len(sums), squares, effective_number(*shares))


def _correction(rows: int, spent: int, clusters: int) -> float:
    if rows <= spent:
        raise NotIdentified(f"{rows} rows leave no degrees of freedom after {spent} coefficients.")
    if clusters:
        return clusters / (clusters - 1) * (rows - 1) / (rows - spent)
    return rows / (rows - spent)
