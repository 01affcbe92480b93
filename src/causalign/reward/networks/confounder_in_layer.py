"""The confounder as one more input of the last layer: a baseline that adjusts while it fits."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from causalign.errors import InputError
from causalign.logs import Roles
from causalign.reward.examples import Examples, check_loss
from causalign.reward.from_logs import require_confounder
from causalign.reward.heads import NetworkHead
from causalign.reward.networks import layers as nn
from causalign.reward.networks.architecture import FittedWeights
from causalign.reward.networks.batches import Batch
from causalign.reward.networks.ensemble import RewardNetwork

LOSSES = ("squared-error", "logistic", "bradley-terry")


@dataclass(frozen=True, slots=True)
class ConfounderInLayer(RewardNetwork):
    """Score by ``r(x, c) = w'φ(x) + v'c + b`` with a perceptron φ; texts are compared at equal c.

    The confounders ``c`` join the last hidden layer, standardised. After the fit c stays at its
    mean, so that the reward ``w'φ(x) + b`` depends on the text alone.

    Assumption: given the text, the confounders are as good as random, and their effect is additive
    and linear. It fails where text and confounder are entangled, because φ can take what v should:
    in arXiv 2506.00152, table 2, the correlation with the truth falls from .86 to .62.

    Parameters
    ----------
    loss : {"squared-error", "logistic", "bradley-terry"}
    depth, width : int
        Number of layers, and of units in each.
    training : NetworkTraining
    seed : int
        Of the initial weights, the order of rows and the cut of the validation rows.
    """

    loss: Literal["squared-error", "logistic", "bradley-terry"] = "squared-error"

    name: ClassVar[str] = "confounder-in-layer"

    def check_roles(self, roles: Roles) -> None:
        """Raise ``RoleNotDeclared`` without a confounder, or the group of pairs."""
        RewardNetwork.check_roles(self, roles)
        require_confounder(self.name, roles)

    def check(self, examples: Examples) -> None:
        """Raise ``InputError`` or ``SettingsError`` if the network cannot learn from these."""
        check_loss(self.loss, examples, LOSSES)
        if examples.confounders is None:
            raise InputError("The examples have no confounders; give `confounders=`.")

    def layers(self, examples: Examples) -> dict[str, nn.Layer]:
        """Return the layers by name."""
        confounders = 0 if examples.confounders is None else examples.confounders.shape[2]
        sizes = [examples.features.shape[1], *[self.width] * (self.depth - 1)]
        return nn.chain("layer", sizes) | {"last": nn.Layer(self.width + confounders, 1)}

    def scores(self, weights: nn.Weights, batch: Batch) -> Tensor:
        """Return ``(m, b, s)``, sides at their confounders; see :meth:`Architecture.scores`."""
        hidden = nn.perceptron(batch.features, weights, "layer", self.depth - 1, activate_last=True)
        assert batch.confounders is not None
        beside = batch.confounders.flatten(1, 2).to(hidden.dtype)  # (m, b·s, k)
        joined = torch.cat([hidden, beside], dim=-1)
        return batch.per_side(nn.apply_layer(joined, weights, "last"))[..., 0]

    def head(self, weights: FittedWeights, scales: nn.Scales) -> NetworkHead:
        """Return what scores texts after the fit, the confounders at their mean.

        See :meth:`Architecture.head`.
        """
        last, bias = nn.layer_pair(weights, "last")
        layers = nn.layer_pairs(weights, "layer", self.depth - 1)
        return nn.perceptron_head([*layers, (last[: self.width], bias)], scales, self.loss)
