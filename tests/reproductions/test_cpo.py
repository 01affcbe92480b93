"""The reproductions of arXiv 2402.14979: their exact sums are right, and they start."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy import stats

FOLDER = Path(__file__).parents[2] / "reproductions" / "cpo"


@pytest.fixture
def tilted(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(FOLDER))
    import tilted

    return tilted


@pytest.fixture
def snippets(tilted, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER / "hongkong"))
    import snippets

    return snippets


@pytest.fixture
def support(tilted):
    random = np.random.default_rng(0)
    probability = random.dirichlet(np.full(40, 5.0))
    return tilted.Support(random.normal(size=(40, 3)), np.log(probability))


@pytest.fixture
def truth(tilted):
    return tilted.Linear(np.array([50.0, 4.0, -3.0, 0.0]))


def test_a_win_rate_is_the_sum_over_all_pairs(tilted):
    random = np.random.default_rng(1)
    outcome = random.integers(5, size=30).astype(float)  # many ties
    first, second = random.dirichlet(np.ones(30), 2)
    gap = np.subtract.outer(outcome, outcome)
    by_pairs = first @ ((gap > 0) + 0.5 * (gap == 0)) @ second
    assert tilted.win_rate(first, second, outcome) == pytest.approx(by_pairs)
    assert tilted.win_rate(first, first, outcome) == pytest.approx(0.5)


def test_an_outcome_model_alone_gives_its_own_tilt(tilted, support, truth):
    """The policy that is best for ĝ at price κ is P_R tilted by ĝ / κ."""
    texts = tilted.drawn(support, 10, np.random.default_rng(2))
    logits = tilted.tuned("OO-RLHF", texts, truth, 10.0, seed=0)
    assert logits.numpy() == pytest.approx(truth.coefficients[1:] / 10, abs=1e-3)


def test_a_wrong_model_is_corrected_by_texts_of_known_propensity(tilted, support, truth):
    texts = tilted.simulated(truth, 5.0, support, 20_000, seed=0)
    wrong = tilted.Linear(np.array([50.0, -20.0, 0.0, 5.0]))
    found = tilted.policies(texts, lambda _: wrong, [-20], 10.0, seed=0)
    best = truth.coefficients[1:] / 10
    assert found["-20"]["DR-CPO"].numpy() == pytest.approx(best, abs=0.05)
    assert found["-20"]["CPO"].numpy() == pytest.approx(best, abs=0.05)
    row = tilted.scores(found, support, truth(support.features))["-20"]
    assert row["OO-RLHF"] < 0 < row["DR-CPO"]
    # Divided by n once more, the correction corrects nothing.
    assert row["DR-CPO as released"] == pytest.approx(row["OO-RLHF"], abs=0.01)
    assert row["DR-CPO wins against OO-RLHF"] > 0.7


def test_a_policy_is_judged_on_other_texts_by_its_logits(tilted, support, truth):
    other = tilted.Support(np.array([[0.0, 0, 0], [1.0, 0, 0]]), np.log([0.5, 0.5]))
    logits = tilted.tuned(
        "OO-RLHF", tilted.drawn(support, 4, np.random.default_rng(0)), truth, 4, 0
    )
    names = dict.fromkeys(tilted.METHODS, logits)
    row = tilted.scores({"0": names}, other, np.array([0.0, 1.0]))["0"]
    assert row["CPO"] == pytest.approx(1 / (1 + np.exp(-1)) - 0.5, abs=1e-3)


def test_a_confounder_is_even_and_moves_the_model_by_what_it_explains(tilted, support, truth):
    coefficients = np.array([0.0, 0.0, 2.0])
    random = np.random.default_rng(3)
    score = random.normal(size=20_000)
    c = tilted.confounder(score, random)
    assert abs(c.mean()) < 0.03
    assert c[score > 1].mean() > 0.4
    rows = (truth, 1.0, support, coefficients, 20_000)
    fair, moved = (tilted.confounded_rows(*rows, 0)(strength) for strength in (0.0, -10.0))
    assert fair.coefficients == pytest.approx(truth.coefficients, abs=0.05)
    assert fair.coefficients[:3] == pytest.approx(moved.coefficients[:3], abs=2.0)
    assert moved.coefficients[3] < -4


def test_hong_kong_was_drawn_as_the_exact_sums_say(real_data, tilted, snippets):
    import torch

    texts = snippets.read(real_data / "hongkong_wave1.parquet")
    for logits in (torch.zeros(7).double(), torch.linspace(-1, 1, 7).double()):
        probability = tilted.log_policy(logits, texts.support).exp()
        assert float(probability.sum()) == pytest.approx(1)
    # Within a kind all sets are equally likely; the test has three chances.
    first = 0
    for kind in snippets.KINDS:
        counts = [(texts.chosen == row).sum() for row in range(first, first + len(kind))]
        assert stats.chisquare(counts).pvalue > 0.003
        first += len(kind)


def test_each_wording_of_a_set_is_as_likely_as_the_others(real_data, tilted, snippets):
    path = real_data / "hongkong_wave1.parquet"
    everything = snippets.read(path)
    words = snippets.worded(path)
    rows, texts = snippets.of_two(everything)
    assert (texts.features().sum(axis=1) == 2).all()
    assert (texts.features() == everything.features()[rows]).all()
    assert np.exp(texts.support.log_probability).sum() == pytest.approx(1)
    # All wordings of a set are equally likely: their number is one over that probability.
    ways = np.exp(-words.log_wording[rows])
    for chosen in range(len(texts.support.features)):
        assert np.ptp(ways[texts.chosen == chosen]) < 1e-6
    used = Counter(s for pair in words.snippets for s in pair)
    for treatment in range(7):
        counts = [used[s] for s, of in words.treatment.items() if of == treatment]
        assert stats.chisquare(counts).pvalue > 0.01


def test_written_texts_are_compared_with_intervals(snippets, monkeypatch):
    import language_models

    random = np.random.default_rng(0)
    first, second = random.normal(1, 1, 200), random.normal(0, 1, 200)
    difference = language_models.difference(first, second, random)
    assert difference["low"] < 1 < difference["high"]
    # Half the width is 1.96 standard errors of a difference of two means.
    half = (difference["high"] - difference["low"]) / 2
    assert half == pytest.approx(1.96 * (2 / 200) ** 0.5, rel=0.15)
    wins = language_models.wins(first, second, random)
    assert wins["low"] < stats.norm.cdf(1 / 2**0.5) < wins["high"]
    assert language_models.wins(first, first, random)["found"] == 0.5


@pytest.fixture
def comparisons(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import comparisons

    return comparisons


@pytest.fixture
def small_policies(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    pytest.importorskip("torch")
    import small_policies

    return small_policies


def record(comparisons, gains, *, splits=2, draws=8, texts=64):
    """Return a record in which each arm is worth what it gains, on average over texts."""
    random = np.random.default_rng(0)
    lines = {}
    for split in range(splits):
        lines[comparisons.Tuning(split, 0, "f0")] = {"worth": [60.0] * texts}
        for draw in range(1, draws + 1):
            for arm, gain in gains.items():
                worth = list(60 + gain + random.normal(0, 0.5) + random.normal(0, 3, texts))
                lines[comparisons.Tuning(split, draw, arm)] = {
                    "worth": worth,
                    "nats": 2.0,
                    "worth at the same divergence": worth,
                    "nats at the same divergence": 1.0,
                    "effective rows": 50.0,
                    "stopped": False,
                }
    return comparisons.summarised(lines)


GAINS = {"fine-tuning": 0.0, "CPO": 1.0, "OO-RLHF -20": -3.0, "DR-CPO -20": 1.0}


def test_many_tunings_tell_what_one_cannot(comparisons):
    chosen = {"splits": 2, "draws": 8, "strengths": [-20, 20]}
    table = comparisons.compared(record(comparisons, GAINS), chosen)["as tuned"]
    assert set(table) == {"-20"}  # of 20 nothing is tuned yet
    row = table["-20"]
    assert row["tunings"] == 16
    gap = row["DR-CPO - OO-RLHF"]
    assert gap["low"] < 4.0 < gap["high"]
    assert gap["low"] > 3
    assert row["DR-CPO - CPO"]["low"] < 0 < row["DR-CPO - CPO"]["high"]
    assert row["DR-CPO wins against OO-RLHF"]["low"] > 0.75
    assert gap["spread"] == pytest.approx(np.sqrt(2 * 0.5**2 + 2 * 9 / 64), rel=0.4)


def test_a_tuning_that_is_not_whole_is_not_counted(small_policies, tmp_path):
    path = tmp_path / "tunings.jsonl"
    small_policies._append(path, small_policies.Tuning(0, 1, "CPO"), {"worth": [1.0]})
    with path.open("a") as file:
        file.write('{"split": 0, "draw": 1, "arm": "fine-')
    assert small_policies._done(path) == {small_policies.Tuning(0, 1, "CPO")}
    small_policies._append(path, small_policies.Tuning(0, 2, "CPO"), {"worth": [2.0]})
    assert small_policies._lines(path)[small_policies.Tuning(0, 2, "CPO")]["worth"] == [2.0]


@pytest.mark.parametrize("name", ["hongkong", "hate_speech"])
def test_tables_of_tunings_follow_from_their_record(name, comparisons):
    folder = FOLDER / name
    chosen = yaml.safe_load((folder / "config.yaml").read_text())["cpu"]["small_policies"]
    expected = json.loads((folder / "expected.json").read_text())["cpu"]["small policies"]
    rows = comparisons.read_record(folder / "tunings.csv")
    here = chosen | {"strengths": chosen["strengths"][:1]}
    for judged, table in comparisons.compared(rows, here).items():
        for strength, row in table.items():
            assert row == expected[judged][strength]
