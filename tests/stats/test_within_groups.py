"""Deviations within groups: against dummies, a mixed model's likelihood, and known truths."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.linear_model import Ridge

from causalign.errors import InputError, NotIdentified
from causalign.stats.folds import group_folds
from causalign.stats.within_groups import (
    between_variance,
    deviate,
    within_path,
)


def test_weighted_deviations_are_what_dummies_of_the_groups_leave(tests_of):
    X, z, v, group, _ = tests_of()
    D = (group[:, None] == np.unique(group)).astype(float)
    root = 1 / np.sqrt(v)
    left = root[:, None] * D
    residual = root[:, None] * X - left @ np.linalg.lstsq(left, root[:, None] * X)[0]
    within = deviate(X, z, group, 1 / v)
    assert within.features == pytest.approx(residual)
    assert within.outcome == pytest.approx(root * z - left @ np.linalg.lstsq(left, root * z)[0])


def test_path_is_ridge_on_deviations_with_the_log_weighed_by_its_share(tests_of):
    X, z, v, group, b = tests_of()
    rng = np.random.default_rng(1)
    L = rng.normal(size=(50, 6))
    log = deviate(L, L @ b + rng.normal(size=50), np.zeros(50))
    tests = deviate(X, z, group, 1 / v)
    folds = group_folds(group, 5, 0)
    path = within_path(tests, folds, [0.5, 5.0], log=log, shares=(0.0, 0.3))
    both = np.vstack([tests.features, np.sqrt(0.3) * log.features])
    target = np.concatenate([tests.outcome, np.sqrt(0.3) * log.outcome])
    expected = Ridge(5.0, fit_intercept=False).fit(both, target).coef_
    assert path.coefficients[1, 1] == pytest.approx(expected)
    alone = Ridge(0.5, fit_intercept=False).fit(tests.features, tests.outcome).coef_
    assert path.coefficients[0, 0] == pytest.approx(alone)
    seen = folds != 2
    without = Ridge(0.5, fit_intercept=False).fit(tests.features[seen], tests.outcome[seen]).coef_
    assert path.fold_coefficients[2, 0, 0] == pytest.approx(without)


def test_errors_and_correlation_are_those_of_unseen_groups(tests_of):
    X, z, v, group, _ = tests_of()
    tests, folds = deviate(X, z, group, 1 / v), group_folds(group, 5, 0)
    path = within_path(tests, folds, [1.0, 10.0])
    unseen = np.empty(len(z))
    for fold in range(5):
        rows = folds == fold
        unseen[rows] = tests.features[rows] @ path.fold_coefficients[fold, 0, 1]
    squared = np.sum((tests.outcome - unseen) ** 2) / np.sum(tests.outcome**2)
    assert path.error[0, 1] == pytest.approx(squared)
    cosine = unseen @ tests.outcome / np.sqrt(unseen @ unseen * (tests.outcome @ tests.outcome))
    assert path.correlation[0, 1] == pytest.approx(cosine)


def test_rows_of_the_log_are_left_out_with_their_fold(tests_of):
    X, z, v, group, _ = tests_of()
    tests, folds = deviate(X, z, group, 1 / v), group_folds(group, 5, 0)
    log = deviate(X, 100 * z, np.zeros(len(z)))  # shows the same rows, and would give them away
    hidden = within_path(tests, folds, [1.0], log=log, log_folds=folds, shares=(1.0,))
    shown = within_path(tests, folds, [1.0], log=log, shares=(1.0,))
    rows = folds != 0
    both = np.vstack([tests.features[rows], log.features[rows]])
    target = np.concatenate([tests.outcome[rows], log.outcome[rows]])
    expected = Ridge(1.0, fit_intercept=False).fit(both, target).coef_
    assert hidden.fold_coefficients[0, 0, 0] == pytest.approx(expected)
    assert shown.fold_coefficients[0, 0, 0] != pytest.approx(expected)


def test_between_variance_maximises_the_likelihood_of_contrasts(tests_of):
    X, z, v, group, _ = tests_of(groups=40, d=3)
    D = (group[:, None] == np.unique(group)).astype(float)
    contrasts = np.linalg.svd(D.T)[2][D.shape[1] :]  # what no level of a group moves

    def likelihood(between):
        fits = [
            multivariate_normal.logpdf(
                contrasts @ z,
                cov=contrasts @ (slope * X @ X.T + np.diag(v + between)) @ contrasts.T,
            )
            for slope in np.geomspace(1e-3, 1, 25)
        ]
        return max(fits)

    grid = np.linspace(0, 0.2, 41)
    best = grid[np.argmax([likelihood(between) for between in grid])]
    assert between_variance(X, z, v, group) == pytest.approx(best, abs=0.008)


def test_between_variance_finds_the_truth_and_zero(tests_of):
    assert between_variance(*tests_of(groups=800)[:4]) == pytest.approx(0.05, abs=0.012)
    assert between_variance(*tests_of(groups=800, between=0.0)[:4]) < 0.006


def test_bad_rows_are_refused(tests_of):
    X, z, v, group, _ = tests_of()
    with pytest.raises(InputError, match="above 0"):
        deviate(X, z, group, np.zeros(len(z)))
    with pytest.raises(InputError, match="must be"):
        deviate(X, z[1:], group)
    with pytest.raises(InputError, match="missing or infinite"):
        deviate(X, np.where(group == 0, np.nan, z), group)
    with pytest.raises(NotIdentified, match="two rows"):
        between_variance(X, z, v, np.arange(len(z)))
