import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from causalign.errors import InputError, NotIdentified
from causalign.stats.folds import group_folds
from causalign.stats.logistic_path import logistic_path


def data(n=200, d=5, seed=0):
    rng = np.random.default_rng(seed)
    D = rng.normal(size=(n, d)) * np.linspace(0.3, 2, d)
    labels = rng.uniform(size=n)
    return D, labels, rng.uniform(0.1, 2, size=n), rng.normal(size=n)


def objective(b, D, y, w, m, penalty):
    eta = D @ b - m
    gradient = D.T @ (w * (expit(eta) - y)) + penalty * b
    return w @ (np.logaddexp(0, eta) - y * eta) + penalty * b @ b / 2, gradient


def direct(D, y, w, m, penalty):
    start = np.zeros(D.shape[1])
    options = {"gtol": 1e-10, "ftol": 1e-16, "maxiter": 5000}
    return minimize(
        objective, start, (D, y, w, m, penalty), jac=True, method="L-BFGS-B", options=options
    ).x


def test_the_path_minimises_the_penalised_loss_with_soft_labels_weights_and_margins():
    D, y, w, m = data()
    path = logistic_path(
        D, labels=y, weights=w, margins=m, penalties=[0.01, 1, 100], folds=group_folds(200, 4)
    )
    for index, penalty in enumerate(path.penalties):
        b = path.coefficients[index]
        assert np.abs(objective(b, D, y, w, m, penalty)[1]).max() < 1e-6
        assert b == pytest.approx(direct(D, y, w, m, penalty), abs=1e-5)


def test_cross_validation_equals_refitting_without_each_fold():
    D, y, w, m = data()
    folds = group_folds(np.arange(200) // 4, 3, seed=1)
    given = {"labels": y, "weights": w, "margins": m, "penalties": [0.1, 10.0]}
    path = logistic_path(D, folds=folds, **given)
    for index, penalty in enumerate(path.penalties):
        scores = np.empty(200)
        for fold in range(3):
            out = folds == fold
            scores[out] = D[out] @ direct(D[~out], y[~out], w[~out], m[~out], penalty)
        loss = np.logaddexp(0, scores - m) - y * (scores - m)
        assert path.cv_error[index] == pytest.approx(np.average(loss, weights=w), abs=1e-7)
        assert path.out_of_fold_at(D, index) == pytest.approx(scores, abs=1e-4)


def test_swapping_the_sides_changes_nothing():
    D, y, w, _ = data()
    swap = np.random.default_rng(5).random(200) < 0.5
    sign = np.where(swap, -1, 1)
    folds = group_folds(200, 4)
    one = logistic_path(D, labels=y, weights=w, folds=folds)
    two = logistic_path(D * sign[:, None], labels=np.where(swap, 1 - y, y), weights=w, folds=folds)
    assert one.coefficients == pytest.approx(two.coefficients, abs=1e-6)
    assert one.cv_error == pytest.approx(two.cv_error)


def test_separable_pairs_and_more_features_than_pairs_converge():
    rng = np.random.default_rng(0)
    D = rng.normal(size=(40, 100)) + 1
    path = logistic_path(D, folds=group_folds(40, 4))
    assert np.isfinite(path.coefficients).all()
    assert (np.diff(np.linalg.norm(path.coefficients, axis=1)) < 0).all()
    assert path.null_error == pytest.approx(np.log(2))
    assert (D @ path.coefficients[0] > 0).all()


def test_penalties_end_where_the_pairs_can_show_no_more():
    """Jeffreys' prior gives n pairs that are all ordered rightly odds of n + 1/2 to 1/2."""
    rng = np.random.default_rng(0)
    for pairs, features in ((5, 2), (20, 384), (12, 12)):
        D = np.abs(rng.normal(size=(pairs, features)))
        path = logistic_path(D, folds=group_folds(pairs, 4))
        loss = np.logaddexp(0, -D @ path.coefficients.T).sum(axis=0)
        least = pairs * np.log((pairs + 1) / (pairs + 0.5))
        assert path.is_floored
        assert (loss >= least).all()
        # The next of the grid, four a decade, would have claimed more.
        lighter = logistic_path(
            D, folds=group_folds(pairs, 4), penalties=path.penalties[:1] / 10**0.25
        )
        assert np.logaddexp(0, -D @ lighter.coefficients[0]).sum() < least
        weighted = logistic_path(D, folds=group_folds(pairs, 4), weights=np.full(pairs, 3.0))
        np.testing.assert_allclose(weighted.penalties, 3 * path.penalties)
        np.testing.assert_allclose(weighted.coefficients, path.coefficients, rtol=1e-6)


def test_pairs_that_contradict_each_other_have_the_whole_grid():
    rng = np.random.default_rng(1)
    D = rng.normal(size=(200, 5))
    path = logistic_path(D, labels=rng.random(200) < expit(D[:, 0]), folds=group_folds(200, 5))
    assert len(path.penalties) == 33
    assert not path.is_floored


def test_signal_is_found_and_noise_is_not():
    rng = np.random.default_rng(2)
    D = rng.normal(size=(600, 10))
    labels = rng.random(600) < expit(2 * D[:, 0])
    folds = group_folds(600, 5)
    assert 0.2 < logistic_path(D, labels=labels, folds=folds).cv_r2 < 0.5
    assert logistic_path(D, labels=rng.random(600) < 0.5, folds=folds).cv_r2 < 0.01


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"differences": np.zeros((20, 2))}, NotIdentified),
        ({"differences": np.full((20, 2), np.inf)}, InputError),
        ({"labels": np.full(20, 2.0)}, InputError),
        ({"weights": np.zeros(20)}, InputError),
        ({"margins": np.zeros(4)}, InputError),
    ],
)
def test_invalid_input_is_refused(change, error):
    given = {"differences": np.ones((20, 2)), "folds": np.repeat([0, 1], 10)} | change
    with pytest.raises(error):
        logistic_path(given.pop("differences"), **given)
