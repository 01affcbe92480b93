"""Designs against exhaustive choice, what they say of a test, tests saved in a simulation."""

import json

import numpy as np
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

import causalign as ca
from causalign.errors import SettingsError
from causalign.experiment import Candidates, ReaderNoise, design
from causalign.experiment.candidates import draw_pairs
from causalign.results import Verdict
from causalign.stats.optimal_design import expected_best, readers_for_power
from tests.experiment.known_reward import KnownReward, texts_of

NOISE = ReaderNoise(400.0)


@pytest.fixture(scope="module")
def study():
    """Eighteen texts in three stories, and a reward that knows little of them."""
    random = np.random.default_rng(2)
    X, root = random.normal(size=(18, 3)), random.normal(size=(3, 3))
    texts = texts_of(X)
    reward = KnownReward(random.normal(size=3), root @ root.T + 0.1 * np.eye(3))
    return Candidates(texts, np.repeat(["x", "y", "z"], 6).tolist()), reward, X


def test_the_first_test_is_the_one_that_teaches_most(study):
    candidates, reward, X = study
    plan = design(candidates, reward, tests=4, readers=1000, noise=NOISE)
    V = reward.root @ reward.root.T
    gains = {}
    for i in range(18):
        for j in range(i):
            if candidates.labels[i] == candidates.labels[j]:
                d = X[i] - X[j]
                gains[frozenset((i, j))] = 0.5 * np.log1p(d @ V @ d / (2 * 400 / 1000))
    best = max(gains, key=gains.get)
    texts = list(candidates.texts)
    assert {texts.index(plan.first[0]), texts.index(plan.second[0])} == set(best)
    assert plan.gain[0] == pytest.approx(max(gains.values()))
    assert (np.diff(plan.gain) <= 1e-12).all()


def test_what_a_test_would_settle(study):
    candidates, reward, _ = study
    plan = design(candidates, reward, tests=5, noise=NOISE)
    rows = plan.table().to_pylist()
    for row in rows:
        sides = [row["first"], row["second"]]
        difference = reward(sides)[0] - reward(sides)[1]
        F = reward.covariance_factor(sides)
        assert row["difference"] == pytest.approx(difference)
        assert difference >= 0
        assert row["standard_error"] == pytest.approx(np.linalg.norm(F[0] - F[1]))
        assert row["readers_needed"] == readers_for_power(difference, 400.0)
        assert 0.5 <= row["p_first_better"] <= 1
        places = [candidates.texts.index(text) for text in sides]
        assert {candidates.labels[place] for place in places} == {row["group"]}
    assert [row["test"] for row in rows] == [f"test-{i}" for i in range(1, 6)]


def test_what_is_known_after_the_tests(study):
    """The standard error that is promised is that of a refit."""
    candidates, reward, X = study
    plan = design(candidates, reward, tests=6, readers=1000, noise=NOISE)
    V = reward.root @ reward.root.T
    texts = list(candidates.texts)
    D = np.array([X[texts.index(a)] - X[texts.index(b)]
                  for a, b in zip(plan.first, plan.second, strict=True)])  # fmt: skip
    after = np.linalg.inv(np.linalg.inv(V) + D.T @ D / 0.8)
    code = candidates.codes
    pairs = [X[i] - X[j] for i in range(18) for j in range(i) if code[i] == code[j]]
    for name, covariance in (("standard_error", V), ("standard_error_after", after)):
        expected = np.sqrt(np.mean([d @ covariance @ d for d in pairs]))
        assert plan.numbers[name] == pytest.approx(expected)
    assert plan.numbers["best_after"] > plan.numbers["best"]


def test_one_test_for_the_best_text_earns_its_knowledge_gradient(study):
    candidates, reward, _ = study
    plan = design(candidates, reward, tests=1, criterion="best-text", noise=NOISE)
    assert plan.numbers["best_after"] - plan.numbers["best"] == pytest.approx(plan.gain[0], rel=0.1)
    assert "gain_reward" in plan.table().column_names


def test_no_other_test_is_worth_more_for_the_best_text(study):
    candidates, reward, _ = study
    pairs = draw_pairs(candidates, 0)
    values = expected_best(
        reward(candidates.texts), reward.covariance_factor(candidates.texts), pairs.first,
        pairs.second, NOISE.of_difference(2000), candidates.codes,
    )  # fmt: skip
    plan = design(candidates, reward, tests=2, criterion="best-text", noise=NOISE)
    assert plan.gain[0] == pytest.approx(values.max())
    most = design(candidates, reward, tests=1, criterion="information", noise=NOISE)
    assert plan.gain[0] >= most.numbers["best_after"] - most.numbers["best"] - 0.02


def test_noise_comes_from_logs():
    random = np.random.default_rng(0)
    texts = texts_of(random.normal(size=(10, 2)))
    logs = ca.Logs.of(
        {"text": texts, "clicks": [20] * 5 + [40] * 5, "shown": [1000] * 10},
        ca.Roles("text", "clicks", trials="shown"),
    )
    reward = KnownReward([1.0, 0.0], np.eye(2))
    by_logs = design(logs, reward, tests=3)
    by_rate = design(Candidates(texts), reward, tests=3, noise=ReaderNoise.of_rate(0.03))
    assert by_logs.table().equals(by_rate.table())


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_arms_are_written_for_an_experimentation_tool(study, tmp_path, ending):
    candidates, reward, _ = study
    plan = design(candidates, reward, tests=3, readers=1500, noise=NOISE)
    path = plan.write(tmp_path / f"next.{ending}")
    read = {
        "csv": lambda: pacsv.read_csv(path).to_pylist(),
        "jsonl": lambda: [json.loads(line) for line in path.read_text("utf-8").splitlines()],
        "parquet": lambda: pq.read_table(path).to_pylist(),
    }
    rows = read[ending]()
    assert rows == plan.arms().to_pylist()
    assert [(row["test"], row["arm"]) for row in rows[:3]] == [
        ("test-1", "a"), ("test-1", "b"), ("test-2", "a"),
    ]  # fmt: skip
    assert [row["text"] for row in rows[:2]] == [plan.first[0], plan.second[0]]
    assert {row["readers"] for row in rows} == {1500}
    assert {row["share_of_traffic"] for row in rows} == {0.5}


def test_too_few_readers_are_found(study):
    candidates, reward, _ = study
    few = design(candidates, reward, tests=3, readers=2, noise=NOISE)
    many = design(candidates, reward, tests=3, readers=10**9, noise=NOISE)
    assert few.findings[0].verdict is Verdict.WARN
    assert many.findings[0].verdict is Verdict.PASS


def test_rates_that_are_taken_for_log_odds_are_found():
    X = np.random.default_rng(0).uniform(0.01, 0.03, size=(20, 1))
    reward = KnownReward([1.0], np.eye(1) * 1e-4)
    wrong = design(Candidates(texts_of(X)), reward, tests=2, noise=ReaderNoise.of_rate(0.02))
    assert wrong.findings[2].verdict is Verdict.WARN
    assert "'identity'" in wrong.findings[2].explanation
    right = ReaderNoise.of_rate(0.02, scale="identity")
    assert (
        design(Candidates(texts_of(X)), reward, tests=2, noise=right).findings[2].verdict
        is Verdict.PASS
    )
    odds = KnownReward([-200.0], np.eye(1))
    other = design(Candidates(texts_of(X)), odds, tests=2, noise=right)
    assert other.findings[2].verdict is Verdict.WARN


def test_a_design_shows_itself(study):
    candidates, reward, _ = study
    plan = design(candidates, reward, tests=3, noise=NOISE)
    assert "Run 3 tests" in plan.answer()
    assert "EX201" in plan.summary() or "findings" in plan.summary()
    assert plan.section().tables["next tests"].num_rows == 3
    assert plan.plot() is not None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tests": 0}, "tests must be a whole number at least 1"),
        ({"readers": 0}, "readers must be a whole number at least 1"),
        ({"readers": -5}, "readers must be"),
        ({"tests": 46}, "46 tests were asked for, but 18 candidates make only 45 pairs"),
        ({"criterion": "best"}, "criterion must be one of 'information', 'best-text'"),
        ({"power": 1.0}, "power must be"),
        ({"noise": None}, "Say how much one reader's outcome varies"),
    ],
)
def test_settings_out_of_range(study, settings, message):
    candidates, reward, _ = study
    with pytest.raises(SettingsError, match=message):
        design(candidates, reward, **{"noise": NOISE} | settings)


def test_a_reward_without_covariance_is_refused(study):
    candidates, _, _ = study
    with pytest.raises(SettingsError, match="does not say how sure it is.*WithinTests"):
        design(candidates, lambda texts, prompts=None: np.zeros(len(texts)), noise=NOISE)


def test_a_file_of_another_ending_is_refused(study, tmp_path):
    candidates, reward, _ = study
    plan = design(candidates, reward, tests=1, noise=NOISE)
    with pytest.raises(SettingsError, match=r"next\.xlsx' ends in none"):
        plan.write(tmp_path / "next.xlsx")


def simulate(draw: int, tests: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return by number of tests the AUC on new pairs, designed and in random order."""
    random = np.random.default_rng(draw)
    d, noise = 30, ReaderNoise(500.0)
    spread = 1 / np.sqrt(np.arange(1, d + 1))

    def write(count):
        return (
            np.exp(0.5 * random.normal(size=(count, 1))) * spread * random.normal(size=(count, d))
        )

    X, new, b = write(240), write(2000), random.normal(size=d) / 2
    candidates = Candidates(texts_of(X), np.repeat(np.arange(60), 4).tolist())
    prior = KnownReward(np.zeros(d), np.eye(d) / 4)
    plan = design(candidates, prior, tests=max(tests), readers=2000, noise=noise)
    place = {text: row for row, text in enumerate(candidates.texts)}
    designed = [(place[a], place[b]) for a, b in zip(plan.first, plan.second, strict=True)]
    code = candidates.codes
    every = [(i, j) for i in range(240) for j in range(i) if code[i] == code[j]]
    at_random = [every[k] for k in random.permutation(len(every))[: max(tests)]]
    sides, variance, curves = new[::2] - new[1::2], noise.of_difference(2000), []
    for order in (designed, at_random):
        D = np.array([X[i] - X[j] for i, j in order])
        result = D @ b + np.sqrt(variance) * random.normal(size=len(D))
        fits = [
            np.linalg.solve(D[:k].T @ D[:k] + 4 * variance * np.eye(d), D[:k].T @ result[:k])
            for k in tests
        ]
        curves.append([((sides @ fit > 0) == (sides @ b > 0)).mean() for fit in fits])
    return np.array(curves[0]), np.array(curves[1])


@pytest.mark.slow
def test_a_third_of_the_tests_is_saved():
    """60 designed tests rank new texts better than 90 in random order, and 20 than 30."""
    curves = [simulate(draw, (20, 30, 60, 90)) for draw in range(40)]
    designed, at_random = (np.array(side) for side in zip(*curves, strict=True))
    for few, many in ((0, 1), (2, 3)):
        gap = designed[:, few] - at_random[:, many]
        assert gap.mean() - 2 * gap.std() / np.sqrt(len(gap)) > 0
