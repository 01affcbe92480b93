"""Weights from a real-or-shuffled classifier, against densities that are known."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from causalign.errors import InputError, SettingsError
from causalign.stats.folds import group_folds
from causalign.stats.permutation_weights import (
    effective_size,
    permutation_weights,
    weighted_correlations,
)


def gaussian(n=4000, r=0.5):
    """Return T and C ``(n, 1)``, jointly normal, and the ratio p(T) p(C) / p(T, C)."""
    rng = np.random.default_rng(0)
    t, noise = rng.normal(size=(2, n))
    c = r * t + np.sqrt(1 - r**2) * noise
    joint = (t**2 + c**2 - 2 * r * t * c) / (1 - r**2)
    ratio = np.sqrt(1 - r**2) * np.exp((joint - t**2 - c**2) / 2)
    return t[:, None], c[:, None], ratio


def test_the_weights_are_the_ratio_of_densities():
    T, C, ratio = gaussian()
    folds = group_folds(len(T), 5)
    # With its square, the logistic holds the true log ratio, which is quadratic.
    found = permutation_weights(np.hstack([T, T**2]), C, folds=folds, largest=1e6)
    assert np.corrcoef(np.log(found.weights), np.log(ratio))[0, 1] > 0.98
    assert found.weights.mean() == pytest.approx(1.0)
    before = weighted_correlations(T, C, np.ones(len(T)))[0, 0]
    after = weighted_correlations(T, C, found.weights)[0, 0]
    assert before == pytest.approx(0.5, abs=0.05)
    assert abs(after) < 0.1


def test_independent_columns_need_no_weights():
    rng = np.random.default_rng(0)
    T, C = rng.normal(size=(1000, 3)), rng.normal(size=(1000, 2))
    found = permutation_weights(T, C, folds=group_folds(1000, 5))
    assert effective_size(found.weights) > 900
    assert found.auc == pytest.approx(0.5, abs=0.06)
    assert found.clipped == 0


def test_one_row_that_is_certain_does_not_take_all_weight():
    class OneIsCertain:
        """Say half of every row, and one of the row that stands out."""

        def get_params(self, deep=True):
            return {}

        def fit(self, X, y, sample_weight):
            return self

        def predict_proba(self, X):
            p = np.where(X[:, 0] > 10, 1.0, 0.5)
            return np.column_stack([1 - p, p])

    T = np.zeros((500, 1))
    T[0], T[1] = 1e3, -1.0
    C = np.random.default_rng(0).normal(size=(500, 1))
    found = permutation_weights(T, C, folds=group_folds(500, 5), classifier=OneIsCertain())
    assert found.weights[0] == pytest.approx(20.0)
    assert found.weights[1:] == pytest.approx((500 - 20) / 499)
    assert found.clipped == 1 / 500


@pytest.mark.parametrize("classifier", ["boosting", LogisticRegression(C=0.1, max_iter=500)])
def test_other_classifiers(classifier):
    T, C, _ = gaussian(1500)
    found = permutation_weights(
        T, C, folds=group_folds(len(T), 3), classifier=classifier, repetitions=1
    )
    assert abs(weighted_correlations(T, C, found.weights)[0, 0]) < 0.25
    assert found.auc > 0.55


def test_the_cap_is_counted_and_the_mean_stays_one():
    T, C, _ = gaussian(2000, 0.8)
    w = np.random.default_rng(1).uniform(0.5, 2, len(T))
    found = permutation_weights(T, C, folds=group_folds(len(T), 4), largest=2.0, weights=w)
    assert 0 < found.clipped < 0.3
    assert np.average(found.weights, weights=w) == pytest.approx(1.0)
    assert found.weights.max() < 4.0


def test_many_features_are_reduced_first():
    T, C, _ = gaussian(1000)
    wide = T + 0.01 * np.random.default_rng(2).normal(size=(1000, 60))
    found = permutation_weights(wide, C, folds=group_folds(1000, 4), components=3)
    assert np.abs(weighted_correlations(wide, C, found.weights)).max() < 0.2


def test_correlations_of_a_constant_are_zero():
    T = np.column_stack([np.ones(10), np.arange(10.0)])
    found = weighted_correlations(T, np.arange(10.0)[:, None], np.ones(10))
    np.testing.assert_allclose(found, [[0.0], [1.0]], atol=1e-12)
    assert effective_size(np.array([1.0, 0.0, 1.0, 0.0])) == pytest.approx(2.0)


def test_what_cannot_be_used_is_refused():
    T, C, _ = gaussian(30)
    folds = group_folds(30, 3)
    for wrong, message in (
        ({"classifier": "tree"}, "logistic, boosting"),
        ({"repetitions": 0}, "at least 1"),
        ({"components": 0}, "at least 1"),
        ({"largest": 1.0}, "above 1"),
    ):
        with pytest.raises(SettingsError, match=message):
            permutation_weights(T, C, folds=folds, **wrong)
    with pytest.raises(InputError, match="features must be finite"):
        permutation_weights(T * np.nan, C, folds=folds)
    with pytest.raises(InputError, match="20 of confounders"):
        permutation_weights(T, C[:20], folds=folds)
