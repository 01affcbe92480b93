"""What is chosen among 16 headlines by a naive and a deconfounded reward, on Upworthy.

python benchmarks/best_of.py [--encoder minilm+style] [--n 16]

The log holds one package of each test of 70 % of the stories, with the week as its confounder. Each
held-out test is a prompt: its candidates are its own headlines and others drawn at random from
held-out tests. The judge is a reward of all held-out tests' arms within tests, which no chooser
saw; its gains are over a candidate drawn at random, with intervals that count its coefficients and
the stories. Below: among the test's own headlines alone, what the test itself found of the choice.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from causalign import Logs, Roles, deconfound, policy, reward
from causalign.lm import load_encoder
from causalign.logs import draw_held_out, draw_one_per_group, rescale
from causalign.logs.arms import read_arms
from causalign.stats.best_of import NORMAL_95, choose_best

GROUP = "clickability_test_id"
ROLES = Roles(
    "headline",
    "clicks",
    trials="impressions",
    group=GROUP,
    confounders=("test_week",),
    categorical=("test_week",),
)


def fit_rewards(train: Logs, encoder) -> dict[str, tuple[reward.RewardModel, Logs]]:
    """Return the rewards with the logs that they were fitted on."""
    adjusted, _ = deconfound.adjust_logs(deconfound.Additive(), train, encoder)
    return {
        name: (reward.Ridge().fit(logs, encoder).model, logs)
        for name, logs in (("naive", train), ("deconfounded", adjusted))
    }


def offer(tests: Logs, n: int, seed: int) -> list[list[str]]:
    """Return for each test its headlines, and others of held-out tests up to n."""
    random, groups = np.random.default_rng(seed), tests.groups
    every = list(dict.fromkeys(tests.completions))
    offers = []
    for number in range(groups.max() + 1):
        rows = np.flatnonzero(groups == number)
        own = list(dict.fromkeys(tests.completions[row] for row in rows))[:n]
        drawn = [every[i] for i in random.choice(len(every), size=2 * n, replace=False)]
        offers.append((own + [text for text in drawn if text not in own])[:n])
    return offers


def judge_gain(judge, best: policy.BestTexts) -> tuple[np.ndarray, np.ndarray]:
    """Return by prompt what the judge gives for the choice over a random candidate, and its F."""
    rows = [r for r in best.candidates.to_pylist() if not r["verdict"].startswith("refused")]
    place = np.array([r["number"] for r in rows])
    chosen = np.array([r["verdict"] == "chosen" for r in rows])
    texts = [r["text"] for r in rows]
    score, F = judge(texts), judge.covariance_factor(texts)
    weight = chosen - 1 / np.bincount(place)[place]
    each = np.bincount(place, weights=weight * score, minlength=best.prompts)
    return each, weight @ F / len(each)


def tell(name: str, each: np.ndarray, error: np.ndarray | None = None) -> None:
    """Print a mean over stories with its interval."""
    spread = each.std(ddof=1) / np.sqrt(len(each))
    reach = NORMAL_95 * float(np.hypot(spread, 0 if error is None else np.linalg.norm(error)))
    print(
        f"{name:<46} {each.mean():+.3f} ({each.mean() - reach:+.3f} to {each.mean() + reach:+.3f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="minilm+style")
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--tests", type=int, default=1000, help="held-out tests that are prompts")
    asked = parser.parse_args()
    path = Path(os.environ["CAUSALIGN_DATA"]) / "upworthy.parquet"
    read = Logs.read(path, ROLES)
    held = draw_held_out(read, 0.3, 0)
    train = draw_one_per_group(rescale(read, "logit").take(~held, "to learn from"), 0)
    every = read.take(held, "held out")
    some = np.unique(every.groups)[: asked.tests]
    tests = every.take(np.isin(every.groups, some), "prompts")
    encoder = load_encoder(asked.encoder, training_texts=train.texts)
    rewards = fit_rewards(train, encoder)
    arms_of = replace(ROLES, confounders=(), categorical=())
    judged = Logs.of(every.data, arms_of)
    judge = reward.WithinTests().fit(judged, encoder).model
    offers = offer(tests, asked.n, 0)
    prompts = [None] * len(offers)
    print(f"{len(train):,} rows to learn from, {len(offers):,} held-out tests, n = {asked.n}")
    found: dict[tuple[str, float], tuple[np.ndarray, np.ndarray]] = {}
    for name, (model, logs) in rewards.items():
        for caution in (0.0, 1.0, 2.0):
            chooser = policy.BestOf(n=asked.n, caution=caution)
            best = chooser.choose(offers, model, prompts, logs=logs if caution == 1 else None)
            found[name, caution] = judge_gain(judge, best)
            tell(f"{name}, caution {caution:g}: log-odds by the judge", *found[name, caution])
            if caution == 1:
                gain = best.worth[1]
                print(
                    f"    its own log says {gain.estimate:+.3f} ({gain.lower:+.3f} to "
                    f"{gain.upper:+.3f}), the reward that chose {gain.naive:+.3f}; {best.refused}"
                )
    for caution in (0.0, 1.0):
        (one, of_one), (other, of_other) = found["deconfounded", caution], found["naive", caution]
        tell(f"deconfounded less naive, caution {caution:g}", one - other, of_one - of_other)
    arms = read_arms(judged, "The tests")
    texts = [judged.completions[row] for row in arms.rows]
    size = np.bincount(arms.test)
    truths = {}
    for name, (model, _) in rewards.items():
        rows = choose_best(model(texts), arms.test)
        mean = np.bincount(arms.test, weights=arms.outcome) / size
        truths[name] = arms.outcome[rows] - mean
        tell(f"{name}, among own headlines: log-odds by the test", truths[name])
    tell("deconfounded less naive, by the test", truths["deconfounded"] - truths["naive"])


if __name__ == "__main__":
    main()
