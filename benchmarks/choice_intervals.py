"""How often the interval of a choice's gain holds the truth, in simulations that know it.

    python benchmarks/choice_intervals.py

Texts are random words, each with an effect of its own; for each of 40 prompts the best of 16 is
chosen. ``naive`` is what the reward that chose says of the gain. In ``halves`` two rewards of half
the log value each other's choice, shrunk as they are by their penalty.
"""

import argparse

import numpy as np
import pyarrow as pa

from causalign.logs import Logs, Roles
from causalign.logs.stories import rows_together
from causalign.policy import BestOf
from causalign.reward import Pairwise, Ridge
from causalign.stats.best_of import Valuation, worth_of_choice
from causalign.stats.folds import group_folds

WORDS = np.array([f"w{i}" for i in range(60)])


class CountsWords:
    """How often each of the words occurs in a text."""

    name, revision, dimension = "counts words", "1", len(WORDS)

    def encode(self, texts):
        counts = [[text.split().count(word) for word in WORDS] for text in texts]
        return np.array(counts, dtype=np.float32).reshape(-1, len(WORDS))


def draw_texts(draw, count):
    return [" ".join(WORDS[row]) or "none" for row in draw.random((count, len(WORDS))) < 0.2]


def simulate(seed: int, rows: int, *, compares: bool):
    """Return a log, a method to learn from it, and the effect of each word."""
    draw = np.random.default_rng(seed)
    effects = 0.25 * draw.normal(size=len(WORDS))
    texts = draw_texts(draw, rows)
    noise = draw.gumbel(size=rows) if compares else draw.normal(size=rows)
    table = {"text": texts, "y": CountsWords().encode(texts) @ effects + noise}
    table["test"] = np.arange(rows) // 3
    roles = Roles("text", "y", group="test" if compares else None)
    return Logs.of(pa.table(table), roles), Pairwise() if compares else Ridge(), effects


def value_by_halves(logs, method, offers, seed):
    """Return the gain as rewards of two halves tell it of each other's choice."""
    half = group_folds(rows_together(logs), 2, seed)
    texts = [text for offered in offers for text in offered]
    code = np.repeat(np.arange(len(offers)), len(offers[0]))
    said = []
    for side in (0, 1):
        model = method.fit(logs.take(half == side, "one half"), CountsWords()).model
        said.append(model.assess(texts))
    ways = [
        Valuation(one.reward - one.standard_error, other.reward, other.factor)
        for one, other in (said, said[::-1])
    ]
    return worth_of_choice(code, Valuation(ways[0].score, said[0].reward), ways)[1]


def measure(seed: int, rows: int, *, compares: bool) -> list[float]:
    """Return how far three accounts of the gain are off, and whether two intervals hold it."""
    logs, method, effects = simulate(seed, rows, compares=compares)
    draw = np.random.default_rng(10_000 + seed)
    offers = [draw_texts(draw, 16) for _ in range(40)]
    model = method.fit(logs, CountsWords()).model
    best = BestOf().choose(offers, model, [None] * 40, logs=logs)
    worth = [CountsWords().encode(offered) @ effects for offered in offers]
    chosen = [
        gains[offered.index(text)] - gains.mean()
        for text, gains, offered in zip(best.texts(), worth, offers, strict=True)
        if text is not None
    ]
    truth, gain = float(np.mean(chosen)), best.worth[1]
    halves = value_by_halves(logs, method, offers, seed)
    return [
        gain.naive - truth,
        gain.estimate - truth,
        float(gain.lower <= truth <= gain.upper),
        halves.estimate - truth,
        float(halves.lower <= truth <= halves.upper),
        truth,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100)
    given = parser.parse_args()
    print(
        "| learns from | rows | true gain | naive is off | told is off | holds | halves | holds |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for compares in (False, True):
        for rows in (400, 1000, 3000):
            each = [measure(seed, rows, compares=compares) for seed in range(given.draws)]
            naive, told, holds, halves, known, truth = np.mean(each, axis=0)
            print(
                f"| {'comparisons' if compares else 'outcomes'} | {rows:,} | {truth:.2f} | "
                f"{naive:+.2f} | {told:+.2f} | {holds:.0%} | {halves:+.2f} | {known:.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
