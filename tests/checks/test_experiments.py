"""Findings on tests: sizes of the arms of finished tests, of one and of many."""

import numpy as np
import pytest

import causalign as ca
from causalign.checks.experiments import check_arm_sizes, check_expectation, check_sizes_of_logs
from causalign.results import Verdict

ROLES = ca.Roles("text", "clicks", trials="shown", group="test")


def finished(shown: np.ndarray, roles: ca.Roles = ROLES, **columns) -> ca.Logs:
    """Return finished tests of two arms with these sizes (T, 2)."""
    tests = len(shown)
    rows = {
        "test": np.repeat(np.arange(tests), 2),
        "text": [f"text {row}" for row in range(2 * tests)],
        "shown": shown.ravel(),
        "clicks": np.arange(2 * tests) % 7,
    }
    return ca.Logs.of(rows | columns, roles)


def random_sizes(tests: int, share: float = 0.5) -> np.ndarray:
    first = np.random.default_rng(0).binomial(6_000, share, size=tests)
    return np.column_stack([first, 6_000 - first])


@pytest.mark.parametrize("tests", [1, 20, 3_000])
def test_random_sizes_pass(tests):
    assert check_sizes_of_logs(finished(random_sizes(tests))).verdict is Verdict.PASS


def test_one_test_that_is_off_fails_alone_and_warns_among_many():
    off = np.array([[3_300, 2_700]])
    assert check_sizes_of_logs(finished(off)).verdict is Verdict.FAIL
    among = check_sizes_of_logs(finished(np.vstack([off, random_sizes(40)])))
    assert among.verdict is Verdict.WARN
    assert among.numbers["off"] == 1
    assert ": 0. " in among.explanation
    many = check_sizes_of_logs(finished(np.vstack([off] * 5 + [random_sizes(40)])))
    assert many.verdict is Verdict.FAIL


def test_shares_that_were_meant_pass():
    sizes = random_sizes(40, share=0.9)
    assert check_sizes_of_logs(finished(sizes)).verdict is Verdict.FAIL
    roles = ca.Roles("text", "clicks", trials="shown", group="test", propensity="share")
    meant = finished(sizes, roles, share=np.tile([0.9, 0.1], 40))
    assert check_sizes_of_logs(meant).verdict is Verdict.PASS


def test_sizes_need_counts():
    roles = ca.Roles("text", "clicks", group="test")
    logs = finished(random_sizes(3), roles)
    assert check_sizes_of_logs(logs).verdict is Verdict.NOT_APPLICABLE


def test_one_in_a_thousand_of_many_tests_is_chance():
    p_values = np.full(3_000, 0.5)
    p_values[:4] = 1e-4
    assert check_arm_sizes(p_values, [""] * 3_000).verdict is Verdict.PASS


def test_far_differences_contradict_what_was_expected():
    assert check_expectation(np.array([2.9]), ["one"]).verdict is Verdict.PASS
    assert check_expectation(np.array([3.1]), ["one"]).verdict is Verdict.WARN
    some = np.full(1_000, 1.0)
    some[:3] = 4.0
    assert check_expectation(some, [""] * 1_000).verdict is Verdict.PASS
