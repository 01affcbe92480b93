"""Factors that hardly vary apart: accuracy in and out of distribution, Table 1 of arXiv 2506.05967.

python reproductions/causal_preference/latent_positivity/run.py --cpu --out found.json
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]
from factors import LOADERS, Factored  # noqa: E402
from running import Settings, data_file, mean_and_error, run, shown  # noqa: E402
from sampling import PairPool, candidate_pairs, correlated, discordant, labels  # noqa: E402

from causalign.lm.cache import EmbeddingCache  # noqa: E402
from causalign.lm.embeddings import embed  # noqa: E402
from causalign.lm.encoders import load_encoder  # noqa: E402
from causalign.reward import (  # noqa: E402
    Adversarial,
    ConfounderInLayer,
    Examples,
    Member,
    NetworkFit,
    NetworkTraining,
    Perceptron,
    fit_together,
)

# Base is the paper's. The remedies are told the factors of the pairs that teach and validate, and
# nothing of those that test.
REMEDIES = ("balanced", "reweighted", "confounder in layer", "adversarial")


@dataclass(frozen=True)
class Drawn:
    """Hold the pairs of one seed and rho, with labels."""

    seed: int
    teach: PairPool
    judge: PairPool
    inside: PairPool
    outside: PairPool
    label: dict[str, np.ndarray]


def draw(pools: dict[str, PairPool], rho: float, settings: Settings, seed: int) -> Drawn:
    """Draw training, validation and in-distribution test pairs at rho, and those out of it."""
    random = np.random.default_rng([seed, round(100 * rho)])
    parts = {
        "teach": correlated(pools["teach"], rho, settings["training_pairs"], random),
        "judge": correlated(pools["judge"], rho, settings["validation_pairs"], random),
        "inside": correlated(pools["test"], rho, settings["test_pairs"], random),
        "outside": discordant(pools["test"], settings["test_pairs"], random),
    }
    label = {name: labels(part, settings["weight"], random) for name, part in parts.items()}
    return Drawn(seed, **parts, label=label)


def pools_of(data: Factored, settings: Settings, seed: int) -> dict[str, PairPool]:
    """Return candidate pairs of texts that teach, judge and test: no text is in two of them."""
    random = np.random.default_rng([seed, 7])
    unit = np.arange(len(data.texts)) if data.prompt is None else data.prompt
    names = random.permutation(np.unique(unit))
    cuts = np.split(names, [int(0.6 * len(names)), int(0.7 * len(names))])
    return {
        name: candidate_pairs(
            data,
            np.flatnonzero(np.isin(unit, cut)),
            settings["candidates"],
            seed,
            keep_ties=settings["keep_ties"],
        )
        for name, cut in zip(("teach", "judge", "test"), cuts, strict=True)
    }


def decorrelating_weights(difference: np.ndarray) -> np.ndarray:
    """Return weights under which the two differences are independent: p(δ₁)p(δ₂) / p(δ₁, δ₂).

    The differences take few values, so the shares are counted. Clipped at the 99th percentile.
    """
    _, first = np.unique(difference[:, 0].round(6), return_inverse=True)
    _, second = np.unique(difference[:, 1].round(6), return_inverse=True)
    joint = np.zeros((first.max() + 1, second.max() + 1))
    np.add.at(joint, (first, second), 1 / len(first))
    expected = joint.sum(axis=1)[:, None] * joint.sum(axis=0)[None]
    weights = expected[first, second] / joint[first, second]
    weights = np.minimum(weights, np.quantile(weights, 0.99))
    return weights / weights.mean()


def balancing_weights(difference: np.ndarray) -> np.ndarray:
    """Return weights that give pairs of differing signs as much weight as all others."""
    discord = np.prod(difference, axis=1) < 0
    weights = np.ones(len(discord))
    if discord.any():
        weights[discord] = (~discord).sum() / discord.sum()
    return weights / weights.mean()


def network_of(way: str, width: int) -> Perceptron | ConfounderInLayer | Adversarial:
    """Return the network of a way of learning."""
    if way == "confounder in layer":
        return ConfounderInLayer("bradley-terry", width=width)
    if way == "adversarial":
        return Adversarial(width=width)
    return Perceptron("bradley-terry", width=width)


def examples_of(
    way: str, vectors: np.ndarray, data: Factored, draws: list[Drawn]
) -> tuple[Examples, list[tuple[np.ndarray, np.ndarray]]]:
    """Return the pairs of all draws as one set of examples, and which rows each draw owns."""
    parts = [(d.teach, d.label["teach"]) for d in draws] + [
        (d.judge, d.label["judge"]) for d in draws
    ]
    sides = np.concatenate([part.sides for part, _ in parts])
    first = [data.chosen(drawn.seed)[0] for drawn in draws] * 2
    confounder = np.concatenate(
        [data.factors[part.sides, column] for column, (part, _) in zip(first, parts, strict=True)]
    )
    weigh = {"balanced": balancing_weights, "reweighted": decorrelating_weights}.get(way)
    weights = (
        None if weigh is None else np.concatenate([weigh(part.difference) for part, _ in parts])
    )
    known = way in ("confounder in layer", "adversarial")
    examples = Examples.of_pairs(
        vectors,
        sides[:, 0],
        sides[:, 1],
        labels=np.concatenate([label for _, label in parts]),
        weights=weights,
        confounders=confounder[:, :, None] if known else None,
    )
    ends = np.cumsum([len(label) for _, label in parts])
    rows = np.split(np.arange(ends[-1]), ends[:-1])
    return examples, list(zip(rows[: len(draws)], rows[len(draws) :], strict=True))


def accuracies(fit: NetworkFit, way: str, vectors: np.ndarray, drawn: Drawn) -> list[float]:
    """Return the share of pairs in the right order, in and out of distribution."""
    rewards = (fit.head.of("all") if way == "adversarial" else fit.head)(vectors)
    found = []
    for name, pairs in (("inside", drawn.inside), ("outside", drawn.outside)):
        first, second = rewards[pairs.sides].T
        found.append(float(np.mean((first > second) == (drawn.label[name] == 1))))
    return found


def fitted(
    way: str, vectors: np.ndarray, data: Factored, draws: list[Drawn], settings: Settings
) -> np.ndarray:
    """Return the accuracies of one way of learning, ``(draws, 2)``: in and out of distribution."""
    examples, rows = examples_of(way, vectors, data, draws)
    training = NetworkTraining(
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        precision=settings["precision"],
    )
    network = replace(network_of(way, settings["width"]), training=training)
    fits = fit_together(
        [
            Member(replace(network, seed=drawn.seed), examples, teach, judge)
            for drawn, (teach, judge) in zip(draws, rows, strict=True)
        ]
    )
    return np.array(
        [accuracies(fit, way, vectors, drawn) for fit, drawn in zip(fits, draws, strict=True)]
    )


def study(settings: Settings) -> dict[str, Any]:
    """Do so with every pool of texts."""
    found = one_pool(settings)
    for other in settings.get("other_pools", ()):
        here = settings | other | {"data": data_file(other["data"])}
        found[other["source"]] = one_pool(here)
    return found


def one_pool(settings: Settings) -> dict[str, Any]:
    """Fit Base at every rho and the remedies at the highest; print tables in the paper's form."""
    data = LOADERS[settings["source"]](settings["data"])
    print(f"{len(data.texts)} texts with the factors {', '.join(data.names)}")
    seeds = range(settings["seeds"])
    pools = {seed: pools_of(data, settings, seed) for seed in seeds}
    draws = {
        rho: [draw(pools[seed], rho, settings, seed) for seed in seeds] for rho in settings["rho"]
    }
    found: dict[str, Any] = {"texts": len(data.texts), "seeds": len(seeds)}
    for encoder in settings["encoders"]:
        vectors = embed(
            data.texts, load_encoder(encoder, training_texts=data.texts), EmbeddingCache()
        ).vectors
        flat = [drawn for rho in settings["rho"] for drawn in draws[rho]]
        base = fitted("base", vectors, data, flat, settings).reshape(len(draws), len(seeds), 2)
        worst = settings["rho"][-1]
        ways = {"base": base[-1]} | {
            way: fitted(way, vectors, data, draws[worst], settings) for way in REMEDIES
        }
        found[encoder] = {
            "by rho": {
                f"{rho:.1f}": told(values)
                for rho, values in zip(settings["rho"], base, strict=True)
            },
            f"remedies at {worst:.1f}": {
                way: told(values) | {"less lost than base": less_lost(values, base[-1])}
                for way, values in ways.items()
            },
        }
        _print(encoder, found[encoder])
    return found


def told(values: np.ndarray) -> dict[str, dict[str, float]]:
    """Return mean and standard error in and out of distribution, and of the loss between them."""
    return {
        "ID": mean_and_error(values[:, 0]),
        "OOD": mean_and_error(values[:, 1]),
        "loss": mean_and_error(values[:, 0] - values[:, 1]),
    }


def less_lost(values: np.ndarray, base: np.ndarray) -> dict[str, float]:
    """Return how much smaller the loss is than that of the same pairs without a remedy."""
    lost, before = (each[:, 0] - each[:, 1] for each in (values, base))
    return mean_and_error(before - lost)


def _print(encoder: str, tables: dict[str, Any]) -> None:
    for title, table in tables.items():
        print(f"\n{encoder}, {title}: test accuracy [%], mean and standard error over seeds")
        for name, cells in table.items():
            row = "  ".join(f"{key} {shown(cell)}" for key, cell in cells.items())
            print(f"{name:>20}  {row}", flush=True)


if __name__ == "__main__":
    run(Path(__file__).parent, study)
