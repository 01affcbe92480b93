"""Closed forms against n x n matrices, numerical games and two-stage least squares."""

import numpy as np
import pytest
from scipy import linalg, optimize

from causalign.errors import InputError, SettingsError
from causalign.stats.folds import group_folds
from causalign.stats.kernel_instruments import (
    error_covariance,
    kernel_first_stage,
    kernel_instruments,
    linear_instruments,
    penalised_path,
)
from causalign.stats.kernels import kernel_features, mixed_kernel
from causalign.stats.least_squares import two_stage
from causalign.stats.moment_sums import critic, held_out_violation, sums_by_fold, sums_of

# Features drop directions below 1e-10 of the largest; roots of n x n matrices lose as much again.
TO_THE_MATRICES = 1e-6
TO_TWO_STAGE = 1e-6
TO_THE_GAME = 1e-5


def sample(n=120, seed=0):
    rng = np.random.default_rng(seed)
    z, u = rng.normal(size=(2, n))
    price = 1.2 * z + 0.8 * u + 0.1 * rng.normal(size=n)
    shop = rng.integers(0, 3, n)
    y = np.abs(price) + 0.5 * shop + 2 * u + 0.1 * rng.normal(size=n)
    return np.column_stack([price, shop]), np.column_stack([z, shop]), y


def features(rows, landmarks=1000):
    ones = np.ones(len(rows))
    return kernel_features(rows, mixed_kernel(rows, (0, 3), ones), landmarks=landmarks)


def blocks_of(psi, x, y, size=50):
    return lambda: (
        (slice(i, i + size), psi[i : i + size], x[i : i + size], y[i : i + size])
        for i in range(0, len(y), size)
    )


def papers_matrices(K_h, K_f, y, delta, alpha):
    """Return h at the rows from the n x n closed form of arXiv:2006.07201, and M.

    Its (K_h M K_h + αK_h)⁺ K_h M y solves K_h (M K_h + αI) a = K_h M y; the factor K_h, of which
    nine tenths of the eigenvalues are rounding, is left out on both sides.
    """
    n = len(y)
    eigenvalues, V = linalg.eigh(K_f)
    root = (V * np.sqrt(np.clip(eigenvalues, 0, None))) @ V.T
    M = root @ np.linalg.inv(K_f / (2 * n * delta**2) + np.eye(n) / 2) @ root
    a = np.linalg.solve(M @ K_h + alpha * np.eye(n), M @ y)
    np.testing.assert_allclose((K_h @ M @ K_h + alpha * K_h) @ a, K_h @ M @ y, atol=1e-8)
    return K_h @ a, M


@pytest.mark.parametrize(("delta", "alpha"), [(0.5, 1.0), (0.1, 1e-2), (2.0, 30.0)])
def test_all_landmarks_give_the_closed_form_of_the_paper(delta, alpha):
    C, Z, y = sample()
    phi, psi = features(C), features(Z)
    Phi, Psi = phi(C), psi(Z)
    K_h, K_f = phi.kernel(C, C), psi.kernel(Z, Z)
    np.testing.assert_allclose(Phi @ Phi.T, K_h, atol=1e-8)
    path, _, _ = penalised_path(
        Psi.T @ Phi, Psi.T @ y, critic(Psi.T @ Psi, len(y), delta), np.array([alpha])
    )
    expected, M = papers_matrices(K_h, K_f, y, delta, alpha)
    np.testing.assert_allclose(Phi @ path[:, 0], expected, atol=TO_THE_MATRICES)
    g = Psi.T @ y
    through_features = g @ critic(Psi.T @ Psi, len(y), delta)(g)
    assert through_features == pytest.approx(y @ M @ y, rel=1e-6)


def test_the_closed_form_is_the_value_of_the_game():
    """A quasi-Newton method plays h against the best f, which another one finds."""
    C, Z, y = sample(40)
    Phi, Psi, n = features(C, 8)(C), features(Z, 6)(Z), 40
    delta, alpha = 0.3, 0.5

    def gain(b, errors):
        f = Psi @ b
        return 2 * errors @ f - f @ f / (2 * n * delta**2) - b @ b / 2

    def best_reply(errors):
        def loss(b):
            f = Psi @ b
            gradient = 2 * Psi.T @ errors - Psi.T @ f / (n * delta**2) - b
            return -gain(b, errors), -gradient

        played = optimize.minimize(loss, np.zeros(Psi.shape[1]), jac=True, tol=1e-14)
        return played.x, -played.fun

    def worst(a):
        errors = y - Phi @ a
        b, value = best_reply(errors)
        return value + alpha * a @ a, -2 * Phi.T @ (Psi @ b) + 2 * alpha * a

    played = optimize.minimize(
        worst, np.zeros(Phi.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-9}
    )
    adversary = critic(Psi.T @ Psi, n, delta)
    path, _, _ = penalised_path(Psi.T @ Phi, Psi.T @ y, adversary, np.array([alpha]))
    np.testing.assert_allclose(Phi @ played.x, Phi @ path[:, 0], atol=TO_THE_GAME)
    g = Psi.T @ (y - Phi @ path[:, 0])
    value = g @ adversary(g) + alpha * path[:, 0] @ path[:, 0]
    assert worst(path[:, 0])[0] == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
def test_columns_and_vanishing_penalties_are_two_stage_least_squares(weighted):
    rng = np.random.default_rng(1)
    Z, u = rng.normal(size=(300, 3)), rng.normal(size=300)
    C = Z @ rng.normal(size=(3, 2)) + u[:, None]
    y = C @ [0.5, -1.0] + 2 * u + rng.normal(size=300)
    w = rng.uniform(0.5, 2.0, 300) if weighted else np.ones(300)
    total = sums_of(sums_by_fold(blocks_of(Z, C, y), np.zeros(300, dtype=int), w))
    centre = total.means[0]
    cross = total.cross_about(centre)
    adversary = critic(total.gram_about(centre), total.rows, 1e-5)
    path, _, _ = penalised_path(cross[:, 1:-1], cross[:, -1], adversary, np.array([1e-12]))
    fit = two_stage(y, C, np.ones((300, 1)), Z, weights=w)
    np.testing.assert_allclose(path[:, 0], fit.coefficients[1:], atol=TO_TWO_STAGE)


def test_sums_by_fold_are_those_of_the_rows():
    C, Z, y = sample()
    psi, x, w = features(Z)(Z), features(C)(C), np.random.default_rng(2).uniform(1, 2, 120)
    folds = group_folds(120, 4)
    sums = sums_by_fold(blocks_of(psi, x, y, 7), folds, w)
    total = sums_of(sums)
    centred = psi - np.average(psi, axis=0, weights=w)
    np.testing.assert_allclose(
        total.gram_about(total.means[0]), (centred * w[:, None]).T @ centred, atol=1e-9
    )
    kept, held = folds != 2, folds == 2
    a = np.random.default_rng(3).normal(size=(x.shape[1], 2))
    found = held_out_violation(total.without(sums[2]), sums[2], slice(None), a)

    def about(columns):
        return columns[held] - np.average(columns[kept], axis=0, weights=w[kept])

    errors = about(y)[:, None] - about(x) @ a
    tests = about(psi) * w[held, None]
    n, delta = w[held].sum(), w[held].sum() ** -0.4
    Q = np.linalg.inv(tests.T @ about(psi) / (2 * n * delta**2) + np.eye(psi.shape[1]) / 2)
    g = tests.T @ errors
    expected = np.einsum("ml,mk,kl->l", g, Q, g) / (2 * n**2 * delta**2)
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_few_landmarks_come_close():
    C, Z, y = sample(600)
    folds, ones = group_folds(600, 5), np.ones(600)
    fits = []
    for landmarks in (60, 1000):
        phi, psi = features(C, landmarks), features(Z, landmarks)
        sums = sums_by_fold(blocks_of(psi(Z), phi(C), y), folds, ones)
        x = phi(C) - phi(C).mean(axis=0)
        fits.append(x @ kernel_instruments(sums, slice(None)).coefficients)
    assert np.std(fits[0] - fits[1]) < 0.02 * np.std(fits[1])


def test_held_out_moments_choose_the_curve_over_the_line():
    C, Z, y = sample(2000)
    phi, psi = features(C, 200), features(Z, 200)
    x = np.hstack([phi(C), C])
    sums = sums_by_fold(blocks_of(psi(Z), x, y), group_folds(2000, 5), np.ones(2000))
    fit = kernel_instruments(sums, slice(0, phi.size))
    lines = linear_instruments(
        sums_by_fold(blocks_of(Z, C, y), group_folds(2000, 5), np.ones(2000))
    )
    total = sums_of(sums)
    line = np.mean(
        [
            held_out_violation(total.without(held), held, slice(phi.size, None), b[:, None])[0]
            for held, b in zip(sums, lines, strict=True)
        ]
    )
    assert fit.violations.mean() < 0.5 * line < line < fit.of_nothing.mean()
    centred = phi(C) - phi(C).mean(axis=0)
    truth = np.abs(C[:, 0]) + 0.5 * C[:, 1]
    error = centred @ fit.coefficients - truth + truth.mean()
    assert np.mean(error**2) < 0.15 * truth.var()
    stage = kernel_first_stage(sums, slice(phi.size, None))
    assert (stage.f > 100).all()
    assert stage.r2[1] > 0.999


def test_sampling_errors_are_those_of_repeated_draws():
    """With the penalty held fixed, the sandwich is the variance over fresh errors."""
    rng = np.random.default_rng(5)
    C, Z, _ = sample(400)
    Phi, Psi, ones, folds = features(C, 20)(C), features(Z, 20)(Z), np.ones(400), np.arange(400) % 5
    blocks = blocks_of(Psi, Phi, np.zeros(400))
    noise = rng.normal(size=(400, 600))
    total = sums_of(sums_by_fold(blocks, folds, ones))
    fit = kernel_instruments(
        sums_by_fold(blocks_of(Psi, Phi, noise[:, 0]), folds, ones), slice(None)
    )
    draws = fit.influence @ (Psi - Psi.mean(axis=0)).T @ noise  # (p, 600)
    y = Phi @ fit.coefficients + noise[:, 0]
    covariance = error_covariance(fit, blocks_of(Psi, Phi, y), total, slice(None), ones, None)
    ratio = np.trace(covariance - fit.bias) / np.trace(np.cov(draws))
    assert ratio == pytest.approx(1, abs=0.25)
    doubled = error_covariance(
        fit, blocks_of(Psi, Phi, y), total, slice(None), ones, np.arange(400) // 2
    )
    assert np.trace(doubled - fit.bias) / np.trace(np.cov(draws)) == pytest.approx(1, abs=0.35)


def test_kernels_know_unknown_categories_as_average_ones():
    C, _, _ = sample()
    phi = features(C)
    unknown = np.array([[0.3, -1.0]])
    known = np.array([[0.3, 0.0], [0.3, 1.0], [0.3, 2.0]])
    shares = np.bincount(C[:, 1].astype(int)) / len(C)
    np.testing.assert_allclose(phi(unknown)[0], shares @ phi(known), atol=1e-8)
    assert np.mean(np.diag(phi.kernel(C, C))) == pytest.approx(1)


def test_kernels_refuse_what_they_cannot_use():
    with pytest.raises(InputError, match="Column 1 holds one value"):
        mixed_kernel(np.column_stack([np.arange(5.0), np.ones(5)]), (0, 0), np.ones(5))
    with pytest.raises(SettingsError, match="landmarks"):
        features(sample()[0], 1)
