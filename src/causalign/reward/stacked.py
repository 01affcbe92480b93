"""The layers of several networks as one tensor each: applied, initialised and updated together."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from causalign.reward.networks.network import Layer

__all__ = ["Optimiser", "dense", "initial_weights", "perceptron"]


def dense(x: Tensor, weights: Mapping[str, Tensor], name: str) -> Tensor:
    """Apply a layer: ``(m, r, in) -> (m, r, out)``, or with copies ``(m, K, r, in)``."""
    weight = weights[f"{name}.weight"].to(x.dtype)
    bias = weights[f"{name}.bias"].to(x.dtype)
    lead = x.shape[:-2]
    flat = torch.baddbmm(
        bias.flatten(0, -3), x.flatten(0, -3), weight.flatten(0, -3)
    )  # one product for each member and copy
    return flat.unflatten(0, lead)


def perceptron(
    x: Tensor, weights: Mapping[str, Tensor], names: Sequence[str], *, activate_last: bool = False
) -> Tensor:
    """Apply layers with GELU between them, and after the last one if asked."""
    for position, name in enumerate(names):
        x = dense(x, weights, name)
        if activate_last or position + 1 < len(names):
            x = torch.nn.functional.gelu(x)
    return x


def initial_weights(layers: Mapping[str, Layer], seeds: Sequence[int]) -> dict[str, Tensor]:
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


class Optimiser:
    """Update stacked weights with Adam, one kernel for all members, and drop those that are done.

    All members take the same number of steps as long as they are active, so one bias correction
    serves them all.
    """

    def __init__(self, weights: Mapping[str, Tensor], learning_rate: float) -> None:
        self.weights = {name: torch.nn.Parameter(value) for name, value in weights.items()}
        self._adam = torch.optim.Adam(self.weights.values(), lr=learning_rate, fused=True)

    def step(self, losses: Tensor) -> None:
        """Descend once on the losses ``(m,)``; each reaches its own member's weights only."""
        self._adam.zero_grad()
        losses.sum().backward()
        self._adam.step()

    def keep(self, members: Tensor) -> None:
        """Keep the members at these positions and forget the others."""
        rate = self._adam.param_groups[0]["lr"]
        states = {name: self._adam.state[weight] for name, weight in self.weights.items()}
        self.weights = {
            name: torch.nn.Parameter(weight.detach()[members])
            for name, weight in self.weights.items()
        }
        self._adam = torch.optim.Adam(self.weights.values(), lr=rate, fused=True)
        for name, weight in self.weights.items():
            old = states[name]
            self._adam.state[weight] = {
                "step": old["step"],
                "exp_avg": old["exp_avg"][members],
                "exp_avg_sq": old["exp_avg_sq"][members],
            }
