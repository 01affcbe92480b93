"""Score vectors of texts with a fitted network, in plain numpy: no deep-learning library needed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from causalign.errors import InputError

__all__ = ["NetworkHead", "gelu"]

Array = NDArray[np.float64]


def gelu(x: Array) -> Array:
    """Return ``x Φ(x)``, the Gaussian error linear unit, exactly. Reference: arXiv 1606.08415."""
    return x * ndtr(x)


@dataclass(frozen=True, slots=True, eq=False)
class NetworkHead:
    """Score a vector as ``r(x) = W_L'g(... g(W_1'x + b_1) ...) + b_L`` with g the GELU.

    ``weights`` are ``(in, out)`` and ``biases`` ``(out,)``, layer by layer; the last ``out`` is 1.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    kind: ClassVar[str] = "network"

    def __post_init__(self) -> None:
        layers = list(zip(self.weights, self.biases, strict=False))
        fits = len(self.weights) == len(self.biases) > 0 and all(
            w.ndim == 2 and b.shape == w.shape[1:] and np.isfinite(w).all() and np.isfinite(b).all()
            for w, b in layers
        )
        chained = zip(self.weights, self.weights[1:], strict=False)
        if not fits or any(a.shape[1] != b.shape[0] for a, b in chained):
            raise InputError("The layers of a network head must be finite and follow each other.")

    @property
    def dimension(self) -> int:
        """Return the length d of the vectors that the head reads."""
        return len(self.weights[0])

    @property
    def settings(self) -> dict[str, Any]:
        """Return what is needed beside the tensors to build the head again."""
        return {"layers": len(self.weights)}

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that define the head, by name."""
        named = {f"weight.{i}": w for i, w in enumerate(self.weights)}
        return named | {f"bias.{i}": b for i, b in enumerate(self.biases)}

    @classmethod
    def from_tensors(
        cls, settings: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
    ) -> "NetworkHead":
        """Build a head from what :meth:`tensors` and ``settings`` returned."""
        layers = range(int(settings["layers"]))
        return cls(
            tuple(np.asarray(tensors[f"weight.{i}"], dtype=np.float64) for i in layers),
            tuple(np.asarray(tensors[f"bias.{i}"], dtype=np.float64) for i in layers),
        )

    def outputs(self, features: ArrayLike) -> Array:
        """Return the last layer ``(n, out)`` for features ``(n, d)``."""
        hidden = np.asarray(features, dtype=np.float64)
        if hidden.ndim != 2 or hidden.shape[1] != self.dimension:
            raise InputError(
                f"This head was fitted on vectors of length {self.dimension}; the features have "
                f"shape {hidden.shape}. Use the encoder it was fitted with."
            )
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = hidden @ weight + bias  # (n, out of this layer)
            hidden = hidden if layer == last else gelu(hidden)
        return hidden

    def __call__(self, features: ArrayLike) -> Array:
        """Return the rewards ``(n,)`` of features ``(n, d)``."""
        scores = self.outputs(features)
        if scores.shape[1] != 1:
            raise InputError(f"A reward is one number; this network has {scores.shape[1]} outputs.")
        return scores[:, 0]
