import numpy as np
import pytest

from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.stats.folds import group_folds
from causalign.stats.ridge_path import ridge_path, ridge_paths


def data(n=120, d=7, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * np.linspace(1, 3, d) + 50
    return X, X @ rng.normal(size=d) + rng.normal(size=n), rng.uniform(0.1, 3, size=n)


def direct(X, y, w, penalty):
    """Solve the normal equations of the augmented problem."""
    A = np.column_stack([np.ones(len(X)), X])
    P = np.diag([0.0] + [penalty] * X.shape[1])
    return np.linalg.solve((A * w[:, None]).T @ A + P, (A * w[:, None]).T @ y)


def test_the_path_solves_the_weighted_normal_equations():
    X, y, w = data()
    path = ridge_path(X, y, folds=group_folds(len(X), 4), penalties=[10.0, 0.1, 3.0], weights=w)
    assert path.penalties.tolist() == [0.1, 3.0, 10.0]
    for index, penalty in enumerate(path.penalties):
        expected = direct(X, y, w, penalty)
        assert path.intercepts[index] == pytest.approx(expected[0], abs=1e-7)
        assert path.coefficients[index] == pytest.approx(expected[1:], abs=1e-9)


def test_cross_validation_equals_refitting_without_each_fold():
    X, y, w = data()
    folds = group_folds(np.arange(len(X)) // 3, 4, seed=2)
    path = ridge_path(X, y, folds=folds, penalties=[0.5, 5.0, 500.0], weights=w)
    for index, penalty in enumerate(path.penalties):
        predicted = np.empty(len(X))
        for fold in range(4):
            out = folds == fold
            solution = direct(X[~out], y[~out], w[~out], penalty)
            predicted[out] = solution[0] + X[out] @ solution[1:]
        assert path.cv_error[index] == pytest.approx(np.average((y - predicted) ** 2, weights=w))
        assert path.out_of_fold_at(X, index) == pytest.approx(predicted, abs=1e-7)
    assert path.out_of_fold == pytest.approx(path.out_of_fold_at(X, path.best), abs=1e-7)


def test_several_outcomes_are_fitted_at_once():
    X, y, w = data()
    Y = np.column_stack([y, y**2, w])
    folds = group_folds(len(X), 5)
    path = ridge_path(X, Y, folds=folds, penalties=[1.0, 30.0])
    assert path.coefficients.shape == (2, 7, 3)
    assert path.intercepts.shape == (2, 3)
    assert path.out_of_fold.shape == Y.shape
    alone = [ridge_path(X, Y[:, j], folds=folds, penalties=[1.0, 30.0]) for j in range(3)]
    for j, single in enumerate(alone):
        assert path.coefficients[:, :, j] == pytest.approx(single.coefficients)
    assert path.cv_error == pytest.approx(np.mean([s.cv_error for s in alone], axis=0))
    assert path.out_of_fold_at(X, 1)[:, 2] == pytest.approx(alone[2].out_of_fold_at(X, 1))


def test_more_features_than_rows_gives_the_same_fit():
    X, y, w = data(n=30, d=90)
    path = ridge_path(X, y, folds=group_folds(30, 3), penalties=[2.0, 20.0], weights=w)
    for index, penalty in enumerate(path.penalties):
        assert path.coefficients[index] == pytest.approx(direct(X, y, w, penalty)[1:], abs=1e-7)


def test_an_integer_weight_is_a_repeated_row():
    X, y, _ = data(n=60)
    w = np.random.default_rng(1).integers(1, 4, size=60)
    folds = group_folds(60, 3)
    weighted = ridge_path(X, y, folds=folds, weights=w)
    repeated = ridge_path(np.repeat(X, w, axis=0), np.repeat(y, w), folds=np.repeat(folds, w))
    assert weighted.penalties == pytest.approx(repeated.penalties)
    assert weighted.cv_error == pytest.approx(repeated.cv_error)


def test_the_default_grid_scales_with_the_features():
    X, y, _ = data()
    folds = group_folds(len(X), 5)
    one, ten = (ridge_path(c * X, y, folds=folds) for c in (1.0, 10.0))
    assert ten.penalties == pytest.approx(100 * one.penalties)
    assert ten.cv_error == pytest.approx(one.cv_error)


def test_noise_is_not_predicted_and_signal_is():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(400, 20))
    folds = group_folds(400, 5)
    assert ridge_path(X, rng.normal(size=400), folds=folds).cv_r2 < 0.02
    signal = ridge_path(X, X[:, 0] + rng.normal(size=400), folds=folds)
    assert 0.35 < signal.cv_r2 < 0.6
    assert signal.penalties[signal.one_standard_error] >= signal.penalties[signal.best]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"features": np.ones((20, 2))}, NotIdentified),
        ({"features": np.full((20, 2), np.nan)}, InputError),
        ({"features": np.ones((19, 2))}, InputError),
        ({"weights": -np.ones(20)}, InputError),
        ({"weights": np.ones(3)}, InputError),
        ({"weights": np.r_[np.ones(10), np.zeros(10)]}, InputError),
        ({"penalties": [0.0, 1.0]}, SettingsError),
        ({"penalties": []}, SettingsError),
    ],
)
def test_invalid_input_is_refused(change, error):
    rng = np.random.default_rng(0)
    given = {"features": rng.normal(size=(20, 2)), "outcome": rng.normal(size=20)}
    given |= {"folds": np.repeat([0, 1], 10)} | change
    with pytest.raises(error):
        ridge_path(given.pop("features"), given.pop("outcome"), **given)


def test_several_outcomes_are_each_fitted_as_if_they_were_alone():
    draw = np.random.default_rng(5)
    X = draw.normal(size=(80, 6))
    Y = X @ draw.normal(size=(6, 3)) * [1.0, 0.1, 5.0] + draw.normal(size=(80, 3))
    folds, weights = np.arange(80) % 4, draw.uniform(0.5, 2, 80)
    paths = ridge_paths(X, Y, folds=folds, weights=weights)
    for path, y in zip(paths, Y.T, strict=True):
        alone = ridge_path(X, y, folds=folds, weights=weights)
        assert path.best == alone.best
        np.testing.assert_allclose(path.coefficients, alone.coefficients, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(path.cv_error, alone.cv_error, rtol=1e-9)
        np.testing.assert_allclose(path.out_of_fold, alone.out_of_fold, rtol=1e-9, atol=1e-12)
        assert path.null_error == pytest.approx(alone.null_error)
    assert len({path.best for path in paths}) > 1, "each has a penalty of its own"
