"""Widths chosen by losses whose least is known, and losses against ridge row by row."""

import numpy as np
import pytest

from causalign.stats.folds import group_folds
from causalign.stats.kernel_widths import (
    RIDGES,
    WIDTHS,
    choose_widths,
    reduced_form_errors,
    violations_of_moments,
)
from causalign.stats.kernels import kernel_features, mixed_kernel
from causalign.stats.moment_sums import sums_by_fold


@pytest.mark.parametrize("target", [(np.inf, 0.25), (1.0, 0.0625), (0.5, 2.0)])
def test_descent_finds_the_least_of_separate_columns(target):
    goal = [WIDTHS.index(one) for one in target]

    def losses(widths):
        away = sum(abs(WIDTHS.index(w) - g) for w, g in zip(widths[::2], goal, strict=True))
        return np.full(5, float(away))

    found = choose_widths(losses, (0, 3, 0))
    assert (found[0], found[2]) == target


def test_gains_within_their_standard_error_move_nothing():
    noise = np.random.default_rng(0).normal(size=10)
    noise -= noise.mean() - 0.01

    def losses(widths):
        return np.ones(10) if widths[0] > 1 else -noise * (widths[0] < 1)

    assert losses((0.5,)).mean() < losses((1.0,)).mean()
    assert choose_widths(losses, (0,)) == (1.0,)


def test_errors_of_the_reduced_form_are_those_of_ridge():
    rng = np.random.default_rng(1)
    z, w, folds = rng.normal(size=(200, 3)), rng.uniform(0.5, 2, 200), group_folds(200, 4)
    y = z @ [1.0, -1.0, 0.5] + rng.normal(size=200)
    sums = sums_by_fold(lambda: iter([(slice(None), z, y[:, None], y)]), folds, w)
    expected = np.zeros((4, len(RIDGES)))
    for fold in range(4):
        kept, held = folds != fold, folds == fold
        centre, mean = (np.average(one[kept], axis=0, weights=w[kept]) for one in (z, y))
        X, total = z - centre, w[kept].sum()
        for i, penalty in enumerate(RIDGES):
            gram = (X[kept].T * w[kept]) @ X[kept] + penalty * total * np.eye(3)
            b = np.linalg.solve(gram, X[kept].T @ (w[kept] * (y[kept] - mean)))
            expected[fold, i] = np.average((y[held] - mean - X[held] @ b) ** 2, weights=w[held])
    best = expected[:, expected.mean(axis=0).argmin()]
    np.testing.assert_allclose(reduced_form_errors(sums), best, rtol=1e-8)


def test_violations_prefer_the_width_of_the_curve():
    rng = np.random.default_rng(2)
    z, hidden = rng.uniform(-2, 2, 1500), rng.normal(size=1500)
    y, rows, ones = np.sin(6 * z) + 0.3 * hidden, z[:, None], np.ones(1500)
    psi = kernel_features(rows, mixed_kernel(rows, (0,), ones, (0.25,)))(rows)

    def losses(widths):
        phi = kernel_features(rows, mixed_kernel(rows, (0,), ones, widths))(rows)
        blocks = [(slice(None), psi, phi, y)]
        folds = sums_by_fold(lambda: iter(blocks), group_folds(1500, 5), ones)
        return violations_of_moments(folds, slice(0, phi.shape[1]))

    assert losses((0.25,)).mean() < 0.2 * losses((np.inf,)).mean()
    assert np.isfinite(choose_widths(losses, (0,))[0])
