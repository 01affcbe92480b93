"""Intervals of a policy's value hold the truth as often as they say; the log's mean does not."""

import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from causalign.evaluate import (
    Clipped,
    CrossFittedOutcome,
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
)
from tests.evaluate.language64 import language

LANGUAGE = language(tilt=0.7)
# A second policy, half-way between the first and the logging policy, for the same logs.
HALF = np.sqrt(LANGUAGE.target * LANGUAGE.logging)
SECOND = replace(LANGUAGE, target=HALF / HALF.sum())
ROWS = 1000
# Every draw counts: none is left out because a finding refused it.
OPEN = SupportLimits(0.0, float("inf"), float("inf"), 0.0, 0.0, 1.0)
BOOTSTRAP = Inference(interval="bootstrap", draws=400)
ESTIMATORS = {
    "importance": ImportanceWeighting(limits=OPEN),
    "self-normalised": SelfNormalised(limits=OPEN),
    "clipped": Clipped(limits=OPEN),
    "clipped, bounds": Clipped(largest=5, outcome_range=(0.0, 1.0)),
    "switch": Switch(limits=OPEN),
    "doubly-robust": DoublyRobust(limits=OPEN),
    "doubly-robust, normalised": DoublyRobust(normalise=True, limits=OPEN),
    "kernel": KernelWeighting(components=None, bandwidth=0.3, limits=OPEN),
    "importance, bootstrap": ImportanceWeighting(BOOTSTRAP, OPEN),
    "self-normalised, bootstrap": SelfNormalised(BOOTSTRAP, OPEN),
    "doubly-robust, bootstrap": DoublyRobust(inference=BOOTSTRAP, limits=OPEN),
}


def measured(draws, users=None, names=tuple(ESTIMATORS), start=0):
    """Return the share of its intervals in which each holds the truth, and its mean width.

    A value without an interval, such as a switch that corrects next to nothing, claims nothing.
    """
    hits, width, intervals = Counter(), Counter(), Counter()
    for seed in range(start, start + draws):
        log = LANGUAGE.drawn(seed, n=ROWS, m=ROWS, users=users)
        # Vectors serve the kernel and the check of support, which takes longer than all the rest.
        bare = replace(log, features=None, samples=replace(log.samples, features=None))
        found = {n: ESTIMATORS[n].estimate(log if n == "kernel" else bare) for n in names}
        found["what the log earned"] = logged_value(log)
        if "doubly-robust" in names:
            gain = found["doubly-robust"].difference(found["what the log earned"])
            true = LANGUAGE.value - float(LANGUAGE.logging @ LANGUAGE.mean)
            intervals["difference"] += 1
            hits["difference"] += gain.lower <= true <= gain.upper
            width["difference"] += gain.upper - gain.lower
        for name, value in found.items():
            if value.lower is None:
                continue
            intervals[name] += 1
            hits[name] += value.lower <= LANGUAGE.value <= value.upper
            width[name] += value.upper - value.lower
    assert min(intervals.values()) > draws / 4, intervals
    return tuple({n: part[n] / intervals[n] for n in hits} for part in (hits, width))


def _second(seed, users):
    """Return the same log for the second policy, with texts of its own that share no luck."""
    log, other = (
        SECOND.drawn(s, n=ROWS, m=ROWS, users=users, fit=False) for s in (seed, seed + 10**6)
    )
    return CrossFittedOutcome(folds=3).predict(replace(log, samples=other.samples))


def differences(draws, users=None):
    """Return how often intervals of the difference of two policies on one log hold the truth.

    Beside it the interval that forgets that the log is the same: the errors of both, added.
    """
    hits, width = Counter(), Counter()
    truth = LANGUAGE.value - SECOND.value
    for seed in range(draws):
        logs = [LANGUAGE.drawn(seed, n=ROWS, m=ROWS, users=users), _second(seed, users)]
        bare = [replace(o, features=None, samples=replace(o.samples, features=None)) for o in logs]
        for name in ("importance", "self-normalised", "doubly-robust"):
            first, second = (ESTIMATORS[name].estimate(log) for log in bare)
            found = first.difference(second)
            hits[name] += found.lower <= truth <= found.upper
            width[name] += found.upper - found.lower
            width[f"{name}, as if unrelated"] += 3.92 * np.hypot(first.stderr, second.stderr)
    return {n: c / draws for n, c in hits.items()}, {n: w / draws for n, w in width.items()}


@pytest.mark.parametrize("users", [None, 300])
def test_difference_of_two_policies_on_one_log_covers(users):
    draws = 60
    low, high = stats.binom.interval(0.999, draws, 0.95)
    found, width = differences(draws, users)
    assert all(low <= share * draws <= high for share in found.values()), found
    assert width["self-normalised"] < 0.8 * width["self-normalised, as if unrelated"]


def test_covers_and_the_log_itself_does_not():
    draws = 100
    low, high = stats.binom.interval(0.999, draws, 0.95)
    found, _ = measured(draws, names=("self-normalised", "doubly-robust"))
    for name in ("self-normalised", "doubly-robust", "difference"):
        assert low <= found[name] * draws <= high, name
    assert found["what the log earned"] < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("users", [None, 300])
def test_covers_in_many_draws(users):
    found, _ = measured(300, users)
    for name, share in found.items():
        if name == "what the log earned":
            assert share < 0.2
        elif name == "clipped, bounds":
            assert share >= 0.99
        else:
            assert 0.91 <= share <= 0.985, (name, share)


@pytest.mark.slow
def test_the_kernel_covers_where_vectors_only_name_texts():
    """One column for each of 64 sentences: all directions are kept, and each meets itself."""
    draws, hits, names = 100, 0, np.eye(64)
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        rows, wrote = (rng.choice(64, 400, p=p) for p in (LANGUAGE.logging, LANGUAGE.target))
        outcome = (rng.random(400) < LANGUAGE.mean[rows]) * 1.0
        samples = TargetSamples(features=names[wrote])
        log = OffPolicyLog(outcome, features=names[rows], samples=samples)
        value = KernelWeighting(limits=OPEN).estimate(log)
        hits += value.lower <= LANGUAGE.value <= value.upper
    low, high = stats.binom.interval(0.999, draws, 0.95)
    assert low <= hits <= high


if __name__ == "__main__":  # the table of docs/methods/off-policy.md
    for users in (None, 300):
        shares, widths = measured(int(sys.argv[1]), users)
        for name, share in shares.items():
            print(f"| {name} | {users or 'none'} | {share:.1%} | {widths[name]:.3f} |", flush=True)
        shares, widths = differences(int(sys.argv[1]), users)
        for name, share in shares.items():
            apart = widths[f"{name}, as if unrelated"]
            print(f"| two policies, {name} | {share:.1%} | {widths[name]:.3f} | {apart:.3f} |")
