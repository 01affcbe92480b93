"""Score vectors of texts by the class or level they are expected to get."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax

from causalign.errors import InputError
from causalign.reward.network_head import NetworkHead

__all__ = ["ClassHead"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ClassHead:
    """Turn a network into probabilities of k classes and their expected value.

    ``values`` ``(k,)`` says what a class is worth, ascending. With ``thresholds`` ``(k - 1,)`` the
    network has one output s and ``P(class > j) = σ(s - θ_j)``; without, one output for each class
    and probabilities are their softmax. The reward is ``Σ_j P(j) value_j``.
    """

    network: NetworkHead
    values: Array
    thresholds: Array | None = None

    kind: ClassVar[str] = "classes"

    def __post_init__(self) -> None:
        outputs = self.network.weights[-1].shape[1]
        expected = len(self.values) if self.thresholds is None else 1
        steps = None if self.thresholds is None else self.thresholds.shape
        if outputs != expected or steps not in (None, (len(self.values) - 1,)):
            raise InputError("The network, the values and the thresholds do not fit each other.")

    @property
    def dimension(self) -> int:
        """Return the length d of the vectors that the head reads."""
        return self.network.dimension

    @property
    def settings(self) -> dict[str, Any]:
        """Return what is needed beside the tensors to build the head again."""
        return self.network.settings | {"ordinal": self.thresholds is not None}

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that define the head, by name."""
        named = self.network.tensors() | {"values": self.values}
        return named if self.thresholds is None else named | {"thresholds": self.thresholds}

    @classmethod
    def from_tensors(
        cls, settings: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]
    ) -> "ClassHead":
        """Build a head from what :meth:`tensors` and ``settings`` returned."""
        thresholds = tensors["thresholds"] if settings["ordinal"] else None
        return cls(NetworkHead.from_tensors(settings, tensors), tensors["values"], thresholds)

    def probabilities(self, features: ArrayLike) -> Array:
        """Return the probability of each class, ``(n, k)``."""
        outputs = self.network.outputs(features)
        if self.thresholds is None:
            return softmax(outputs, axis=1)
        above = expit(outputs - self.thresholds)  # (n, k - 1)
        edges = np.ones((len(outputs), 1))
        return -np.diff(np.hstack([edges, above, 0 * edges]), axis=1)

    def __call__(self, features: ArrayLike) -> Array:
        """Return the expected value of the class, ``(n,)``, in units of ``values``."""
        return self.probabilities(features) @ self.values
