"""What rows and samples did to an estimate: errors of differences, and of samples of a row."""

from dataclasses import replace

import numpy as np
import pytest

from causalign.evaluate import DoublyRobust, KernelWeighting, OffPolicyLog, TargetSamples
from causalign.evaluate.value import SupportLimits

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
