"""Policies that are language models: tuned on logged texts, judged by what they write.

f₀ learns to write like the log; fine-tuning, CPO, OO-RLHF and DR-CPO start from it. Each writes as
many texts, which a model judges that was fitted to texts none of them has seen.
Reference: arXiv 2402.14979.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from causalign.files import read_json, write_json
from causalign.lm.cache import EmbeddingCache
from causalign.lm.completions import tokenize
from causalign.lm.embeddings import embed
from causalign.lm.encoder import Encoder
from causalign.lm.generate import sample
from causalign.lm.language_model import LanguageModel
from causalign.lm.logprob import completion_logprobs
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.policy import SFT, CausalPreference, FreshSamples, PolicyFit, Training, Weighting
from causalign.reward import RewardModel, Ridge

__all__ = ["OBJECTIVES", "Parts", "fresh_samples", "logged", "regression", "study"]

Settings = dict[str, Any]
OBJECTIVES = {"OO-RLHF": "outcome-model", "DR-CPO": "doubly-robust"}
START = "f0"
RESAMPLES = 2000


@dataclass(frozen=True)
class Parts:
    """Hold the log that f₀ learns to write like, what teaches policies, and models of a text.

    ``log_propensity`` is log P_R of the texts that teach, ``outcome_model`` takes β, ``judge`` has
    seen none of the texts that teach.
    """

    log: Logs
    teach: Logs
    log_propensity: np.ndarray
    outcome_model: Callable[[float], RewardModel]
    judge: RewardModel


@dataclass(frozen=True)
class Judged:
    """Hold what texts of a policy are worth (n,), and its divergence from f₀ in nats a text."""

    worth: np.ndarray
    nats: float


def study(chosen: Settings, parts_of: Callable[[int], Parts], folder: Path) -> dict[str, Any]:
    """Tune and judge with every seed; print values against f₀ and win rates."""
    found: dict[str, Any] = {}
    for seed in range(chosen["seeds"]):
        parts, place = parts_of(seed), folder / f"seed-{seed}"
        fitted = dict(fits(chosen, parts, place, seed))
        precision, judged = chosen["tuning"]["precision"], {}
        before = fitted[START].language_model(precision)
        for name, fit in fitted.items():
            policy = fit.language_model(precision)
            texts = written(policy, place, name, chosen)
            worth = parts.judge.expected_outcome(texts)
            judged[name] = Judged(worth, divergence(policy, before, texts, chosen))
        found[f"seed {seed}"] = compared(judged, chosen["strengths"], seed)
        printed(found[f"seed {seed}"])
    return found


def logged(texts: list[str], outcome: np.ndarray) -> Logs:
    """Return texts and their outcomes as logs."""
    return Logs.of(
        pa.table({"text": texts, "outcome": outcome}), Roles(completion="text", outcome="outcome")
    )


def regression(texts: list[str], worth: np.ndarray, encoder: Encoder) -> RewardModel:
    """Return a ridge regression of what a text is worth on its vector."""
    vectors = embed(texts, encoder, EmbeddingCache()).vectors
    return RewardModel(encoder.name, Ridge().fit_arrays(vectors, worth).head, encoder=encoder)


def fits(
    chosen: Settings, parts: Parts, folder: Path, seed: int
) -> Iterator[tuple[str, PolicyFit]]:
    """Yield f₀ and every policy that is tuned from it; what is there is not tuned again."""
    sft = Training(seed=seed, **chosen["sft"])
    start = SFT(model=chosen["model"], training=sft).fit(parts.log, folder / START)
    yield START, start
    given: dict[str, Any] = {
        "model": chosen["model"],
        "adapter": str(start.model_folder),
        "training": Training(seed=seed, **chosen["tuning"]),
    }
    better = np.flatnonzero(parts.teach.outcome >= np.median(parts.teach.outcome))
    taught = parts.teach.take(better, "the better half")
    yield "fine-tuning", SFT(**given).fit(taught, folder / "fine-tuning")
    known = parts.log_propensity
    fit = causal("weighted", given, chosen).fit(parts.teach, folder / "CPO", log_propensity=known)
    yield "CPO", fit
    for strength in chosen["strengths"]:
        model = parts.outcome_model(strength).expected_outcome
        for method, objective in OBJECTIVES.items():
            name = f"{method} {strength}"
            fit = causal(objective, given, chosen).fit(
                parts.teach,
                folder / name.replace(" ", "-"),
                reward=model,
                log_propensity=None if method == "OO-RLHF" else known,
            )
            yield name, fit


def causal(objective: Any, given: dict[str, Any], chosen: Settings) -> CausalPreference:
    """Return the library's method.

    A model of language gives a text some e^-100, the design e^-10, and this ratio scatters by many
    orders over texts: weights are its root by the number of tokens.
    """
    return CausalPreference(
        objective,
        weighting=Weighting(level="length"),
        samples=fresh_samples(chosen),
        validation_share=0.0,
        **given,
    )


def fresh_samples(chosen: Settings) -> FreshSamples:
    """Return how texts are drawn from the policy as it is, one for each logged row."""
    return FreshSamples(
        refresh_every=chosen["every"],
        samples_per_row=1,
        max_new_tokens=chosen["max_new_tokens"],
        evaluation_texts=0,
    )


def written(policy: LanguageModel, folder: Path, name: str, chosen: Settings) -> list[str]:
    """Return what a policy writes, kept beside it."""
    path = folder / "written" / f"{name.replace(' ', '-')}-{chosen['written']}.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = sample(
            policy,
            [None] * chosen["written"],
            max_new_tokens=chosen["max_new_tokens"],
            seed=2026,
            batch_size=64,
        )
        write_json(path, {"texts": drawn.texts})
        print(f"{name}: {chosen['written']} texts written", flush=True)
    texts: list[str] = read_json(path)["texts"]
    return texts


def divergence(
    policy: LanguageModel, before: LanguageModel, texts: list[str], chosen: Settings
) -> float:
    """Return KL(π ‖ f₀) in nats a text, estimated on what the policy wrote that is not blank."""
    # One more than was written, for the start of a text: what was cut gets no end.
    longest = chosen["max_new_tokens"] + 1
    said = [text for text in texts if text.strip()]
    completions = tokenize(policy.tokenizer, None, said, max_length=longest)
    under = (completion_logprobs(model, completions) for model in (policy, before))
    return float(np.mean(next(under) - next(under)))


def compared(
    judged: dict[str, Judged], strengths: list[float], seed: int
) -> dict[str, dict[str, Any]]:
    """Return values against f₀ and win rates with bootstrap intervals, for each strength."""
    random = np.random.default_rng([seed, 6])
    before = judged[START].worth
    found: dict[str, dict[str, Any]] = {"f0": {"value": round(float(before.mean()), 2)}}
    for strength in strengths:
        policies = {name: judged[name] for name in ("fine-tuning", "CPO")}
        policies |= {method: judged[f"{method} {strength}"] for method in OBJECTIVES}
        of = {name: policy.worth for name, policy in policies.items()}
        row = {name: difference(worth, before, random) for name, worth in of.items()}
        row["nats from f0"] = {name: round(policy.nats, 1) for name, policy in policies.items()}
        dr = of["DR-CPO"]
        row["DR-CPO - OO-RLHF"] = difference(dr, of["OO-RLHF"], random)
        for other in ("OO-RLHF", "fine-tuning", "CPO"):
            row[f"DR-CPO wins against {other}"] = wins(dr, of[other], random)
        found[str(strength)] = row
    return found


def difference(
    first: np.ndarray, second: np.ndarray, random: np.random.Generator
) -> dict[str, float]:
    """Return the difference of means with a 95 % interval of the bootstrap over texts."""
    means = [counts(len(side), random) @ side / len(side) for side in (first, second)]
    return _interval(float(first.mean() - second.mean()), means[0] - means[1], 2)


def wins(first: np.ndarray, second: np.ndarray, random: np.random.Generator) -> dict[str, float]:
    """Return how often a text of the first is judged better, over all pairs; a tie as half."""
    won = np.subtract.outer(first, second)
    won = (won > 0) + 0.5 * (won == 0)
    times = [counts(len(side), random) / len(side) for side in (first, second)]
    return _interval(float(won.mean()), np.einsum("bi,ij,bj->b", times[0], won, times[1]), 3)


def counts(size: int, random: np.random.Generator) -> np.ndarray:
    """Return how often each row is drawn in every resample, ``(resamples, size)``."""
    return random.multinomial(size, np.full(size, 1 / size), RESAMPLES)


def _interval(found: float, resampled: np.ndarray, digits: int) -> dict[str, float]:
    low, high = np.quantile(resampled, (0.025, 0.975))
    return {
        name: round(float(value), digits)
        for name, value in (("found", found), ("low", low), ("high", high))
    }


def printed(table: dict[str, dict[str, Any]]) -> None:
    """Print every comparison with its interval."""
    print(f"\nlanguage model, points above f0 [95 %]; f0: {table['f0']['value']}")
    for strength, row in table.items():
        if strength == "f0":
            continue
        cells = [
            f"{n}: {c['found']} [{c['low']}, {c['high']}]" for n, c in row.items() if "found" in c
        ]
        print(f"β = {strength}: " + " | ".join(cells))
        print(f"nats from f0: {row['nats from f0']}", flush=True)
