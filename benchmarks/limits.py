"""How often a limit on a guardrail keeps what it says, and intervals of what is chosen hold.

    python benchmarks/limits.py

Words raise clicks and complaints alike; the best of 16 candidates is chosen for each of 40 prompts,
freely and with ``complaints <= LIMIT``. What the chosen texts truly do to complaints is a sum over
their words. ``free`` is what naive choice does on the same logs.
"""

import argparse

import numpy as np
import pyarrow as pa

from causalign.logs import Logs, Roles
from causalign.policy import BestOf
from causalign.reward import Ridge

WORDS = np.array(["free", "now", "win", "calm", "news", "thanks", "you", "today"])
GAIN = np.array([1.0, 0.8, 0.6, 0.0, 0.2, 0.1, 0.0, -0.2])
# Complaints that every mail has more or less of, and some that one word makes four times as likely.
OFTEN = np.array([0.9, 0.7, 0.5, -0.3, 0.0, -0.1, 0.0, 0.1])
RARE = np.array([0.15, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])


class CountsWords:
    """How often each of the words occurs in a text."""

    name, revision, dimension = "counts words", "1", len(WORDS)

    def encode(self, texts):
        counts = [[text.split().count(word) for word in WORDS] for text in texts]
        return np.array(counts, dtype=np.float32).reshape(-1, len(WORDS))


def draw_texts(draw, count):
    return [" ".join(WORDS[row]) for row in draw.random((count, len(WORDS))) < 0.4]


def draw_log(seed: int, rows: int, *, rare: bool) -> Logs:
    draw = np.random.default_rng(seed)
    texts = draw_texts(draw, rows)
    X = CountsWords().encode(texts)
    level = X @ (RARE if rare else OFTEN)
    harm = draw.random(rows) < 0.05 + level if rare else level + draw.normal(size=rows)
    table = {
        "text": [text or "plain" for text in texts],
        "clicks": X @ GAIN + draw.normal(size=rows),
        "complaints": harm.astype(float),
    }
    return Logs.of(pa.table(table), Roles("text", "clicks", guardrails=("complaints",)))


def choose(seed: int, rows: int, limits, *, rare: bool) -> tuple[float, bool]:
    """Return what chosen texts truly do to complaints, and whether the interval holds it."""
    logs = draw_log(seed, rows, rare=rare)
    model = Ridge().fit(logs, CountsWords()).model
    draw = np.random.default_rng(1000 + seed)
    offers = [draw_texts(draw, 16) for _ in range(40)]
    best = BestOf(limits=limits).choose(offers, model, [None] * 40, logs=logs)
    chosen = [text for text in best.texts() if text is not None]
    effect = CountsWords().encode([*chosen, *logs.completions]) @ (RARE if rare else OFTEN)
    truth = effect[: len(chosen)].mean() - effect[len(chosen) :].mean()
    change = best.changes["complaints"]
    return float(truth), change.lower <= truth <= change.upper


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100)
    given = parser.parse_args()
    print(
        "| complaints | rows | limit | mean change | kept | interval holds | free: mean | holds |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for rare, limit in ((False, 0.1), (True, 0.05)):
        for rows in (400, 2000):
            seeds = range(given.draws)
            held = [choose(s, rows, [f"complaints <= {limit}"], rare=rare) for s in seeds]
            free = [choose(s, rows, [], rare=rare) for s in seeds]
            (change, inside), (loose, known) = np.array(held).T, np.array(free).T
            print(
                f"| {'rare' if rare else 'often'} | {rows:,} | {limit} | {change.mean():+.3f} | "
                f"{np.mean(change <= limit):.0%} | {inside.mean():.0%} | {loose.mean():+.3f} | "
                f"{known.mean():.0%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
