"""Base: the objective is one more input of a single network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from causalign.reward.examples import Examples
from causalign.reward.network_head import NetworkHead
from causalign.reward.networks.folding import fold_inputs, in_units
from causalign.reward.networks.network import Layer, Network, Scales, chain, check_size
from causalign.reward.networks.objectives import (
    ObjectiveHeads,
    check_objectives,
    count_confounders,
    objective_columns,
)

if TYPE_CHECKING:
    from torch import Tensor

    from causalign.reward.batches import Batch

__all__ = ["BaseObjective"]


@dataclass(frozen=True, slots=True)
class BaseObjective(Network):
    """Score by one perceptron on the vector and the objective, ``r(x, c) = f([x, c])``.

    Two objectives are 0 and 1, more are one column each; continuous confounders are standardised
    and come beside them. It is the baseline: it can bind the objective to the kinds of prompts that
    came with it.

    Assumption: texts of every kind are judged by every objective. Reference: arXiv 2506.05967,
    appendix E.1.
    """

    loss: Literal["bradley-terry", "squared-error", "logistic"] = "bradley-terry"
    depth: int = 3
    width: int = 512

    name: ClassVar[str] = "base"

    def __post_init__(self) -> None:
        check_size(self.depth, self.width)

    def check(self, examples: Examples) -> None:
        """Raise ``InputError`` or ``SettingsError`` if the network cannot learn from these."""
        check_objectives(self.loss, examples)

    def layers(self, examples: Examples) -> dict[str, Layer]:
        """Return the layers by name."""
        beside = objective_columns(len(examples.objectives)).shape[1] + count_confounders(examples)
        inputs = examples.features.shape[1] + beside
        sizes = [inputs, *[self.width] * (self.depth - 1), 1]
        return chain("layer", sizes)

    def scores(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return ``(m, b, s)``."""
        import torch

        from causalign.reward.stacked import perceptron

        inputs = [batch.features]
        if batch.objective is not None:
            columns = torch.as_tensor(objective_columns(batch.objectives)).to(batch.features)
            inputs.append(columns[batch.objective].repeat_interleave(batch.sides, dim=1))
        if batch.confounders is not None:
            inputs.append(batch.confounders.flatten(1, 2).to(batch.features.dtype))
        names = [f"layer{i}" for i in range(self.depth)]
        return batch.per_side(perceptron(torch.cat(inputs, dim=-1), weights, names))[..., 0]

    def losses(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return the loss of each member, ``(m,)``."""
        from causalign.reward.losses.of_scores import loss_of_scores

        return loss_of_scores(self.loss, self.scores(weights, batch), batch)

    def head(self, weights: Mapping[str, NDArray[np.float64]], scales: Scales) -> ObjectiveHeads:
        """Return a head for each objective: its columns become a part of the first bias."""
        layers = [
            (weights[f"layer{i}.weight"], weights[f"layer{i}.bias"].ravel())
            for i in range(self.depth)
        ]
        first, bias = layers[0]
        layers[-1] = in_units(*layers[-1], scales, self.loss)
        dimension = len(scales.features[0])
        columns = objective_columns(len(scales.objectives))
        heads = {}
        for name, column in zip(scales.objectives or ("all",), columns, strict=True):
            shift = column @ first[dimension : dimension + len(column)]
            chain = [fold_inputs(first, bias + shift, scales), *layers[1:]]
            heads[name] = NetworkHead(tuple(w for w, _ in chain), tuple(b for _, b in chain))
        return ObjectiveHeads(heads)
