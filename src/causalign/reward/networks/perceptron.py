"""The plain network: a perceptron on the vector of a text, for outcomes, classes or pairs."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.special import logit
from torch import Tensor

from causalign.reward.examples import Examples, check_loss, class_values
from causalign.reward.heads import ClassHead, NetworkHead
from causalign.reward.networks import layers as nn
from causalign.reward.networks.architecture import FittedWeights
from causalign.reward.networks.batches import Batch
from causalign.reward.networks.ensemble import RewardNetwork
from causalign.reward.networks.losses import loss_of_scores


@dataclass(frozen=True, slots=True)
class Perceptron(RewardNetwork):
    """Score a vector by linear layers with GELU between them.

    Classes are scored by their expected value.

    Assumption: the outcome, deconfounded, is a function of the text plus noise independent of it.

    Parameters
    ----------
    loss : str
        What the examples are: an outcome ("squared-error"), an event ("logistic"), comparisons
        ("bradley-terry"), classes without order ("multi-class") or levels ("ordinal").
    depth, width : int
        Number of layers, and of units in each.
    training : NetworkTraining
    seed : int
        Of the initial weights, the order of rows and the cut of the validation rows.
    """

    loss: Literal["squared-error", "logistic", "bradley-terry", "multi-class", "ordinal"] = (
        "squared-error"
    )

    name: ClassVar[str] = "perceptron"
    reads_confounders: ClassVar[bool] = False

    def check(self, examples: Examples) -> None:
        """Raise ``InputError`` or ``SettingsError`` if the network cannot learn from these."""
        check_loss(self.loss, examples)

    def layers(self, examples: Examples) -> dict[str, nn.Layer]:
        """Return the layers by name; the thresholds of levels are one more."""
        classes = len(class_values(examples)) if self.loss in ("multi-class", "ordinal") else 0
        outputs = classes if self.loss == "multi-class" else 1
        sizes = [examples.features.shape[1], *[self.width] * (self.depth - 1), outputs]
        layers = nn.chain("layer", sizes)
        if self.loss == "ordinal":
            layers["thresholds"] = nn.Layer(1, classes - 1, bias=False)
        return layers

    def start(self, target: nn.Array) -> dict[str, nn.Array]:
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

    def scores(self, weights: nn.Weights, batch: Batch) -> Tensor:
        """Return ``(m, b, s)``, or ``(m, b, s, classes)``; see :meth:`Architecture.scores`."""
        outputs = batch.per_side(nn.perceptron(batch.features, weights, "layer", self.depth))
        return outputs if self.loss == "multi-class" else outputs[..., 0]

    def losses(self, weights: nn.Weights, batch: Batch) -> Tensor:
        """Return the loss of each member, ``(m,)``; see :meth:`Architecture.losses`."""
        thresholds = weights["thresholds.weight"][:, 0] if self.loss == "ordinal" else None
        return loss_of_scores(self.loss, self.scores(weights, batch), batch, thresholds)

    def head(self, weights: FittedWeights, scales: nn.Scales) -> NetworkHead | ClassHead:
        """Return what scores texts after the fit; see :meth:`Architecture.head`."""
        layers = nn.layer_pairs(weights, "layer", self.depth)
        network = nn.perceptron_head(layers, scales, self.loss)
        if self.loss == "multi-class":
            return ClassHead(network, scales.classes)
        if self.loss == "ordinal":
            raw = weights["thresholds.weight"][0]
            steps = np.concatenate([raw[:1], np.logaddexp(0.0, raw[1:])])
            return ClassHead(network, scales.classes, np.cumsum(steps))
        return network
