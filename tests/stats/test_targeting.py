"""What targeting gains is valued on a half that did not choose; the naive interval fails."""

import numpy as np
import pytest

from causalign.errors import InputError
from causalign.stats.audience_ridge import audience_ridge
from causalign.stats.folds import group_folds
from causalign.stats.targeting import gains_of_texts, targeting_gains

N, D = 1500, 30


def draw(seed, apart):
    """Return features, outcome, audience and true slopes; a tenth likes the first word less."""
    random = np.random.default_rng(seed)
    X = (random.random((N, D)) < 0.3) * 1.0
    code = (random.random(N) > 0.1).astype(int)
    slopes = np.tile(0.2 * random.normal(size=D), (2, 1))
    slopes[:, 0] = -1.5 * apart, apart
    return (
        X,
        np.einsum("id,id->i", X, slopes[code]) + 2 * code + random.normal(size=N),
        code,
        slopes,
    )


def fit_rows(X, y, code, rows, seed, **settings):
    folds = group_folds(np.arange(N)[rows], 5, seed)
    return audience_ridge(X[rows], y[rows], code[rows], folds=folds, audiences=2, **settings)


def earn(fit, candidates, shares, slopes):
    """Return what the choice by a fit truly earns by targeting, and by one text for the first."""
    rewards = candidates @ fit.coefficients.T
    one, own = candidates[(rewards @ shares).argmax()], candidates[rewards.argmax(axis=0)]
    return float(shares @ ((own - one) * slopes).sum(axis=1))


def study(seed, apart):
    """Return whether both intervals hold the truth, and how much each claims too much."""
    X, y, code, slopes = draw(seed, apart)
    every, half = np.ones(N, dtype=bool), group_folds(np.arange(N), 2, seed)
    fit = fit_rows(X, y, code, every, seed)
    gains = targeting_gains(fit, X, y, code, X[:500], seed=seed)
    halves = [fit_rows(X, y, code, half == side, seed) for side in range(2)]
    honest = np.mean([earn(one, X[:500], fit.shares, slopes) for one in halves])
    naive = earn(fit_rows(X, y, code, every, seed, alone=True), X[:500], fit.shares, slopes)
    result = []
    for found, true in ((gains.targeting, honest), (gains.naive, naive)):
        beyond = float(found.estimate[0]) - true
        result += [abs(beyond) <= 1.96 * float(found.error[0]) + 1e-9, beyond]
    return result


@pytest.mark.parametrize("apart", [0.0, 0.6])
def test_the_interval_of_targeting_holds_and_the_naive_one_fails(apart):
    covered, beyond, naive_covered, naive_beyond = np.mean(
        [study(seed, apart) for seed in range(40)], axis=0
    )
    assert covered >= 0.9
    assert naive_covered < 0.9
    assert abs(beyond) < 0.03 < naive_beyond


def test_a_text_for_all_is_not_best_for_everybody():
    X, y, code, _ = draw(1, 0.8)
    fit = fit_rows(X, y, code, np.ones(N, dtype=bool), 1)
    gains = targeting_gains(fit, X, y, code, X[:500])
    assert X[gains.text_for_all, 0] == 1 == X[gains.own_texts[1], 0]
    assert X[gains.own_texts[0], 0] == 0
    assert gains.regret.estimate[0] > 0.1
    assert gains.own.estimate - gains.one.estimate == pytest.approx(gains.regret.estimate)
    shares = fit.shares
    assert shares @ gains.one.estimate == pytest.approx(gains.whole.estimate[0])
    assert shares @ gains.regret.estimate == pytest.approx(gains.targeting.estimate[0])


def test_texts_of_a_policy_are_valued_by_audience():
    inside = []
    for seed in range(20):
        X, y, code, slopes = draw(seed, 0.8)
        fit = fit_rows(X, y, code, np.ones(N, dtype=bool), seed)
        texts = X[X[:, 0] == 1]
        whole, each = gains_of_texts(fit, texts)
        true = [(texts.mean(axis=0) - X[code == m].mean(axis=0)) @ slopes[m] for m in range(2)]
        inside += list(np.abs(each.estimate - true) < 1.96 * each.error)
        assert each.estimate[0] < 0 < each.estimate[1]
        assert whole.estimate[0] == pytest.approx(fit.shares @ each.estimate)
    # All that sets the audiences apart is one word of thirty: more is shrunk than is expected.
    assert np.mean(inside) >= 0.8


def test_candidates_of_another_width_are_refused():
    X, y, code, _ = draw(3, 0.0)
    fit = fit_rows(X, y, code, np.ones(N, dtype=bool), 3)
    with pytest.raises(InputError, match="candidates"):
        targeting_gains(fit, X, y, code, X[:5, :3])
