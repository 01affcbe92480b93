"""Confounding is found at its level, also under heavy tails, and only where both halves hold."""

import numpy as np
import pytest
from scipy import stats

from causalign.audit.basis import expand_curves
from causalign.checks.confounding import judge
from causalign.logs.covariates import Covariate
from causalign.stats.confounding import confounding_tests, holm, outcome_scales
from causalign.stats.fold_ridge import FoldRidge
from causalign.stats.folds import group_folds

NOISE = {
    "normal": lambda g, n: g.normal(size=n),
    "lognormal": lambda g, n: g.lognormal(0, 2, n),
    "pareto": lambda g, n: g.pareto(1.5, n),
}


def draw(seed, noise, in_text=1.0, on_outcome=1.0, size=500):
    generator = np.random.default_rng(seed)
    texts = generator.normal(size=(size, 8))
    season = in_text * texts[:, 0] + generator.normal(size=size)
    y = texts[:, 0] + texts[:, 1] + on_outcome * season + NOISE[noise](generator, size)
    return texts, season, y


def ready(texts, groups):
    if texts is None:
        return None
    return FoldRidge.of(texts, group_folds(groups, 5, 0))


def judged(texts, confounder, y, groups=None):
    basis = expand_curves([Covariate("c", "numeric", confounder)], rows_for_a_level=2)
    groups = np.arange(len(y)) if groups is None else groups
    (one,) = judge(["c"], confounding_tests([basis], y, groups, text=ready(texts, groups)))
    return one


@pytest.mark.parametrize("noise", NOISE)
def test_confounding_is_found_under_any_tail(noise):
    found = [judged(*draw(seed, noise)) for seed in range(8)]
    assert sum(bool(one.confounds) for one in found) >= 7


def test_a_test_of_means_alone_would_miss_it():
    found = [judged(*draw(seed, "pareto")).test for seed in range(8)]
    means = [max(t.as_it_is.moves.p_value, t.as_it_is.shows.p_value) for t in found]
    assert sum(p < 0.01 for p in means) <= 4


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize("half", [{"in_text": 0.0}, {"on_outcome": 0.0}])
def test_one_half_of_confounding_is_none(noise, half):
    """Where the confounder does nothing, the text that it travels with still moves the outcome."""
    found = [judged(*draw(seed, noise, **half)) for seed in range(12)]
    assert sum(bool(one.confounds) for one in found) <= 1
    assert sum(one.moves for one in found) == (12 if "in_text" in half else 0)


@pytest.mark.slow
@pytest.mark.parametrize("noise", NOISE)
def test_the_level_in_400_draws(noise):
    alarms = sum(
        bool(judged(*draw(seed, noise, on_outcome=0.0, size=300)).confounds) for seed in range(400)
    )
    assert alarms <= stats.binom.ppf(0.999, 400, 0.01)


def test_a_column_that_the_text_determines_is_tested_without_the_text():
    texts, _, y = draw(0, "normal")
    one = judged(texts, texts[:, 0] + 0.01 * texts[:, 2], y + texts[:, 0])
    assert not one.test.beside_text
    assert one.confounds


def test_two_columns_that_say_the_same_hide_neither():
    texts, season, y = draw(0, "normal")
    bases = [
        expand_curves([Covariate(n, "numeric", v)], rows_for_a_level=2)
        for n, v in (("a", season), ("b", 3 * season + 1))
    ]
    groups = np.arange(len(y))
    found = judge(["a", "b"], confounding_tests(bases, y, groups, text=ready(texts, groups)))
    assert [one.confounds for one in found] == [True, True]


def test_without_features_nobody_can_say():
    _, season, y = draw(0, "normal")
    assert judged(None, season, y).confounds is None
    noise = np.random.default_rng(5).normal(size=len(y))
    assert judged(None, season, noise).confounds is False


def test_the_scales_are_the_outcome_and_normal_scores_of_its_ranks():
    y = np.array([3.0, 1.0, 1000.0, 1.0])
    expected = stats.norm.ppf(stats.rankdata(y) / 5)
    np.testing.assert_allclose(outcome_scales(y), np.column_stack([y, expected]))
    assert outcome_scales(np.array([0.0, 1.0, 1.0])).shape == (3, 1)


def test_holm_is_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).beta(0.3, 2, 20)
    np.testing.assert_allclose(holm(p), multitest.multipletests(p, method="holm")[1])
