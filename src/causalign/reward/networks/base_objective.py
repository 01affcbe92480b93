"""Base: the objective is one more input of a single network."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from causalign.reward.examples import Examples
from causalign.reward.heads import ObjectiveHeads
from causalign.reward.networks import layers as nn
from causalign.reward.networks.architecture import FittedWeights
from causalign.reward.networks.batches import Batch
from causalign.reward.networks.objectives import (
    ObjectiveNetwork,
    count_confounders,
    objective_columns,
)


@dataclass(frozen=True, slots=True)
class BaseObjective(ObjectiveNetwork):
    """Score by one perceptron on the vector and the objective, ``r(x, c) = f([x, c])``.

    Two objectives are 0 and 1, more are one column each; continuous confounders are standardised
    and come beside them. It is the baseline: it can bind the objective to the kinds of prompts that
    came with it.

    Assumption: texts of every kind are judged by every objective.

    Parameters
    ----------
    loss : {"bradley-terry", "squared-error", "logistic"}
    depth, width : int
        Number of layers, and of units in each.
    training : NetworkTraining
    seed : int
        Of the initial weights, the order of rows and the cut of the validation rows.

    References
    ----------
    arXiv 2506.05967, appendix E.1.
    """

    name: ClassVar[str] = "base"

    def layers(self, examples: Examples) -> dict[str, nn.Layer]:
        """Return the layers by name."""
        beside = objective_columns(len(examples.objectives)).shape[1] + count_confounders(examples)
        inputs = examples.features.shape[1] + beside
        sizes = [inputs, *[self.width] * (self.depth - 1), 1]
        return nn.chain("layer", sizes)

    def scores(self, weights: nn.Weights, batch: Batch) -> Tensor:
        """Return ``(m, b, s)``; see :meth:`Architecture.scores`."""
        inputs = [batch.features]
        if batch.objective is not None:
            columns = torch.as_tensor(objective_columns(batch.objectives)).to(batch.features)
            inputs.append(columns[batch.objective].repeat_interleave(batch.sides, dim=1))
        if batch.confounders is not None:
            inputs.append(batch.confounders.flatten(1, 2).to(batch.features.dtype))
        joined = torch.cat(inputs, dim=-1)
        return batch.per_side(nn.perceptron(joined, weights, "layer", self.depth))[..., 0]

    def head(self, weights: FittedWeights, scales: nn.Scales) -> ObjectiveHeads:
        """Return a head for each objective: its columns become a part of the first bias.

        See :meth:`Architecture.head`.
        """
        layers = nn.layer_pairs(weights, "layer", self.depth)
        (first, bias), rest = layers[0], layers[1:]
        dimension = len(scales.features[0])
        columns = objective_columns(len(scales.objectives))
        heads = {}
        for name, column in zip(scales.objectives or ("all",), columns, strict=True):
            shift = column @ first[dimension : dimension + len(column)]
            heads[name] = nn.perceptron_head([(first, bias + shift), *rest], scales, self.loss)
        return ObjectiveHeads(heads)
