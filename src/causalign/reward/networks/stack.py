"""The training loop of a stack of networks: one step for all members, the best epoch of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalign.errors import SettingsError
from causalign.reward.network_training import NetworkTraining
from causalign.reward.networks.architecture import Architecture
from causalign.reward.networks.batches import Batch, Tensors
from causalign.reward.networks.layers import Layer, Weights, draw_weights

# Weights of a stack: few enough to stay near the processor, many enough to fill a GPU.
_WEIGHTS_AT_ONCE = 12_000_000
_WEIGHTS_AT_ONCE_ON_GPU = 400_000_000
_EXAMPLES_VALIDATED_AT_ONCE = 128

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class MemberPlan:
    """Say what one member learns from: seed, training and validation rows, scale of the outcome.

    ``settings`` are those that vary between members; ``start`` holds weights that are not drawn.
    """

    seed: int
    rows: Rows
    validation_rows: Rows
    target: tuple[float, float]
    settings: Mapping[str, float]
    start: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class TrainedMember:
    """Hold the weights of the best epoch, and training loss and validation of each epoch.

    ``validation`` is the accuracy of pairs, or minus the loss; empty without validation rows.
    """

    weights: dict[str, NDArray[np.float64]]
    best_epoch: int
    training_loss: tuple[float, ...]
    validation: tuple[float, ...]


class _Order:
    """Deal one member's rows in batches, shuffled anew in each epoch, by its own seed."""

    def __init__(self, rows: Rows, batch_size: int, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._rows = rows
        self._size = batch_size
        self.steps = -(-len(rows) // batch_size)
        self._real = np.arange(self.steps * batch_size).reshape(-1, batch_size) < len(rows)
        self._step = 0
        self.epochs = 0
        self.losses: list[float] = []
        self.validation: list[float] = []

    def deal(self) -> tuple[Rows, NDArray[np.bool_]]:
        """Return the next batch ``(b,)`` and which of its rows are real; the rest is padding."""
        if self._step == 0:
            dealt = self._random.permutation(self._rows)
            padding = np.full(self._real.size - len(dealt), dealt[0])
            self._batches = np.concatenate([dealt, padding]).reshape(-1, self._size)
        step, self._step = self._step, (self._step + 1) % self.steps
        self.epochs += self._step == 0
        return self._batches[step], self._real[step]

    @property
    def at_epoch_end(self) -> bool:
        """Return whether the last batch of an epoch was just dealt."""
        return self._step == 0


def members_at_once(layers: Mapping[str, Layer], device: torch.device) -> int:
    """Return how many members a stack should hold."""
    weights = sum(
        int(np.prod(shape))
        for name, layer in layers.items()
        for shape in layer.shapes(name).values()
    )
    limit = _WEIGHTS_AT_ONCE if device.type == "cpu" else _WEIGHTS_AT_ONCE_ON_GPU
    return max(1, limit // weights)


def train(
    network: Architecture,
    layers: Mapping[str, Layer],
    tensors: Tensors,
    plans: Sequence[MemberPlan],
    training: NetworkTraining,
) -> list[TrainedMember]:
    """Train a stack; members leave it when their epochs or their patience are over."""
    device = tensors.target.device
    stack = _Stack(network, tensors, plans, training)
    drawn = draw_weights(layers, [plan.seed for plan in plans])
    for member, plan in enumerate(plans):
        for name, values in plan.start.items():
            drawn[name][member] = torch.as_tensor(values)
    optimiser = _Optimiser({n: w.to(device) for n, w in drawn.items()}, training.learning_rate)
    best = {name: weight.detach().clone() for name, weight in optimiser.weights.items()}
    active = np.arange(len(plans))
    running = torch.zeros(len(plans), device=device)
    while len(active):
        dealt = [stack.orders[member].deal() for member in active]
        batch = stack.batch(
            active, np.stack([d[0] for d in dealt]), np.stack([d[1] for d in dealt])
        )
        losses = network.losses(optimiser.weights, batch)
        optimiser.step(losses)
        running[active] += losses.detach()
        ended = [i for i, m in enumerate(active) if stack.orders[m].at_epoch_end]
        if not ended:
            continue
        stack.close_epoch(active[ended], running)
        improved = stack.validate(optimiser.weights, active, ended)
        for name, weight in optimiser.weights.items():
            best[name][active[improved]] = weight.detach()[improved]
        staying = np.array(
            [i for i, m in enumerate(active) if not stack.is_done(int(m))], dtype=np.int64
        )
        if len(staying) < len(active):
            active = active[staying]
            if len(active):
                optimiser.select(torch.from_numpy(staying).to(device))
    return stack.results(best)


class _Stack:
    """Hold the members of a stack: their data, their order of batches, what validation said."""

    def __init__(
        self,
        network: Architecture,
        tensors: Tensors,
        plans: Sequence[MemberPlan],
        training: NetworkTraining,
    ) -> None:
        device = tensors.target.device
        self._network, self._tensors, self._plans = network, tensors, plans
        self._training = training
        self._target = torch.tensor([plan.target for plan in plans], device=device)
        self._settings = {
            name: torch.tensor([plan.settings[name] for plan in plans], device=device)
            for name in network.varying
        }
        self.orders = [_Order(p.rows, training.batch_size, p.seed) for p in plans]
        self._best = np.full(len(plans), -np.inf)
        self._best_epoch = np.zeros(len(plans), dtype=np.int64)

    def batch(self, members: Rows, rows: Rows, real: NDArray[np.bool_]) -> Batch:
        """Gather a batch ``(m, b)`` for these members."""
        index = torch.from_numpy(members).to(self._target.device)
        settings = {name: values[index] for name, values in self._settings.items()}
        return self._tensors.batch(rows, real, self._target[index], settings)

    def close_epoch(self, members: Rows, running: Tensor) -> None:
        """Note the mean training loss of an epoch; raise ``SettingsError`` if it is not finite."""
        for member in members:
            order = self.orders[member]
            loss = float(running[member]) / order.steps
            if not np.isfinite(loss):
                raise SettingsError(
                    f"Training diverged in epoch {order.epochs}: the loss is {loss}. Use a smaller "
                    "learning rate."
                )
            order.losses.append(loss)
        running[members] = 0

    def validate(self, weights: Weights, active: Rows, ended: list[int]) -> list[int]:
        """Validate members whose epoch ended; return the positions of those that improved."""
        validated = [i for i in ended if len(self._plans[active[i]].validation_rows)]
        qualities = dict.fromkeys(ended, float("nan"))
        if validated:
            everyone = len(validated) == len(active)
            shown = (
                weights
                if everyone
                else {name: w.detach()[validated] for name, w in weights.items()}
            )
            values = self._qualities(shown, active[validated])
            qualities |= dict(zip(validated, values.tolist(), strict=True))
        improved = []
        for position, quality in qualities.items():
            member, order = active[position], self.orders[active[position]]
            if position in validated:
                order.validation.append(quality)
            # Without validation the last epoch counts as the best.
            if position not in validated or quality > self._best[member]:
                self._best[member], self._best_epoch[member] = quality, order.epochs
                improved.append(position)
        return improved

    def is_done(self, member: int) -> bool:
        """Return whether a member's epochs or its patience are over."""
        epochs, patience = self.orders[member].epochs, self._training.patience
        waited = epochs - self._best_epoch[member]
        return epochs >= self._training.epochs or (patience is not None and waited >= patience)

    @torch.no_grad()
    def _qualities(self, weights: Weights, members: Rows) -> NDArray[np.float64]:
        """Return accuracy of pairs, or minus the loss, on the validation rows, ``(m,)``."""
        each = [self._plans[member].validation_rows for member in members]
        longest = max(map(len, each))
        rows = np.stack([np.resize(j, longest) for j in each])
        real = np.arange(longest) < np.array([[len(j)] for j in each])
        total = torch.zeros(len(members), dtype=torch.float64, device=self._target.device)
        weight = torch.zeros_like(total)
        for start in range(0, longest, _EXAMPLES_VALIDATED_AT_ONCE):
            part = slice(start, start + _EXAMPLES_VALIDATED_AT_ONCE)
            batch = self.batch(members, rows[:, part], real[:, part])
            share = batch.weight.sum(-1).double()
            total = total + share * self._quality(weights, batch).double()
            weight = weight + share
        return (total / weight).cpu().numpy()

    def _quality(self, weights: Weights, batch: Batch) -> Tensor:
        if not self._network.compares:
            return -self._network.validation_losses(weights, batch)
        first, second = self._network.fitted_scores(weights, batch).float().unbind(-1)
        won = (first > second).float() + 0.5 * (first == second).float()
        agreed = batch.target * won + (1 - batch.target) * (1 - won)
        return (batch.weight * agreed).sum(-1) / batch.weight.sum(-1).clamp(min=1e-12)

    def results(self, best: Weights) -> list[TrainedMember]:
        """Return what each member learned."""
        arrays = {name: weight.double().cpu().numpy() for name, weight in best.items()}
        return [
            TrainedMember(
                {name: array[member] for name, array in arrays.items()},
                int(self._best_epoch[member]),
                tuple(order.losses),
                tuple(order.validation),
            )
            for member, order in enumerate(self.orders)
        ]


class _Optimiser:
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
        torch.autograd.backward(losses.sum())
        self._adam.step()

    def select(self, members: Tensor) -> None:
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
