import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from causalign.errors import InputError, SettingsError
from causalign.stats.pair_metrics import odds_slope, pair_accuracy, pair_auc, paired_difference


def by_definition(e):
    total = e[:, None] + e[None, :]
    return np.mean((total > 0) + 0.5 * (total == 0))


def test_auc_and_accuracy_equal_their_definitions_with_ties():
    e = np.array([2.0, -1.0, 0.0, 1.0, 1.0, -2.0, 3.0])
    assert pair_auc(e).estimate == pytest.approx(by_definition(e), abs=1e-15)
    assert pair_accuracy(e).estimate == pytest.approx(4.5 / 7)


def test_the_order_of_the_sides_does_not_matter():
    rng = np.random.default_rng(0)
    e = rng.normal(0.3, 1, size=50)
    flip = rng.random(50) < 0.5
    assert pair_auc(np.where(flip, -e, e), ~flip) == pair_auc(e)
    assert pair_accuracy(np.where(flip, -e, e), ~flip) == pair_accuracy(e)


def clustered(rng, clusters=60, size=5):
    """Draw pairs of tests whose difficulty is shared, scored by two scorers of equal quality."""
    group = np.repeat(np.arange(clusters), size)
    shared = rng.normal(0.4, 1.0, size=clusters)[group]
    first, second = (shared + rng.normal(0, 0.5, size=len(group)) for _ in range(2))
    return first, second, group


def test_clustered_intervals_cover_and_unclustered_ones_do_not():
    rng = np.random.default_rng(1)
    # P(e + e' > 0) for two independent draws with mean .4 and variance 1.25
    draws = rng.normal(0.4, np.sqrt(1.25), size=(2, 2_000_000))
    truth = np.mean(draws.sum(axis=0) > 0)
    hits = {"clustered": 0, "naive": 0, "difference": 0}
    for _ in range(400):
        first, second, group = clustered(rng)
        one, naive = pair_auc(first, clusters=group), pair_auc(first)
        gap = paired_difference(first, second, clusters=group)
        hits["clustered"] += one.lower <= truth <= one.upper
        hits["naive"] += naive.lower <= truth <= naive.upper
        hits["difference"] += gap.lower <= 0 <= gap.upper
    assert 0.92 <= hits["clustered"] / 400 <= 0.98
    assert 0.92 <= hits["difference"] / 400 <= 0.98
    assert hits["naive"] / 400 < 0.85


def test_a_difference_is_sharper_than_two_separate_intervals():
    first, second, group = clustered(np.random.default_rng(2))
    gap = paired_difference(first, second, clusters=group, metric="accuracy")
    one, two = (pair_accuracy(e, clusters=group) for e in (first, second))
    assert gap.estimate == pytest.approx(one.estimate - two.estimate)
    assert gap.standard_error < np.hypot(one.standard_error, two.standard_error)


def test_a_perfect_scorer_stays_within_bounds():
    perfect = pair_auc(np.ones(10))
    assert (perfect.estimate, perfect.lower, perfect.upper) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: pair_auc([np.nan, 1.0]), InputError),
        (lambda: pair_auc([]), InputError),
        (lambda: pair_auc([1.0, 2.0], [0.5, 1]), InputError),
        (lambda: pair_auc([1.0, 2.0], clusters=[1, 1]), InputError),
        (lambda: pair_auc([1.0, 2.0], clusters=[1]), InputError),
        (lambda: pair_auc([1.0, 2.0], level=95), SettingsError),
        (lambda: paired_difference([1.0, 2.0], [1.0]), InputError),
        (lambda: paired_difference([1.0], [1.0], metric="tau"), SettingsError),
    ],
)
def test_invalid_input_is_refused(call, error):
    with pytest.raises(error):
        call()


def test_the_slope_of_odds_is_that_of_a_logistic_regression_without_a_level():
    draw = np.random.default_rng(0)
    d, cluster = 3 * draw.normal(size=400), np.arange(400) // 4
    weights = draw.uniform(0.5, 2, 400)
    won = draw.random(400) < 1 / (1 + np.exp(-0.7 * d))
    slope, variance = odds_slope(np.where(won, d, -d), weights, cluster)
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10)
    model.fit(d[:, None], won, sample_weight=weights)
    assert slope == pytest.approx(model.coef_[0, 0], rel=1e-5)
    p = model.predict_proba(d[:, None])[:, 1]
    scores = np.bincount(cluster, weights * d * (won - p))
    bread = (weights * d**2 * p * (1 - p)).sum()
    assert variance == pytest.approx((scores**2).sum() / bread**2 * 100 / 99, rel=1e-5)


@pytest.mark.parametrize("d", [[1.0, 2.0], [-1.0, -3.0], [0.0, 1.0], []])
def test_pairs_that_are_all_told_alike_tell_no_slope(d):
    with pytest.raises(InputError, match="told alike"):
        odds_slope(d, np.ones(len(d)), np.arange(len(d)))
