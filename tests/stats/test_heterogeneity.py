"""The test of equal audiences keeps its size where b is shrunk and audiences get other texts."""

import numpy as np
import pytest

from causalign.errors import InputError, SettingsError
from causalign.stats.folds import group_folds
from causalign.stats.heterogeneity import heterogeneity_test


def draw(seed, rows=600, features=20, apart=0.0, clusters=False):
    """Return features, outcome, audience and groups: the audience reads other texts, noisily."""
    random = np.random.default_rng(seed)
    X = random.normal(size=(rows, features))
    chance = 1 / (1 + np.exp(2.0 - X[:, 0] - 0.5 * X[:, 1]))
    code = (random.random(rows) < chance).astype(int)
    noise = random.normal(size=rows) * np.where(code == 1, 2.0, 1.0) * (1 + np.abs(X[:, 2]) / 2)
    group = random.integers(0, rows // 4, rows) if clusters else np.arange(rows)
    if clusters:
        noise += random.normal(size=rows // 4)[group]
    y = X @ np.linspace(1, -1, features) + 2.0 * code + apart * X[:, 3] * code + noise
    return X, y, code, group


def p_value(seed, **settings):
    X, y, code, group = draw(seed, **settings)
    folds = group_folds(group)
    return heterogeneity_test(
        X, y, code, folds=folds, groups=group, flips=199, seed=seed + 10_000
    ).p_value


@pytest.mark.parametrize("clusters", [False, True])
def test_equal_audiences_are_rarely_found_to_differ(clusters):
    p = np.array([p_value(seed, clusters=clusters) for seed in range(100)])
    assert 0.0 <= (p <= 0.05).mean() <= 0.11  # 5 % and three standard errors
    assert 0.3 < p.mean() < 0.7


@pytest.mark.slow
def test_the_size_is_five_percent_over_a_thousand_draws():
    p = np.array([p_value(seed) for seed in range(1000)])
    assert 0.03 <= (p <= 0.05).mean() <= 0.07
    assert 0.08 <= (p <= 0.1).mean() <= 0.13


def test_a_difference_is_found_and_whose_it_is():
    random = np.random.default_rng(3)
    X, code = random.normal(size=(1500, 10)), random.integers(0, 3, 1500)
    y = X[:, 0] + 0.5 * X[:, 1] * (code == 2) + random.normal(size=1500)
    test = heterogeneity_test(X, y, code, folds=group_folds(1500))
    assert test.p_value == 0.0005 == test.each[2]
    again = heterogeneity_test(X, y, code, folds=group_folds(1500))
    assert (again.each == test.each).all()


def test_an_audience_of_three_rows_does_not_decide():
    random = np.random.default_rng(4)
    X, code = random.normal(size=(500, 5)), np.r_[np.zeros(497, int), np.ones(3, int)]
    p = [
        heterogeneity_test(
            X, X[:, 0] + random.normal(size=500), code, folds=group_folds(500), flips=99, seed=s
        ).p_value
        for s in range(40)
    ]
    assert np.mean(np.array(p) <= 0.05) <= 0.15


def test_what_cannot_be_tested_is_refused():
    X, y, code, _ = draw(0)
    with pytest.raises(SettingsError):
        heterogeneity_test(X, y, code, folds=group_folds(600), flips=5)
    with pytest.raises(InputError):
        heterogeneity_test(X, y, code + 1, folds=group_folds(600))
