"""A log and a few experiments in one reward: better than either, and safe from a log that lies."""

import numpy as np
import pyarrow as pa
import pytest

from causalign import Logs, Roles
from causalign.errors import InputError
from causalign.logs.arms import read_arms
from causalign.logs.scales import rescale
from causalign.results import Verdict
from causalign.reward import Pooled, Ridge, WithinTests
from tests.reward.experiments import agreement_with_truth, simulate


def three(seed, tests, bias):
    """Return how well log, tests and both agree with the truth, and the joint fit."""
    logs, L, experiments, E, b = simulate(seed, tests, bias)
    both = Pooled().fit_both(logs, L, experiments, E)
    alone = WithinTests().fit_arms(read_arms(experiments, "this"), E)
    log = Ridge().fit_arrays(L, logs.outcome)
    heads = (log.head, alone.head, both.head)
    return [agreement_with_truth(head.coefficients, b) for head in heads], both


def verdict(fit, code):
    return next(f.verdict for f in fit.findings if f.code == code)


@pytest.mark.parametrize("tests", [12, 50, 200])
def test_with_a_log_that_is_right_both_are_better_than_either(tests):
    found = np.mean([three(seed, tests, bias=0)[0] for seed in range(4)], axis=0)
    assert found[2] > max(found[:2]) - 0.003
    if tests == 12:
        assert found[2] > found[1] + 0.05


@pytest.mark.parametrize("bias", [2, -2])
def test_a_log_that_misleads_is_found_and_left_out(bias):
    for seed in range(3):
        (log, tests, both), fit = three(seed, tests=100, bias=bias)
        assert log < 0.6
        assert both > tests - 0.01
        assert fit.numbers["share_of_log"] < 0.1
        assert verdict(fit, "RM109") is not Verdict.PASS


def test_a_log_that_is_right_is_kept_and_passes():
    passed = 0
    for seed in range(6):
        fit = three(seed, tests=60, bias=0)[1]
        assert fit.numbers["share_of_log"] > 0.95
        assert fit.numbers["slope_of_tests_on_log"] == pytest.approx(1, abs=0.35)
        passed += verdict(fit, "RM109") is Verdict.PASS
    assert passed >= 5


def test_without_experiments_it_is_ridge_and_says_that_nothing_was_checked():
    logs, *_ = simulate(0, tests=2, bias=0, rows=200)
    alone, ridge = Pooled().fit(logs, "hashing"), Ridge().fit(logs, "hashing")
    assert np.array_equal(alone.model.head.coefficients, ridge.model.head.coefficients)
    assert verdict(alone, "RM108") is Verdict.WARN


def test_rows_that_are_rows_of_tests_count_once():
    table = {
        "text": [f"{word} mail {i // 2}" for i, word in enumerate(["good", "bad"] * 30)],
        "clicks": [30, 10] * 30,
        "shown": [100] * 60,
        "test": [i // 2 for i in range(60)],
    }
    tested = pa.table(table)
    roles = Roles("text", "clicks", trials="shown", group="test")
    experiments = Logs.of(tested, roles)
    fresh = {**table, "text": [f"new {text}" for text in table["text"]]}
    fresh["test"] = [test + 100 for test in table["test"]]
    rates = Logs.of(pa.concat_tables([tested.slice(0, 20), pa.table(fresh)]), roles)
    with pytest.raises(InputError, match="scale 'logit'"):
        Pooled().fit(rates, "hashing", experiments=experiments)
    log = rescale(rates, "logit")
    fit = Pooled().fit(log, "hashing", experiments=experiments)
    shared = next(f for f in fit.findings if f.code == "RM110")
    assert (shared.numbers["shared"], shared.numbers["dropped"]) == (20, 20)
    assert fit.estimate.numbers["rows"] == 60
    with pytest.raises(InputError, match="Every row of the log"):
        Pooled().fit(rescale(experiments, "logit"), "hashing", experiments=experiments)


def test_a_log_in_other_units_is_found_and_asked_about():
    logs, L, experiments, E, _ = simulate(0, tests=60, bias=0)
    rates = logs.with_outcome(0.02 * logs.outcome, "as rates")
    fit = Pooled().fit_both(rates, L, experiments, E)
    finding = next(f for f in fit.findings if f.code == "RM109")
    assert finding.verdict is Verdict.FAIL
    assert "one scale" in finding.explanation
