"""Instruments when the effect is no line: networks that play against an adversary of kernels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.function_moments import (
    FLEXIBLE,
    FunctionMoments,
    Problem,
    check_moments,
    completeness_assumption,
    cut_rows,
    moment_numbers,
    pose_problem,
    sum_moments,
)
from causalign.deconfound.method import FittedOnLogs
from causalign.deconfound.surfaces import Surface, choose_functionals
from causalign.deconfound.two_stage import moved_by_instruments
from causalign.errors import ExtraNotInstalled
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.settings import require_number
from causalign.stats.moment_sums import critic, held_out_violation, radius, sums_of

if TYPE_CHECKING:
    from torch import Tensor, nn

Weights = tuple[np.ndarray, ...]
# Test functions of the instruments come from so many Nyström landmarks.
LANDMARKS = 200
# Steps between looks at the held-out rows, and looks without gain after which training stops.
LOOK, PATIENCE = 10, 20
# Rows of a step: more make it slower and no better.
BATCH = 8192


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """Hold the mean of networks with two hidden layers, less its average in the fitted logs.

    ``weights`` has, for each network, kernel and offset of three layers; ``averages`` their
    averages. Numbers are standardised, categories become indicators: an unknown one its shares.
    """

    weights: tuple[Weights, ...]
    averages: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    shares: tuple[np.ndarray | None, ...]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return h at ``rows (n, d)``, ``(n,)``."""
        mean: np.ndarray = self.each(rows).mean(axis=1)
        return mean

    def each(self, rows: np.ndarray) -> np.ndarray:
        """Return what each of K networks says, ``(n, K)``."""
        inputs = self.inputs(rows)
        outputs = np.column_stack([_forward(w, inputs) for w in self.weights])
        return np.asarray(outputs - self.averages)

    def inputs(self, rows: np.ndarray) -> np.ndarray:
        """Return what the networks see of ``rows (n, d)``."""
        parts = []
        for j, shares in enumerate(self.shares):
            if shares is None:
                parts.append(((rows[:, j] - self.centre[j]) / self.scale[j])[:, None])
            else:
                table = np.vstack([np.eye(len(shares)), shares])
                parts.append(table[rows[:, j].astype(np.int64)])
        return np.hstack(parts)


@dataclass(frozen=True, slots=True)
class NeuralInstruments(FittedOnLogs[ConfounderEffect]):
    """Find a network h with ``E[(y - h(C)) f(Z)] = 0`` for every smooth f.

    ``min_h max_f (1/n) Σ (y_i - h(c_i)) f(z_i) - (‖f‖² + Σ f(z_i)²/(n δ²))``: h has two hidden
    layers, f lies in the kernel space of `AdversarialGMM`, so that the best f is known in closed
    form and nothing but h is trained: no saddle point, no adversary to fall behind. ``folds``
    networks are trained by Adam, each on the rows of the other folds and stopped where the
    violation of moments on its own fold is least; h is their mean. Rows of a cluster share a fold.

    Assumption: as in `AdversarialGMM`. The table shows average slopes, and h at quantiles and
    categories, without intervals: none is known for early-stopped networks. Needs the extra ``lm``.

    Parameters
    ----------
    exogenous : tuple of str
        Confounders that serve as their own instruments.
    width : int
        The width of both layers.
    steps : int
        Steps of Adam at most.
    learning_rate, weight_decay : float
        Those of Adam.
    folds : int
        How many networks are trained.
    seed : int
        Of folds, weights and batches.

    References
    ----------
    Dikkala et al. (2020), arXiv:2006.07201, section 5; Zhang et al. (2020), arXiv:2010.07684.
    """

    name: ClassVar[str] = "neural-instruments"
    needs: ClassVar[tuple[str, ...]] = ("confounders", "instruments")

    exogenous: tuple[str, ...] = ()
    width: int = 32
    steps: int = 600
    learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("width", 1), ("steps", 1), ("folds", 2), ("seed", 0)):
            require_number(name, getattr(self, name), least=least, whole=True)
        require_number("learning_rate", self.learning_rate, above=0)
        require_number("weight_decay", self.weight_decay, least=0)

    def _check_columns(self, roles: Roles) -> None:
        moved_by_instruments(roles, self.exogenous, FLEXIBLE)

    def _check_rows(self, logs: Logs) -> None:
        cut_rows(logs, self.folds, self.seed)

    def _estimate(self, logs: Logs, *_: object) -> ConfounderEffect:
        """Estimate h(C); the instruments stand in for the text.

        Raises `ExtraNotInstalled` without torch, and what `AdversarialGMM` raises.
        """
        problem = pose_problem(logs, self.exogenous, self.folds, LANDMARKS, self.seed)
        networks = self._train(problem)
        predicted = networks.each(problem.rows)
        moments = sum_moments(problem, lambda rows: predicted[rows])
        violations, of_nothing = _violations(moments)
        shown = choose_functionals(problem.read, problem.rows, problem.weights, self.seed)
        estimates = shown.apply(networks)
        return ConfounderEffect(
            method=self.name,
            names=shown.names,
            estimates=estimates,
            covariance=np.full((len(estimates), len(estimates)), np.nan),
            terms=(Surface(problem.read, networks),),
            observations=len(logs),
            outcome=logs.roles.outcome,
            assumption=completeness_assumption(logs, self.exogenous),
            findings=check_moments(problem, moments, violations, of_nothing),
            numbers=moment_numbers(problem, moments, violations, of_nothing),
            settings=self.settings(),
        )

    def _train(self, problem: Problem) -> Networks:
        """Return the trained networks; y is standardised meanwhile."""
        _require_torch()
        blank = _standardise_inputs(problem)
        inputs, w = blank.inputs(problem.rows), problem.weights
        mean = np.average(problem.y, weights=w)
        spread = np.sqrt(np.average((problem.y - mean) ** 2, weights=w))
        tests = problem.test_functions(problem.instrument_rows)
        y = (problem.y - mean) / spread
        weights = []
        for fold in range(int(problem.folds.max()) + 1):
            held = problem.folds == fold
            train, validation = (_Side.of(inputs, tests, y, w, rows) for rows in (~held, held))
            generator = np.random.default_rng([self.seed, fold])
            weights.append(self._train_one(train, validation, generator))
        scaled = tuple((*one[:-2], spread * one[-2], spread * one[-1]) for one in weights)
        averages = np.array([w @ _forward(one, inputs) / w.sum() for one in scaled])
        return Networks(scaled, averages, blank.centre, blank.scale, blank.shares)

    def _train_one(
        self, train: _Side, validation: _Side, generator: np.random.Generator
    ) -> Weights:
        """Return the weights whose violation on the validation rows was least."""
        import torch

        network = _build_network(train.inputs.shape[1], self.width, generator)
        optimiser = torch.optim.Adam(
            network.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        least, best, stale = np.inf, _read_weights(network), 0
        for step in range(1, self.steps + 1):
            optimiser.zero_grad()
            rows = _draw_batch(len(train.y), generator)
            torch.autograd.backward(train.violation(network, rows))
            optimiser.step()
            if step % LOOK:
                continue
            with torch.no_grad():
                violation = float(validation.violation(network))
            stale += 1
            if violation < least:
                least, best, stale = violation, _read_weights(network), 0
            if stale == PATIENCE:
                break
        return best


def _standardise_inputs(problem: Problem) -> Networks:
    """Return how rows become inputs, without any network."""
    rows, w = problem.rows, problem.weights
    centre = np.average(rows, axis=0, weights=w)
    scale = np.sqrt(np.average((rows - centre) ** 2, axis=0, weights=w))
    shares = tuple(
        np.bincount(rows[:, j].astype(np.int64), w, count) / w.sum() if count else None
        for j, count in enumerate(problem.read.counts)
    )
    return Networks((), np.zeros(0), centre, scale, shares)


def _forward(weights: Weights, inputs: np.ndarray) -> np.ndarray:
    hidden = np.tanh(inputs @ weights[0].T + weights[1])
    hidden = np.tanh(hidden @ weights[2].T + weights[3])
    output: np.ndarray = (hidden @ weights[4].T + weights[5])[:, 0]
    return output


def _violations(moments: FunctionMoments) -> tuple[np.ndarray, np.ndarray]:
    """Return the violations ``(K,)`` of network k on fold k, and those of h = 0."""
    total, fits = sums_of(moments.folds), np.array([[1.0, 0.0]])
    pairs = np.array(
        [
            held_out_violation(total.without(held), held, slice(k, k + 1), fits)
            for k, held in enumerate(moments.folds)
        ]
    )
    return pairs[:, 0], pairs[:, 1]


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as missing:
        raise ExtraNotInstalled(
            f"neural-instruments needs {missing.name or 'torch'}, which is not installed: "
            "`pip install 'causalign[lm]'`. adversarial-gmm needs no torch."
        ) from missing


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """Hold rows with their adversary: ``inputs (n, d)``, ``tests (n, m)`` = ψ L with LL' = Q."""

    inputs: Tensor
    tests: Tensor
    y: Tensor
    weights: Tensor

    @staticmethod
    def of(
        inputs: np.ndarray, tests: np.ndarray, y: np.ndarray, weights: np.ndarray, rows: np.ndarray
    ) -> _Side:
        """Take some rows; the best test function is known in closed form."""
        import torch

        w = weights[rows]
        centred = tests[rows] - np.average(tests[rows], axis=0, weights=w)
        delta = radius(w.sum())
        gram = (centred * w[:, None]).T @ centred
        Q = critic(gram, w.sum(), delta)(np.eye(len(gram))) / (2 * delta**2)
        arrays = inputs[rows], centred @ np.linalg.cholesky(Q), y[rows], w
        return _Side(*(torch.tensor(a, dtype=torch.float32) for a in arrays))

    def violation(self, network: nn.Module, rows: Tensor | slice = slice(None)) -> Tensor:
        """Return ``‖L'g‖²``, g the mean of ψ times the residual about its mean."""
        w = self.weights[rows]
        error = self.y[rows] - network(self.inputs[rows])[:, 0]
        error = error - (w @ error) / w.sum()
        moments: Tensor = (w * error) @ self.tests[rows] / w.sum()
        return moments.square().sum()


def _draw_batch(rows: int, generator: np.random.Generator) -> Tensor | slice:
    if rows <= BATCH:
        return slice(None)
    import torch

    return torch.from_numpy(generator.integers(rows, size=BATCH))


def _build_network(inputs: int, width: int, generator: np.random.Generator) -> nn.Sequential:
    """Return a network with two hidden layers, its weights drawn from ``generator``."""
    import torch
    from torch import nn

    sizes = (inputs, width, width, 1)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        # The usual way of making a layer would draw from the generator that all share.
        layer = nn.Linear(before, after, device="meta").to_empty(device="cpu")
        bound = before**-0.5
        with torch.no_grad():
            for parameter in layer.parameters():
                values = generator.uniform(-bound, bound, size=tuple(parameter.shape))
                parameter.copy_(torch.from_numpy(values))
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def _read_weights(network: nn.Module) -> Weights:
    return tuple(p.detach().numpy().astype(np.float64) for p in network.parameters())
