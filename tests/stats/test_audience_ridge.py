"""The fit and its errors equal those of one dense system of equations."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge as ScikitRidge

from causalign.errors import InputError, NotIdentified
from causalign.stats.audience_ridge import audience_ridge
from causalign.stats.folds import group_folds

random = np.random.default_rng(0)
N, D, A = 400, 7, 3
CODE = np.r_[np.zeros(3, int), np.ones(290, int), np.full(107, 2)]
X = random.normal(size=(N, D))
SLOPES = np.array([np.zeros(D), np.linspace(1, -1, D), np.linspace(1, 2, D)])
Y = np.einsum("id,id->i", X, SLOPES[CODE]) + np.array([5.0, 0, 3])[CODE] + random.normal(size=N)
W = random.random(N) + 0.5
GROUPS = np.arange(N) // 2


def dense(fit, groups=GROUPS):
    """Return the design of levels, b and c_u - b, the penalties and the solution."""
    design = np.zeros((N, A + D * (A + 1)))
    design[np.arange(N), CODE] = 1
    design[:, A : A + D] = X
    for m in range(A):
        design[:, A + D * (m + 1) : A + D * (m + 2)] = X * (m == CODE)[:, None]
    penalty = np.r_[
        np.zeros(A), np.full(D, fit.pairs.chosen[0]), np.full(D * A, fit.pairs.chosen[1])
    ]
    inverse = np.linalg.inv(design.T @ (W[:, None] * design) + np.diag(penalty))
    return design, penalty, inverse, inverse @ design.T @ (W * Y)


@pytest.fixture(scope="module")
def fit():
    return audience_ridge(
        X, Y, CODE, folds=group_folds(GROUPS), weights=W, groups=GROUPS, penalties=[0.5, 5.0, 50.0]
    )


def test_the_fit_solves_the_system_of_both_penalties(fit):
    solution = dense(fit)[3]
    assert_allclose(fit.shared, solution[A : A + D], atol=1e-10)
    for m in range(A):
        own = solution[A : A + D] + solution[A + D * (m + 1) : A + D * (m + 2)]
        assert_allclose(fit.coefficients[m], own, atol=1e-10)
        assert fit.levels[m] - fit.centres[m] @ own == pytest.approx(solution[m], abs=1e-10)


def test_errors_of_sums_over_audiences_are_those_of_the_system(fit):
    design, penalty, inverse, solution = dense(fit)
    contrasts, levels = random.normal(size=(A, D, 4)), random.normal(size=(A, 4))
    told = fit.contrast(contrasts, levels)
    weights = np.zeros((len(penalty), 4))  # a level is its intercept and the slopes at its centre
    for m in range(A):
        along = contrasts[m] + np.outer(fit.centres[m], levels[m])
        weights[m] = levels[m]
        weights[A : A + D] += along
        weights[A + D * (m + 1) : A + D * (m + 2)] = along
    rows = (design * (W * (Y - fit.out_of_fold))[:, None]) @ inverse @ weights
    sums = rows.reshape(N // 2, 2, 4).sum(axis=1)
    assert_allclose(told.noise, sums.T @ sums * 200 / 199, rtol=1e-9)
    variance = np.r_[
        np.zeros(A), np.full(D, fit.errors.prior_shared), np.full(D * A, fit.errors.prior_apart)
    ]
    lost = penalty[:, None] * (inverse @ weights)
    assert_allclose(told.prior, lost.T @ (variance[:, None] * lost), rtol=1e-8)
    assert_allclose(told.shrunk, weights.T @ inverse @ (penalty * solution), atol=1e-9)
    assert_allclose(told.estimate, weights.T @ solution, atol=1e-9)


def test_predictions_are_of_fits_that_did_not_see_the_row():
    folds = np.arange(N) % 4
    fit = audience_ridge(X, Y, CODE, folds=folds, penalties=[2.0])
    train = folds != 0
    design = np.hstack([X * (m == CODE)[:, None] for m in range(A)])
    shared = np.sqrt(fit.pairs.chosen[1] / 2.0) * X
    level = np.eye(A)[CODE]
    both = np.hstack([shared, design])
    free, *_ = np.linalg.lstsq(level[train], both[train], rcond=None)
    own = ScikitRidge(fit.pairs.chosen[1], fit_intercept=False)
    means = level[train].T @ Y[train] / level[train].sum(axis=0)
    own.fit(both[train] - level[train] @ free, Y[train] - means[CODE[train]])
    held = ~train
    expected = means[CODE[held]] + own.predict(both[held] - level[held] @ free)
    assert_allclose(fit.out_of_fold[held], expected, atol=1e-8)


def test_more_features_than_rows_are_fitted_in_the_span_of_the_rows():
    wide = random.normal(size=(60, 90))
    fit = audience_ridge(wide, Y[-60:], np.arange(60) % 2, folds=np.arange(60) % 5)
    unseen = random.normal(size=(2, 90, 1))
    told = fit.contrast(unseen)
    assert (
        told.prior[0, 0]
        > 0.2 * (fit.errors.prior_shared + fit.errors.prior_apart) * np.square(unseen).sum()
    )


def test_equal_audiences_are_shrunk_to_each_other():
    y = X @ SLOPES[1] + random.normal(size=N)
    fit = audience_ridge(X, y, np.arange(N) % 2, folds=group_folds(N))
    assert fit.pairs.best[0] >= len(fit.pairs.apart) - 3
    assert_allclose(fit.coefficients[0], fit.coefficients[1], atol=0.1)


def test_what_cannot_be_fitted_is_refused():
    for code in (CODE + 1, CODE[:-1], CODE * 1.0):
        with pytest.raises(InputError, match="audience"):
            audience_ridge(X, Y, code, folds=group_folds(N))
    with pytest.raises(NotIdentified):
        audience_ridge(np.eye(A)[CODE], Y, CODE, folds=group_folds(N))
