import numpy as np
import pytest

from causalign.covariates import Covariate
from causalign.evaluate import HeldOut, confounder_outcome, dependence, marker_effects, rank
from causalign.results import Verdict


def made(seed=0, size=800):
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=size)
    good = truth + generator.normal(size=size) * 0.5
    bad = truth + generator.normal(size=size) * 3
    sign = np.sign(truth)
    return rank(
        {"naive": bad * sign, "deconfounded": good * sign, "experimental": truth * sign},
        np.arange(size) // 2,
    )


def test_the_better_reward_passes_and_closes_part_of_the_gap():
    held = HeldOut(made(), None, None)
    (finding,) = held.findings
    assert finding.code == "EV102"
    assert finding.verdict is Verdict.PASS
    assert held.ranking.auc_of("experimental").estimate == 1
    gap = held.gap_closed()
    aucs = {n: held.ranking.auc_of(n).estimate for n in held.ranking.rewards}
    assert gap == pytest.approx((aucs["deconfounded"] - aucs["naive"]) / (1 - aucs["naive"]))
    assert "of the gap closed" in held.summary()


def test_no_gap_is_closed_where_the_benchmark_does_not_lead():
    ranking = made()
    noise = np.random.default_rng(1).normal(size=ranking.pairs)
    level = {**ranking.differences, "experimental": ranking.differences["naive"] + noise}
    held = HeldOut(rank(level, ranking.clusters), None, None)
    assert held.gap_closed() is None
    assert "gap" not in held.summary()


def test_the_worse_reward_fails():
    ranking = made()
    swapped = rank(
        {
            "naive": ranking.differences["deconfounded"],
            "deconfounded": ranking.differences["naive"],
        },
        ranking.clusters,
    )
    assert HeldOut(swapped, None, None).findings[0].verdict is Verdict.FAIL


def test_without_pairs_it_is_not_applicable():
    assert HeldOut(None, None, None).findings[0].verdict is Verdict.NOT_APPLICABLE


def test_dependence_is_the_correlation_with_fisher_intervals():
    generator = np.random.default_rng(1)
    target = generator.normal(size=500)
    score = 0.5 * target + generator.normal(size=500)
    found = dependence({"r": score, "flat": np.zeros(500)}, {"t": target}, 500)
    assert found.of("r", "t") == pytest.approx(np.corrcoef(score, target)[0, 1])
    assert found.of("flat", "t") == 0
    z = np.arctanh(found.of("r", "t"))
    assert found.lower[0] == pytest.approx(np.tanh(z - 1.959964 / np.sqrt(497)))


def test_confounder_outcome_knows_only_training():
    train = Covariate("c", "categorical", np.array([0, 0, 1]), ("a", "b"))
    test = Covariate("c", "categorical", np.array([1, 0]), ("b", "z"))
    found = confounder_outcome(train, np.array([1.0, 3.0, 10.0]), test)
    np.testing.assert_allclose(found, [14 / 3, 10.0])


def test_marker_effects_are_paired_differences_over_texts_without_the_marker():
    def score(texts):
        return np.array([2.0 * ("!" in t) + len(t) * 0 for t in texts])

    found = marker_effects({"r": score}, ["a", "b", "a", "c !"], ["!"])
    assert found.of("!", "r") == 2.0
    assert found.texts == (2,)
