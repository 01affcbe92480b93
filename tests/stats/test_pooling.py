"""A log beside tests: what was chosen, and whether the two agree."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from causalign.stats.folds import group_folds
from causalign.stats.pooling import compare_with_log, pool, weigh_log
from causalign.stats.within_groups import deviate


def weighed(b, rows=2000, seed=0, **settings):
    rng = np.random.default_rng(seed)
    L = rng.normal(size=(rows, len(b)))
    return weigh_log(L, 3 + L @ b + rng.normal(size=rows), np.arange(rows), **settings), L


def test_a_log_is_weighed_by_its_error_in_unseen_rows(tests_of):
    b = tests_of()[-1]
    log, L = weighed(b, weights=np.r_[np.zeros(1000), np.ones(1000)])
    assert len(log.folds) == 1000
    assert log.deviations.weights == pytest.approx(1, abs=0.15)  # the variance of its noise is 1
    assert log.intercept(b) == pytest.approx(3, abs=0.2)
    assert log.mean_features == pytest.approx(L[1000:].mean(axis=0))


def test_few_tests_keep_the_choice_of_the_log_and_many_leave_out_one_that_misleads(tests_of):
    X, z, v, group, b = tests_of(groups=200)
    tests, folds = deviate(X, z, group, 1 / (v + 0.05)), group_folds(group, 5, 0)
    few = group < 40
    for right, rows, share in ((b, slice(None), 1.0), (-b, slice(None), 0.0), (-b, few, 1.0)):
        some = tests if isinstance(rows, slice) else tests.take(rows)
        log, _ = weighed(right)
        pooling = pool(some, folds[rows], log)
        assert pooling.path.shares[pooling.chosen[0]] == share


def test_the_default_is_ridge_on_both_with_the_penalty_of_the_log(tests_of):
    X, z, v, group, b = tests_of(groups=30)
    tests, folds = deviate(X, z, group, 1 / (v + 0.05)), group_folds(group, 5, 0)
    log, _ = weighed(b)
    pooling = pool(tests, folds, log)
    both = np.vstack([tests.features, log.deviations.features])
    target = np.concatenate([tests.outcome, log.deviations.outcome])
    expected = Ridge(log.penalty, fit_intercept=False).fit(both, target).coef_
    assert pooling.path.coefficients[pooling.chosen] == pytest.approx(expected)


def test_agreement_is_rejected_as_often_as_promised_and_contradiction_always(tests_of):
    rng = np.random.default_rng(0)
    d, rejected, caught, slopes = 6, 0, 0, []
    for draw in range(200):
        b = rng.normal(size=d) * 0.2
        A = 500 * np.eye(d)
        covariance = np.linalg.inv(A + np.eye(d) / 0.04)
        log = covariance @ (A @ b + np.sqrt(500) * rng.normal(size=d))
        X, z, v, group, _ = tests_of(b=b, seed=draw, between=0.0)
        tests = deviate(X, z, group, 1 / v)
        agreement = compare_with_log(tests, log, covariance)
        rejected += agreement.p_value < 0.05
        slopes.append(agreement.slope)
        caught += compare_with_log(tests, -log, covariance).p_value < 0.05
    assert 2 <= rejected <= 20
    assert caught == 200
    assert np.mean(slopes) == pytest.approx(1, abs=0.03)
