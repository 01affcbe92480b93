"""Cross-fitted predictions equal refitting by hand, fold by fold."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor

from causalign.errors import InputError, SettingsError
from causalign.stats.cross_fit import learner_cross_fit, ridge_cross_fit
from causalign.stats.folds import group_folds


def data(n=150, d=6, m=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * np.geomspace(1, 1000, d) + 7
    return X, X @ rng.normal(size=(d, m)) + 300 * rng.normal(size=(n, m)), rng.uniform(0.2, 2, n)


def by_hand(X, T, folds, penalties, w):
    """Refit for each fold, inner fold, target and penalty."""
    mean = np.average(X, axis=0, weights=w)
    Z = (X - mean) / np.sqrt(np.average((X - mean) ** 2, axis=0, weights=w))
    predicted, chosen = np.empty_like(T), []
    for f in range(folds.max() + 1):
        for j in range(T.shape[1]):
            errors = []
            for penalty in penalties:
                error = 0.0
                for g in set(folds.tolist()) - {f}:
                    train, test = (folds != f) & (folds != g), folds == g
                    fit = Ridge(penalty).fit(Z[train], T[train, j], sample_weight=w[train])
                    error += w[test] @ (T[test, j] - fit.predict(Z[test])) ** 2
                errors.append(error)
            chosen.append(penalties[int(np.argmin(errors))])
            train, test = folds != f, folds == f
            fit = Ridge(chosen[-1]).fit(Z[train], T[train, j], sample_weight=w[train])
            predicted[test, j] = fit.predict(Z[test])
    return predicted, np.reshape(chosen, (-1, T.shape[1]))


@pytest.mark.parametrize("weighted", [False, True])
def test_nested_ridge_equals_refitting(weighted):
    X, T, w = data()
    w = w if weighted else np.ones(len(X))
    folds = group_folds(np.arange(len(X)) // 3, 4)
    penalties = np.array([0.1, 3.0, 30.0, 300.0])
    found = ridge_cross_fit(X, T, folds=folds, penalties=penalties, weights=w)
    predicted, chosen = by_hand(X, T, folds, penalties, w)
    np.testing.assert_array_equal(found.penalties, chosen)
    np.testing.assert_allclose(found.predicted, predicted, rtol=1e-8)


def test_more_columns_than_rows():
    X, T, _ = data(n=40, d=60)
    folds = group_folds(40, 5)
    found = ridge_cross_fit(X, T, folds=folds, penalties=[5.0, 50.0])
    predicted, _ = by_hand(X, T, folds, [5.0, 50.0], np.ones(40))
    np.testing.assert_allclose(found.predicted, predicted, rtol=1e-8)


def test_a_row_has_no_part_in_its_own_prediction():
    X, T, _ = data()
    folds = group_folds(len(X), 5)
    changed = T.copy()
    changed[folds == 2] += 1e4 * np.random.default_rng(1).normal(size=changed[folds == 2].shape)
    before, after = ridge_cross_fit(X, T, folds=folds), ridge_cross_fit(X, changed, folds=folds)
    np.testing.assert_allclose(after.predicted[folds == 2], before.predicted[folds == 2], rtol=1e-6)
    np.testing.assert_array_equal(after.penalties[2], before.penalties[2])


def test_any_regressor():
    X, T, w = data()
    folds = group_folds(len(X), 3)
    found = learner_cross_fit(LinearRegression(), X, T, folds=folds, weights=w)
    held = folds == 1
    expected = LinearRegression().fit(X[~held], T[~held, 1], w[~held]).predict(X[held])
    np.testing.assert_allclose(found.predicted[held, 1], expected)


def test_what_cannot_be_used_is_refused():
    X, T, w = data()
    with pytest.raises(SettingsError, match="at least 3 folds"):
        ridge_cross_fit(X, T, folds=np.arange(len(X)) % 2)
    with pytest.raises(SettingsError, match="scikit-learn regressor"):
        learner_cross_fit("ridge", X, T, folds=np.arange(len(X)) % 2)
    with pytest.raises(SettingsError, match="takes no sample_weight"):
        learner_cross_fit(KNeighborsRegressor(), X, T, folds=np.arange(len(X)) % 2, weights=w)
    with pytest.raises(InputError, match="missing or infinite"):
        ridge_cross_fit(X * np.nan, T, folds=np.arange(len(X)) % 3)
    with pytest.raises(InputError, match="not negative"):
        ridge_cross_fit(X, T, folds=np.arange(len(X)) % 3, weights=-w)


def test_features_that_never_vary_predict_the_mean():
    T = data()[1]
    folds = group_folds(len(T), 3)
    found = ridge_cross_fit(np.ones((len(T), 2)), T, folds=folds)
    np.testing.assert_allclose(found.predicted[folds == 0], [T[folds != 0].mean(axis=0)] * 50)
