"""The region of vectors that a fit covers: an ellipsoid, which 99 of 100 of its rows lie inside."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from causalign.stats.ridge_path import row_space

Array = NDArray[np.float64]

_INSIDE = 0.99
# So many rows tell a percentile well enough.
ROWS_SAMPLED = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Support:
    """Hold the region of vectors x with ``(x - x̄)'(Φ'Φ + λI)⁻¹(x - x̄)`` below a limit.

    Φ are the vectors of the fit about their weighted mean x̄, λ its penalty: the leverage says how
    far a prediction at x goes beyond what was seen, in directions that rows rarely took.

    Attributes
    ----------
    centre : (d,) array
        x̄.
    root : (d, k) array
        R with ``R R' = (Φ'Φ + λI)⁻¹``, as float32.
    limit : float
        The 99th percentile of what the leverage of each row would be had the fit not seen it,
        ``h/(1 - w h)``: so 99 of 100 new texts of the same kind lie inside, also where rows are
        few beside d and each draws the region towards itself.
    """

    centre: Array
    root: NDArray[np.float32]
    limit: float = np.inf

    def leverage(self, features: ArrayLike) -> Array:
        """Return the leverage ``(n,)`` of vectors ``(n, d)``."""
        apart = np.asarray(features, dtype=np.float64) - self.centre
        return np.asarray(np.square(apart @ self.root).sum(axis=1))

    def reaching(
        self, leverage: ArrayLike, weights: ArrayLike, counts: ArrayLike | None = None
    ) -> "Support":
        """Return the region that 99 of 100 rows lie inside, had the fit not seen them.

        Parameters
        ----------
        leverage, weights : (n,) arrays
            Of rows of the fit.
        counts : (n,) array, optional
            How many rows each stands for.
        """
        h, w = np.asarray(leverage, dtype=np.float64), np.asarray(weights, dtype=np.float64)
        unseen = h / np.maximum(1 - w * h, np.finfo(float).eps)
        order = np.argsort(unseen)
        upto = np.cumsum(np.ones(len(h)) if counts is None else np.asarray(counts)[order])
        return replace(self, limit=float(unseen[order][upto.searchsorted(_INSIDE * upto[-1])]))


def support_of_sums(
    gram: ArrayLike, penalty: float, centre: ArrayLike, basis: ArrayLike | None = None
) -> Support:
    """Return the region, as yet without a limit, from ``Φ'Φ``.

    Parameters
    ----------
    gram : (r, r) array
        ``Φ'Φ``, weighted.
    penalty : float
        λ.
    centre : (d,) array
    basis : (d, r) array, optional
        Orthonormal columns in whose coordinates the gram is; outside their span it is 0.
    """
    spectrum, V = eigh(np.asarray(gram, dtype=np.float64), check_finite=False)
    scale = 1 / np.sqrt(np.clip(spectrum, 0.0, None) + penalty)
    root = V * scale
    if basis is not None:
        B = np.asarray(basis, dtype=np.float64)
        outside = 1 / np.sqrt(penalty)
        turned = B @ V
        root = outside * np.eye(len(B)) + (turned * (scale - outside)) @ turned.T
    return Support(np.asarray(centre, dtype=np.float64), root.astype(np.float32))


def measure_support(
    features: ArrayLike, penalty: float, weights: ArrayLike | None = None
) -> Support:
    """Return the region that rows cover.

    Of more than 10,000 rows as many, drawn evenly, tell the limit.

    Parameters
    ----------
    features : (n, d) array
    penalty : float
        λ, in the units of the weights.
    weights : (n,) array, optional
        Rows of weight 0 take no part.
    """
    X = np.asarray(features, dtype=np.float64)
    w = np.ones(len(X)) if weights is None else np.asarray(weights, dtype=np.float64)
    centre = np.average(X, axis=0, weights=w)
    spread = np.sqrt(w)[:, None] * (X - centre)
    basis = row_space(spread)
    spread = spread if basis is None else spread @ basis
    return limit_support(support_of_sums(spread.T @ spread, penalty, centre, basis), X, w)


def limit_support(region: Support, features: Array, weights: Array) -> Support:
    """Return the region with the limit that rows of the fit tell, as `measure_support` does."""
    rows = np.flatnonzero(weights > 0)
    rows = rows[:: -(-len(rows) // ROWS_SAMPLED)]
    return region.reaching(region.leverage(features[rows]), weights[rows])
