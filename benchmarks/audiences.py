"""Size and power of the test of audiences, and how often intervals hold, on logs of known truth.

    python benchmarks/audiences.py [DRAWS]

Nothing is timed: what is printed stands in docs/methods/audiences.md.
"""

import sys

import numpy as np

import causalign as ca
from causalign.lm import load_encoder
from causalign.lm.embedded_logs import embed_logs
from causalign.reward import ForAudience
from causalign.stats.folds import group_folds
from causalign.stats.heterogeneity import heterogeneity_test

BASE = "Readers love these desk lamps in three colours."
BOTH = [f"Last chance! {BASE}", BASE]


def p_value(seed: int, rows: int, liked: float, disliked: float) -> float:
    """Return the p-value of a deconfounded log of two audiences, 90 : 10."""
    design = ca.simulate.OppositeTastes(rows, 2, liked=liked, disliked=disliked, seed=seed)
    logs = design.simulate().logs
    encoder = load_encoder("style", training_texts=logs.texts)
    adjusted = ca.deconfound.Additive().fit(logs, encoder).adjust(logs)
    people = ca.logs.read_audiences(adjusted)
    groups = adjusted.codes_of("mail")
    vectors = embed_logs(adjusted, encoder).vectors
    return heterogeneity_test(
        vectors, adjusted.outcome, people.codes, folds=group_folds(groups), groups=groups,
        flips=199, seed=seed + 10_000,
    ).p_value  # fmt: skip


def covers(seed: int) -> list[bool]:
    """Return whether the effects of the opening in both audiences, and on average, lie within."""
    logs = ca.simulate.OppositeTastes(rows=3000, pairs=2, seed=seed).simulate().logs
    encoder = load_encoder("style", training_texts=logs.texts)
    adjusted = ca.deconfound.Additive().fit(logs, encoder).adjust(logs)
    model = ForAudience().fit(adjusted, encoder).model
    inside = []
    for reward, true in (
        (model.for_audience("new"), -0.9),
        (model.for_audience("regular"), 0.6),
        (model, 0.45),
        (ca.reward.Ridge().fit(adjusted, encoder).model, -0.9),
    ):
        error = np.linalg.norm([1, -1] @ reward.covariance_factor(BOTH))
        inside.append(bool(abs(reward(BOTH) @ [1, -1] - true) < 1.96 * error))
    return inside


def main() -> None:
    """Print each share with its standard error."""
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for words, liked, disliked, rows, count in (
        ("alike, both like it", 0.6, -0.6, 1000, draws),
        ("opposite tastes", 0.6, 0.9, 1000, draws // 5),
    ):
        p = np.array([p_value(seed, rows, liked, disliked) for seed in range(count)])
        shares = ", ".join(f"{(p <= level).mean():.3f} at {level}" for level in (0.01, 0.05, 0.1))
        print(f"{words}, {rows} rows, {count} draws: found {shares}", flush=True)
    inside = np.mean([covers(seed) for seed in range(draws // 10)], axis=0)
    names = ("new", "regular", "all", "one reward for all, about new")
    for name, share in zip(names, inside, strict=True):
        print(f"95 % interval of {name} holds the truth in {share:.2f} of {draws // 10}")


if __name__ == "__main__":
    main()
