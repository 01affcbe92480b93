"""The confounder as one more input of the last layer: a baseline that adjusts while it fits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError
from causalign.reward.examples import Examples
from causalign.reward.network_head import NetworkHead
from causalign.reward.networks.folding import fold_inputs, in_units
from causalign.reward.networks.network import Layer, Network, Scales, chain, check_size
from causalign.reward.networks.outcome_kinds import check_loss

if TYPE_CHECKING:
    from torch import Tensor

    from causalign.reward.batches import Batch

__all__ = ["ConfounderInLayer"]


@dataclass(frozen=True, slots=True)
class ConfounderInLayer(Network):
    """Score by ``r(x, c) = w'φ(x) + v'c + b`` with a perceptron φ; texts are compared at equal c.

    The confounders ``c`` join the last hidden layer, standardised. After the fit c stays at its
    mean, so that the reward ``w'φ(x) + b`` depends on the text alone.

    Assumption: given the text, the confounders are as good as random, and their effect is additive
    and linear. It fails where text and confounder are entangled, because φ can take what v should:
    in arXiv 2506.00152, table 2, the correlation with the truth falls from .86 to .62.
    """

    loss: Literal["squared-error", "logistic", "bradley-terry"] = "squared-error"
    depth: int = 3
    width: int = 512

    name: ClassVar[str] = "confounder in layer"

    def __post_init__(self) -> None:
        check_size(self.depth, self.width)

    def check(self, examples: Examples) -> None:
        """Raise ``InputError`` or ``SettingsError`` if the network cannot learn from these."""
        check_loss(self.loss, examples, ("squared-error", "logistic", "bradley-terry"))
        if examples.confounders is None:
            raise InputError("The examples have no confounders; give `confounders=`.")

    def layers(self, examples: Examples) -> dict[str, Layer]:
        """Return the layers by name."""
        confounders = 0 if examples.confounders is None else examples.confounders.shape[2]
        sizes = [examples.features.shape[1], *[self.width] * (self.depth - 1)]
        hidden = chain("layer", sizes)
        return hidden | {"last": Layer(self.width + confounders, 1)}

    def scores(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return ``(m, b, s)``, each side at its own confounders."""
        import torch

        from causalign.reward.stacked import dense, perceptron

        hidden = perceptron(batch.features, weights, self._hidden(), activate_last=True)
        assert batch.confounders is not None
        beside = batch.confounders.flatten(1, 2).to(hidden.dtype)  # (m, b·s, k)
        return batch.per_side(dense(torch.cat([hidden, beside], dim=-1), weights, "last"))[..., 0]

    def losses(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return the loss of each member, ``(m,)``."""
        from causalign.reward.losses.of_scores import loss_of_scores

        return loss_of_scores(self.loss, self.scores(weights, batch), batch)

    def head(self, weights: Mapping[str, NDArray[np.float64]], scales: Scales) -> NetworkHead:
        """Return what scores texts after the fit, the confounders at their mean."""
        layers = [(weights[f"{n}.weight"], weights[f"{n}.bias"].ravel()) for n in self._hidden()]
        layers[0] = fold_inputs(*layers[0], scales)
        last = weights["last.weight"][: self.width]
        layers.append(in_units(last, weights["last.bias"], scales, self.loss))
        return NetworkHead(tuple(w for w, _ in layers), tuple(b for _, b in layers))

    def _hidden(self) -> list[str]:
        return [f"layer{i}" for i in range(self.depth - 1)]
