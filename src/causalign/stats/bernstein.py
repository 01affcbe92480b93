"""Bounds on the mean of bounded rows, and on a policy's value, that hold at every sample size."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError, SettingsError

__all__ = ["lower_bound_of_mean", "value_bounds"]

Floats = NDArray[np.float64]


def lower_bound_of_mean(
    values: ArrayLike, largest: float, failure: float, clusters: ArrayLike | None = None
) -> float:
    """Return a number below the mean of ``values (n,)`` with probability ``1 - failure``.

    ``mean - sqrt(2 s^2 log(2/failure) / G) - 7 B log(2/failure) / (3 (G - 1))`` over G independent
    rows or clusters, s^2 their variance and B the largest value that one of them can take
    (Maurer and Pontil 2009, arXiv:0907.3740, theorem 4). No normality and no large n is needed.

    Assumption: values lie in ``[0, largest]``; clusters are independent and their sizes given.
    """
    z: Floats = np.asarray(values, dtype=np.float64)
    if not 0 < failure < 1:
        raise SettingsError(f"failure must lie between 0 and 1; found {failure}.")
    if not np.isfinite(z).all() or z.min() < 0 or z.max() > largest * (1 + 1e-9):
        raise InputError(f"values must lie in [0, {largest:g}]; they reach {z.min():g} and "
                         f"{z.max():g}.")  # fmt: skip
    bound = largest
    if clusters is not None:
        _, member, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
        scale = len(sizes) / len(z)
        z = np.asarray(
            np.bincount(member, weights=z) * scale, dtype=np.float64
        )  # (G,), with the mean of the rows
        bound = largest * float(sizes.max()) * scale
    G = len(z)
    if G < 2:
        raise InputError("A bound needs at least two independent rows or clusters.")
    tail = np.log(2 / failure)
    return float(
        z.mean() - np.sqrt(2 * z.var(ddof=1) * tail / G) - 7 * bound * tail / (3 * (G - 1))
    )


def value_bounds(
    weights: ArrayLike,
    outcome: ArrayLike,
    outcome_range: tuple[float, float],
    largest: float,
    *,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> tuple[float, float]:
    """Return bounds on the value of the target policy, clipping and missing support included.

    With Y scaled to [0, 1] and w clipped at M, ``E[min(w, M) Y] <= V`` and
    ``V <= 1 - E[min(w, M) (1 - Y)]``: what clipping removes, and what the log never saw, may have
    been as bad or as good as the range allows. Each side gets an empirical Bernstein bound at half
    the failure probability. ``weights (n,)``, ``outcome (n,)`` within ``outcome_range``.

    Assumption: logging probabilities are right, the range is known beforehand, rows (clusters)
    are independent. Support is not assumed. Reference: Thomas et al. (2015), AAAI; Maurer and
    Pontil (2009), arXiv:0907.3740.
    """
    low, high = outcome_range
    y = np.asarray(outcome, dtype=np.float64)
    if not low < high:
        raise SettingsError(f"outcome_range must ascend; found {low:g} to {high:g}.")
    if y.min() < low or y.max() > high:
        raise InputError(
            f"The outcome reaches from {y.min():g} to {y.max():g}, outside its declared range "
            f"{low:g} to {high:g}. Give the range that it can take, known before looking."
        )
    if not 0 < level < 1:
        raise SettingsError(f"level must lie between 0 and 1; found {level}.")
    w = np.minimum(np.asarray(weights, dtype=np.float64), largest)
    scaled = (y - low) / (high - low)
    half = (1 - level) / 2
    below = lower_bound_of_mean(w * scaled, largest, half, clusters)
    above = 1.0 - lower_bound_of_mean(w * (1.0 - scaled), largest, half, clusters)
    return low + (high - low) * max(below, 0.0), low + (high - low) * min(above, 1.0)
