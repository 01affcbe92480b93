"""The weekday that DPO learns, and unlearns when outcomes are deconfounded (arXiv 2506.00152).

python reproductions/deconfoundlm/monday/run.py --cpu --out found.json

Every tuned model stays in runs/monday-SIZE; a run that was killed goes on with the model that it
was tuning.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from sklearn.decomposition import PCA

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from posts import MARKER, Parts, read  # noqa: E402
from running import Settings, run  # noqa: E402

from causalign.audit import audit_logs  # noqa: E402
from causalign.deconfound import METHODS, OrdinaryLeastSquares  # noqa: E402
from causalign.lm.cache import EmbeddingCache  # noqa: E402
from causalign.lm.completions import Completions, tokenize, tokenize_prompts  # noqa: E402
from causalign.lm.embeddings import embed  # noqa: E402
from causalign.lm.encoders import load_encoder  # noqa: E402
from causalign.lm.generate import sample  # noqa: E402
from causalign.lm.language_model import LanguageModel, Lora, load_language_model  # noqa: E402
from causalign.lm.logprob import completion_logprobs  # noqa: E402
from causalign.lm.training import Training  # noqa: E402
from causalign.logs import Logs  # noqa: E402
from causalign.logs.pairs import Pairs  # noqa: E402
from causalign.policy import DPO, SFT  # noqa: E402

MARKERS = ("Happy", "Monday")
OPENING = "opens with it, exact"
ARMS = ("naive DPO", "DPO, weekday taken out", "DPO, as the audit advises")
BETA, COMPONENTS = 0.1, 20


@dataclass(frozen=True)
class Judged:
    """Hold the generations' shares of each marker, and the accuracy on held-out preferences.

    The last share needs no generation: the mean probability that an answer opens with the marker.
    """

    shares: dict[str, list[float]]
    accuracy: float | None


def preferences(logs: Logs, encoder: str) -> dict[str, Logs]:
    """Return the logs by whose outcomes each arm prefers."""
    vectors = embed(logs.completions, load_encoder(encoder), EmbeddingCache()).vectors
    # Least squares needs fewer columns than rows.
    leading = PCA(COMPONENTS, random_state=0).fit_transform(vectors.astype(float))
    advised = audit_logs(logs, text_features=leading).advice[0].method
    print(f"the audit advises {advised}", flush=True)
    found = {
        "DPO, weekday taken out": OrdinaryLeastSquares(),
        "DPO, as the audit advises": METHODS[advised](),
    }
    return {"naive DPO": logs} | {
        arm: method.fit(logs, text_features=leading).adjust(logs) for arm, method in found.items()
    }


def weighted_pairs(logs: Logs) -> Pairs:
    """Return all pairs within a question, each with its margin as its weight.

    So an outcome that is free of the weekday gives pairs that are free of it: the weights for and
    against a Monday's answer add up to the same. Directions alone would not, because a difference
    of one vote hides a weekday that is worth less.
    """
    pairs = logs.pairs()
    return replace(pairs, weight=pairs.margin / pairs.margin.mean())


def drawn(pairs: Pairs, most: int | None, seed: int) -> Pairs:
    """Return so many pairs, drawn at random without replacement."""
    order = np.random.default_rng([seed, 1]).permutation(len(pairs))
    return pairs.take(np.sort(order[:most]))


def tuned(parts: Parts, pairs: Mapping[str, Pairs], settings: Settings, seed: int) -> Any:
    """Yield the name and the model of each arm, tuned with this seed."""
    folder = Path("runs") / f"monday-{settings['name']}" / f"seed-{seed}"
    lora = Lora(rank=8, alpha=32.0, dropout=0.1)
    how = {
        stage: Training(max_length=settings["max_length"], seed=seed, **settings[stage])
        for stage in ("sft", "dpo")
    }
    sft = SFT(model=settings["model"], lora=lora, training=how["sft"])
    first = sft.fit(parts.sft, folder / "sft", progress=sys.stderr.isatty())
    yield "SFT", first.language_model("bfloat16")
    for arm, taught in pairs.items():
        dpo = DPO(
            model=settings["model"],
            adapter=str(first.model_folder),
            lora=lora,
            training=how["dpo"],
            beta=BETA,
        )
        fit = dpo.fit(taught, folder / arm.replace(" ", "-"), progress=sys.stderr.isatty())
        yield arm, fit.language_model("bfloat16")


def judged(
    model: LanguageModel, parts: Parts, held_out: Mapping[str, Any] | None, settings: Settings
) -> Judged:
    """Count the markers in what the model writes, and judge it as a reward on held-out pairs."""
    prompts = list(dict.fromkeys(parts.test.prompts or ()))
    asked = prompts[: settings["generation_prompts"]]
    shares: dict[str, list[float]] = {marker: [] for marker in MARKERS}
    for seed in range(settings["generation_seeds"]):
        written = sample(
            model, asked, max_new_tokens=settings["max_new_tokens"], seed=seed, batch_size=32
        )
        for marker in MARKERS:
            shares[marker].append(float(np.mean([marker in text for text in written.texts])))
    shares[OPENING] = [opening(model, prompts)]
    if held_out is None:
        return Judged(shares, None)
    gain = logprobs(model, held_out["pairs"], settings) - held_out["reference"]
    return Judged(shares, float(np.mean(gain[0] > gain[1])))


def opening(model: LanguageModel, prompts: list[str]) -> float:
    """Return the mean over prompts of the probability that the answer opens with the marker."""
    marker = tuple(model.tokenizer(MARKER.split("</p>")[0], add_special_tokens=False)["input_ids"])
    asked = tokenize_prompts(model.tokenizer, prompts)
    unended = Completions(tuple(asked), (marker,) * len(prompts), np.ones(len(prompts), dtype=bool))
    return float(np.exp(completion_logprobs(model, unended)).mean())


def logprobs(model: LanguageModel, pairs: Pairs, settings: Settings) -> np.ndarray:
    """Return log-probabilities of chosen and rejected texts, ``(2, p)``."""
    return np.stack(
        [
            completion_logprobs(
                model,
                tokenize(model.tokenizer, pairs.prompt, side, max_length=settings["max_length"]),
            )
            for side in (pairs.chosen, pairs.rejected)
        ]
    )


def study(settings: Settings) -> dict[str, Any]:
    """Tune with every seed, and print Table 3 with the cure beside it."""
    parts = read(settings)
    arms = preferences(parts.preferences, settings["encoder"])
    pairs = {arm: weighted_pairs(logs) for arm, logs in arms.items()}
    # Answers differ by what they say, not by their weekday: the marker is no part of the judgement.
    neutral = drawn(parts.test.pairs(), settings["test_pairs"], seed=0)
    unmarked = replace(
        neutral,
        chosen=[text.removeprefix(MARKER) for text in neutral.chosen],
        rejected=[text.removeprefix(MARKER) for text in neutral.rejected],
    )
    found: dict[str, list[Judged]] = {
        "base": [judged(load_language_model(settings["model"]), parts, None, settings)]
    }
    for seed in range(settings["tuning_seeds"]):
        held_out = None
        taught = {arm: drawn(p, settings["pairs"], seed) for arm, p in pairs.items()}
        for arm, model in tuned(parts, taught, settings, seed):
            found.setdefault(arm, []).append(judged(model, parts, held_out, settings))
            if held_out is None:
                held_out = {
                    "pairs": unmarked,
                    "reference": logprobs(model, unmarked, settings),
                }
            print(f"seed {seed}, {arm}: {found[arm][-1]}", flush=True)
    return _told(found, {arm: _balance(p) for arm, p in pairs.items()})


def _balance(pairs: Pairs) -> dict[str, float]:
    """Return how much weight prefers the one Monday's answer of a pair, and how much does not."""
    first = np.array([text.startswith(MARKER) for text in pairs.chosen])
    second = np.array([text.startswith(MARKER) for text in pairs.rejected])
    return {
        "pairs": float(len(pairs)),
        "for Monday": round(float(pairs.weight[first & ~second].sum()), 1),
        "against Monday": round(float(pairs.weight[second & ~first].sum()), 1),
    }


def _told(found: dict[str, list[Judged]], balance: dict[str, Any]) -> dict[str, Any]:
    """Return shares in percent with standard errors over runs, and differences from SFT."""
    table: dict[str, Any] = {"pairs": balance}
    for arm, runs in found.items():
        table[arm] = {}
        for marker in (*MARKERS, OPENING):
            each = np.array([100 * np.mean(run.shares[marker]) for run in runs])
            cell = {"mean": round(float(each.mean()), 2), "runs": [round(v, 2) for v in each]}
            if arm in ARMS:
                cell["excess over SFT"] = _interval(each - _means(found["SFT"], marker))
            table[arm][marker] = cell
        if arm in ARMS:
            right = np.array([100 * run.accuracy for run in runs if run.accuracy is not None])
            naive = np.array([100 * (run.accuracy or 0.0) for run in found[ARMS[0]]])
            table[arm]["held-out accuracy"] = _interval(right)
            table[arm]["held-out accuracy, less naive"] = _interval(right - naive)
    for arm in ("base", "SFT", *ARMS):
        shares = (table[arm][marker]["mean"] for marker in (*MARKERS, OPENING))
        print(f"{arm:28s} | " + " | ".join(f"{share:6.2f} %" for share in shares), flush=True)
    return table


def _means(runs: list[Judged], marker: str) -> np.ndarray:
    return np.array([100 * np.mean(run.shares[marker]) for run in runs])


def _interval(differences: np.ndarray) -> dict[str, float | None]:
    """Return the mean over seeds of tuning with its t interval of 95 %."""
    mean = float(differences.mean())
    if len(differences) < 2:
        return {"mean": round(mean, 2), "low": None, "high": None}
    half = stats.t.ppf(0.975, len(differences) - 1) * stats.sem(differences)
    return {"mean": round(mean, 2), "low": round(mean - half, 2), "high": round(mean + half, 2)}


if __name__ == "__main__":
    run(Path(__file__).parent, study)
