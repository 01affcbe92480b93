"""What rows and samples did to an estimate: errors of differences, of samples, of residuals."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from causalign.evaluate import (
    DoublyRobust,
    KernelWeighting,
    OffPolicyLog,
    SupportLimits,
    TargetSamples,
    confounder_outcome,
)
from causalign.evaluate.support_findings import outcome_model
from causalign.logs.covariates import Covariate
from causalign.results import Verdict
from causalign.stats.importance_weights import diagnose_weights

OPEN = SupportLimits(0.0, np.inf, np.inf, 0.0, 0.0, 1.0)


def test_samples_of_two_policies_are_independent_and_of_their_own_numbers():
    """The rows are the same, so that only the two means of predictions differ."""
    rng = np.random.default_rng(0)
    outcome, logprob = rng.random(80), np.full(80, -2.0)
    guesses = rng.normal(size=200), 1 + 3 * rng.normal(size=50)
    values = [
        DoublyRobust(limits=OPEN).estimate(
            OffPolicyLog(
                outcome,
                logprob,
                logprob,
                predicted=np.full(80, 0.5),
                samples=TargetSamples(predicted=guess),
            )
        )
        for guess in guesses
    ]
    found = values[0].difference(values[1])
    assert found.estimate == pytest.approx(guesses[0].mean() - guesses[1].mean())
    expected = sum(g.var(ddof=1) / len(g) for g in guesses) ** 0.5
    assert found.stderr == pytest.approx(expected, rel=0.01)  # one mean of 250 has 249 for 248


def test_samples_of_a_logged_prompt_vary_with_their_row():
    """Leaving out a row and its two samples moves the value as much as the error says."""
    rng = np.random.default_rng(3)
    prompt = rng.normal(size=(120, 1))
    vectors = prompt + 0.5 * rng.normal(size=(120, 1))
    row = np.repeat(np.arange(120), 2)
    sampled = prompt[row] + 0.4 + 0.5 * rng.normal(size=(240, 1))
    outcome = vectors[:, 0] + 0.3 * rng.normal(size=120)
    log = OffPolicyLog(outcome, features=vectors, samples=TargetSamples(features=sampled, row=row))
    method = KernelWeighting(bandwidth=0.5, limits=OPEN)
    value = method.estimate(log)
    left = []
    for i in range(120):
        rest, own = np.arange(120) != i, row != i
        fewer = OffPolicyLog(
            outcome[rest], features=vectors[rest], samples=TargetSamples(features=sampled[own])
        )
        left.append(method.estimate(fewer).estimate)
    jackknife = np.sqrt(119 / 120 * np.sum((np.array(left) - np.mean(left)) ** 2))
    assert value.stderr == pytest.approx(jackknife, rel=0.1)
    alone = method.estimate(replace(log, samples=replace(log.samples, row=None)))
    assert alone.estimate == pytest.approx(value.estimate)
    assert alone.stderr < 0.9 * jackknife


def test_the_outcome_model_is_judged_by_weighted_residuals():
    """EV208: weights 1 and 3, residuals 1 and 0 or 2: 1.5 on average, their error by hand."""
    n = 400
    w = np.tile([0.5, 1.5], n // 2)
    residual = np.where(np.arange(n) % 4 == 1, 0.4, np.where(np.arange(n) % 4 == 3, -0.2, 0.0))
    log = OffPolicyLog(residual + 0.5, np.log(w) - 4, np.full(n, -4.0), predicted=np.full(n, 0.5))
    found = outcome_model(log, diagnose_weights(log.log_weights))
    off = (w @ residual) / w.sum()
    influence = w * (residual - off) / w.mean()
    error = np.sqrt(n / (n - 1) * influence @ influence) / n
    assert found.numbers == {"residual": pytest.approx(off), "stderr": pytest.approx(error)}
    assert found.verdict is Verdict.WARN
    assert f"p = {2 * stats.norm.sf(off / error):.2g}" in found.explanation


def test_the_outcome_at_a_category_is_the_mean_of_its_training_rows():
    train = Covariate("week", "categorical", np.array([0, 0, 1, 0]), ("a", "b"))
    held_out = Covariate("week", "categorical", np.array([0, 1, 2]), ("a", "b", "c"))
    found = confounder_outcome(train, np.array([1.0, 2.0, 5.0, 6.0]), held_out)
    np.testing.assert_allclose(found, [3.0, 5.0, 3.5])  # c had no row: the mean of all
    numbers = Covariate("price", "numeric", np.array([1.0, 2.0]))
    assert confounder_outcome(numbers, np.array([5.0, 6.0]), numbers) is numbers.values
