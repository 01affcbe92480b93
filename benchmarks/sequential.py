"""Tests that are looked at every day: false stops without a difference, and what a reward saves.

python benchmarks/sequential.py [--tests 10000] [--draws 20] [--encoder minilm+style]

First, simulated tests of two equal arms, looked at daily for 30 days. Then Upworthy's own tests,
of which only totals are known. Stories are cut into three parts: a reward (ridge within tests) is
fitted on the first, what it is worth is measured on the second (`causalign.experiment.expect`), and
tests of the third are replayed: two headlines of each test, drawn at random; on each of 30 days
every arm gets a seventh of the readers that it had in all, and clicks are binomial draws, at rates
that are the arms' log-odds shrunk to their test's mean by what sampling explains of them (with
--raw as they were, which makes differences too large).
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from causalign import Logs, Roles
from causalign.experiment import Expectation, RunningTest, expect
from causalign.experiment.comparisons import ArmComparison, StopRule, compare_arms
from causalign.lm import EmbeddingCache, embed, load_encoder
from causalign.logs.arms import Arms, read_arms
from causalign.logs.stories import number_stories
from causalign.reward import WithinTests
from causalign.stats.daily_differences import Cells
from causalign.stats.folds import group_folds
from causalign.stats.within_groups import between_variance

TESTS = Roles("headline", "clicks", trials="impressions", group="clickability_test_id")
DAYS, LEVEL = 30, 0.95


def run(clicks: np.ndarray, readers: np.ndarray, arms: tuple[str, str]) -> RunningTest:
    """Return the test of two arms with these counts (D, 2) by day."""
    rate, days = clicks / readers, len(clicks)
    none = np.zeros((days, 2, 0)), np.zeros((days, 2, 0)), np.zeros((days, 2, 0, 0))
    cells = Cells(readers, rate, readers * rate * (1 - rate), *none)
    shares = np.full((days, 2), 0.5)
    return RunningTest("", arms, np.arange(days), False, True, True, cells, {}, shares, np.ones(2))


def stops(one: ArmComparison, *, naive: bool = False) -> np.ndarray:
    """Return after which days (D,) the interval leaves out 0."""
    half = norm.ppf(0.5 + LEVEL / 2) * one.path.error if naive else one.half_width()
    return np.abs(one.path.estimate) > half


def false_stops(tests: int, rate: float, readers: int, seed: int) -> tuple[float, float]:
    """Return how many tests without a difference stop: by our interval, by naive peeking."""
    rng = np.random.default_rng(seed)
    size = np.full((DAYS, 2), float(readers))
    stopped = np.zeros((tests, 2), dtype=bool)
    for number in range(tests):
        test = run(rng.binomial(readers, rate, (DAYS, 2)), size, ("A", "B"))
        one = compare_arms(test, StopRule(level=LEVEL), None)[0]
        stopped[number] = stops(one).any(), stops(one, naive=True).any()
    return tuple(stopped.mean(axis=0))


def fit_and_expect(logs: Logs, encoder: str, fold: np.ndarray) -> tuple[Expectation, Expectation]:
    """Return what a reward of the first part leads to expect, by the second, and without one."""
    taught, judged = fold < 3, fold == 3
    texts = logs.completions
    own = [text for text, here in zip(texts, taught, strict=True) if here]
    vectors = embed(texts, load_encoder(encoder, training_texts=own), EmbeddingCache()).vectors
    teaching = read_arms(logs.take(taught, "tests that teach"), "this")
    head = WithinTests().fit_arms(teaching, vectors[taught]).head
    score = dict(zip(texts, head(vectors), strict=True))
    past = logs.take(judged, "tests that judge")
    reward = expect(lambda asked, _: [score[text] for text in asked], past)
    arms = read_arms(past, "this")
    total = spread_of(arms)
    none = Expectation(lambda asked, _: np.zeros(len(asked)), 0.0, total, True, reward.tests)
    return reward, none


def spread_of(arms: Arms) -> float:
    """Return by how much arms depart from the mean of their test, sampling aside, in log-odds."""
    noise = np.random.default_rng(0).normal(size=(len(arms.rows), 1))
    return float(np.sqrt(between_variance(noise, arms.outcome, arms.variance, arms.test)))


def draw_pairs(arms: Arms, rng: np.random.Generator) -> np.ndarray:
    """Return two arms (m, 2) of each test, at random."""
    by_test = np.split(np.argsort(arms.test, kind="stable"), np.cumsum(np.bincount(arms.test))[:-1])
    return np.array([rng.permutation(members)[:2] for members in by_test])


def shrink(arms: Arms) -> np.ndarray:
    """Return log-odds (m,) shrunk to the mean of their test by what sampling explains of them."""
    between = spread_of(arms) ** 2
    weight = 1 / (arms.variance + between)
    total = np.bincount(arms.test, weights=weight)
    mean = (np.bincount(arms.test, weights=weight * arms.outcome) / total)[arms.test]
    return mean + between * weight * (arms.outcome - mean)


def replay(
    logs: Logs, expectations: dict[str, Expectation | None], draws: int, *, raw: bool
) -> dict[str, np.ndarray]:
    """Return for each way of reading whether each test stopped, rightly, after how many readers."""
    arms, rng = read_arms(logs, "this"), np.random.default_rng(1)
    rate = expit(arms.outcome if raw else shrink(arms))
    texts = [logs.completions[row] for row in arms.rows]
    # The variance of log-odds is 1/s + 1/f, whence n = 1/(v p (1 - p)).
    own = expit(arms.outcome)
    a_day = np.maximum(np.round(1 / (arms.variance * own * (1 - own)) / 7), 1.0)
    ways = (*expectations, f"one look, day {DAYS}")
    rows: dict[str, list[tuple[float, float, float]]] = {way: [] for way in ways}
    for _ in range(draws):
        for pair in draw_pairs(arms, rng):
            readers = a_day[pair] * np.ones((DAYS, 1))
            clicks = rng.binomial(readers.astype(int), rate[pair])
            test = run(clicks, readers, (texts[pair[0]], texts[pair[1]]))
            rule = StopRule(control=texts[pair[1]], level=LEVEL)
            sign = np.sign(rate[pair[0]] - rate[pair[1]])
            for way in ways:
                one = compare_arms(test, rule, expectations.get(way))[0]
                days = stops(one)
                if way not in expectations:
                    days = stops(one, naive=True) & (np.arange(DAYS) == DAYS - 1)
                day = int(days.argmax()) if days.any() else DAYS - 1
                right = days.any() and np.sign(one.path.estimate[day]) == sign
                rows[way].append((days.any(), right, readers[: day + 1].sum()))
    return {way: np.array(given) for way, given in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tests", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--encoder", default="minilm+style")
    parser.add_argument("--raw", action="store_true")
    given = parser.parse_args()
    started = time.perf_counter()
    print(
        f"{given.tests:,} tests without a difference, a look a day for {DAYS} days: stopped falsely"
    )
    for rate, readers in ((0.01, 300), (0.01, 3_000), (0.05, 1_000), (0.4, 200)):
        ours, naive = false_stops(given.tests, rate, readers, seed=0)
        print(f"rate {rate:4}, {readers:5,} readers an arm and day: {ours:.4f}, naive {naive:.4f}")
    print(f"{time.perf_counter() - started:.0f} s")
    path = Path(os.environ.get("CAUSALIGN_DATA", "")) / "upworthy.parquet"
    if not path.exists():
        sys.exit("Set CAUSALIGN_DATA to a folder with upworthy.parquet for the rest.")
    logs = Logs.read(path, TESTS)
    fold = group_folds(number_stories(logs.groups, logs.codes_of("headline")), 5, 0)
    reward, none = fit_and_expect(logs, given.encoder, fold)
    print(
        f"{given.encoder}: of {reward.tests:,} past tests, an arm departs from its test's mean by "
        f"{none.spread:.3f} log-odds; beside {reward.slope:.2f} times the reward by "
        f"{reward.spread:.3f}"
    )
    ways = {"no reward, planned for 14 days": None, "scale of past tests": none, "reward": reward}
    held = logs.take(fold == 4, "tests that are replayed")
    rows = replay(held, ways, given.draws, raw=given.raw)
    count = len(rows["reward"])
    print(f"{count:,} replays of {count // given.draws:,} tests, {'as they were' * given.raw}")
    print(f"{'':32s} power  wrong  readers of those of {DAYS} days, and beside the first way")
    whole, first = (rows[way][:, 2] for way in (f"one look, day {DAYS}", next(iter(ways))))
    for way, read in rows.items():
        saved = ((first - read[:, 2]) / whole.mean()).reshape(given.draws, -1).mean(axis=0)
        error = saved.std(ddof=1) / np.sqrt(len(saved))
        wrong = (read[:, 0] - read[:, 1]).mean()
        print(
            f"{way:32s} {read[:, 0].mean():.3f}  {wrong:.4f}  {read[:, 2].sum() / whole.sum():.3f}"
            f"  {-saved.mean():+.4f} ± {error:.4f}"
        )
    print(f"{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
