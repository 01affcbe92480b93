"""Objectives that choose their prompts: accuracy by confounding, Table 2 of arXiv 2506.05967.

python reproductions/causal_preference/hh_rlhf/run.py --cpu --out found.json
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[2]))
from running import Settings, mean_and_error, run, shown

from causalign.lm.cache import EmbeddingCache
from causalign.lm.embeddings import embed
from causalign.lm.encoders import load_encoder
from causalign.reward import (
    Adversarial,
    BaseObjective,
    Examples,
    Member,
    Multihead,
    NetworkFit,
    NetworkTraining,
    fit_together,
)

MODELS = {"base": BaseObjective, "multihead": Multihead, "adversarial": Adversarial}

# So that an encoder of 256 tokens reads the end of the prompt and the answer to it.
PROMPT_CHARACTERS, ANSWER_CHARACTERS = 300, 600


@dataclass(frozen=True)
class Relabelled:
    """Hold the pairs as texts, first sides first, and where prompt type and objective agree."""

    texts: list[str]
    objective: np.ndarray
    label: np.ndarray
    consistent: np.ndarray


def read(path: Path) -> Relabelled:
    """Read HH-RLHF with the labels of Siththaranjan et al. (2024) under both objectives."""
    rows = pq.read_table(path).to_pylist()
    # An answer without a word is no side of a pair, and equal sides teach nothing.
    rows = [
        row
        for row in rows
        if row["response_a"].strip()
        and row["response_b"].strip()
        and row["response_a"] != row["response_b"]
    ]
    return Relabelled(
        [_text(row["prompt"], row[side]) for side in ("response_a", "response_b") for row in rows],
        np.array([row["objective"] for row in rows]),
        # 0: the first answer is preferred.
        1.0 - np.array([row["label"] for row in rows]),
        np.array([row["data_subset"] == row["objective"] for row in rows]),
    )


def _text(prompt: str, answer: str) -> str:
    return f"{prompt[-PROMPT_CHARACTERS:]}\n\nAssistant: {answer[:ANSWER_CHARACTERS]}"


def cells(data: Relabelled) -> list[np.ndarray]:
    """Return the pairs of each objective, consistent and not."""
    return [
        np.flatnonzero((data.objective == name) & (data.consistent == side))
        for name in np.unique(data.objective)
        for side in (True, False)
    ]


def test_rows(data: Relabelled, share: float, seed: int) -> np.ndarray:
    """Return the pairs that judge the models, the same share of every cell."""
    random = np.random.default_rng([seed, 0])
    return np.concatenate(
        [random.permutation(cell)[: round(share * len(cell))] for cell in cells(data)]
    )


def drawn_rows(
    data: Relabelled, test: np.ndarray, rho: float, settings: Settings, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs that teach and that validate: half of each objective, a share rho consistent."""
    random = np.random.default_rng([seed, round(100 * rho)])
    teach, judge = [], []
    for number, cell in enumerate(cells(data)):
        share = rho if number % 2 == 0 else 1 - rho
        mine = random.permutation(np.setdiff1d(cell, test))
        first = round(settings["training_pairs"] / 2 * share)
        second = first + round(settings["validation_pairs"] / 2 * share)
        if second > len(mine):
            sys.exit(f"rho {rho} needs {second} pairs of a cell that has {len(mine)}.")
        teach.append(mine[:first])
        judge.append(mine[first:second])
    return np.concatenate(teach), np.concatenate(judge)


def accuracies(
    fit: NetworkFit, data: Relabelled, examples: Examples, test: np.ndarray
) -> tuple[float, float]:
    """Return the accuracy on consistent and on inconsistent pairs."""
    first, second = (
        fit.head(examples.features[examples.sides[test, side]], data.objective[test])
        for side in (0, 1)
    )
    right = (first > second) == (data.label[test] == 1)
    agree = data.consistent[test]
    return float(right[agree].mean()), float(right[~agree].mean())


def fitted(
    data: Relabelled, encoder: str, settings: Settings, seeds: range
) -> dict[tuple[str, float], tuple[list[NetworkFit], np.ndarray]]:
    """Return, for each model and rho, the fits and their accuracies ``(seeds, 2)``."""
    vectors = embed(
        data.texts, load_encoder(encoder, training_texts=data.texts), EmbeddingCache()
    ).vectors
    size = len(data.label)
    pairs = np.arange(size)
    examples = Examples.of_pairs(
        vectors, pairs, pairs + size, labels=data.label, objectives=data.objective
    )
    training = NetworkTraining(
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        precision=settings["precision"],
    )
    tests = {seed: test_rows(data, settings["test_share"], seed) for seed in seeds}
    keys = [(m, rho, seed) for m in MODELS for rho in settings["rho"] for seed in seeds]
    members = [
        Member(
            MODELS[model](width=settings["width"], training=training, seed=seed),
            examples,
            *drawn_rows(data, tests[seed], rho, settings, seed),
        )
        for model, rho, seed in keys
    ]
    fits = dict(zip(keys, fit_together(members), strict=True))
    return {
        (model, rho): (
            [fits[model, rho, seed] for seed in seeds],
            np.array([accuracies(fits[model, rho, s], data, examples, tests[s]) for s in seeds]),
        )
        for model in MODELS
        for rho in settings["rho"]
    }


def study(settings: Settings) -> dict[str, Any]:
    """Fit every model at every rho with every encoder, and print tables in the paper's form."""
    data = read(settings["data"])
    print(f"{len(data.label)} pairs, {np.mean(data.consistent):.1%} consistent")
    found: dict[str, Any] = {"pairs": len(data.label), "seeds": settings["seeds"]}
    for encoder in settings["encoders"]:
        results = fitted(data, encoder, settings, range(settings["seeds"]))
        found[encoder] = told(results, settings["rho"])
        _print(encoder, found[encoder], settings["rho"])
    found["learning curves"] = {
        encoder: learning_curve(data, encoder, settings)
        for encoder in settings["curve"]["encoders"]
    }
    return found


def learning_curve(data: Relabelled, encoder: str, settings: Settings) -> dict[str, Any]:
    """Return what the models gain on each other by how many pairs teach, at one rho."""
    curve, seeds = settings["curve"], range(settings["curve"]["seeds"])
    table: dict[str, Any] = {}
    print(f"\n{encoder}, rho = {curve['rho']}: inconsistent pairs, by pairs that teach")
    for pairs in curve["training_pairs"]:
        here = settings | curve | {"training_pairs": pairs, "rho": [curve["rho"]]}
        results = fitted(data, encoder, here, seeds)
        accuracy = {m: results[m, curve["rho"]][1][:, 1] for m in MODELS}
        table[str(pairs)] = {m: mean_and_error(values) for m, values in accuracy.items()} | {
            f"{first} - {second}": mean_and_error(accuracy[first] - accuracy[second])
            for first, second in (("multihead", "base"), ("adversarial", "multihead"))
        }
        cells = (f"{name}: {shown(cell)}" for name, cell in table[str(pairs)].items())
        print(f"{pairs:>6} | " + " | ".join(cells), flush=True)
    return table


def told(results: dict[Any, Any], levels: list[float]) -> dict[str, Any]:
    """Return means with standard errors, and how much the models differ within a seed."""
    table: dict[str, Any] = {}
    for rho in levels:
        accuracy = {model: results[model, rho][1] for model in MODELS}
        table[f"{rho:.1f}"] = {
            side: {model: mean_and_error(accuracy[model][:, column]) for model in MODELS}
            | {
                f"{model} - base": mean_and_error(
                    accuracy[model][:, column] - accuracy["base"][:, column]
                )
                for model in ("multihead", "adversarial")
            }
            for column, side in enumerate(("consistent", "inconsistent"))
        }
        table[f"{rho:.1f}"]["best epoch"] = {
            model: float(np.mean([f.numbers["best_epoch"] for f in results[model, rho][0]]))
            for model in MODELS
        }
    return table


def _print(encoder: str, table: dict[str, Any], levels: list[float]) -> None:
    print(f"\n{encoder}: test accuracy [%], mean and standard error over seeds")
    print("rho   | inconsistent: " + " | ".join(MODELS) + " || consistent: " + " | ".join(MODELS))
    for rho in levels:
        row = table[f"{rho:.1f}"]
        sides = (
            " | ".join(shown(row[side][model]) for model in MODELS)
            for side in ("inconsistent", "consistent")
        )
        print(f"{rho:.1f}   | " + " || ".join(sides), flush=True)


if __name__ == "__main__":
    run(Path(__file__).parent, study)
