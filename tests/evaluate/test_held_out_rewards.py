import numpy as np
import pyarrow as pa
import pytest

from causalign.errors import InputError
from causalign.evaluate import (
    HeldOut,
    confounder_outcome,
    correlate,
    held_out,
    measure_dependence,
    measure_marker_payments,
    rank,
    rank_arrays,
)
from causalign.logs import Logs, Roles
from causalign.logs.covariates import Covariate
from causalign.results import Verdict


def made(seed=0, size=800):
    generator = np.random.default_rng(seed)
    truth = generator.normal(size=size)
    good = truth + generator.normal(size=size) * 0.5
    bad = truth + generator.normal(size=size) * 3
    sign = np.sign(truth)
    return rank_arrays(
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
    held = HeldOut(rank_arrays(level, ranking.clusters), None, None)
    assert held.gap_closed() is None
    assert "gap" not in held.summary()


def test_the_worse_reward_fails():
    ranking = made()
    swapped = rank_arrays(
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
    found = correlate({"r": score, "flat": np.zeros(500)}, {"t": target}, 500)
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
    def score(texts, prompts):
        return np.array([2.0 * ("!" in t) + len(t) * 0 for t in texts])

    found = measure_marker_payments({"r": score}, ["a", "b", "a", "c !"], ["!"])
    assert found.of("!", "r") == 2.0
    assert found.texts == (2,)


def split_logs(seed):
    generator = np.random.default_rng(seed)
    month, words = generator.integers(4, size=120), generator.integers(1, 9, size=120)
    table = {
        "prompt": [f"prompt {i % 6}" for i in range(120)],
        "text": ["word " * n + str(i % 5) for i, n in enumerate(words)],
        "y": words + 2.0 * month + generator.normal(size=120),
        "month": [f"m{m}" for m in month],
        "truth": words.astype(float),
        "test": np.arange(120) // 4,
    }
    roles = Roles("text", "y", prompt="prompt", confounders=("month",), group="test")
    return Logs.of(pa.table(table), roles)


def by_words(texts, prompts):
    return np.array([t.count("word") + len(p) / 10 for t, p in zip(texts, prompts, strict=True)])


def by_last(texts, prompts):
    return np.array([float(t[-1]) for t in texts])


def test_held_out_is_the_same_as_its_parts_by_hand():
    train, test = split_logs(0), split_logs(1)
    pairs, models = test.pairs(), {"naive": by_last, "deconfounded": by_words}
    held = held_out(models, pairs=pairs, logs=test, train=train, truth="truth", markers=["wow"])
    differences = {
        n: m(pairs.chosen, pairs.prompt) - m(pairs.rejected, pairs.prompt)
        for n, m in models.items()
    }
    ranking = rank_arrays(differences, pairs.group, pairs.margin)
    assert held.ranking.table().equals(ranking.table())
    assert rank(models, test).table().equals(ranking.table())
    expected = confounder_outcome(train.confounders[0], train.outcome, test.confounders[0])
    scores = {n: m(test.completions, test.prompts) for n, m in models.items()}
    targets = {"outcome by month": expected, "true effect": test.numbers("truth")}
    related = correlate(scores, targets, len(np.unique(test.groups)))
    assert held.dependence.table().equals(related.table())
    distinct = dict.fromkeys(zip(test.completions, test.prompts, strict=True))
    assert held.markers.texts == (len(distinct),) * 2
    assert (held.baseline, held.candidate) == ("naive", "deconfounded")
    assert held.findings[0].verdict is Verdict.PASS


def test_one_reward_is_ranked_and_compared_with_none():
    held = held_out({"only": by_words}, pairs=split_logs(0).pairs())
    assert held.findings[0].verdict is Verdict.NOT_APPLICABLE
    assert held.answer().startswith("On ")
    assert held.dependence is held.markers is None


def test_scores_that_are_none_are_refused():
    with pytest.raises(InputError, match="finite numbers, one for each text"):
        held_out({"bad": lambda t, p: [np.nan] * len(t)}, pairs=split_logs(0).pairs())
    with pytest.raises(InputError, match="nothing to correlate"):
        measure_dependence({"naive": by_last}, split_logs(0))
