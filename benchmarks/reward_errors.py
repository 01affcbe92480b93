"""How wrong a reward of few tests is about the gain of the headlines it rates best, on Upworthy.

python benchmarks/reward_errors.py [--encoder minilm] [--tests 300] [--draws 12]

Each draw fits `within-tests` on some stories (tests that share a headline are one) and takes the
best headline of each of a thousand other tests. Printed: the gain predicted and found, what is
between them, and the standard errors that the posterior, and what was shrunk, give to it.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from causalign import Logs, Roles
from causalign.lm import EmbeddingCache, embed, load_encoder
from causalign.logs.arms import Arms, read_arms
from causalign.reward import WithinTests

TESTS = Roles("headline", "clicks", trials="impressions", group="clickability_test_id")
JUDGED = 1000


def keep(arms: Arms, stories: np.ndarray) -> Arms:
    """Return the arms of some stories, numbered anew."""
    there = np.isin(arms.story, stories)
    number = {
        name: np.unique(getattr(arms, name)[there], return_inverse=True)[1]
        for name in ("test", "story")
    }
    same = {name: getattr(arms, name)[there] for name in ("rows", "outcome", "variance")}
    return replace(arms, **same, **number)


def judge(arms: Arms, vectors: np.ndarray, tests: int, seed: int) -> np.ndarray:
    """Return predicted and found gain, its sampling error, and both errors of the reward."""
    stories = np.random.default_rng(seed).permutation(arms.story.max() + 1)
    head = (fit := WithinTests().fit_arms(keep(arms, stories[:tests]), vectors)).head
    others = keep(arms, stories[tests : tests + JUDGED])
    X = vectors[others.rows]
    score, F, lost = head(X), head.covariance_factor(X), head.shrinkage(X)
    # The weight of each arm in the gain: its test's best against the mean of the rest.
    size = np.bincount(others.test)
    weight = -1 / (size - 1)[others.test]
    order = np.lexsort((score, others.test))
    weight[order[np.cumsum(size) - 1]] = 1.0
    weight /= len(size)
    noise = others.variance + fit.numbers["between_variance"]
    return np.array(
        [
            weight @ score,
            weight @ others.outcome,
            np.sqrt(weight**2 @ noise),
            np.linalg.norm(weight @ F),
            abs(weight @ lost),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--tests", type=int, default=300)
    parser.add_argument("--draws", type=int, default=12)
    given = parser.parse_args()
    logs = Logs.read(Path(os.environ["CAUSALIGN_DATA"]) / "upworthy.parquet", TESTS)
    encoder = load_encoder(given.encoder, training_texts=logs.texts)
    vectors = embed(logs.texts, encoder, EmbeddingCache()).vectors
    arms = read_arms(logs, "Experiments")
    draws = np.array([judge(arms, vectors, given.tests, seed) for seed in range(given.draws)])
    predicted, gained, noise, posterior, shrunk = draws.T
    error = gained - predicted
    print(f"gain in log-odds: predicted {predicted.mean():.3f}, found {gained.mean():.3f}")
    print(f"root mean square of the difference: {np.sqrt((error**2).mean()):.3f}")
    for name, reward in (
        ("sampling alone", 0 * posterior),
        ("and the posterior of the reward", posterior),
        ("and what was shrunk", np.hypot(posterior, shrunk)),
    ):
        z = error / np.hypot(noise, reward)
        size = np.hypot(noise, reward).mean()
        print(
            f"{name}: standard error {size:.3f}, within 1.96 of them {np.mean(abs(z) < 1.96):.0%}"
        )


if __name__ == "__main__":
    main()
