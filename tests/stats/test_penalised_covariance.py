"""Errors of penalised coefficients: the posterior exactly, and coverage where noise is shared."""

import numpy as np
import pytest

from causalign.errors import NotIdentified
from causalign.stats.folds import group_folds
from causalign.stats.logistic_path import logistic_path
from causalign.stats.penalised_covariance import penalised_factor, score_covariance, with_level
from causalign.stats.ridge_path import ridge_path, row_space


def rows(n=60, d=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) + 2, rng


def test_with_plain_noise_it_is_the_posterior_of_the_coefficients():
    X, _ = rows()
    A, lam, sigma = X.T @ X, 7.0, 0.6
    L = penalised_factor(A, sigma**2 * A, lam, sigma**2 / lam, np.zeros(4))[:, :-1]
    np.testing.assert_allclose(L @ L.T, sigma**2 * np.linalg.inv(A + lam * np.eye(4)), rtol=1e-9)


def test_it_is_the_mean_squared_error_when_noise_is_shared_and_the_penalty_too_heavy():
    """The closed form against draws of coefficients and of noise that four groups share."""
    X, rng = rows()
    group, lam, kappa = np.arange(60) % 4, 20.0, 0.3
    shared = (group[:, None] == group) + np.eye(60)
    L = penalised_factor(X.T @ X, X.T @ shared @ X, lam, kappa**2, np.zeros(4))[:, :-1]
    b = kappa * rng.normal(size=(40_000, 4))
    noise = rng.normal(size=(40_000, 4))[:, group] + rng.normal(size=(40_000, 60))
    fit = np.linalg.solve(X.T @ X + lam * np.eye(4), X.T @ (b @ X.T + noise).T).T
    np.testing.assert_allclose(L @ L.T, (fit - b).T @ (fit - b) / 40_000, rtol=0.1, atol=2e-4)


def test_the_last_column_is_what_the_penalty_takes_from_the_estimate():
    """Without noise the fit is short of the truth by what it would lose if it were true."""
    X, rng = rows(400)
    b, lam = rng.normal(size=4), 4.0
    A = X.T @ X
    fit = np.linalg.solve(A + lam * np.eye(4), A @ b)
    L = penalised_factor(A, 1e-9 * A, lam, 0.0, fit)
    np.testing.assert_allclose(L[:, -1], b - fit, rtol=0.05)
    np.testing.assert_allclose(L[:, :-1], 0, atol=1e-4)


def test_scores_are_summed_within_groups():
    X, rng = rows()
    errors, group = rng.normal(size=60), np.arange(60) % 5
    sums = np.array([(X * errors[:, None])[group == g].sum(axis=0) for g in range(5)])
    np.testing.assert_allclose(score_covariance(X, errors, group), 5 / 4 * sums.T @ sums)
    with pytest.raises(NotIdentified):
        score_covariance(X, errors, np.zeros(60))


def test_in_the_span_of_few_rows_it_is_what_it_is_in_all_coordinates():
    """Five rows of eight columns: outside their span the prior is left."""
    X, rng = rows(5, 8)
    centred, errors = X - X.mean(axis=0), rng.normal(size=5)
    b = rng.normal(size=5) @ centred  # in the span, as penalised coefficients are
    basis, wide = row_space(centred), []
    for B in (basis, np.eye(8)):
        Z = centred @ B
        design = np.column_stack([np.ones(5), Z])
        gram = np.diag(np.r_[5.0, np.zeros(B.shape[1])])
        gram[1:, 1:] = Z.T @ Z
        meat = score_covariance(design, errors)
        inner = penalised_factor(
            gram, meat, np.r_[0.0, np.full(B.shape[1], 3.0)], 0.4, np.r_[0.0, b @ B]
        )
        L = with_level(inner, X.mean(axis=0), None if len(B.T) == 8 else B, 0.4)
        wide.append(L @ L.T)
    np.testing.assert_allclose(wide[0], wide[1], atol=1e-8)


@pytest.mark.parametrize("users", [None, 60])
def test_intervals_of_a_linear_reward_cover_and_those_that_forget_the_users_do_not(users):
    """A mean over texts of a fitted ridge; z has variance 1 if the error is as large as said."""
    z, forgetful = [], []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        scale, n = np.geomspace(1, 0.2, 12), 300
        X, noise = rng.normal(size=(n, 12)) * scale, rng.normal(size=n)
        user = np.arange(n) if users is None else np.arange(n) % users
        if users is not None:
            X = 0.6 * X + 0.8 * (rng.normal(size=(users, 12)) * scale)[user]
            noise = 0.6 * noise + 0.8 * rng.normal(size=users)[user]
        b, phi = 0.3 * rng.normal(size=12), rng.normal(size=12) * scale
        y = 1 + X @ b + noise
        path = ridge_path(X, y, folds=group_folds(user, 5, 0))
        error = path.intercepts[path.best] + phi @ path.coefficients[path.best] - 1 - phi @ b
        for found, groups in ((z, user), (forgetful, None)):
            L = path.covariance_factor(X, y, path.best, groups=groups)[:, :-1]
            found.append(error / np.linalg.norm(np.r_[1, phi] @ L))
    assert 0.8 < np.std(z) < 1.2
    assert np.mean(np.abs(z) < 1.96) > 0.9
    if users is not None:
        assert np.mean(np.abs(forgetful) < 1.96) < 0.85


def test_the_curvature_of_pairs_is_that_of_the_likelihood():
    D, rng = rows(400, 3)
    D = D - 2
    b = np.array([1.0, -0.5, 0.2])
    D *= np.sign(rng.random(400) - 1 / (1 + np.exp(D @ b)))[:, None]
    path = logistic_path(D, folds=group_folds(400, 5, 0), penalties=[1e-3])
    L = path.covariance_factor(D, 0)
    p = 1 / (1 + np.exp(-D @ path.coefficients[0]))
    exact = np.linalg.inv((D * (p * (1 - p))[:, None]).T @ D)
    assert np.all(L[0] == 0)
    V = L[1:, :-1] @ L[1:, :-1].T
    np.testing.assert_allclose(V, exact, rtol=0.25, atol=0.15 * exact.max())
    np.testing.assert_allclose(L[1:, -1], 1e-3 * exact @ path.coefficients[0], rtol=0.01)
