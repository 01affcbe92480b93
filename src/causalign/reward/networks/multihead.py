"""Multihead: one latent text for all objectives, and a head for each."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from causalign.reward.examples import Examples
from causalign.reward.heads import ObjectiveHeads
from causalign.reward.networks import layers as nn
from causalign.reward.networks.architecture import FittedWeights
from causalign.reward.networks.batches import Batch
from causalign.reward.networks.objectives import ObjectiveNetwork, count_confounders


@dataclass(frozen=True, slots=True)
class Multihead(ObjectiveNetwork):
    """Score by ``r(x, c) = f_c(g(x))``: a perceptron g to a latent text, a head f for each c.

    Each f has one hidden layer; continuous confounders are standardised and join its inputs. The
    latent text cannot depend on the objective, only the reading of it.

    Assumption: given the text, the latent factors do not depend on the objective, and texts of
    every kind are judged by every objective.

    Parameters
    ----------
    loss : {"bradley-terry", "squared-error", "logistic"}
    depth, width : int
        Number of layers of g, and of units in each.
    training : NetworkTraining
    seed : int
        Of the initial weights, the order of rows and the cut of the validation rows.

    References
    ----------
    arXiv 2506.05967, appendix E.1.
    """

    name: ClassVar[str] = "multihead"

    def layers(self, examples: Examples) -> dict[str, nn.Layer]:
        """Return the layers of the latent text, and of a head for each objective."""
        sizes = [examples.features.shape[1], *[self.width] * self.depth]
        kinds = max(1, len(examples.objectives))
        return nn.chain("latent", sizes) | {
            "head0": nn.Layer(self.width + count_confounders(examples), self.width, copies=kinds),
            "head1": nn.Layer(self.width, 1, copies=kinds),
        }

    def _latent_text(self, weights: nn.Weights, batch: Batch) -> Tensor:
        """Return g(x), ``(m, b·s, width)``."""
        return nn.perceptron(batch.features, weights, "latent", self.depth)

    def _scores_of_latent(self, latent: Tensor, weights: nn.Weights, batch: Batch) -> Tensor:
        """Return ``(m, b, s)``: each example goes to the head of its objective, and to no other."""
        if batch.confounders is not None:
            beside = batch.confounders.flatten(1, 2).to(latent.dtype)
            latent = torch.cat([latent, beside], dim=-1)
        members, rows, width = latent.shape
        size = rows // batch.sides
        if batch.routes is None:
            return batch.per_side(nn.perceptron(latent[:, None], weights, "head", 2)[:, 0])[..., 0]
        place, back = batch.routes
        routed = latent.reshape(members * size, batch.sides * width).index_select(0, place)
        by_head = routed.reshape(members, batch.objectives, -1, width)  # (m, K, cap·s, width)
        scores = nn.perceptron(by_head, weights, "head", 2)
        in_order = scores.reshape(-1, batch.sides).index_select(0, back)
        return in_order.reshape(members, size, batch.sides)

    def scores(self, weights: nn.Weights, batch: Batch) -> Tensor:
        """Return ``(m, b, s)``, of the objective; see :meth:`Architecture.scores`."""
        return self._scores_of_latent(self._latent_text(weights, batch), weights, batch)

    def head(self, weights: FittedWeights, scales: nn.Scales) -> ObjectiveHeads:
        """Return a head for each objective, as one perceptron from text to reward.

        See :meth:`Architecture.head`.

        No GELU stands between the latent text and the head, so the two layers that meet there are
        one: ``W_1'(W_0'x + b_0) + b_1``. Continuous confounders stay at their mean, which is 0.
        """
        shared = nn.layer_pairs(weights, "latent", self.depth)
        weight, bias = shared.pop()
        heads = {}
        for k, name in enumerate(scales.objectives or ("all",)):
            into = weights["head0.weight"][k][: self.width]
            meeting = (weight @ into, bias @ into + weights["head0.bias"][k].ravel())
            last = (weights["head1.weight"][k], weights["head1.bias"][k])
            heads[name] = nn.perceptron_head([*shared, meeting, last], scales, self.loss)
        return ObjectiveHeads(heads)
