"""Layers of networks: their sizes, products of several members at once, their way into a head."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalign.reward.heads import NetworkHead

Array = NDArray[np.float64]
Weights = Mapping[str, Tensor]
LayerPair = tuple[Array, Array]


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

    ``features`` is a pair of ``(d,)``; ``target`` the center and scale of the outcome; ``classes``
    ``(c,)`` its values where it is a class.
    """

    features: tuple[Array, Array]
    target: tuple[float, float]
    classes: Array
    objectives: tuple[str, ...]


def chain(label: str, sizes: Sequence[int]) -> dict[str, Layer]:
    """Return layers ``label0``, ``label1``, ... from each size to the next."""
    return {f"{label}{i}": Layer(*pair) for i, pair in enumerate(pairwise(sizes))}


def apply_layer(x: Tensor, weights: Weights, name: str) -> Tensor:
    """Apply a layer: ``(m, r, in) -> (m, r, out)``, or with copies ``(m, K, r, in)``."""
    weight = weights[f"{name}.weight"].to(x.dtype)
    bias = weights[f"{name}.bias"].to(x.dtype)
    lead = x.shape[:-2]
    flat = torch.baddbmm(
        bias.flatten(0, -3), x.flatten(0, -3), weight.flatten(0, -3)
    )  # one product for each member and copy
    return flat.reshape(*lead, *flat.shape[-2:])


def perceptron(
    x: Tensor, weights: Weights, label: str, count: int, *, activate_last: bool = False
) -> Tensor:
    """Apply layers ``label0``, ... with GELU between them, and after the last one if asked."""
    for position in range(count):
        x = apply_layer(x, weights, f"{label}{position}")
        if activate_last or position + 1 < count:
            x = torch.nn.functional.gelu(x)
    return x


def draw_weights(layers: Mapping[str, Layer], seeds: Sequence[int]) -> dict[str, Tensor]:
    """Draw each member's weights from its own seed, uniform in ``±1/√in`` as torch's linear layers.

    A member's numbers do not depend on which others are fitted with it.
    """
    shapes = [
        (name, shape, layer.inputs)
        for label, layer in layers.items()
        for name, shape in layer.shapes(label).items()
    ]
    drawn: dict[str, list[Tensor]] = {name: [] for name, _, _ in shapes}
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        for name, shape, inputs in shapes:
            unit = torch.rand(shape, generator=generator)
            drawn[name].append((2 * unit - 1) / inputs**0.5)
    return {name: torch.stack(values) for name, values in drawn.items()}


def layer_pair(weights: Mapping[str, Array], name: str) -> LayerPair:
    """Return weight ``(in, out)`` and bias ``(out,)`` of a fitted layer."""
    return weights[f"{name}.weight"], weights[f"{name}.bias"].ravel()


def layer_pairs(weights: Mapping[str, Array], label: str, count: int) -> list[LayerPair]:
    """Return weights and biases of the fitted layers ``label0``, ``label1``, ..."""
    return [layer_pair(weights, f"{label}{i}") for i in range(count)]


def fold_inputs(weight: Array, bias: Array, scales: Scales) -> LayerPair:
    """Fold input standardisation into the first layer: ``W / s`` and ``b - (c / s)'W``.

    Rows of ``weight`` beyond the features, such as those of a confounder at its mean, are dropped:
    standardised, the mean is 0.
    """
    center, scale = scales.features
    rows = weight[: len(center)]
    return rows / scale[:, None], bias.ravel() - (center / scale) @ rows


def in_units(weight: Array, bias: Array, scales: Scales, loss: str) -> LayerPair:
    """Return the last layer in units of the outcome, which a fit by squared error standardised."""
    if loss != "squared-error":
        return weight, bias.ravel()
    center, scale = scales.target
    return weight * scale, bias.ravel() * scale + center


def perceptron_head(layers: Sequence[LayerPair], scales: Scales, loss: str) -> NetworkHead:
    """Return fitted layers as a head that reads raw vectors and scores in units of the outcome."""
    pairs = list(layers)
    pairs[0] = fold_inputs(*pairs[0], scales)
    pairs[-1] = in_units(*pairs[-1], scales, loss)
    return NetworkHead(tuple(w for w, _ in pairs), tuple(b for _, b in pairs))
