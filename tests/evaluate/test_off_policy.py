"""Values of policies: exact where sums are finite, refused where the log cannot know."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.evaluate import (
    Clipped,
    Direct,
    DoublyRobust,
    ImportanceWeighting,
    Inference,
    KernelWeighting,
    OffPolicyLog,
    SelfNormalised,
    SupportLimits,
    Switch,
    TargetSamples,
    logged_value,
    off_policy_arrays,
)
from causalign.results import Verdict

sys.path.insert(0, str(Path(__file__).parent))
from language64 import language

LANGUAGE = language()
TOTAL = 20_000
WRONG = np.sin(np.arange(64.0))
EXACT = {
    "importance": ImportanceWeighting(),
    "self-normalised": SelfNormalised(),
    "clipped above every weight": Clipped(largest=100.0),
    "switch above every weight": Switch(largest=100.0),
    "doubly-robust": DoublyRobust(),
    "doubly-robust, normalised": DoublyRobust(normalise=True),
    "kernel": KernelWeighting(components=None, bandwidth=0.05),
}


@pytest.fixture(scope="module")
def population():
    return LANGUAGE.population(TOTAL, WRONG)


@pytest.mark.parametrize("name", EXACT)
def test_on_the_whole_language_the_estimate_is_the_finite_sum(population, name):
    """Each sentence occurs as often as expected, so that a mean of rows is an expectation."""
    log = replace(population, samples=replace(population.samples, features=None))
    # Densities cost the square of the rows, so the kernel has a smaller population.
    whole = language(total=2_000).population(2_000, WRONG) if name == "kernel" else log
    value = EXACT[name].estimate(whole)
    truth = (language(total=2_000) if name == "kernel" else LANGUAGE).value
    assert value.estimate == pytest.approx(truth, abs=1e-9)
    assert logged_value(log).estimate == pytest.approx(LANGUAGE.logging @ LANGUAGE.mean)
    assert abs(logged_value(log).estimate - LANGUAGE.value) > 0.1, "the naive value is another"


def test_direct_is_exact_with_the_right_model_only(population):
    bare = replace(population, samples=replace(population.samples, features=None))
    assert Direct().estimate(bare).estimate == pytest.approx(LANGUAGE.target @ WRONG)
    right = LANGUAGE.population(TOTAL, LANGUAGE.mean)
    right = replace(right, samples=replace(right.samples, features=None))
    value = Direct().estimate(right)
    assert value.estimate == pytest.approx(LANGUAGE.value)


def test_doubly_robust_survives_wrong_probabilities_with_the_right_model():
    right = LANGUAGE.population(TOTAL, LANGUAGE.mean)
    off = replace(
        right,
        logging_logprob=right.logging_logprob - 0.3 * (np.arange(len(right)) % 2),
        samples=replace(right.samples, features=None),
    )
    limits = SupportLimits(mean_weight=np.inf)
    assert DoublyRobust(limits=limits).estimate(off).estimate == pytest.approx(LANGUAGE.value)
    wrong = ImportanceWeighting(limits=limits).estimate(off).estimate
    assert abs(wrong - LANGUAGE.value) > 0.05


def test_clipping_and_switching_have_the_bias_that_they_say(population):
    log = replace(population, samples=replace(population.samples, features=None))
    w = LANGUAGE.target / LANGUAGE.logging
    limits = SupportLimits(cut=1.0)
    clipped = Clipped(largest=2.0, limits=limits).estimate(log)
    assert clipped.estimate == pytest.approx(LANGUAGE.logging @ (np.minimum(w, 2) * LANGUAGE.mean))
    kept = np.where(w <= 2, LANGUAGE.target, 0.0)
    switched = Switch(largest=2.0, limits=limits).estimate(log)
    expected = LANGUAGE.target @ WRONG + kept @ (LANGUAGE.mean - WRONG)
    assert switched.estimate == pytest.approx(expected)
    assert Clipped(largest=2.0).estimate(log).refused


@pytest.mark.parametrize("estimator", [ImportanceWeighting(), Clipped(largest=3.0), DoublyRobust()])
def test_estimates_are_means_over_rows_so_exactness_is_unbiasedness(estimator):
    """A mean over rows that is exact on the population is unbiased in every sample."""
    log = LANGUAGE.population(2000, WRONG)
    log = replace(log, samples=replace(log.samples, features=None))
    parts = []
    for rows in (np.arange(len(log)) % 2 == 0, np.arange(len(log)) % 2 == 1):
        part = {
            name: getattr(log, name)[rows]
            for name in ("outcome", "target_logprob", "logging_logprob", "predicted")
        }
        part = OffPolicyLog(**part, samples=log.samples)
        limits = SupportLimits(0.0, np.inf, np.inf, 0.0, 0.0, 1.0)
        parts.append((rows.mean(), replace(estimator, limits=limits).estimate(part).estimate))
    whole = replace(estimator, limits=SupportLimits(cut=1.0)).estimate(log).estimate
    assert sum(share * value for share, value in parts) == pytest.approx(whole)


def test_difference_cancels_what_both_values_share():
    log = LANGUAGE.drawn(3, n=2000)
    first, second = DoublyRobust().estimate(log), SelfNormalised().estimate(log)
    found = first.difference(second)
    assert found.estimate == pytest.approx(first.estimate - second.estimate)
    assert found.stderr < 0.5 * np.hypot(first.stderr, second.stderr)
    itself = first.difference(first)
    assert itself.estimate == 0
    other = SelfNormalised().estimate(LANGUAGE.drawn(4, n=2000))
    with pytest.raises(InputError, match="different logs"):
        first.difference(other)


def filtered(seed: int, n: int = 4000):
    """Return a log from which a filter kept 40% of the target's texts, unknown to the weights.

    The recorded probabilities are those before the filter, and target and logging policy agree on
    what was left, so that all weights are nearly 1.
    """
    generator = np.random.default_rng(seed)
    good = np.array([0.6, 0.4])  # ordinary texts, and texts that the filter removes
    place = generator.normal(size=(n, 4))
    outcome = (generator.random(n) < 0.2).astype(float)
    logprob = -20 + generator.normal(size=n)
    tilt = 0.2 * generator.normal(size=n)
    kind = generator.random(n) < good[1]
    sampled = generator.normal(size=(n, 4)) + np.outer(kind, [8.0, 0, 0, 0])
    target_of_samples = -20 + generator.normal(size=n)
    log = OffPolicyLog(
        outcome,
        target_logprob=logprob + tilt - 0.02,
        logging_logprob=logprob,
        samples=TargetSamples(
            target_logprob=target_of_samples,
            logging_logprob=target_of_samples - 0.2 * generator.normal(size=n),
        ),
    )
    seen = replace(log, features=place, samples=replace(log.samples, features=sampled))
    truth = 0.6 * 0.2 + 0.4 * 0.9  # the removed texts would have earned 0.9
    return log, seen, truth


def test_healthy_weights_and_a_wrong_number_are_refused_once_the_texts_are_seen():
    log, seen, truth = filtered(0)
    blind = SelfNormalised().estimate(log)
    passed = {f.code for f in blind.findings if f.verdict is Verdict.PASS}
    assert {"EV201", "EV202", "EV203", "EV204", "EV205"} <= passed, "all weights look fine"
    assert blind.weights.effective_sample_size > 0.9 * len(log)
    assert blind.upper < truth - 0.2, "and the number is wrong"
    for estimator in (SelfNormalised(), Clipped(), KernelWeighting(bandwidth=0.5)):
        value = estimator.estimate(seen)
        assert value.refused, estimator
        assert value.lower is None
        assert "EV204" in value.reason
    bounds = Clipped(largest=3, outcome_range=(0, 1)).estimate(seen)
    assert bounds.lower <= bounds.estimate <= bounds.upper


def test_without_samples_support_is_not_vouched_for():
    log, _, _ = filtered(1)
    value = SelfNormalised().estimate(replace(log, samples=None))
    finding = next(f for f in value.findings if f.code == "EV204")
    assert finding.verdict is Verdict.WARN
    assert "Nobody checked" in finding.explanation


def test_a_tail_that_was_not_drawn_is_seen_by_the_samples():
    """Texts that pi0 writes once in a million carry half of pi: no logged weight shows it."""
    generator = np.random.default_rng(0)
    n = 2000
    rare = generator.random(n) < 0.5
    log = OffPolicyLog(
        generator.normal(size=n),
        target_logprob=np.full(n, -10.0),
        logging_logprob=np.full(n, -10.0) + 0.05 * generator.normal(size=n),
        samples=TargetSamples(
            target_logprob=np.full(n, -10.0), logging_logprob=np.where(rare, -24.0, -10.0)
        ),
    )
    value = ImportanceWeighting().estimate(log)
    assert value.refused
    assert "50% of the target's texts lie within logged weights" in value.reason.replace(
        "51%", "50%"
    ).replace("49%", "50%")


def test_collapsed_weights_are_refused_and_bounded_estimators_are_not():
    generator = np.random.default_rng(0)
    n = 3000
    outcome, ratio = generator.integers(2, size=n).astype(float), 6 * generator.normal(size=n)
    log = OffPolicyLog(outcome, -200 + ratio - 18, np.full(n, -200.0))
    wrong = OffPolicyLog(outcome, -200 + ratio, np.full(n, -200.0))
    assert "no clipped weights can average more" in Clipped().estimate(wrong).reason
    for estimator in (ImportanceWeighting(), SelfNormalised(), Clipped(largest=10)):
        value = estimator.estimate(log)
        assert value.refused
        assert value.summary().startswith(f"Value by {value.method}: refused.")
    assert value.table()["estimate"].null_count == 1
    sure = Clipped(largest=10, outcome_range=(0, 1)).estimate(log)
    assert 0 <= sure.lower < sure.upper <= 1


def good(n=200, **changes):
    generator = np.random.default_rng(0)
    arrays = {
        "outcome": generator.normal(size=n),
        "target_logprob": -generator.random(n) - 1,
        "logging_logprob": -generator.random(n) - 1,
    }
    return arrays | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_logprob": np.full(200, 3.0)}, "never above 0"),
        ({"logging_logprob": np.full(200, 0.25)}, "look like probabilities"),
        ({"outcome": np.r_[np.nan, np.zeros(199)]}, "outcome is missing or infinite in row 0"),
        ({"target_logprob": np.r_[0.0, np.nan, np.zeros(198)]}, "missing .NaN. in row 1"),
        ({"target_logprob": -np.ones(150)}, "150 values where there are 200"),
        ({"logging_logprob": np.r_[-np.inf, -np.ones(199)]}, "probability 0, but it is in the log"),
        ({"logging_logprob": None}, "one is missing"),
        ({"predicted": np.zeros(3)}, "predicted has 3 rows"),
        ({"features": np.zeros(200)}, r"must be \(n, d\)"),
        ({"clusters": np.zeros(3)}, "clusters must be"),
        ({"outcome": ["a"] * 200}, "must be numbers"),
    ],
)
def test_bad_arrays_are_refused_with_what_is_wrong(changes, message):
    with pytest.raises(InputError, match=message):
        OffPolicyLog(**good(**changes))


def test_bad_samples_are_refused_with_what_is_wrong():
    with pytest.raises(InputError, match="hold nothing"):
        TargetSamples(row=np.arange(3))
    with pytest.raises(InputError, match="has 2 rows where there are 3"):
        TargetSamples(predicted=np.zeros(3), row=np.arange(2))
    with pytest.raises(InputError, match="positions 0 to 199"):
        OffPolicyLog(**good(samples=TargetSamples(predicted=np.zeros(2), row=[0, 200])))
    log = OffPolicyLog(**good(samples=TargetSamples(predicted=np.zeros(2), row=[0, 1])))
    with pytest.raises(InputError, match="Row 2 of the log has no sample"):
        Direct().estimate(log)
    with pytest.raises(InputError, match="use one encoder"):
        OffPolicyLog(**good(features=np.zeros((200, 3)),
                            samples=TargetSamples(features=np.zeros((5, 2)))))  # fmt: skip


def test_no_overlap_one_cluster_and_constant_outcomes():
    none = OffPolicyLog(**good(target_logprob=np.full(200, -np.inf)))
    with pytest.raises(NotIdentified, match="probability 0 to every logged text"):
        SelfNormalised().estimate(none)
    one = OffPolicyLog(**good(clusters=np.zeros(200)))
    with pytest.raises(NotIdentified, match="one cluster"):
        SelfNormalised().estimate(one)
    constant = SelfNormalised().estimate(OffPolicyLog(**good(outcome=np.ones(200))))
    assert constant.refused
    assert "Every outcome is 1" in constant.reason
    with pytest.raises(InputError, match="target_logprob and logging_logprob"):
        ImportanceWeighting().estimate(OffPolicyLog(np.arange(3.0)))
    with pytest.raises(InputError, match="Nothing can be estimated"):
        off_policy_arrays(OffPolicyLog(np.arange(3.0)))
    with pytest.raises(InputError, match="needs vectors"):
        KernelWeighting().estimate(OffPolicyLog(**good()))


def test_settings_out_of_range():
    with pytest.raises(SettingsError, match="largest"):
        Clipped(largest=0)
    with pytest.raises(SettingsError, match="influence interval only"):
        KernelWeighting(inference=Inference(interval="bootstrap"))
    with pytest.raises(SettingsError, match="support must be a number at least 0 and at most 1"):
        SupportLimits(support=2)
    log = OffPolicyLog(**good())
    with pytest.raises(InputError, match="outside its declared range"):
        Clipped(outcome_range=(0, 1)).estimate(log)


def test_side_by_side_the_answer_is_chosen_by_what_the_log_holds():
    found = off_policy_arrays(LANGUAGE.drawn(0, n=900))
    assert found.method == "doubly-robust"
    assert found.table().num_rows == 8
    section = found.section()
    assert section.numbers["value"] == found.headline.estimate
    assert "more than the log" in section.answer
    assert len(section.figures) == 2
    assert "<svg" in section.figures[1].svg
    assert found.gain().estimate == pytest.approx(found.headline.estimate - found.logged.estimate)
    alone = off_policy_arrays(OffPolicyLog(**good()), [SelfNormalised()])
    assert alone.method == "self-normalised"
