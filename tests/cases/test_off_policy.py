"""Values of policies at the edges: weights at a limit, two rows, the logging policy itself."""

import warnings

import numpy as np
import pandas as pd
import pytest

from causalign import Logs, Roles
from causalign.errors import InputError, NotIdentified
from causalign.evaluate import (
    METHODS,
    Clipped,
    DoublyRobust,
    ImportanceWeighting,
    KernelWeighting,
    OffPolicyLog,
    SelfNormalised,
    SupportLimits,
    Switch,
    TargetSamples,
    off_policy,
    off_policy_arrays,
)
from causalign.stats.importance_weights import diagnose_weights

OPEN = SupportLimits(0.0, np.inf, np.inf, 0.0, 0.0, 1.0)


def logged(ratio, outcome=None, base=-5.0, guess=(0.2, 0.3)):
    """Return a log with these log-weights, and predictions that are the same for every text."""
    n = len(ratio)
    outcome = np.arange(n) % 2 * 1.0 if outcome is None else outcome
    return OffPolicyLog(
        outcome,
        np.minimum(base + ratio, 0),
        np.full(n, base),
        predicted=np.full(n, guess[0]),
        samples=TargetSamples(predicted=np.full(n, guess[1]), row=np.arange(n)),
    )


@pytest.mark.parametrize("base", [-0.8, -3.0, -7.3, -123.456])
@pytest.mark.parametrize("largest", [0.7, 1.0, 2.0, 3.3, 22.360679774997898])
def test_a_weight_equal_to_the_limit_still_corrects(largest, base):
    """ln w is a difference of log-probabilities, which rounds; above the limit it does not."""
    base = min(base, -np.log(largest) - 0.1)
    half = np.log([largest, 0.5 * largest])
    log = logged(np.tile(half, 50), base=base)
    value = Switch(largest=largest, limits=OPEN).estimate(log)
    expected = 0.3 + np.mean(np.tile([largest, largest / 2], 50) * (np.arange(100) % 2 - 0.2))
    assert value.estimate == pytest.approx(expected, rel=1e-9)
    assert next(f for f in value.findings if f.code == "EV206").explanation.startswith("No logged")
    less = Switch(largest=largest * (1 - 1e-6), limits=OPEN).estimate(log)
    only = 0.3 + np.mean(np.tile([0, largest / 2], 50) * (np.arange(100) % 2 - 0.2))
    assert less.estimate == pytest.approx(only, rel=1e-9)


def test_two_rows_that_carry_everything_are_refused_by_every_weighted_estimator():
    ratio = np.full(600, -40.0)
    ratio[[3, 10]] = np.log(300.0)
    log = logged(ratio, base=-8.0)
    assert diagnose_weights(log.log_weights).effective_sample_size == pytest.approx(2)
    for estimator in (
        ImportanceWeighting(),
        SelfNormalised(),
        DoublyRobust(),
        Clipped(),
        Clipped(largest=1000),
        Switch(largest=1000),
    ):
        value = estimator.estimate(log)
        assert value.refused, estimator
        assert "EV201" in value.reason
    sure = Clipped(largest=10, outcome_range=(0, 1)).estimate(log)
    assert (sure.lower, sure.upper) == (0, 1)


def test_a_switch_that_corrects_nothing_has_no_interval():
    ratio = np.full(600, -40.0)
    ratio[:60] = np.log(10.0)
    value = Switch(largest=5.0).estimate(logged(ratio))
    assert value.estimate == pytest.approx(0.3)
    assert (value.stderr, value.lower, value.upper) == (None, None, None)
    assert any(f.code == "EV210" for f in value.findings)


@pytest.fixture(scope="module")
def own():
    """The log of a policy that is evaluated on itself; probabilities differ from row to row."""
    rng = np.random.default_rng(0)
    logprob = np.log(rng.dirichlet(np.ones(5), 500)[:, 0])
    outcome = (rng.random(500) < 0.2) * 1.0
    vectors = rng.normal(size=(500, 3))
    return OffPolicyLog(
        outcome,
        logprob,
        logprob,
        predicted=np.full(500, 0.2),
        features=vectors,
        samples=TargetSamples(
            predicted=np.full(500, 0.2),
            row=np.arange(500),
            target_logprob=logprob,
            logging_logprob=logprob,
            features=vectors,
        ),
    )


def test_the_logging_policy_earns_what_the_log_earned(own):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = off_policy_arrays(own)
        assert set(METHODS) - {"pilot"} == {v.method for v in values.values}
        mean = own.outcome.mean()
        for name in ("importance", "self-normalised", "clipped"):
            assert values.of(name).estimate == mean
        for name in ("switch", "doubly-robust"):
            assert values.of(name).estimate == pytest.approx(mean, abs=1e-15)
        assert f"{mean:.3g}" in values.summary()
        gain = values.of("self-normalised").difference(values.logged)
        assert (gain.estimate, gain.lower, gain.upper) == (0, 0, 0)
        assert values.section().figures
        mean, size, tail = values.section().tables["weights"]["value"].to_pylist()[1:4]
        assert (mean, size, tail) == (1, pytest.approx(500), -np.inf)


def test_probabilities_and_their_logarithms_are_the_same_policy():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(5), 500)[:, 0]
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(500)], "y": rng.random(500), "p": p})
    logs = Logs.of(frame, Roles("text", "y", propensity="p"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = off_policy(logs, target_logprob=np.log(p))
        assert values.headline.estimate == pytest.approx(frame.y.mean(), rel=1e-14)
        assert values.gain().estimate == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("bad", [0.0, 1.5, -0.2, np.nan, np.inf])
def test_propensities_that_are_none(bad):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"text": [f"t{i}" for i in range(50)], "y": rng.random(50), "p": 0.5})
    frame.loc[7, "p"] = bad
    with pytest.raises(InputError, match="'p'|p is|p mixes"):
        off_policy(
            Logs.of(frame, Roles("text", "y", propensity="p")), target_logprob=np.full(50, -1.0)
        )


@pytest.mark.parametrize("side", ["target_logprob", "logging_logprob"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.5])
def test_log_probabilities_that_are_none(side, bad):
    given = {"target_logprob": np.full(50, -1.0), "logging_logprob": np.full(50, -1.0)}
    given[side][4] = bad
    with pytest.raises(InputError, match=f"{side}.* row 4"):
        OffPolicyLog(np.arange(50.0), **given)


def test_texts_that_the_target_never_writes_count_nothing():
    log = OffPolicyLog(
        np.arange(100) % 2 * 1.0,
        np.where(np.arange(100) < 50, -np.inf, np.log(0.5)),
        np.full(100, np.log(0.25)),
    )
    value = ImportanceWeighting(limits=OPEN).estimate(log)
    assert value.estimate == pytest.approx(0.5)
    with pytest.raises(NotIdentified, match="probability 0 to every logged text"):
        off_policy_arrays(OffPolicyLog(np.arange(9.0), np.full(9, -np.inf), np.full(9, -1.0)))


def test_weights_beyond_any_number_are_refused_not_raised():
    rng = np.random.default_rng(0)
    log = OffPolicyLog(rng.random(200), -1 - rng.random(200), np.full(200, -2000.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = off_policy_arrays(log)
        assert all(v.refused for v in values.values)
        assert values.section().figures
        for estimator in (ImportanceWeighting(limits=OPEN), DoublyRobust(limits=OPEN)):
            value = estimator.estimate(logged(1990 + rng.random(200), base=-2000.0))
            assert value.refused
            assert "EV203" in value.reason
        # All the same: a mean without spread, at a scale that no number holds.
        even = OffPolicyLog(rng.random(200), np.full(200, -1.0), np.full(200, -2000.0))
        assert off_policy_arrays(even).headline.refused


def test_one_row_constant_outcomes_and_copies():
    with pytest.raises(NotIdentified, match="There is one row"):
        ImportanceWeighting().estimate(logged(np.zeros(1)))
    same = off_policy_arrays(logged(np.zeros(100), outcome=np.ones(100)))
    assert all(v.refused and "EV207" in v.reason for v in same.values)
    rng = np.random.default_rng(0)
    ratio, outcome = 0.2 * rng.normal(size=200) - 0.02, rng.random(200)
    once = SelfNormalised().estimate(logged(ratio, outcome))
    copies = logged(np.tile(ratio, 3), np.tile(outcome, 3))
    thrice = SelfNormalised().estimate(
        OffPolicyLog(
            copies.outcome,
            copies.target_logprob,
            copies.logging_logprob,
            clusters=np.tile(np.arange(200), 3),
        )
    )
    assert thrice.estimate == pytest.approx(once.estimate)
    assert thrice.stderr == pytest.approx(once.stderr)


def test_rows_and_clusters_that_are_none():
    with pytest.raises(InputError, match="whole numbers, positions in the log; sample 1 has 0.5"):
        TargetSamples(predicted=np.zeros(2), row=np.array([0.0, 0.5]))
    with pytest.raises(InputError, match=r"clusters are missing \(NaN\) in row 2"):
        OffPolicyLog(np.arange(4.0), clusters=np.array([0, 1, np.nan, 2]))


def indicators(seed, texts, rows, tilt=0.7):
    """Return a log and samples of texts that their vectors only name, and the true value."""
    rng = np.random.default_rng(seed)
    world = np.random.default_rng(99)
    better = world.normal(size=texts)
    mean = 1 / (1 + np.exp(-better))
    common = 0.5 * world.normal(size=texts)
    logging, target = (np.exp(common + part) for part in (0.0, tilt * better))
    logging, target = logging / logging.sum(), target / target.sum()
    drawn, wrote = rng.choice(texts, rows, p=logging), rng.choice(texts, rows, p=target)
    names = np.eye(texts)
    outcome = (rng.random(rows) < mean[drawn]) * 1.0
    log = OffPolicyLog(outcome, features=names[drawn], samples=TargetSamples(features=names[wrote]))
    return log, float(target @ mean)


def test_the_kernel_compares_texts_that_vectors_only_name_with_themselves():
    """With five principal directions of 40 indicators, intervals held the value in 3 of 4 logs."""
    hits, errors, draws = 0, [], 25
    for seed in range(draws):
        log, truth = indicators(seed, texts=40, rows=240)
        value = KernelWeighting(limits=SupportLimits(support=0.0)).estimate(log)
        hits += value.lower <= truth <= value.upper
        errors.append(value.estimate - truth)
    assert hits >= 21  # of 25 at 95 %, with probability .99
    assert abs(np.mean(errors)) < 0.02


def test_the_kernel_refuses_texts_that_vectors_only_name_once():
    log, _ = indicators(0, texts=600, rows=200)
    value = KernelWeighting().estimate(log)
    assert value.refused
    assert "equally far apart" in value.reason
    rng = np.random.default_rng(0)
    told = OffPolicyLog(
        log.outcome,
        features=rng.normal(size=(200, 3)),
        samples=TargetSamples(features=rng.normal(size=(200, 3))),
    )
    assert not KernelWeighting().estimate(told).refused
