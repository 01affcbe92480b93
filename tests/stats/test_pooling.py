"""A log beside tests: how far it is believed, how sure the result is, and whether both agree."""

from dataclasses import replace

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


def test_tests_decide_how_far_a_log_is_believed(tests_of):
    X, z, v, group, b = tests_of(groups=200)
    tests, folds = deviate(X, z, group, 1 / (v + 0.05)), group_folds(group, 5, 0)
    for slope, probable in ((1, True), (0.5, True), (-1, False)):  # a log may exaggerate
        log, _ = weighed(b / slope)
        pooling = pool(tests, folds, log)
        assert pooling.weights.sum() == pytest.approx(1)
        assert (pooling.share_of_log > 0.5) is probable
        assert (pooling.share_of_log < 0.01) is not probable
    two = group < 2
    few = pool(tests.take(two), group[two], log)
    assert few.weights[few.trusted] > 0.5  # they cannot tell


def test_a_log_that_is_believed_is_ridge_on_both(tests_of):
    X, z, v, group, b = tests_of(groups=30)
    tests, folds = deviate(X, z, group, 1 / (v + 0.05)), group_folds(group, 5, 0)
    log, _ = weighed(b)
    pooling = pool(tests, folds, log)
    both = np.vstack([tests.features, log.deviations.features])
    target = np.concatenate([tests.outcome, log.deviations.outcome])
    penalty = pooling.path.penalties[pooling.trusted[1]]
    expected = Ridge(penalty, fit_intercept=False).fit(both, target).coef_
    assert pooling.path.coefficients[pooling.trusted] == pytest.approx(expected)
    assert pooling.coefficients == pytest.approx(expected, abs=0.02)


def test_the_covariance_counts_every_fit_and_the_choice_among_them(tests_of):
    X, z, v, group, b = tests_of(groups=30)
    tests, folds = deviate(X, z, group, 1 / (v + 0.05)), group_folds(group, 5, 0)
    log, _ = weighed(b)
    pooling = pool(tests, folds, log)
    errors, other = tests.outcome - pooling.predict_unseen(tests, folds), (0, 3)

    def covariance(weights):
        filled = np.zeros_like(pooling.weights)
        for place, weight in weights.items():
            filled[place] = weight
        factor = replace(pooling, weights=filled).covariance_factor(tests, log, errors, group)
        return factor[:, :-1] @ factor[:, :-1].T, factor[:, -1]

    apart = pooling.path.coefficients[pooling.trusted] - pooling.path.coefficients[other]
    apart = np.r_[-log.mean_features @ apart, apart]
    first, second = covariance({pooling.trusted: 1}), covariance({other: 1})
    both, shrunk = covariance({pooling.trusted: 0.5, other: 0.5})
    assert both == pytest.approx((first[0] + second[0]) / 2 + np.outer(apart, apart) / 4)
    assert shrunk == pytest.approx((first[1] + second[1]) / 2)


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
