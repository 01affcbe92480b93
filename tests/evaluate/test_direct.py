"""The interval of the direct estimate: texts, coefficients that all texts share, and a bias."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from causalign.errors import InputError, SettingsError
from causalign.evaluate import Direct, Inference, OffPolicyLog, TargetSamples
from causalign.results import Verdict


def drawn(seed=0, n=60, m=240, k=3, row=None, guess=None):
    rng = np.random.default_rng(seed)
    samples = TargetSamples(
        predicted=rng.normal(size=m), covariance_factor=0.2 + rng.normal(size=(m, k)) / 9, row=row
    )
    return OffPolicyLog(np.random.default_rng(9).random(n), predicted=guess, samples=samples)


def finding(value):
    return next(f for f in value.findings if f.code == "EV210")


def test_errors_of_texts_average_out_and_those_of_coefficients_do_not():
    log = drawn()
    value, samples = Direct().estimate(log), log.samples
    mean = samples.covariance_factor.mean(axis=0)
    of_texts = samples.predicted.var(ddof=1) / 240
    assert value.stderr == pytest.approx(np.sqrt(of_texts + mean @ mean))
    reach = np.sqrt(
        stats.t.ppf(0.975, 59) ** 2 * of_texts + stats.norm.ppf(0.975) ** 2 * mean @ mean
    )
    assert value.upper - value.estimate == pytest.approx(reach)
    assert value.estimate - value.lower == pytest.approx(reach)
    assert value.numbers["error of coefficients"] == pytest.approx(np.linalg.norm(mean))
    bootstrap = Direct(Inference(interval="bootstrap")).estimate(log)
    assert bootstrap.stderr == pytest.approx(value.stderr, rel=0.02)
    assert bootstrap.upper == pytest.approx(value.upper, rel=0.05)


def test_texts_of_one_prompt_count_as_their_mean():
    row = np.r_[np.repeat(np.arange(60), 3), np.zeros(60)]  # row 0 has 63 texts
    log = drawn(row=row)
    value, samples = Direct().estimate(log), log.samples
    by_row = np.array([samples.covariance_factor[samples.row == i].mean(axis=0) for i in range(60)])
    means = np.array([samples.predicted[samples.row == i].mean() for i in range(60)])
    mean = by_row.mean(axis=0)
    assert value.estimate == pytest.approx(means.mean())
    assert value.stderr == pytest.approx(np.sqrt(means.var(ddof=1) / 60 + mean @ mean))


def test_a_bias_widens_the_interval_and_settles_the_finding():
    log = drawn()
    plain, wide = (Direct(bias=bias).estimate(log) for bias in (0.0, 0.5))
    assert wide.stderr == pytest.approx(np.hypot(plain.stderr, 0.5))
    assert finding(plain).verdict is Verdict.WARN
    assert "still confounded, is not counted" in finding(plain).explanation
    assert finding(wide).verdict is Verdict.PASS
    assert finding(wide).numbers["bias"] == 0.5
    with pytest.raises(SettingsError, match="bias"):
        Direct(bias=-1.0)


def test_what_was_shrunk_counts_unless_the_model_chose_the_texts():
    log = drawn()
    samples = replace(log.samples, shrinkage=np.linspace(0, 0.6, 240))
    plain, along = (Direct().estimate(replace(log, samples=s)) for s in (log.samples, samples))
    assert along.stderr == pytest.approx(np.hypot(plain.stderr, 0.3))
    tuned = Direct(chosen_by_model=True).estimate(replace(log, samples=samples))
    assert tuned.stderr == plain.stderr
    assert tuned.settings["chosen_by_model"] is True


def test_without_a_covariance_there_is_no_interval():
    log = drawn()
    bare = replace(log, samples=replace(log.samples, covariance_factor=None))
    value = Direct(bias=0.5).estimate(bare)
    assert (value.stderr, value.lower, value.upper) == (None, None, None)
    assert "Give a linear reward as outcome_model" in finding(value).explanation
    assert "without an interval" in value.describe()


def test_two_policies_share_the_luck_of_one_reward_and_not_of_two():
    """The same predictions of logged texts are the same reward."""
    guess = np.random.default_rng(5).random(60)
    first = Direct().estimate(drawn(0, guess=guess))
    second = Direct().estimate(drawn(1, guess=guess))
    other = Direct().estimate(drawn(1, guess=guess + 0.1))
    parts = [drawn(seed).samples for seed in (0, 1)]
    of_texts = sum(part.predicted.var(ddof=1) / 240 for part in parts)
    means = [part.covariance_factor.mean(axis=0) for part in parts]
    shared, apart = first.difference(second), first.difference(other)
    gap = means[0] - means[1]
    assert shared.stderr == pytest.approx(np.sqrt(of_texts + gap @ gap), rel=0.01)
    added = means[0] @ means[0] + means[1] @ means[1]
    assert apart.stderr == pytest.approx(np.sqrt(of_texts + added), rel=0.01)
    assert first.difference(first).stderr == pytest.approx(
        np.sqrt(2 * parts[0].predicted.var(ddof=1) / 240), rel=0.01
    )


def test_factors_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="covariance_factor of the target's samples has 2 rows"):
        TargetSamples(predicted=np.zeros(3), covariance_factor=np.zeros((2, 1)))
    with pytest.raises(InputError, match="covariance_factor of the target's samples must be"):
        TargetSamples(predicted=np.zeros(3), covariance_factor=np.zeros(3))
