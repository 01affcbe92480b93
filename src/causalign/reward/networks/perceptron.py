"""The plain network: a perceptron on the vector of a text, for outcomes, classes or pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from causalign.reward.class_head import ClassHead
from causalign.reward.examples import Examples
from causalign.reward.network_head import NetworkHead
from causalign.reward.networks.folding import head_of_layers
from causalign.reward.networks.network import Layer, Network, Scales, chain, check_size
from causalign.reward.networks.outcome_kinds import check_loss, class_values

if TYPE_CHECKING:
    from torch import Tensor

    from causalign.reward.batches import Batch

__all__ = ["Perceptron"]

Loss = Literal["squared-error", "logistic", "bradley-terry", "multi-class", "ordinal"]


@dataclass(frozen=True, slots=True)
class Perceptron(Network):
    """Score a vector by ``depth`` linear layers of ``width`` units with GELU between them.

    ``loss`` says what the examples are: an outcome (``squared-error``), an event (``logistic``),
    comparisons (``bradley-terry``), classes without order (``multi-class``) or levels
    (``ordinal``). Classes are scored by their expected value.

    Assumption: the outcome, deconfounded, is a function of the text plus noise independent of it.
    """

    loss: Loss = "squared-error"
    depth: int = 3
    width: int = 512

    name: ClassVar[str] = "perceptron"

    def __post_init__(self) -> None:
        check_size(self.depth, self.width)

    def check(self, examples: Examples) -> None:
        """Raise ``InputError`` or ``SettingsError`` if the network cannot learn from these."""
        check_loss(self.loss, examples)

    def layers(self, examples: Examples) -> dict[str, Layer]:
        """Return the layers by name; the thresholds of levels are one more."""
        classes = len(class_values(examples)) if self.loss in ("multi-class", "ordinal") else 0
        outputs = classes if self.loss == "multi-class" else 1
        sizes = [examples.features.shape[1], *[self.width] * (self.depth - 1), outputs]
        layers = chain("layer", sizes)
        if self.loss == "ordinal":
            layers["thresholds"] = Layer(1, classes - 1, bias=False)
        return layers

    def start(self, target: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return thresholds at the log-odds of the levels: Adam would take long to go there."""
        if self.loss != "ordinal":
            return {}
        levels = np.unique(target)
        above = np.array([np.mean(target > level) for level in levels[:-1]])
        cuts = -logit(above)
        steps = np.diff(cuts)
        # The inverse of log(1 + e^raw), which makes the steps positive.
        raw = np.concatenate([cuts[:1], steps + np.log(-np.expm1(-steps))])
        return {"thresholds.weight": raw[None]}

    def scores(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return ``(m, b, s)``, or ``(m, b, s, classes)``."""
        from causalign.reward.stacked import perceptron

        outputs = batch.per_side(perceptron(batch.features, weights, self._names()))
        return outputs if self.loss == "multi-class" else outputs[..., 0]

    def losses(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return the loss of each member, ``(m,)``."""
        from causalign.reward.losses.of_scores import loss_of_scores

        thresholds = weights["thresholds.weight"][:, 0] if self.loss == "ordinal" else None
        return loss_of_scores(self.loss, self.scores(weights, batch), batch, thresholds)

    def head(
        self, weights: Mapping[str, NDArray[np.float64]], scales: Scales
    ) -> NetworkHead | ClassHead:
        """Return what scores texts after the fit."""
        network = head_of_layers(weights, self._names(), scales, self.loss)
        if self.loss == "multi-class":
            return ClassHead(network, scales.classes)
        if self.loss == "ordinal":
            raw = weights["thresholds.weight"][0]
            steps = np.concatenate([raw[:1], np.logaddexp(0.0, raw[1:])])
            return ClassHead(network, scales.classes, np.cumsum(steps))
        return network

    def _names(self) -> list[str]:
        return [f"layer{i}" for i in range(self.depth)]
