"""The same numbers as scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score

from causalign.stats.folds import group_folds
from causalign.stats.logistic_path import logistic_path
from causalign.stats.pair_metrics import pair_auc
from causalign.stats.ridge_path import ridge_path

RIDGE = 1e-8
LOGISTIC = 1e-6
AUC = 1e-12


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 40)) * np.geomspace(1, 0.05, 40) + 2


@pytest.mark.parametrize("outcomes", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_ridge(features, outcomes, weighted):
    rng = np.random.default_rng(1)
    Y = features[:, :outcomes] + rng.normal(size=(300, outcomes))
    Y = Y[:, 0] if outcomes == 1 else Y
    w = rng.uniform(0.2, 2, size=300) if weighted else None
    path = ridge_path(features, Y, folds=group_folds(300, 5), weights=w)
    for index in (0, path.best, -1):
        model = Ridge(alpha=path.penalties[index]).fit(features, Y, sample_weight=w)
        np.testing.assert_allclose(path.coefficients[index].T, model.coef_, rtol=0, atol=RIDGE)
        assert path.intercepts[index] == pytest.approx(model.intercept_, abs=RIDGE)


@pytest.mark.parametrize("weighted", [False, True])
def test_logistic(features, weighted):
    rng = np.random.default_rng(2)
    D = features - 2
    labels = rng.random(300) < 1 / (1 + np.exp(-2 * D[:, 0]))
    w = rng.uniform(0.2, 2, size=300) if weighted else None
    path = logistic_path(D, labels=labels, folds=group_folds(300, 5), weights=w)
    for index in (0, path.best, -1):
        model = LogisticRegression(
            C=1 / path.penalties[index], fit_intercept=False, solver="newton-cholesky", tol=1e-12
        ).fit(D, labels, sample_weight=w)
        assert path.coefficients[index] == pytest.approx(model.coef_[0], abs=LOGISTIC)


def test_auc_of_both_orders():
    rng = np.random.default_rng(3)
    d = np.round(rng.normal(0.2, 1, size=200), 1)
    labels = rng.random(200) < 0.6
    expected = roc_auc_score(np.r_[labels, ~labels], np.r_[d, -d])
    assert pair_auc(d, labels).estimate == pytest.approx(expected, abs=AUC)
