"""Adversarial GMM with kernels: the function whose errors no function of the instruments sees."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from causalign.stats.moment_sums import (
    Blocks,
    Critic,
    MomentSums,
    critic,
    held_out_violation,
    radius,
    sums_of,
)

Floats = NDArray[np.float64]
# Multiples of the critical radius, and penalties α = c n² δ⁴ from none in effect to all: the order
# of theorem 5 of the paper, whose constants are not known.
RADII = (0.1, 0.3, 1.0, 3.0)
PENALTIES = np.geomspace(1e-8, 1e3, 34)


@dataclass(frozen=True, slots=True, eq=False)
class KernelInstruments:
    """Hold ``h(c) = φ(c)'a``, up to a constant, its penalties and its violation of moments.

    ``coefficients (p,)`` are a; ``influence (p, m)`` turns ``Σ ψ e`` into errors of a, and
    ``bias (p, p)`` is the mean square of what the penalty takes away. ``violations (k,)`` are those
    of the held-out folds and ``of_nothing (k,)`` those of h = 0, in squared units of the outcome.
    ``freedom`` counts the directions of h that the data decide and not the penalty.
    """

    coefficients: Floats
    influence: Floats
    bias: Floats
    delta: float
    alpha: float
    violations: Floats
    of_nothing: Floats
    freedom: float


@dataclass(frozen=True, slots=True, eq=False)
class KernelFirstStage:
    """Hold F ``(c,)`` of the instruments for c columns, and R² ``(c,)`` on held-out rows."""

    f: Floats
    r2: Floats


def penalised_path(
    A: Floats, b: Floats, adversary: Critic, penalties: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return ``a = (A'QA + αI)⁻¹ A'Q b`` for each α ``(p, L)``, and spectrum and basis of A'QA.

    ``A (m, p)`` is ``Ψ'Φ``, ``b (m,)`` is ``Ψ'y``, Q the ``adversary``. With ``K_h = ΦΦ'`` and
    ``K_f = ΨΨ'``, ``Φ a = K_h (K_h M K_h + α K_h)⁺ K_h M y``: the closed form of arXiv:2006.07201.
    With Φ and Ψ columns and vanishing penalties it is two-stage least squares.
    """
    seen = adversary(A)
    eigenvalues, V = eigh(A.T @ seen, check_finite=False)
    spectrum = np.clip(eigenvalues, 0.0, None)
    rotated = V.T @ (seen.T @ b)
    return V @ (rotated[:, None] / (spectrum[:, None] + penalties)), spectrum, V


def kernel_instruments(folds: tuple[MomentSums, ...], columns: slice) -> KernelInstruments:
    """Fit h on the features ``x[columns]``, its radius and penalty those that held-out folds like.

    Constants carry no penalty: y, φ and ψ are taken about their means. Every candidate is judged
    by `held_out_violation`, at one radius for all, averaged over folds.
    """
    total = sums_of(folds)
    scores = np.zeros((len(folds), len(RADII), len(PENALTIES)))
    nothing = np.zeros(len(folds))
    for f, held in enumerate(folds):
        train = total.without(held)
        for i, multiple in enumerate(RADII):
            path = coefficient_paths(train, columns, multiple)[0]
            scores[f, i] = held_out_violation(train, held, columns, path)
        nothing[f] = held_out_violation(train, held, columns, 0 * path[:, :1])[0]
    best = np.unravel_index(int(scores.mean(axis=0).argmin()), scores.shape[1:])
    i, j = int(best[0]), int(best[1])
    path, spectrum, V, pulled = coefficient_paths(total, columns, RADII[i])
    delta = radius(total.rows, RADII[i])
    alpha = float(PENALTIES[j]) * total.rows**2 * delta**4
    shrunk = 1 / (spectrum + alpha)
    a, freedom = path[:, j], max(float(spectrum @ shrunk), 1e-12)
    # The penalty is a prior N(0, τ²I) of a; τ² = ‖a‖² over the freedom, as in MacKay (1992).
    bias = (V * (alpha * shrunk) ** 2) @ V.T * (a @ a / freedom)
    return KernelInstruments(
        coefficients=a,
        influence=(V * shrunk) @ V.T @ pulled.T,
        bias=bias,
        delta=delta,
        alpha=alpha,
        violations=scores[:, i, j],
        of_nothing=nothing,
        freedom=freedom,
    )


def linear_instruments(folds: tuple[MomentSums, ...]) -> Floats:
    """Return two-stage least squares of y on x, with instruments ψ, for each fold left out.

    ``(k, q)``, an intercept besides; of least norm where the instruments do not identify it.
    """
    total, fits = sums_of(folds), []
    for held in folds:
        train = total.without(held)
        centre = train.means[0]
        cross = train.cross_about(centre)[:, 1:]
        eigenvalues, V = eigh(train.gram_about(centre), check_finite=False)
        usable = eigenvalues > 1e-10 * eigenvalues[-1]
        projected = (V[:, usable] / np.sqrt(eigenvalues[usable])).T @ cross
        fits.append(np.linalg.lstsq(projected[:, :-1], projected[:, -1], rcond=1e-8)[0])
    return np.array(fits)


def kernel_first_stage(folds: tuple[MomentSums, ...], columns: slice) -> KernelFirstStage:
    """Predict ``x[columns]`` by functions of the instruments: F, and R² on held-out rows.

    Ridge on ψ with penalty ``n δ²``. F compares the variance predicted, for each effective function
    of the instruments, with what is left; R² uses the smallest radius, which predicts most.
    """
    total = sums_of(folds)
    beta, freedom = _smooth(total, columns, 1.0)
    rest, spread = (
        left_over(total, total, columns, beta),
        left_over(total, total, columns, 0 * beta),
    )
    noise = np.maximum(rest / max(total.rows - freedom - 1, 1.0), 1e-300)
    held_rest, held_spread = np.zeros_like(rest), np.zeros_like(rest)
    for held in folds:
        train = total.without(held)
        beta, _ = _smooth(train, columns, RADII[0])
        held_rest += left_over(train, held, columns, beta)
        held_spread += left_over(train, held, columns, 0 * beta)
    return KernelFirstStage((spread - rest) / freedom / noise, 1 - held_rest / held_spread)


def error_covariance(
    fit: KernelInstruments,
    blocks: Blocks,
    total: MomentSums,
    columns: slice,
    weights: Floats,
    clusters: NDArray[np.int64] | None,
) -> Floats:
    """Return the covariance ``(p, p)`` of the coefficients: sampling error, and the penalty's bias.

    Sampling error is the sandwich of the moments ``w_i ψ_i e_i`` (summed by cluster), penalties
    taken as given. What a penalty takes away is as large as the noise it saves: as in Nychka
    (1988), its mean square under the prior that the penalty stands for is added.
    """
    mean_psi, means = total.means
    mean_x, mean_y = means[:-1][columns], means[-1]
    count = 0 if clusters is None else int(clusters.max()) + 1
    by_cluster = np.zeros((count, len(mean_psi)))
    meat = np.zeros((len(mean_psi), len(mean_psi)))
    for rows, psi, x, y in blocks():
        errors = y - mean_y - (x[:, columns] - mean_x) @ fit.coefficients
        scores = (psi - mean_psi) * (weights[rows] * errors)[:, None]
        if clusters is None:
            meat += scores.T @ scores
        else:
            np.add.at(by_cluster, clusters[rows], scores)
    meat += by_cluster.T @ by_cluster
    covariance: Floats = fit.influence @ meat @ fit.influence.T + fit.bias
    return covariance


def coefficient_paths(
    sums: MomentSums, columns: slice, multiple: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return coefficients by penalty, spectrum and basis, and what Q makes of A, ``(m, p)``."""
    centre = sums.means[0]
    delta = radius(sums.rows, multiple)
    cross = sums.cross_about(centre)
    A, b = cross[:, 1:-1][:, columns], cross[:, -1]
    adversary = critic(sums.gram_about(centre), sums.rows, delta)
    penalties = PENALTIES * sums.rows**2 * delta**4
    return *penalised_path(A, b, adversary, penalties), adversary(A)


def _smooth(sums: MomentSums, columns: slice, multiple: float) -> tuple[Floats, float]:
    """Return ridge coefficients ``(m, c)`` of x[columns] on ψ, and their effective number."""
    centre = sums.means[0]
    gram = sums.gram_about(centre)
    penalised = gram + sums.rows * radius(sums.rows, multiple) ** 2 * np.eye(len(gram))
    targets = sums.cross_about(centre)[:, 1:-1][:, columns]
    solved = np.linalg.solve(penalised, np.hstack([targets, gram]))
    width = targets.shape[1]
    beta = np.asarray(solved[:, :width], dtype=np.float64)
    return beta, float(np.trace(solved[:, width:]))


def left_over(
    train: MomentSums, rows: MomentSums, columns: slice | NDArray[np.int64], beta: Floats
) -> Floats:
    """Return ``Σ w (x - x̄ - (ψ - ψ̄)'β)²`` over ``rows``, the means those of ``train``, ``(c,)``."""
    centre, means = train.means
    mean = means[:-1][columns]
    cross = rows.cross_about(centre)
    sums = rows.cross[0, 1:-1][columns]
    about = cross[:, 1:-1][:, columns] - np.outer(cross[:, 0], mean)  # (m, c)
    spread = rows.squares[columns] - 2 * mean * sums + rows.rows * mean**2
    gram = rows.gram_about(centre)
    left: Floats = spread - 2 * (beta * about).sum(axis=0) + (beta * (gram @ beta)).sum(axis=0)
    return left
