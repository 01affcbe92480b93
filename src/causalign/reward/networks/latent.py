"""From text to latent text, from there to a reward for each objective, or to the adversary."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from causalign.reward.examples import Examples
from causalign.reward.network_head import NetworkHead
from causalign.reward.networks.folding import fold_inputs, in_units
from causalign.reward.networks.network import Layer, Scales, chain
from causalign.reward.networks.objectives import ObjectiveHeads, count_confounders

if TYPE_CHECKING:
    from torch import Tensor

    from causalign.reward.batches import Batch

__all__ = [
    "adversary_outputs",
    "latent_heads",
    "latent_layers",
    "latent_text",
    "score_by_objective",
]


def latent_layers(examples: Examples, depth: int, width: int) -> dict[str, Layer]:
    """Return the layers of the latent text, and of a head for each objective."""
    sizes = [examples.features.shape[1], *[width] * depth]
    kinds = max(1, len(examples.objectives))
    return chain("latent", sizes) | {
        "head0": Layer(width + count_confounders(examples), width, copies=kinds),
        "head1": Layer(width, 1, copies=kinds),
    }


def latent_text(weights: "Mapping[str, Tensor]", batch: "Batch", depth: int) -> "Tensor":
    """Return g(x), ``(m, b·s, width)``."""
    from causalign.reward.stacked import perceptron

    return perceptron(batch.features, weights, [f"latent{i}" for i in range(depth)])


def score_by_objective(
    latent: "Tensor", weights: "Mapping[str, Tensor]", batch: "Batch"
) -> "Tensor":
    """Return ``(m, b, s)``: each example goes to the head of its objective, and to no other."""
    import torch

    from causalign.reward.stacked import perceptron

    if batch.confounders is not None:
        beside = batch.confounders.flatten(1, 2).to(latent.dtype)
        latent = torch.cat([latent, beside], dim=-1)
    members, rows, width = latent.shape
    size = rows // batch.sides
    if batch.place is None or batch.back is None:
        return batch.per_side(perceptron(latent[:, None], weights, ["head0", "head1"])[:, 0])[
            ..., 0
        ]
    routed = latent.reshape(members * size, batch.sides * width).index_select(0, batch.place)
    by_head = routed.reshape(members, batch.objectives, -1, width)  # (m, K, cap·s, width)
    scores = perceptron(by_head, weights, ["head0", "head1"])
    back = scores.reshape(-1, batch.sides).index_select(0, batch.back)
    return back.reshape(members, size, batch.sides)


def adversary_outputs(
    latent: "Tensor", weights: "Mapping[str, Tensor]", batch: "Batch"
) -> "Tensor":
    """Return what the adversary reads from the latent text, ``(m, b·s, q)``, gradient reversed."""
    from causalign.reward.losses.adversary import reverse_gradient
    from causalign.reward.stacked import perceptron

    reversed_latent = reverse_gradient(latent, batch.settings["strength"][:, None, None])
    return perceptron(reversed_latent, weights, ["adversary0", "adversary1"])


def latent_heads(
    weights: Mapping[str, NDArray[np.float64]], scales: Scales, depth: int, width: int, loss: str
) -> ObjectiveHeads:
    """Return one perceptron from text to reward for each objective.

    No GELU stands between the latent text and the head, so the two layers that meet there are one:
    ``W_1'(W_0'x + b_0) + b_1``. Continuous confounders stay at their mean, which is 0.
    """
    shared = [
        (weights[f"latent{i}.weight"], weights[f"latent{i}.bias"].ravel()) for i in range(depth)
    ]
    shared[0] = fold_inputs(*shared[0], scales)
    weight, bias = shared.pop()
    heads = {}
    for k, name in enumerate(scales.objectives or ("all",)):
        into = weights["head0.weight"][k][:width]
        meeting = (weight @ into, bias @ into + weights["head0.bias"][k].ravel())
        last = in_units(weights["head1.weight"][k], weights["head1.bias"][k], scales, loss)
        chain = [*shared, meeting, last]
        heads[name] = NetworkHead(tuple(w for w, _ in chain), tuple(b for _, b in chain))
    return ObjectiveHeads(heads)
