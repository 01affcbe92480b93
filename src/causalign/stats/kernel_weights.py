"""Weights from how densely target and log fill the space of vectors, with a Gaussian kernel."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.stats.distances import squared_distances

Floats = NDArray[np.float64]

GRID = np.geomspace(0.03, 1.0, 11)  # in units of the median distance
MOST_LEVERAGE = 0.5
MOST = 1000  # rows among which a bandwidth is chosen


@dataclass(frozen=True, slots=True, eq=False)
class KernelValue:
    """Hold a value by kernel weights ``(n,)``, and the influence of rows (n,) and samples (m,)."""

    estimate: float
    weights: Floats
    rows: Floats
    samples: Floats


def kernel_value(
    features: ArrayLike, samples: ArrayLike, outcome: ArrayLike, bandwidth: float
) -> KernelValue:
    """Average the outcome with the weights ``w_i = q(e_i) / s(e_i)``, normalised by their sum.

    ``s(e) = mean_l K(e, e_l)`` over logged vectors ``(n, d)``, ``q(e) = mean_j K(e, t_j)`` over
    vectors of the target's texts ``(m, d)``, ``K = exp(-d^2 / 2 h^2)``. Neither policy's
    probabilities are needed; with vectors that name texts and a small h it is the average outcome
    of each text, weighted by how often the target writes it. The influences count that s and q
    are estimated. Cost: n (n + m) kernels, twice.

    Assumption: the expected outcome hardly changes within a bandwidth, and the log has texts
    wherever the target has. Reference: Kiyohara et al. (2025), arXiv:2504.02646.
    """
    X, T, y = (np.asarray(v, dtype=np.float64) for v in (features, samples, outcome))
    n, m = len(X), len(T)
    own, cross = np.empty(n), np.empty(n)
    for rows, K in _kernels(X, X, bandwidth):
        own[rows] = K.mean(axis=1)
    for rows, K in _kernels(X, T, bandwidth):
        cross[rows] = K.mean(axis=1)
    w = cross / own
    if not w.sum() > 0:
        raise NotIdentified(
            "No logged text lies within reach of a text of the target: all kernel weights are "
            "zero, and the log says nothing about this policy."
        )
    estimate = float(w @ y / w.sum())
    pull = (y - estimate) / own / w.mean()
    by_row = pull * cross
    for rows, K in _kernels(X, X, bandwidth):
        by_row[rows] -= K @ (pull * w) / n
    # A row pulls its own local mean towards itself; few neighbours, much pull (as HC3).
    by_row /= 1.0 - np.minimum(1.0 / (n * own), MOST_LEVERAGE)
    by_sample = np.empty(m)
    for rows, K in _kernels(T, X, bandwidth):
        by_sample[rows] = K @ pull / n
    return KernelValue(estimate, w, by_row, by_sample)


def choose_bandwidth(features: ArrayLike, samples: ArrayLike, seed: int = 0) -> float:
    """Return the bandwidth whose density best predicts left-out vectors of log and target.

    The leave-one-out log-likelihood of the pooled vectors, over 11 multiples of their median
    distance (Habbema et al. 1974). Outcomes take no part, so that the choice cannot favour a
    value. At most 1,000 vectors of each are used.
    """
    generator = np.random.default_rng(seed)
    parts = [np.asarray(v, dtype=np.float64) for v in (features, samples)]
    pooled = np.concatenate(
        [p if len(p) <= MOST else p[generator.choice(len(p), MOST, replace=False)] for p in parts]
    )
    squared = np.concatenate([block for _, block in squared_distances(pooled, pooled)])
    np.fill_diagonal(squared, np.inf)
    apart = squared[np.isfinite(squared) & (squared > 0)]
    if not len(apart):
        raise InputError("All vectors are the same: no distance tells the texts apart.")
    median = float(np.sqrt(np.median(apart)))
    d = pooled.shape[1]
    scores = [
        logsumexp(-squared / (2 * h * h), axis=1).mean() - d * np.log(h) for h in GRID * median
    ]
    return float(GRID[int(np.argmax(scores))] * median)


def copies(features: ArrayLike) -> float:
    """Return how many rows of ``features (n, d)`` share a vector, on average."""
    X = np.asarray(features, dtype=np.float64)
    return len(X) / len(np.unique(X, axis=0))


def are_equidistant(features: ArrayLike, seed: int = 0) -> bool:
    """Return whether all different vectors among ``features (n, d)`` are equally far apart.

    Then they name texts and do not say which are alike, as indicators of texts do. At most 1,000
    rows are compared.
    """
    X = np.unique(np.asarray(features, dtype=np.float64), axis=0)
    if len(X) > MOST:
        X = X[np.random.default_rng(seed).choice(len(X), MOST, replace=False)]
    squared = np.concatenate([block for _, block in squared_distances(X, X)])
    apart = squared[~np.eye(len(X), dtype=bool)]
    return len(X) > 3 and bool(np.ptp(apart) <= 1e-6 * apart.max())


def principal_components(
    features: ArrayLike, samples: ArrayLike, count: int
) -> tuple[Floats, Floats]:
    """Return log and samples in the ``count`` directions in which both together vary most.

    Densities in many dimensions cannot be estimated from thousands of texts; what the directions
    left out do to the outcome is bias. ``features (n, d)``, ``samples (m, d)``.
    """
    X, T = np.asarray(features, dtype=np.float64), np.asarray(samples, dtype=np.float64)
    if count < 1:
        raise SettingsError(f"components must be at least 1; found {count}.")
    if count >= X.shape[1]:
        return X, T
    mean = np.concatenate([X, T]).mean(axis=0)
    gram = (X - mean).T @ (X - mean) / len(X) + (T - mean).T @ (T - mean) / len(T)
    directions = np.linalg.eigh(gram)[1][:, ::-1][:, :count]
    return (X - mean) @ directions, (T - mean) @ directions


def _kernels(first: Floats, second: Floats, bandwidth: float) -> Iterator[tuple[slice, Floats]]:
    if not bandwidth > 0:
        raise SettingsError(f"bandwidth must be above 0; found {bandwidth}.")
    for rows, squared in squared_distances(first, second):
        yield rows, np.exp(-squared / (2 * bandwidth * bandwidth))
