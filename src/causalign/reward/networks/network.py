"""What every network is: settings that name its layers, its losses and the head it becomes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import SettingsError
from causalign.reward.examples import Examples
from causalign.reward.training import Training

if TYPE_CHECKING:
    from torch import Tensor

    from causalign.reward.batches import Batch
    from causalign.reward.network_fit import NetworkFit

__all__ = ["Layer", "Network", "Scales", "chain", "check_size"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layer:
    """Name the size of a linear layer; ``copies`` of it side by side, one for each objective."""

    inputs: int
    outputs: int
    copies: int | None = None
    bias: bool = True

    def shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        """Return the shapes of weight ``(copies, in, out)`` and bias ``(copies, 1, out)``."""
        lead = () if self.copies is None else (self.copies,)
        weight = {f"{name}.weight": (*lead, self.inputs, self.outputs)}
        return weight | ({f"{name}.bias": (*lead, 1, self.outputs)} if self.bias else {})


@dataclass(frozen=True, slots=True, eq=False)
class Scales:
    """Hold how a network sees its inputs and its target: ``(x - center) / scale``.

    ``features`` and ``confounders`` are pairs of ``(d,)`` and ``(k,)``; ``target`` is the center
    and scale of the outcome; ``classes`` ``(c,)`` its values where it is a class.
    """

    features: tuple[Array, Array]
    target: tuple[float, float]
    classes: Array
    objectives: tuple[str, ...]


class Network(ABC):
    """Be a frozen dataclass of settings; members that differ in ``varying`` still fit together."""

    __slots__ = ()

    name: ClassVar[str]
    varying: ClassVar[tuple[str, ...]] = ()
    loss: Any

    def fit(
        self,
        examples: Examples,
        *,
        training: Training | None = None,
        seed: int = 0,
        rows: ArrayLike | None = None,
        validation_rows: ArrayLike | None = None,
    ) -> "NetworkFit":
        """Fit on the examples, and keep the epoch that validates best.

        ``rows`` are the positions of the examples that teach (default: all that do not validate),
        ``validation_rows`` those that judge (default: a share of the groups, cut by ``seed``).
        Several fits at once are faster: see :func:`causalign.reward.fit_together`.

        Raises ``InputError`` if the examples do not fit the network, ``SettingsError`` for settings
        out of range, ``ExtraNotInstalled`` without torch.
        """
        from causalign.reward.ensemble import Member, fit_together

        settings = Training() if training is None else training
        member = Member(self, examples, settings, seed, rows, validation_rows)
        return fit_together([member])[0]

    @abstractmethod
    def check(self, examples: Examples) -> None:
        """Raise ``InputError`` or ``SettingsError`` if the network cannot learn from these."""

    @abstractmethod
    def layers(self, examples: Examples) -> dict[str, Layer]:
        """Return the layers by name, in the order in which they are initialised."""

    @abstractmethod
    def losses(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return the training loss of each member, ``(m,)``."""

    @abstractmethod
    def scores(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return the outputs for each side, ``(m, b, s)`` or ``(m, b, s, classes)``."""

    @abstractmethod
    def head(self, weights: Mapping[str, Array], scales: Scales) -> Any:
        """Return what scores texts after the fit, in plain numpy."""

    def start(self, target: Array) -> dict[str, Array]:  # noqa: ARG002
        """Return weights that do not start at random, given the outcomes that teach."""
        return {}

    @property
    def judged_by_accuracy(self) -> bool:
        """Return whether epochs are compared by the share of pairs in the right order."""
        return bool(self.loss == "bradley-terry")

    def fitted_scores(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return the scores whose order validation compares with the labels, ``(m, b, 2)``."""
        return self.scores(weights, batch)

    def validation_losses(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return the loss that validation judges by, ``(m,)``, without what guides training."""
        return self.losses(weights, batch)


def chain(label: str, sizes: Sequence[int]) -> dict[str, Layer]:
    """Return layers ``label0``, ``label1``, ... from each size to the next."""
    return {f"{label}{i}": Layer(*pair) for i, pair in enumerate(pairwise(sizes))}


def check_size(depth: int, width: int) -> None:
    """Raise ``SettingsError`` unless there are at least two layers of positive width."""
    if depth < 2 or width < 1:
        raise SettingsError(
            f"A network needs at least 2 layers of positive width; found {depth} and {width}. "
            "For a linear reward use RidgeReward or PairwiseReward."
        )
