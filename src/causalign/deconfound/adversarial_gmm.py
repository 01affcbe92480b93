"""Instruments when the effect is no line: a kernel function that no test function contradicts."""

from dataclasses import asdict, dataclass

import numpy as np

from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.function_moments import (
    assumption,
    findings,
    moments_of,
    numbers,
    problem_of,
)
from causalign.deconfound.inference import Covariance, clusters_for
from causalign.deconfound.surfaces import Surface, told_of
from causalign.logs import Logs
from causalign.stats.kernel_instruments import error_covariance, kernel_instruments
from causalign.stats.kernels import KernelFeatures, kernel_features, mixed_kernel
from causalign.stats.moment_sums import sums_of

__all__ = ["AdversarialGMM"]


@dataclass(frozen=True, slots=True, eq=False)
class KernelFunction:
    """Hold ``h(c) = (φ(c) - φ̄)'a``, features φ of p Nyström directions."""

    features: KernelFeatures
    means: np.ndarray
    coefficients: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return h at ``rows (n, d)``, ``(n,)``."""
        found: np.ndarray = (self.features(rows) - self.means) @ self.coefficients
        return found


@dataclass(frozen=True, slots=True)
class AdversarialGMM:
    """Find h with ``E[(y - h(C)) f(Z)] = 0`` for every smooth f, by kernels in closed form.

    ``min_h max_f (1/n) Σ (y_i - h(c_i)) f(z_i) - λ(‖f‖² + Σ f(z_i)²/(n δ²)) + μ‖h‖²``, h and f in
    reproducing-kernel spaces. In n × n kernel matrices ``a = (K_h M K_h + α K_h)⁺ K_h M y`` with
    ``M = K_f^½ (K_f/(2 n δ²) + I/2)⁻¹ K_f^½``; it is computed from Nyström features, which is
    exact while there are no more distinct rows than ``landmarks``, and linear in n beyond. The
    kernels hold lines, smooth curves, categories and interactions of all columns
    (`stats.kernels.MixedKernel`); constants are not penalised. ``δ = c n^(-0.4)`` and
    ``α = c' n² δ⁴``, c and c' chosen by the violation of moments on held-out ``folds``, which keep
    clusters together.

    Assumption: the instruments Z reach the outcome through C only, are independent of the text,
    and move C in so many ways that no other function fits (completeness). A log with fewer
    instruments than confounders is fitted all the same, with a finding: the penalty decides what Z
    does not. ``exogenous`` names confounders that serve as their own instruments.

    The table tells average slopes, and h at quantiles and categories. Their covariance is the
    sandwich (``covariance`` as in the other methods) plus the mean square of the penalty's bias;
    it takes the penalties as given. Reference: Dikkala et al. (2020), arXiv:2006.07201.
    """

    exogenous: tuple[str, ...] = ()
    landmarks: int = 200
    folds: int = 10
    seed: int = 0
    covariance: Covariance = "auto"

    def fit(self, logs: Logs, text_features: np.ndarray | None = None) -> ConfounderEffect:
        """Estimate h(C) from logs with ``confounders`` and ``instruments``.

        ``text_features`` is not used: the instruments stand in for it. Raises `RoleNotDeclared`,
        `SettingsError`, `InputError` for fewer than 50 rows, and `NotIdentified` for a column with
        one value.
        """
        del text_features
        problem = problem_of(logs, self.exogenous, self.folds, self.landmarks, self.seed)
        clusters = clusters_for(logs, self.covariance)
        kernel = mixed_kernel(problem.rows, problem.read.counts, problem.weights)
        phi = kernel_features(problem.rows, kernel, landmarks=self.landmarks, seed=self.seed)
        moments = moments_of(problem, lambda rows: phi(problem.rows[rows]))
        features, total = slice(0, phi.size), sums_of(moments.folds)
        found = kernel_instruments(moments.folds, features)
        blocks = problem.blocks(lambda rows: phi(problem.rows[rows]))
        covariance = error_covariance(found, blocks, total, features, problem.weights, clusters)
        means = total.means[1][:-1][features]
        told = told_of(problem.read, problem.rows, problem.weights, self.seed)
        contrasts = told.apply(lambda rows: phi(rows) - means)  # (k, p)
        return ConfounderEffect(
            method="adversarial-gmm",
            names=told.names,
            estimates=contrasts @ found.coefficients,
            covariance=contrasts @ covariance @ contrasts.T,
            terms=(Surface(problem.read, KernelFunction(phi, means, found.coefficients)),),
            observations=len(logs),
            outcome=logs.roles.outcome,
            assumption=assumption(logs, self.exogenous),
            findings=findings(problem, moments, found.violations, found.of_nothing),
            degrees_of_freedom=_degrees_of_freedom(clusters, len(logs), found.freedom),
            numbers={
                **numbers(problem, moments, found.violations, found.of_nothing),
                "delta": found.delta,
                "alpha": found.alpha,
                "freedom": found.freedom,
            },
            settings=asdict(self),
        )


def _degrees_of_freedom(clusters: np.ndarray | None, rows: int, freedom: float) -> float:
    """Return those of the t distribution: clusters less one, or rows less directions decided."""
    if clusters is not None:
        return float(len(np.unique(clusters)) - 1)
    return max(rows - freedom - 1, 1.0)
