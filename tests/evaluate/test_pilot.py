"""A pilot sharpened by predictions: exact where sums are finite, and by hand where they are not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from causalign import Logs, Roles
from causalign.errors import ColumnNotFound, InputError, NotIdentified, SettingsError
from causalign.evaluate import (
    Inference,
    OffPolicyLog,
    Pilot,
    PilotTexts,
    TargetSamples,
    off_policy,
    off_policy_arrays,
)
from causalign.results import Verdict
from causalign.reward import Ridge, WithinTests
from tests.evaluate.language64 import language

LANGUAGE = language()
WRONG = np.sin(np.arange(64.0))


def drawn(seed=0, n=80, m=900, clusters=None, slope=0.8):
    """Return a log with a pilot of n texts and m predicted ones; outcomes follow predictions."""
    rng = np.random.default_rng(seed)
    guess, others = rng.normal(size=n), rng.normal(size=m)
    outcome = 2 + slope * guess + rng.normal(size=n)
    pilot = PilotTexts(outcome, guess, clusters)
    return OffPolicyLog(rng.random(50), samples=TargetSamples(predicted=others), pilot=pilot)


def test_it_is_exact_whatever_the_predictions():
    """Each sentence is in the pilot as often as expected, once with predictions that are wrong."""
    log = LANGUAGE.population(20_000, WRONG)
    rows = np.repeat(np.arange(64), np.rint(LANGUAGE.target * 20_000).astype(int))
    log = replace(log, pilot=PilotTexts(LANGUAGE.mean[rows], WRONG[rows]))
    value = Pilot().estimate(log)
    assert value.estimate == pytest.approx(LANGUAGE.value, abs=1e-12)
    assert abs(LANGUAGE.target @ WRONG - LANGUAGE.value) > 0.1, "the predictions alone are wrong"


def test_value_weight_and_error_are_those_of_the_formula():
    log = drawn()
    y, g, others = log.pilot.outcome, log.pilot.predicted, log.samples.predicted
    n, m = len(y), len(others)
    value, of_samples = Pilot().estimate(log), others.var(ddof=1)
    weight = np.cov(y, g)[0, 1] / (g.var(ddof=1) + n / m * of_samples)
    assert value.settings["tuning"] == pytest.approx(weight)
    assert value.estimate == pytest.approx(weight * others.mean() + (y - weight * g).mean())
    parts = (y - weight * g).var(ddof=1) / n, weight**2 * of_samples / m
    assert value.stderr == pytest.approx(np.sqrt(sum(parts)))
    reach = np.hypot(
        *(t * np.sqrt(p) for t, p in zip(stats.t.ppf(0.975, [n - 1, 49]), parts, strict=True))
    )
    assert value.upper - value.estimate == pytest.approx(reach)
    for other in (0.9 * weight, 1.1 * weight):
        error = (y - other * g).var(ddof=1) / n + other**2 * of_samples / m
        assert error > sum(parts), "no other weight has a smaller error"
    bootstrap = Pilot(Inference(interval="bootstrap")).estimate(log)
    assert bootstrap.stderr == pytest.approx(value.stderr, rel=0.02)


def test_without_predictions_the_pilot_stands_alone():
    """The t interval of a mean, by scipy; so do predictions that are all the same."""
    log = drawn()
    y = log.pilot.outcome
    expected = stats.ttest_1samp(y, 0).confidence_interval()
    alone = replace(log, pilot=PilotTexts(y))
    even = replace(log, pilot=PilotTexts(y, np.ones(len(y))))
    for given in (alone, replace(log, samples=None), even):
        value = Pilot().estimate(given)
        assert value.estimate == pytest.approx(y.mean())
        assert (value.lower, value.upper) == pytest.approx(tuple(expected))
    assert "no prediction" in alone_finding(Pilot().estimate(alone))


def alone_finding(value):
    return next(f.explanation for f in value.findings if f.code == "EV212")


def test_copies_in_one_cluster_are_one_text():
    log = drawn()
    pilot = log.pilot
    thrice = PilotTexts(
        np.tile(pilot.outcome, 3), np.tile(pilot.predicted, 3), np.tile(np.arange(80), 3)
    )
    once, copies = Pilot().estimate(log), Pilot().estimate(replace(log, pilot=thrice))
    assert (copies.estimate, copies.stderr) == pytest.approx((once.estimate, once.stderr))


def test_pilots_of_two_policies_are_independent_and_one_pilot_cancels():
    log, other = drawn(), drawn(1)
    other = replace(other, outcome=log.outcome)
    first, second = Pilot().estimate(log), Pilot().estimate(other)
    found = first.difference(second)
    assert found.estimate == pytest.approx(first.estimate - second.estimate)
    assert found.stderr == pytest.approx(np.hypot(first.stderr, second.stderr), rel=1e-3)
    shared = [Pilot().estimate(replace(x, samples=None, pilot=log.pilot)) for x in (log, other)]
    assert shared[0].difference(shared[1]).stderr == 0


def test_few_texts_warn_and_even_outcomes_refuse():
    few = Pilot().estimate(drawn(n=12))
    assert {f.code: f.verdict for f in few.findings}["EV212"] is Verdict.WARN
    log = drawn()
    even = replace(log, pilot=PilotTexts(np.ones(80), log.pilot.predicted))
    assert Pilot().estimate(even).refused
    off = replace(log, pilot=replace(log.pilot, outcome=log.pilot.outcome + 5))
    finding = next(f for f in Pilot().estimate(off).findings if f.code == "EV208")
    assert finding.verdict is Verdict.WARN
    assert finding.explanation.startswith("In the pilot, outcomes lie +")


def test_pilots_that_are_none():
    with pytest.raises(InputError, match="The pilot has one text"):
        PilotTexts(np.ones(1))
    with pytest.raises(InputError, match="predicted of the pilot has 2 rows where there are 3"):
        PilotTexts(np.ones(3), np.ones(2))
    with pytest.raises(InputError, match="clusters of the pilot must be"):
        PilotTexts(np.ones(3), clusters=np.ones(2))
    with pytest.raises(InputError, match="needs texts of the target whose outcome was measured"):
        Pilot().estimate(replace(drawn(), pilot=None))
    with pytest.raises(NotIdentified, match="All texts of the pilot belong to one cluster"):
        Pilot().estimate(replace(drawn(), pilot=PilotTexts(np.arange(3.0), clusters=np.ones(3))))
    with pytest.raises(ColumnNotFound, match="The pilot has no column 'clicks'"):
        PilotTexts.of(pd.DataFrame({"click": [1.0, 0.0]}), "clicks")


WORDS = ["sun", "rain", "mug", "train", "book", "lamp"]
WORTH = np.array([0.5, -0.3, 0.8, 0.1, -0.6, 0.2])


def texts(rng, n, shares):
    """Return texts of three words, their mean outcome and their outcome."""
    words = rng.choice(6, size=(n, 3), p=shares)
    mean = 1 + WORTH[words].sum(axis=1)
    return [" ".join(WORDS[w] for w in row) for row in words], mean + 0.5 * rng.normal(size=n)


@pytest.fixture(scope="module")
def tables():
    rng = np.random.default_rng(0)
    logged, target = np.full(6, 1 / 6), np.array([0.3, 0.1, 0.3, 0.1, 0.1, 0.1])
    made = {}
    for name, n, shares in (("log", 400, logged), ("samples", 300, target), ("pilot", 60, target)):
        text, outcome = texts(rng, n, shares)
        made[name] = pd.DataFrame({"text": text, "y": outcome, "user": np.arange(n) // 2})
    return made, 1 + 3 * float(target @ WORTH)


def test_a_reward_of_experiments_is_asked_as_it_is(tables):
    """Log-odds become probabilities, and their errors by the slope: against a difference."""
    made, _ = tables
    rng = np.random.default_rng(3)
    text, outcome = texts(rng, 400, np.full(6, 1 / 6))
    clicks = rng.binomial(500, 1 / (1 + np.exp(3 - outcome)))
    text = [f"{words} {i}" for i, words in enumerate(text)]  # no two tests share one
    arms = pd.DataFrame({"text": text, "y": clicks, "shown": 500, "test": np.arange(400) // 4})
    roles = Roles("text", "y", trials="shown", group="test")
    reward = WithinTests().fit(Logs.of(arms, roles), "hashing").model
    logs = Logs.of(made["log"], Roles("text", "y"))
    samples = made["samples"][["text"]]
    with pytest.raises(SettingsError, match="compares texts and predicts no outcome"):
        off_policy(logs, samples=samples, outcome_model=reward)
    written = list(samples.text)
    value = off_policy(logs, samples=samples, outcome_model=reward.freeze()).of("direct")
    assert value.estimate == pytest.approx(reward.expected_outcome(written).mean())
    step = 1e-5 * reward.covariance_factor(written)[:, 0]
    odds = reward(written)
    moved = (1 / (1 + np.exp(-odds - step)) - 1 / (1 + np.exp(-odds))) / 1e-5
    np.testing.assert_allclose(reward.freeze().covariance_factor(written)[:, 0], moved, rtol=1e-3)
    np.testing.assert_allclose(
        reward.freeze().shrinkage(written) / reward.shrinkage(written),
        reward.freeze().covariance_factor(written)[:, 0] / step * 1e-5,
    )
    assert value.numbers["error of coefficients"] > 0


@pytest.mark.parametrize("name", ["as a frame", "as logs"])
def test_logs_and_a_reward_give_both_values_their_intervals(tables, name):
    """`direct` counts the reward's coefficients; the pilot is predicted by the same reward."""
    made, truth = tables
    roles = Roles("text", "y", cluster="user")
    logs = Logs.of(made["log"], roles)
    pilot = made["pilot"] if name == "as a frame" else Logs.of(made["pilot"], roles)
    reward = Ridge().fit(logs, "hashing").model
    samples = made["samples"][["text"]]
    values = off_policy(logs, samples=samples, outcome_model=reward, pilot=pilot)
    assert [v.method for v in values.values] == ["direct", "pilot"]
    assert values.method == "pilot"
    fitted = reward.cross_fit(logs)
    F = fitted.whole.covariance_factor(list(samples.text)).mean(axis=0)
    lost = 5 / 4 * fitted.whole.shrinkage(list(samples.text)).mean()
    predicted = fitted(list(samples.text))
    direct = values.of("direct")
    assert direct.estimate == pytest.approx(predicted.mean())
    expected = np.linalg.norm([*F, lost, predicted.std(ddof=1) / np.sqrt(300)])
    assert direct.stderr == pytest.approx(expected)
    by_hand = PilotTexts(
        made["pilot"].y.to_numpy(), fitted(list(made["pilot"].text)), np.arange(60) // 2
    )
    log = OffPolicyLog(
        logs.outcome,
        clusters=logs.clusters,
        samples=TargetSamples(predicted=predicted),
        pilot=by_hand,
    )
    value, same = values.of("pilot"), off_policy_arrays(log).of("pilot")
    assert (value.estimate, value.stderr) == pytest.approx((same.estimate, same.stderr))
    assert value.numbers["pilot clusters"] == 30
    for found in (direct, value):
        assert found.lower < truth < found.upper
    assert values.logged.upper < truth
    summary = values.summary()
    assert "by pilot" in summary
