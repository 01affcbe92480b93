"""Instruments when the effect is no line: networks that play against an adversary of kernels."""

from dataclasses import asdict, dataclass

import numpy as np

from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.function_moments import (
    FunctionMoments,
    Problem,
    assumption,
    findings,
    moments_of,
    numbers,
    problem_of,
)
from causalign.deconfound.surfaces import Surface, told_of
from causalign.errors import ExtraNotInstalled, SettingsError
from causalign.logs import Logs
from causalign.stats.moment_sums import held_out_violation, sums_of

__all__ = ["NeuralInstruments"]

# Test functions of the instruments come from so many Nyström landmarks.
LANDMARKS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """Hold the mean of networks with two hidden layers, less its average in the fitted logs.

    ``weights`` has, for each network, kernel and offset of three layers; ``averages`` their
    averages. Numbers are standardised, categories become indicators: an unknown one its shares.
    """

    weights: tuple[tuple[np.ndarray, ...], ...]
    averages: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    shares: tuple[np.ndarray | None, ...]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return h at ``rows (n, d)``, ``(n,)``."""
        found: np.ndarray = self.each(rows).mean(axis=1)
        return found

    def each(self, rows: np.ndarray) -> np.ndarray:
        """Return what each of K networks says, ``(n, K)``."""
        inputs = self.inputs(rows)
        return np.column_stack([_forward(w, inputs) for w in self.weights]) - self.averages

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
class NeuralInstruments:
    """Find a network h with ``E[(y - h(C)) f(Z)] = 0`` for every smooth f.

    ``min_h max_f (1/n) Σ (y_i - h(c_i)) f(z_i) - (‖f‖² + Σ f(z_i)²/(n δ²))``: h has two hidden
    layers, f lies in the kernel space of `AdversarialGMM`, so that the best f is known in closed
    form and nothing but h is trained: no saddle point, no adversary to fall behind. ``folds``
    networks are trained by Adam, each on the rows of the other folds and stopped where the
    violation of moments on its own fold is least; h is their mean. Rows of a cluster share a fold.

    Assumption: as in `AdversarialGMM`. The table tells average slopes, and h at quantiles and
    categories, without intervals: none is known for early-stopped networks. Needs the extra
    ``lm``. Reference: Dikkala et al. (2020), arXiv:2006.07201, section 5; Zhang et al. (2020),
    arXiv:2010.07684.
    """

    exogenous: tuple[str, ...] = ()
    width: int = 32
    steps: int = 600
    learning_rate: float = 5e-3
    weight_decay: float = 1e-4
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.width < 1 or self.steps < 1:
            raise SettingsError("width and steps must be at least 1.")
        if not self.learning_rate > 0 or not self.weight_decay >= 0:
            raise SettingsError("learning_rate must be positive and weight_decay not negative.")

    def fit(self, logs: Logs, text_features: np.ndarray | None = None) -> ConfounderEffect:
        """Estimate h(C) from logs with ``confounders`` and ``instruments``.

        ``text_features`` is not used: the instruments stand in for it. Raises
        `ExtraNotInstalled` without torch, and what `AdversarialGMM` raises.
        """
        del text_features
        problem = problem_of(logs, self.exogenous, self.folds, LANDMARKS, self.seed)
        networks = self._train(problem)
        predicted = networks.each(problem.rows)
        moments = moments_of(problem, lambda rows: predicted[rows])
        violations, of_nothing = _violations(moments)
        told = told_of(problem.read, problem.rows, problem.weights, self.seed)
        estimates = told.apply(networks)
        return ConfounderEffect(
            method="neural-instruments",
            names=told.names,
            estimates=estimates,
            covariance=np.full((len(estimates), len(estimates)), np.nan),
            terms=(Surface(problem.read, networks),),
            observations=len(logs),
            outcome=logs.roles.outcome,
            assumption=assumption(logs, self.exogenous),
            findings=findings(problem, moments, violations, of_nothing),
            numbers=numbers(problem, moments, violations, of_nothing),
            settings=asdict(self),
        )

    def _train(self, problem: Problem) -> Networks:
        """Return the trained networks; y is standardised meanwhile."""
        try:
            from causalign.deconfound.neural_training import Training, train_networks
        except ImportError as missing:
            raise ExtraNotInstalled(
                f"neural-instruments needs {missing.name or 'torch'}, which is not installed: "
                "`pip install 'causalign[lm]'`. adversarial-gmm needs no torch."
            ) from missing
        blank = _untrained(problem)
        inputs, w = blank.inputs(problem.rows), problem.weights
        mean = np.average(problem.y, weights=w)
        spread = np.sqrt(np.average((problem.y - mean) ** 2, weights=w))
        weights = train_networks(
            inputs,
            problem.test_functions(problem.instrument_rows),
            (problem.y - mean) / spread,
            w,
            problem.folds,
            Training(self.width, self.steps, self.learning_rate, self.weight_decay, self.seed),
        )
        scaled = tuple((*one[:-2], spread * one[-2], spread * one[-1]) for one in weights)
        averages = np.array([w @ _forward(one, inputs) / w.sum() for one in scaled])
        return Networks(scaled, averages, blank.centre, blank.scale, blank.shares)


def _untrained(problem: Problem) -> Networks:
    """Return how rows become inputs, without any network."""
    rows, w = problem.rows, problem.weights
    centre = np.average(rows, axis=0, weights=w)
    scale = np.sqrt(np.average((rows - centre) ** 2, axis=0, weights=w))
    shares = tuple(
        np.bincount(rows[:, j].astype(np.int64), w, count) / w.sum() if count else None
        for j, count in enumerate(problem.read.counts)
    )
    return Networks((), np.zeros(0), centre, scale, shares)


def _forward(weights: tuple[np.ndarray, ...], inputs: np.ndarray) -> np.ndarray:
    hidden = np.tanh(inputs @ weights[0].T + weights[1])
    hidden = np.tanh(hidden @ weights[2].T + weights[3])
    found: np.ndarray = (hidden @ weights[4].T + weights[5])[:, 0]
    return found


def _violations(moments: FunctionMoments) -> tuple[np.ndarray, np.ndarray]:
    """Return the violations ``(K,)`` of network k on fold k, and those of h = 0."""
    total, fits = sums_of(moments.folds), np.array([[1.0, 0.0]])
    found = np.array(
        [
            held_out_violation(total.without(held), held, slice(k, k + 1), fits)
            for k, held in enumerate(moments.folds)
        ]
    )
    return found[:, 0], found[:, 1]
