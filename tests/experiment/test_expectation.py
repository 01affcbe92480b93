"""What a reward leads to expect: found from past tests, valid when wrong, narrower when right."""

import numpy as np
import pytest

import causalign as ca
from causalign.results import Verdict
from tests.experiment.running import logs_of


def reward(texts, prompts=None) -> np.ndarray:
    """Score a text by the number that it names."""
    return np.array([float(text.split()[-1]) for text in texts])


def past_tests(slope: float, spread: float, tests: int = 400, seed: int = 0) -> ca.Logs:
    """Return finished tests of three arms whose log-odds follow the reward and more."""
    rng = np.random.default_rng(seed)
    rows = []
    for test in range(tests):
        for score in rng.normal(size=3).round(6):
            odds = -3 + 0.3 * np.sin(test) + slope * score + spread * rng.normal()
            rate = 1 / (1 + np.exp(-odds))
            clicks = int(rng.binomial(20_000, rate))
            rows.append({"text": f"n {score}", "clicks": clicks, "shown": 20_000, "test": test})
    return logs_of(rows, time=None, group="test")


def test_slope_and_spread_are_those_of_the_past():
    known = ca.experiment.expect(reward, past_tests(0.2, 0.1))
    assert known.slope == pytest.approx(0.2, abs=0.01)
    assert known.spread == pytest.approx(0.1, abs=0.01)
    assert (known.in_odds, known.tests) == (True, 400)


def test_a_reward_that_knows_nothing_or_the_wrong_way_says_nothing():
    known = ca.experiment.expect(reward, past_tests(-0.2, 0.1))
    assert known.slope == 0
    assert known.spread > 0


def running(effect: float, seed: int, score: float = 1.5) -> ca.Logs:
    rng = np.random.default_rng(seed)
    rates = 0.05, 1 / (1 + np.exp(-(np.log(0.05 / 0.95) + effect)))
    return logs_of(
        [
            {"day": d, "text": f"n {value}", "shown": 500, "clicks": int(rng.binomial(500, rate))}
            for d in range(10)
            for value, rate in zip((0, score), rates, strict=True)
        ]
    )


def width(logs: ca.Logs, expectation) -> float:
    readings = ca.experiment.read(logs, expectation=expectation, control="n 0")
    low, high = readings.readings[0].comparisons[0].interval()
    return high - low


def test_a_right_expectation_narrows_and_a_wrong_one_widens():
    known = ca.experiment.expect(reward, past_tests(0.2, 0.05))
    right, wrong = running(0.3, seed=1), running(-0.5, seed=1)
    assert width(right, known) < 0.9 * width(right, None)
    assert width(wrong, known) > width(wrong, None)
    readings = ca.experiment.read(wrong, expectation=known)
    verdicts = {one.code: one.verdict for one in readings.findings}
    assert verdicts["EX110"] is Verdict.WARN


def test_a_reward_whose_past_was_of_another_kind_is_refused():
    known = ca.experiment.expect(reward, past_tests(0.2, 0.05))
    rows = {"text": ["n 0", "n 1"] * 60, "y": np.arange(120.0), "day": [1] * 120}
    logs = ca.Logs.of(rows, ca.Roles("text", "y", time="day"))
    with pytest.raises(ca.errors.InputError, match="counts of trials"):
        ca.experiment.read(logs, expectation=known)


def test_past_tests_without_a_sampling_error_are_refused():
    rows = {"text": ["a 1", "b 2", "c 3", "d 4"], "y": [1.0, 2.0, 3.0, 5.0], "t": list("aabb")}
    past = ca.Logs.of(rows, ca.Roles("text", "y", group="t"))
    with pytest.raises(ca.errors.InputError, match="how much readers differ"):
        ca.experiment.expect(reward, past)
    with pytest.raises(ca.errors.RoleNotDeclared, match="group"):
        ca.experiment.expect(reward, ca.Logs.of(rows, ca.Roles("text", "y")))
