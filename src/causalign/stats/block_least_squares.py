"""Least squares and instruments over blocks of rows: two passes, memory that rows do not grow."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from causalign.errors import NotIdentified
from causalign.stats.carrying_rows import effective_number
from causalign.stats.factor import factorise_gram

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


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
    """Hold slopes, exogenous columns first, and their covariance; the intercept is left out.

    ``means`` ``(m + p,)`` are the weighted means of the same columns; ``carried (r,)`` says on how
    many rows, or clusters, each of the estimates rests that were asked for.
    """

    coefficients: Floats
    covariance: Floats
    means: Floats
    rows: int
    clusters: int
    kappa: float
    carried: Floats


def fit_blocks(
    blocks: Callable[[], Iterable[Block]],
    names: tuple[str, ...],
    *,
    contrast: Callable[[Floats], Floats],
    kappa: float | Literal["liml"] = 1.0,
) -> BlockFit:
    """Fit ``y = a + X b + e``, with instruments where there are endogenous columns.

    The same estimator as `causalign.stats.least_squares.two_stage` (without endogenous columns:
    `ordinary`) with correction ``min``. The first pass sums cross products of all columns, shifted
    and scaled by the first block so that no digits are lost; ``X^'X^ = X'W (W'W)^-1 W'X`` needs no
    rows. The second pass sums the outer products of the scores ``x^_i e_i``, within clusters first.
    Memory: O(k²), and O(G k) with G clusters.

    ``blocks`` must give the same blocks each time it is called; ``names`` are those of exogenous,
    endogenous and instrument columns; ``contrast`` turns the means into the matrix ``(r, m + p)``
    from slopes to the estimates whose rows are counted. Raises `NotIdentified`.
    """
    total = _moments(blocks())
    sizes = total.sizes
    m, p, q = sizes
    if q < p:
        raise NotIdentified(
            f"There are {p} endogenous columns but only {q} instruments. At least {p} are needed."
        )
    W = np.r_[0 : 1 + m, 1 + m + p : 1 + m + p + q]
    X = np.arange(1 + m + p)
    y = 1 + m + p + q
    G = total.products
    labels = ("intercept", *names)
    first = factorise_gram(G[np.ix_(W, W)], [labels[i] for i in W])
    projection = first.solve(G[np.ix_(W, X)])  # (1 + m + q, 1 + m + p)
    fitted = G[np.ix_(X, W)] @ projection
    factorise_gram(fitted, [labels[i] for i in X], reason="once projected on the instruments")
    k_class = _liml(G, 1 + m, p, q) if kappa == "liml" else float(kappa)
    mixed = (1 - k_class) * G[np.ix_(X, X)] + k_class * fitted
    right = (1 - k_class) * G[X, y] + k_class * projection.T @ G[W, y]
    bread = np.linalg.inv(mixed)
    slopes = bread @ right
    scale = total.scale[1 : 1 + m + p] / total.scale[y]
    means = total.mean[1 : 1 + m + p]
    shown = (contrast(means) / scale) @ bread[1:]
    meat, left, clusters, carried = _scores(
        blocks(), total, W, X, projection, slopes, k_class, shown
    )
    slopes = slopes + bread @ left
    covariance = _correction(total.rows, len(X), clusters) * bread @ meat @ bread.T
    return BlockFit(
        slopes[1:] / scale,
        covariance[1:, 1:] / np.outer(scale, scale),
        means,
        total.rows,
        clusters,
        k_class,
        carried,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _CrossProducts:
    products: Floats  # (K, K) of the scaled columns: intercept, exogenous, endogenous, Z, y
    mean: Floats
    shift: Floats
    scale: Floats
    rows: int
    sizes: tuple[int, int, int]


def _columns(block: Block, shift: Floats, scale: Floats) -> Floats:
    raw = [
        np.ones((len(block.y), 1)),
        block.exogenous,
        block.endogenous,
        block.instruments,
        block.y[:, None],
    ]
    stacked = np.hstack(raw)
    stacked -= shift
    stacked /= scale
    return stacked


def _moments(blocks: Iterable[Block]) -> _CrossProducts:
    products, rows, shift, scale, sizes = np.zeros((0, 0)), 0, np.zeros(0), np.zeros(0), (0, 0, 0)
    for block in blocks:
        if not rows:
            sizes = (
                block.exogenous.shape[1],
                block.endogenous.shape[1],
                block.instruments.shape[1],
            )
            width = 2 + sum(sizes)
            plain = _columns(block, np.zeros(width), np.ones(width))
            shift, scale = plain.mean(axis=0), plain.std(axis=0)
            scale[scale == 0] = 1.0
            shift[0], scale[0] = 0.0, 1.0
            products = np.zeros((width, width))
        columns = _columns(block, shift, scale)
        products += columns.T @ (columns * block.weights[:, None])
        rows += len(block.y)
    if not rows:
        raise NotIdentified("There are no rows to fit.")
    mean = shift + scale * products[0] / products[0, 0]
    return _CrossProducts(products, mean, shift, scale, rows, sizes)


def _scores(
    blocks: Iterable[Block],
    total: _CrossProducts,
    W: Codes,
    X: Codes,
    projection: Floats,
    slopes: Floats,
    kappa: float,
    shown: Floats,
) -> tuple[Floats, Floats, int, Floats]:
    """Sum the outer products of the scores, and what the normal equations still lack.

    ``shown (r, k)`` times the scores are the estimates; last come the rows that carry them.
    """
    meat, left = np.zeros((len(X), len(X))), np.zeros(len(X))
    shares, squares = np.zeros(len(shown)), np.zeros(len(shown))
    sums: dict[object, Floats] = {}
    clustered = False
    for block in blocks:
        columns = _columns(block, total.shift, total.scale)
        residual = columns[:, -1] - columns[:, X] @ slopes
        fitted = columns[:, W] @ projection
        weighted = residual * block.weights
        left += kappa * (fitted.T @ weighted) + (1 - kappa) * (columns[:, X].T @ weighted)
        scores = fitted * weighted[:, None]
        own = np.square((fitted * block.weights[:, None]) @ shown.T)
        if block.clusters is None:
            meat += scores.T @ scores
            shares, squares = shares + own.sum(axis=0), squares + np.square(own).sum(axis=0)
            continue
        clustered = True
        labels, codes = np.unique(block.clusters, return_inverse=True)
        gathered = np.zeros((len(labels), len(X) + len(shown)))
        np.add.at(gathered, codes, np.hstack([scores, own]))
        for label, row in zip(labels.tolist(), gathered, strict=True):
            sums[label] = sums[label] + row if label in sums else row
    if clustered:
        stacked, own = np.hsplit(np.array(list(sums.values())), [len(X)])
        meat = stacked.T @ stacked
        shares, squares = own.sum(axis=0), np.square(own).sum(axis=0)
        if len(sums) < 2:
            raise NotIdentified(
                "Clustered standard errors need at least two clusters; there is one."
            )
    return meat, left, len(sums), effective_number(shares, squares)


def _liml(G: Floats, exogenous: int, p: int, q: int) -> float:
    """Return the smallest root of ``|E1'E1 - kappa EW'EW|`` from the cross products."""
    stacked = np.r_[exogenous + p + q, exogenous : exogenous + p]
    own = np.arange(exogenous)
    both = np.r_[own, exogenous + p : exogenous + p + q]
    short, within = (_left_over(G, stacked, columns) for columns in (own, both))
    try:
        return float(linalg.eigh(short, within, eigvals_only=True)[0])
    except linalg.LinAlgError as error:
        raise NotIdentified(
            "Once the instruments are known, the outcome is an exact combination of the "
            "confounders, or they are of each other: LIML has no answer. Use kappa=1."
        ) from error


def _left_over(G: Floats, of: Codes, given: Codes) -> Floats:
    cross = G[np.ix_(given, of)]
    return np.asarray(G[np.ix_(of, of)] - cross.T @ np.linalg.solve(G[np.ix_(given, given)], cross))


def _correction(rows: int, spent: int, clusters: int) -> float:
    if rows <= spent:
        raise NotIdentified(f"{rows} rows leave no degrees of freedom after {spent} coefficients.")
    if clusters:
        return clusters / (clusters - 1) * (rows - 1) / (rows - spent)
    return rows / (rows - spent)
