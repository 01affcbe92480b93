"""Distances between many rows, a block at a time, and which texts lie near logged ones."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError

Floats = NDArray[np.float64]

CELLS = 4_000_000  # distances held at once


def squared_distances(first: Floats, second: Floats) -> Iterator[tuple[slice, Floats]]:
    """Yield rows of ``first (n, d)`` and their squared distances to ``second (m, d)``, by block.

    Distances below rounding error are 0, so that equal rows are at distance 0 exactly.
    """
    own, other = np.square(first).sum(axis=1), np.square(second).sum(axis=1)
    step = max(1, CELLS // len(second))
    for start in range(0, len(first), step):
        rows = slice(start, min(start + step, len(first)))
        sizes = own[rows, None] + other
        squared = sizes - 2.0 * (first[rows] @ second.T)
        squared[squared < 1e-13 * sizes] = 0.0
        yield rows, squared


def nearest_squared(first: Floats, second: Floats | None = None) -> Floats:
    """Return the squared distance of each row ``(n,)`` to the nearest row of ``second``.

    Without ``second``, to the nearest other row of ``first``.
    """
    nearest = np.empty(len(first))
    for rows, squared in squared_distances(first, first if second is None else second):
        if second is None:
            squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf
        nearest[rows] = squared.min(axis=1)
    return nearest


def share_near_the_log(
    logged: ArrayLike, sampled: ArrayLike, quantile: float = 0.95, seed: int = 0, most: int = 4_000
) -> float:
    """Return the share of the target's texts that lie as near to a logged text as logged texts do.

    "Near" is the ``quantile`` of the distances of logged texts to their nearest neighbour in the
    log, so that a target that equals the logging policy has about that share. Where texts repeat
    (actions, snippets) near means: was logged. ``logged (n, d)``, ``sampled (m, d)``; beyond
    ``most`` rows a random part of each is used.

    It needs no probabilities, so that it also sees texts that a filter kept out of the log while
    the recorded probabilities pretend otherwise. Assumption: the vectors tell texts apart that
    differ in their effect.
    """
    log, target = (np.asarray(v, dtype=np.float64) for v in (logged, sampled))
    if log.ndim != 2 or target.ndim != 2 or log.shape[1] != target.shape[1] or len(log) < 2:
        raise InputError(
            f"Vectors must be (n, d) and (m, d), at least two logged; found {log.shape} and "
            f"{target.shape}."
        )
    generator = np.random.default_rng(seed)
    log, target = (
        v if len(v) <= most else v[generator.choice(len(v), most, replace=False)]
        for v in (log, target)
    )
    edge = np.quantile(nearest_squared(log), quantile)
    return float((nearest_squared(target, log) <= edge * (1 + 1e-9)).mean())


def share_within_logged_weights(logged: ArrayLike, sampled: ArrayLike) -> float:
    """Return the share of the target's texts whose weight is no larger than the largest logged.

    ``logged (n,)`` are log-weights of logged texts, ``sampled (m,)`` of texts that the target
    wrote (infinite where the logging policy never writes them). What is missing is exactly the
    mass ``E_pi0[w 1(w > w_max)]`` that no average over this log can contain, even where effective
    sample size and Pareto k look healthy because the tail was never drawn.
    """
    top = float(np.max(np.asarray(logged, dtype=np.float64)))
    return float((np.asarray(sampled, dtype=np.float64) <= top + 1e-9).mean())
