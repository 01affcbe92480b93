"""What a log is worth in tests: curves, crossings, what no fit may see, intervals that cover."""

import numpy as np
import pyarrow as pa
import pytest

from causalign import Logs, Roles
from causalign.errors import InputError, RoleNotDeclared
from causalign.evaluate import Worth, worth, worth_arrays
from causalign.results import Verdict
from tests.reward.experiments import simulate


def test_a_log_that_is_right_is_worth_many_tests_and_one_that_misleads_few():
    logs, L, experiments, E, _ = simulate(0, tests=125, bias=0)
    wrong = simulate(0, tests=125, bias=2)[0]
    found = worth_arrays(logs, L, experiments, E, naive=wrong)
    assert found.counts.tolist() == [0, 25, 50, 100]
    assert found.in_tests().estimate > 50
    assert found.in_tests("log as logged").estimate < found.in_tests().estimate / 2
    assert found.auc["both"][0] == found.auc["log"][0]
    assert found.auc["tests"][0] == pytest.approx(0.5)
    best = np.maximum(found.auc["log"], found.auc["tests"])
    assert (found.auc["both"] > best - 0.01).all()
    assert found.auc["both"][1] > found.auc["tests"][1] + 0.01
    assert found.findings[0].verdict is Verdict.PASS
    assert "deconfounding" in found.answer()
    assert found.table().num_rows == 2 + 3 + 3
    assert "<svg" in found.drawing().figure().svg
    assert found.section().numbers["worth in tests, log"] == found.describe("log")


def test_a_log_upside_down_is_found():
    logs, L, experiments, E, _ = simulate(0, tests=60, bias=0)
    found = worth_arrays(logs.with_outcome(-logs.outcome, "reversed"), L, experiments, E)
    assert found.findings[0].verdict is Verdict.FAIL
    assert found.in_tests().estimate == 0
    assert found.describe("log").startswith("fewer than 25 tests (and so")


def simulate_shared():
    """Return a log that shows the texts and outcomes of tests whose arms differ by chance alone."""
    rng = np.random.default_rng(0)
    test = np.repeat(np.arange(30), 4)
    odds = rng.normal(size=len(test))
    trials = np.full(len(test), 10_000)
    clicks = rng.binomial(trials, 1 / (1 + np.exp(-odds)))
    table = {
        "text": [f"tested {i}" for i in range(len(test))],
        "clicks": clicks,
        "shown": trials,
        "test": test,
    }
    experiments = Logs.of(pa.table(table), Roles("text", "clicks", trials="shown", group="test"))
    logs = Logs.of(pa.table({"text": table["text"], "odds": odds}), Roles("text", "odds"))
    return logs, experiments, rng.normal(size=(len(test), 150)).astype(np.float32)


def test_rows_of_the_log_that_show_a_judging_text_are_left_out():
    logs, experiments, V = simulate_shared()
    found = worth_arrays(logs, V, experiments, V, draws=1)
    assert found.auc["log"][0] == pytest.approx(0.5, abs=0.1)  # with them it would be .8
    assert found.auc["both"].max() < 0.6
    renamed = logs.data.set_column(0, "text", [[f"{t} anew" for t in logs.completions]])
    unknown = worth_arrays(Logs.of(renamed, logs.roles), V, experiments, V, draws=1)
    assert unknown.auc["log"][0] > 0.75


def made(tests, log, resampled=None):
    counts = np.array([0, 25, 50, 100, 200])
    auc = {"log": np.full(5, log), "tests": np.array(tests), "both": np.array(tests)}
    again = {name: np.tile(line, (100, 1)) for name, line in auc.items()}
    return Worth(counts, auc, again | (resampled or {}), 100, 50)


def test_worth_is_read_between_the_points_of_a_rising_curve():
    curve = [0.5, 0.6, 0.7, 0.8, 0.85]
    assert made(curve, 0.7).in_tests().estimate == pytest.approx(50)
    assert made(curve, 0.75).in_tests().estimate == pytest.approx(np.sqrt(50 * 100))
    assert made(curve, 0.55).in_tests().estimate == 0
    assert made(curve, 0.9).in_tests().estimate == np.inf
    assert made(curve, 0.9).describe("log").startswith("more than all 200 tests")
    # Points that fall are averaged: .6, .7, .7, .7, .85.
    falling = made([0.5, 0.6, 0.75, 0.7, 0.65], 0.69).in_tests().estimate
    assert 25 < falling < 50
    levels = np.repeat([0.55, 0.7, 0.9], [10, 80, 10])[:, None] * np.ones(5)
    wide = made(curve, 0.7, {"log": levels}).in_tests()
    assert (wide.lower, wide.upper) == (0, np.inf)


def test_texts_are_encoded_and_rates_and_other_rows_refused():
    words = np.random.default_rng(0).choice(["good", "bad", "fair", "odd"], size=(120, 3))
    value = (words == "good").sum(axis=1) - (words == "bad").sum(axis=1)
    texts = [f"{' '.join(row)} {i}" for i, row in enumerate(words)]
    rate = 1 / (1 + np.exp(1 - 0.5 * value))
    table = {
        "text": texts,
        "clicks": np.round(2000 * rate),
        "shown": [2000] * 120,
        "test": np.repeat(np.arange(40), 3),
    }
    experiments = Logs.of(pa.table(table), Roles("text", "clicks", trials="shown", group="test"))
    log = {"text": [f"log {text}" for text in texts], "y": value.astype(float)}
    logs = Logs.of(pa.table(log), Roles("text", "y"))
    found = worth(logs, experiments, "hashing", draws=1)
    assert found.auc["log"][0] > 0.9
    with pytest.raises(InputError, match="scale 'logit'"):
        worth(experiments, experiments, "hashing")
    with pytest.raises(InputError, match="same rows"):
        worth(logs, experiments, "hashing", naive=logs.take(np.arange(60), "half"))
    with pytest.raises(RoleNotDeclared, match="group"):
        worth(logs, logs, "hashing")
    few = experiments.take(np.arange(15), "few")
    with pytest.raises(InputError, match="5 stories"):
        worth(logs, few, "hashing")


def test_given_pairs_judge_instead_of_all_that_differ_significantly():
    logs, L, experiments, E, _ = simulate(0, tests=60, bias=0)
    pairs = experiments.pairs(significance=0.001)
    found = worth_arrays(logs, L, experiments, E, judges=pairs, draws=1)
    assert found.pairs == len(pairs)
    assert found.auc["log"][0] > worth_arrays(logs, L, experiments, E, draws=1).auc["log"][0]


@pytest.mark.slow
def test_intervals_cover_the_auc_of_the_log_and_the_worth_where_tests_are_drawn_anew():
    true_auc, covered, crossed = [], [], []
    for seed in range(60):
        logs, L, _, _, b = simulate(0, tests=2, bias=1)
        experiments, E = draw_tests(b, seed)
        found = worth_arrays(logs, L, experiments, E, seed=seed)
        true_auc.append(found.auc["log"][0])
        covered.append([float(end[0]) for end in found.interval("log")])
        crossed.append(found.in_tests())
    middle = np.mean(true_auc)
    assert np.mean([low < middle < high for low, high in covered]) > 0.88
    centre = np.median([one.estimate for one in crossed])
    assert np.mean([one.lower <= centre <= one.upper for one in crossed]) > 0.88


def draw_tests(b, seed):
    """Return tests whose arms follow the same truth as a log that was simulated before."""
    rng = np.random.default_rng(1000 + seed)
    test = np.repeat(np.arange(100), 4)
    E = rng.normal(size=(len(test), len(b))).astype(np.float32)
    trials = np.full(len(test), 3000)
    level = -3 + 0.3 * rng.normal(size=100)[test] + 0.05 * rng.normal(size=len(test))
    clicks = rng.binomial(trials, 1 / (1 + np.exp(-level - E @ b)))
    table = {
        "text": [f"{seed} {i}" for i in range(len(test))],
        "clicks": clicks,
        "shown": trials,
        "test": test,
    }
    return Logs.of(pa.table(table), Roles("text", "clicks", trials="shown", group="test")), E
