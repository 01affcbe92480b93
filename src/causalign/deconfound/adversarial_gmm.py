"""Instruments when the effect is no line: a kernel function that no test function contradicts."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.function_moments import (
    FLEXIBLE,
    check_moments,
    choose_features,
    completeness_assumption,
    cut_rows,
    moment_numbers,
    pose_problem,
    sum_moments,
)
from causalign.deconfound.inference import Covariance, check_covariance, clusters_for
from causalign.deconfound.method import FittedOnLogs
from causalign.deconfound.surfaces import Surface, choose_functionals
from causalign.deconfound.two_stage import moved_by_instruments
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.settings import require_number
from causalign.stats.kernel_instruments import error_covariance, kernel_instruments
from causalign.stats.kernels import KernelFeatures
from causalign.stats.moment_sums import sums_of


@dataclass(frozen=True, slots=True, eq=False)
class KernelFunction:
    """Hold ``h(c) = (φ(c) - φ̄)'a``, features φ of p Nyström directions."""

    features: KernelFeatures
    means: np.ndarray
    coefficients: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return h at ``rows (n, d)``, ``(n,)``."""
        values: np.ndarray = (self.features(rows) - self.means) @ self.coefficients
        return values


@dataclass(frozen=True, slots=True)
class AdversarialGMM(FittedOnLogs[ConfounderEffect]):
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
    does not. Exogenous confounders serve as their own instruments.

    The table shows average slopes, and h at quantiles and categories. Their covariance is the
    sandwich plus the mean square of the penalty's bias; it takes the penalties as given.

    Parameters
    ----------
    exogenous : tuple of str
        Confounders that need no instrument.
    landmarks : int
        How many Nyström landmarks the kernels have at most.
    folds, seed : int
        How the folds are cut that choose the penalties.
    covariance : {"auto", "robust", "clustered"}
        ``auto`` clusters standard errors when the logs declare ``cluster`` or ``group``.

    References
    ----------
    Dikkala et al. (2020), arXiv:2006.07201.
    """

    name: ClassVar[str] = "adversarial-gmm"
    needs: ClassVar[tuple[str, ...]] = ("confounders", "instruments")

    exogenous: tuple[str, ...] = ()
    landmarks: int = 200
    folds: int = 10
    seed: int = 0
    covariance: Covariance = "auto"

    def __post_init__(self) -> None:
        check_covariance(self.covariance)
        for name, least in (("landmarks", 1), ("folds", 2), ("seed", 0)):
            require_number(name, getattr(self, name), least=least, whole=True)

    def _check_columns(self, roles: Roles) -> None:
        moved_by_instruments(roles, self.exogenous, FLEXIBLE)

    def _check_rows(self, logs: Logs) -> None:
        cut_rows(logs, self.folds, self.seed)

    def _estimate(self, logs: Logs, *_: object) -> ConfounderEffect:
        """Estimate h(C); the instruments stand in for the text.

        Raises `SettingsError`, `InputError` for fewer than 50 rows, and `NotIdentified` for a
        column with one value.
        """
        problem = pose_problem(logs, self.exogenous, self.folds, self.landmarks, self.seed)
        clusters = clusters_for(logs, self.covariance)
        phi = choose_features(problem, self.landmarks, self.seed)
        moments = sum_moments(problem, lambda rows: phi(problem.rows[rows]))
        directions, total = slice(0, phi.size), sums_of(moments.folds)
        fit = kernel_instruments(moments.folds, directions)
        blocks = problem.blocks(lambda rows: phi(problem.rows[rows]))
        covariance = error_covariance(fit, blocks, total, directions, problem.weights, clusters)
        means = total.means[1][:-1][directions]
        shown = choose_functionals(problem.read, problem.rows, problem.weights, self.seed)
        contrasts = shown.apply(lambda rows: phi(rows) - means)  # (k, p)
        return ConfounderEffect(
            method=self.name,
            names=shown.names,
            estimates=contrasts @ fit.coefficients,
            covariance=contrasts @ covariance @ contrasts.T,
            terms=(Surface(problem.read, KernelFunction(phi, means, fit.coefficients)),),
            observations=len(logs),
            outcome=logs.roles.outcome,
            assumption=completeness_assumption(logs, self.exogenous),
            findings=check_moments(problem, moments, fit.violations, fit.of_nothing),
            degrees_of_freedom=_degrees_of_freedom(clusters, len(logs), fit.freedom),
            numbers={
                **moment_numbers(problem, moments, fit.violations, fit.of_nothing),
                "delta": fit.delta,
                "alpha": fit.alpha,
                "freedom": fit.freedom,
            },
            settings=self.settings(),
        )


def _degrees_of_freedom(clusters: np.ndarray | None, rows: int, freedom: float) -> float:
    """Return those of the t distribution: clusters less one, or rows less directions decided."""
    if clusters is not None:
        return float(len(np.unique(clusters)) - 1)
    return max(rows - freedom - 1, 1.0)
