"""Many tunings of a small language model, so that tunings differ by less than methods do.

A Llama of two million weights learns to write like one half of the log: f₀. Every tuning draws
anew which of these texts teach, their outcomes and the confounded sample of ĝ, and starts from f₀.
What a tuning leaves is one line of ``tunings.jsonl``; a run that was killed goes on behind it.
``tunings.csv`` holds a row for each, from which every table follows.
Reference: arXiv 2402.14979.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from comparisons import Tuning, arms_at, compared, draws_of, shown, summarised
from language_models import OBJECTIVES, Parts, fresh_samples

from causalign.lm.completions import tokenize
from causalign.lm.generate import sample
from causalign.lm.language_model import LanguageModel, load_language_model
from causalign.lm.logprob import completion_logprobs
from causalign.lm.small_model import SmallModel
from causalign.policy import (
    SFT,
    CausalPreference,
    PolicyFit,
    Pretraining,
    Training,
)
from causalign.reward import RewardModel
from causalign.stats.importance_weights import diagnose_weights

__all__ = ["study"]

Settings = dict[str, Any]
PartsOf = Callable[[int, int], Parts]
HALVINGS, FARTHEST = 6, 4.0
LONGEST = 256  # tokens of a text that is scored; what tunes must read as many, or weights are off
READ_OFTEN = 8  # times as many texts of f₀, to which all tunings of a split are compared


def study(chosen: Settings, parts_of: PartsOf, folder: Path) -> dict[str, Any]:
    """Tune what is not tuned yet, and return every comparison over all tunings."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tunings.jsonl"
    for split in range(chosen["splits"]):
        start = _pretrained(chosen, parts_of(split, 0), folder / f"split-{split}")
        _judge_start(chosen, start, parts_of(split, 0).judge, split, path)
    for strength in chosen["strengths"]:
        for draw in draws_of(chosen):
            for split in range(chosen["splits"]):
                _tune_all(chosen, parts_of, folder, Tuning(split, draw, ""), strength)
    record = summarised(_lines(path))
    record.to_csv(folder / "tunings.csv", float_format="%.6g")
    found = compared(record, chosen)
    for judged, table in found.items():
        print(
            f"\nsmall policies, {judged}: points above f0 (95 %), nats from f0\n{shown(table)}",
            flush=True,
        )
    return found


def _pretrained(chosen: Settings, parts: Parts, folder: Path) -> PolicyFit:
    """Return f₀: all that it knows is how the log writes."""
    method = Pretraining(
        SmallModel(**chosen["shape"]), chosen["tokens"], Training(**chosen["pretraining"])
    )
    return method.fit(parts.log.completions, folder)


def _judge_start(
    chosen: Settings, start: PolicyFit, judge: RewardModel, split: int, path: Path
) -> None:
    if Tuning(split, 0, "f0") not in _done(path):
        more = {**chosen, "written": READ_OFTEN * chosen["written"]}
        texts = _written(start.language_model(), more, seed=split)
        _append(path, Tuning(split, 0, "f0"), {"worth": _worth(judge, texts), "texts": texts[:8]})


def _tune_all(
    chosen: Settings, parts_of: PartsOf, folder: Path, unit: Tuning, strength: float
) -> None:
    path = folder / "tunings.jsonl"
    tunings = [unit._replace(arm=arm) for arm in arms_at(strength).values()]
    missing = [tuning for tuning in tunings if tuning not in _done(path)]
    if not missing:
        return
    before = load_language_model(folder / f"split-{unit.split}" / "model")
    parts = parts_of(unit.split, unit.draw)
    if chosen["propensity"] == "f0":
        parts = replace(parts, log_propensity=_logprobs(before, parts.teach.completions))
    for tuning in missing:
        out = folder / "now"
        shutil.rmtree(out, ignore_errors=True)
        fit = _fit(chosen, parts, before.name, tuning, out)
        found = _judged(chosen, parts, fit.language_model(), before, seed=unit.draw)
        # Weights that collapse stop a tuning early; the policy of that step counts.
        found["stopped"] = any(
            f.code == "PO108" and f.verdict.value == "fail" for f in fit.findings
        )
        _append(path, tuning, found)
        print(f"{tuning}: {_short(found)}", flush=True)
        shutil.rmtree(out)


def _fit(chosen: Settings, parts: Parts, start: str, tuning: Tuning, out: Path) -> PolicyFit:
    given: dict[str, Any] = {"model": start, "lora": None}
    seed = 1000 * tuning.split + tuning.draw
    given["training"] = Training(seed=seed, **chosen["tuning"])
    if tuning.arm == "fine-tuning":
        better = np.flatnonzero(parts.teach.outcome >= np.median(parts.teach.outcome))
        return SFT(**given).fit(parts.teach.take(better, "the better half"), out)
    method, _, strength = tuning.arm.partition(" ")
    tuner = CausalPreference(
        OBJECTIVES.get(method, "weighted"),
        kl_coef=chosen["kl"],
        samples=fresh_samples(chosen),
        validation_share=0.0,
        **given,
    )
    model = parts.outcome_model(float(strength)).expected_outcome if strength else None
    known = None if method == "OO-RLHF" else parts.log_propensity
    return tuner.fit(parts.teach, out, reward=model, log_propensity=known)


def _judged(
    chosen: Settings, parts: Parts, policy: LanguageModel, before: LanguageModel, seed: int
) -> dict[str, Any]:
    """Return what texts are worth and how far they are from f₀, as tuned and as far as others."""
    texts = _written(policy, chosen, seed)
    scale, near = _as_far_as(chosen["nats"], chosen, policy, before, seed)
    at_same = _written(near, chosen, seed)
    ratio = _logprobs(policy, parts.teach.completions) - parts.log_propensity
    return {
        "worth": _worth(parts.judge, texts),
        "nats": _nats(policy, before, texts),
        "scale": scale,
        "worth at the same divergence": _worth(parts.judge, at_same),
        "nats at the same divergence": _nats(near, before, at_same),
        "effective rows": round(diagnose_weights(ratio).effective_sample_size, 1),
        "texts": texts[:4],
    }


def _as_far_as(
    nats: float, chosen: Settings, policy: LanguageModel, before: LanguageModel, seed: int
) -> tuple[float, LanguageModel]:
    """Scale the change of the weights until the policy is as many nats from f₀."""
    own, old = policy.model.state_dict(), before.model.state_dict()
    change = {name: weight - old[name] for name, weight in own.items()}
    scaled = load_language_model(before.name)

    def at(scale: float) -> LanguageModel:
        weights = {name: old[name] + scale * change[name] for name in old}
        scaled.model.load_state_dict(weights)
        return scaled

    low, high = 0.0, FARTHEST
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        few = _written(at(middle), {**chosen, "written": 64}, seed)
        low, high = (low, middle) if _nats(scaled, before, few) > nats else (middle, high)
    return round((low + high) / 2, 3), at((low + high) / 2)


def _written(model: LanguageModel, chosen: Settings, seed: int) -> list[str]:
    drawn = sample(
        model,
        [None] * chosen["written"],
        max_new_tokens=chosen["max_new_tokens"],
        seed=2026 + seed,
        batch_size=64,
    )
    return drawn.texts


def _nats(policy: LanguageModel, before: LanguageModel, texts: list[str]) -> float:
    """Return KL(π ‖ f₀) in nats a text, estimated on what the policy wrote that is not blank."""
    said = [text for text in texts if text.strip()]
    return round(float(np.mean(_logprobs(policy, said) - _logprobs(before, said))), 3)


def _logprobs(model: LanguageModel, texts: list[str]) -> np.ndarray:
    return completion_logprobs(model, tokenize(model.tokenizer, None, texts, max_length=LONGEST))


def _worth(judge: RewardModel, texts: list[str]) -> list[float]:
    return [round(float(worth), 1) for worth in judge.expected_outcome(texts)]


def _append(path: Path, tuning: Tuning, found: dict[str, Any]) -> None:
    # What a kill left half written stays a line of its own.
    torn = path.exists() and not path.read_bytes().endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        line = json.dumps(tuning._asdict() | found, separators=(",", ":"))
        file.write("\n" * torn + line + "\n")


def _lines(path: Path) -> dict[Tuning, dict[str, Any]]:
    found = {}
    for line in path.read_text("utf-8").splitlines() if path.exists() else ():
        with suppress(ValueError):
            row = json.loads(line)
            found[Tuning(row["split"], row["draw"], row["arm"])] = row
    return found


def _done(path: Path) -> set[Tuning]:
    return set(_lines(path))


def _short(found: dict[str, Any]) -> str:
    worth = np.mean(found["worth"])
    same = np.mean(found["worth at the same divergence"])
    return (
        f"{worth:.2f} at {found['nats']:.2f} nats; {same:.2f} at "
        f"{found['nats at the same divergence']:.2f}; {found['effective rows']:.0f} rows"
    )
