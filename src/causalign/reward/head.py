"""Score vectors of texts with a linear function."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError

__all__ = ["LinearHead"]


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """Score a vector ``x`` as ``intercept + x'coefficients``; ``coefficients`` is ``(d,)``."""

    coefficients: NDArray[np.float64]
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if self.coefficients.ndim != 1 or not np.isfinite(self.coefficients).all():
            raise InputError("A linear head needs (d,) finite coefficients.")
        if not np.isfinite(self.intercept):
            raise InputError("A linear head needs a finite intercept.")

    def __call__(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the scores ``(n,)`` of features ``(n, d)``, in the units of the outcome."""
        X = np.asarray(features, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != len(self.coefficients):
            raise InputError(
                f"This head was fitted on vectors of length {len(self.coefficients)}; the features "
                f"have shape {X.shape}. Use the encoder it was fitted with."
            )
        return X @ self.coefficients + self.intercept
