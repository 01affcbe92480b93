"""Train networks against an adversary in closed form; the only torch code of this stage."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from causalign.stats.moment_sums import critic, radius

__all__ = ["Training", "Weights", "train_networks"]

Weights = tuple[np.ndarray, ...]
# Steps between looks at the held-out rows, and looks without gain after which training stops.
LOOK, PATIENCE = 10, 20
# Rows of a step: more make it slower and no better.
BATCH = 8192


@dataclass(frozen=True, slots=True)
class Training:
    """Hold the settings of one training: ``width`` of both layers, ``steps`` at most, Adam's."""

    width: int
    steps: int
    learning_rate: float
    weight_decay: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Hold rows with their adversary: ``inputs (n, d)``, ``tests (n, m)`` = ψ L with LL' = Q."""

    inputs: Tensor
    tests: Tensor
    y: Tensor
    weights: Tensor

    def violation(self, network: nn.Module, rows: Tensor | slice = slice(None)) -> Tensor:
        """Return ``‖L'g‖²``, g the mean of ψ times the residual about its mean."""
        w = self.weights[rows]
        error = self.y[rows] - network(self.inputs[rows])[:, 0]
        error = error - (w @ error) / w.sum()
        return ((w * error) @ self.tests[rows] / w.sum()).square().sum()


def train_networks(
    inputs: np.ndarray,
    tests: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    folds: np.ndarray,
    training: Training,
) -> tuple[Weights, ...]:
    """Return one network for each fold, trained on the others and stopped by this one.

    ``inputs (n, d)`` are standardised confounders, ``tests (n, m)`` the test functions ψ. Weights
    are returned as numpy arrays: kernel and offset of three layers. The same seed gives the same
    networks; nothing outside is touched.
    """
    found = []
    for fold in range(int(folds.max()) + 1):
        kept = _side(inputs, tests, y, weights, folds != fold)
        held = _side(inputs, tests, y, weights, folds == fold)
        generator = np.random.default_rng([training.seed, fold])
        found.append(_train(kept, held, training, generator))
    return tuple(found)


def _side(
    inputs: np.ndarray, tests: np.ndarray, y: np.ndarray, weights: np.ndarray, rows: np.ndarray
) -> _Side:
    w = weights[rows]
    centred = tests[rows] - np.average(tests[rows], axis=0, weights=w)
    delta = radius(w.sum())
    gram = (centred * w[:, None]).T @ centred
    Q = critic(gram, w.sum(), delta)(np.eye(len(gram))) / (2 * delta**2)
    arrays = inputs[rows], centred @ np.linalg.cholesky(Q), y[rows], w
    return _Side(*(torch.tensor(a, dtype=torch.float32) for a in arrays))


def _train(kept: _Side, held: _Side, training: Training, generator: np.random.Generator) -> Weights:
    """Return the weights whose violation on the held-out rows was least."""
    network = _network(kept.inputs.shape[1], training.width, generator)
    optimiser = torch.optim.Adam(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    least, best, stale = np.inf, _weights(network), 0
    for step in range(1, training.steps + 1):
        optimiser.zero_grad()
        kept.violation(network, _batch(len(kept.y), generator)).backward()
        optimiser.step()
        if step % LOOK:
            continue
        with torch.no_grad():
            found = float(held.violation(network))
        stale += 1
        if found < least:
            least, best, stale = found, _weights(network), 0
        if stale == PATIENCE:
            break
    return best


def _batch(rows: int, generator: np.random.Generator) -> Tensor | slice:
    if rows <= BATCH:
        return slice(None)
    return torch.from_numpy(generator.integers(rows, size=BATCH))


def _network(inputs: int, width: int, generator: np.random.Generator) -> nn.Sequential:
    """Return a network with two hidden layers, its weights drawn from ``generator``."""
    sizes = (inputs, width, width, 1)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        # The usual way of making a layer would draw from the generator that all share.
        layer = nn.utils.skip_init(nn.Linear, before, after)
        bound = before**-0.5
        with torch.no_grad():
            for parameter in layer.parameters():
                drawn = generator.uniform(-bound, bound, size=tuple(parameter.shape))
                parameter.copy_(torch.from_numpy(drawn))
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def _weights(network: nn.Module) -> Weights:
    return tuple(p.detach().numpy().astype(np.float64) for p in network.parameters())
