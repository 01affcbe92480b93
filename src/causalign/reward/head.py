"""Score vectors of texts with a linear function."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError

__all__ = ["LinearHead"]


@dataclass(frozen=True, slots=True, eq=False)
class LinearHead:
    """Score a vector ``x`` as ``intercept + x'coefficients``; ``coefficients`` is ``(d,)``."""

    coefficients: NDArray[np.float64]
    intercept: float = 0.0

    kind: ClassVar[str] = "linear"

    def __post_init__(self) -> None:
        if self.coefficients.ndim != 1 or not np.isfinite(self.coefficients).all():
            raise InputError("A linear head needs (d,) finite coefficients.")
        if not np.isfinite(self.intercept):
            raise InputError("A linear head needs a finite intercept.")

    @property
    def dimension(self) -> int:
        """Return the length d of the vectors that the head reads."""
        return len(self.coefficients)

    @property
    def settings(self) -> dict[str, Any]:
        """Return nothing: the arrays say all."""
        return {}

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that define the head, by name."""
        return {"coefficients": self.coefficients, "intercept": np.array([self.intercept])}

    @classmethod
    def from_tensors(
        cls, settings: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
    ) -> "LinearHead":
        """Build a head from what :meth:`tensors` and ``settings`` returned."""
        del settings  # there are none
        coefficients = np.asarray(tensors["coefficients"], dtype=np.float64)
        return cls(coefficients, float(tensors["intercept"][0]))

    def __call__(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the scores ``(n,)`` of features ``(n, d)``, in the units of the outcome."""
        X = np.asarray(features, dtype=np.float64)
        if X.ndim != 2 or X.shape[1] != len(self.coefficients):
            raise InputError(
                f"This head was fitted on vectors of length {len(self.coefficients)}; the features "
                f"have shape {X.shape}. Use the encoder it was fitted with."
            )
        return X @ self.coefficients + self.intercept
