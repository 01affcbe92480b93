"""The training loop of stacked networks: one step for all members, the best epoch of each kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalign.errors import SettingsError
from causalign.reward.batches import Batch, Tensors
from causalign.reward.networks.network import Layer, Network
from causalign.reward.stacked import Optimiser, initial_weights
from causalign.reward.training import Training

__all__ = ["Plan", "Trained", "members_at_once", "train"]

# Weights of a stack: few enough to stay near the processor, many enough to fill a GPU.
_WEIGHTS_AT_ONCE = 12_000_000
_WEIGHTS_AT_ONCE_ON_GPU = 400_000_000
_EXAMPLES_JUDGED_AT_ONCE = 128

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Say what one member learns from: seed, rows that teach and judge, scale of the outcome.

    ``settings`` are those that vary between members; ``start`` holds weights that are not drawn.
    """

    seed: int
    rows: Rows
    judges: Rows
    target: tuple[float, float]
    settings: Mapping[str, float]
    start: Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """Hold the weights of the best epoch, and training loss and validation of each epoch.

    ``validation`` is the accuracy of pairs, or minus the loss; empty without rows that judge.
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
    def epoch_ended(self) -> bool:
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
    network: Network,
    layers: Mapping[str, Layer],
    tensors: Tensors,
    plans: Sequence[Plan],
    training: Training,
) -> list[Trained]:
    """Train a stack; members leave it when their epochs or their patience are over."""
    device = tensors.target.device
    stack = _Stack(network, tensors, plans, training)
    drawn = initial_weights(layers, [plan.seed for plan in plans])
    for member, plan in enumerate(plans):
        for name, values in plan.start.items():
            drawn[name][member] = torch.as_tensor(values)
    optimiser = Optimiser({n: w.to(device) for n, w in drawn.items()}, training.learning_rate)
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
        ended = [i for i, m in enumerate(active) if stack.orders[m].epoch_ended]
        if not ended:
            continue
        stack.close_epoch(active[ended], running)
        improved = stack.judge(optimiser.weights, active, ended)
        for name, weight in optimiser.weights.items():
            best[name][active[improved]] = weight.detach()[improved]
        staying = np.array(
            [i for i, m in enumerate(active) if not stack.is_done(int(m))], dtype=np.int64
        )
        if len(staying) < len(active):
            active = active[staying]
            if len(active):
                optimiser.keep(torch.from_numpy(staying).to(device))
    return stack.results(best)


class _Stack:
    """Hold the members of a stack: their data, their order of batches, what validation said."""

    def __init__(
        self, network: Network, tensors: Tensors, plans: Sequence[Plan], training: Training
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

    def judge(self, weights: Mapping[str, Tensor], active: Rows, ended: list[int]) -> list[int]:
        """Validate members whose epoch ended; return the positions of those that improved."""
        judged = [i for i in ended if len(self._plans[active[i]].judges)]
        qualities = dict.fromkeys(ended, float("nan"))
        if judged:
            everyone = len(judged) == len(active)
            seen = (
                weights if everyone else {name: w.detach()[judged] for name, w in weights.items()}
            )
            found = self._qualities(seen, active[judged])
            qualities |= dict(zip(judged, found.tolist(), strict=True))
        improved = []
        for position, quality in qualities.items():
            member, order = active[position], self.orders[active[position]]
            if position in judged:
                order.validation.append(quality)
            # Without validation the last epoch counts as the best.
            if position not in judged or quality > self._best[member]:
                self._best[member], self._best_epoch[member] = quality, order.epochs
                improved.append(position)
        return improved

    def is_done(self, member: int) -> bool:
        """Return whether a member's epochs or its patience are over."""
        epochs, patience = self.orders[member].epochs, self._training.patience
        waited = epochs - self._best_epoch[member]
        return epochs >= self._training.epochs or (patience is not None and waited >= patience)

    @torch.no_grad()
    def _qualities(self, weights: Mapping[str, Tensor], members: Rows) -> NDArray[np.float64]:
        """Return accuracy of pairs, or minus the loss, on the rows that judge, ``(m,)``."""
        judges = [self._plans[member].judges for member in members]
        longest = max(map(len, judges))
        rows = np.stack([np.resize(j, longest) for j in judges])
        real = np.arange(longest) < np.array([[len(j)] for j in judges])
        total = torch.zeros(len(members), dtype=torch.float64, device=self._target.device)
        weight = torch.zeros_like(total)
        for start in range(0, longest, _EXAMPLES_JUDGED_AT_ONCE):
            part = slice(start, start + _EXAMPLES_JUDGED_AT_ONCE)
            batch = self.batch(members, rows[:, part], real[:, part])
            share = batch.weight.sum(-1).double()
            total = total + share * self._quality(weights, batch).double()
            weight = weight + share
        return (total / weight).cpu().numpy()

    def _quality(self, weights: Mapping[str, Tensor], batch: Batch) -> Tensor:
        if not self._network.judged_by_accuracy:
            return -self._network.validation_losses(weights, batch)
        first, second = self._network.fitted_scores(weights, batch).float().unbind(-1)
        won = (first > second).float() + 0.5 * (first == second).float()
        agreed = batch.target * won + (1 - batch.target) * (1 - won)
        return (batch.weight * agreed).sum(-1) / batch.weight.sum(-1).clamp(min=1e-12)

    def results(self, best: Mapping[str, Tensor]) -> list[Trained]:
        """Return what each member learned."""
        arrays = {name: weight.double().cpu().numpy() for name, weight in best.items()}
        return [
            Trained(
                {name: array[member] for name, array in arrays.items()},
                int(self._best_epoch[member]),
                tuple(order.losses),
                tuple(order.validation),
            )
            for member, order in enumerate(self.orders)
        ]
