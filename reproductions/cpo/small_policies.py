"""Many tunings of a small language model, so that tunings differ by less than methods do.

A Llama of two million weights learns to write like one half of the log: f₀. Every tuning draws
anew which of these texts teach, their outcomes and the confounded sample of ĝ, and starts from f₀.
What a tuning leaves is one line of ``tunings.jsonl``; a run that was killed goes on behind it.
Reference: arXiv 2402.14979.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
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
FREE = ("f0", "fine-tuning", "CPO")  # what no outcome model touches
RESAMPLES = 2000
ENDS = ("found", "low", "high")
SEEN = 2.8  # standard errors: 80 % power at 5 %
HALVINGS, FARTHEST = 6, 4.0
LONGEST = 256  # tokens of a text that is scored; what tunes must read as many, or weights are off
READ_OFTEN = 8  # times as many texts of f₀, to which all tunings of a split are compared


@dataclass(frozen=True)
class Tuning:
    """Name one tuning: which half of the texts, which draw of outcomes, and the arm."""

    split: int
    draw: int
    arm: str


def study(chosen: Settings, parts_of: PartsOf, folder: Path) -> dict[str, Any]:
    """Tune what is not tuned yet, and return every comparison over all tunings."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tunings.jsonl"
    for split in range(chosen["splits"]):
        start = _pretrained(chosen, parts_of(split, 0), folder / f"split-{split}")
        _judge_start(chosen, start, parts_of(split, 0).judge, split, path)
    for strength in chosen["strengths"]:
        for draw in _draws(chosen):
            for split in range(chosen["splits"]):
                _tune_all(chosen, parts_of, folder, Tuning(split, draw, ""), strength)
    found = compared(_lines(path), chosen)
    for judged, table in found.items():
        print(
            f"\nsmall policies, {judged}: points above f0 (95 %), nats from f0\n{shown(table)}",
            flush=True,
        )
    return found


def _draws(chosen: Settings) -> range:
    """Return the draws; the first one was the pilot's, whose settings these are."""
    return range(1, 1 + int(chosen["draws"]))


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
    tunings = [replace(unit, arm=arm) for arm in _arms(strength).values()]
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


def _arms(strength: float) -> dict[str, str]:
    """Return the name that each arm of this strength has in a table, and in the file."""
    names = {name: name for name in FREE[1:]}
    return names | {method: f"{method} {strength}" for method in OBJECTIVES}


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
        line = json.dumps(vars(tuning) | found, separators=(",", ":"))
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


def compared(lines: dict[Tuning, dict[str, Any]], chosen: Settings) -> dict[str, Any]:
    """Return values above f₀ and win rates for each β, intervals over tunings and texts."""
    found: dict[str, Any] = {}
    for what in ("worth", "worth at the same divergence"):
        table = found["as tuned" if what == "worth" else "at the same divergence"] = {}
        for strength in chosen["strengths"]:
            units = [
                (split, draw)
                for split in range(chosen["splits"])
                for draw in _draws(chosen)
                if all(Tuning(split, draw, arm) in lines for arm in _arms(strength).values())
            ]
            if units:
                table[str(strength)] = _row(lines, units, strength, what)
    return found


def shown(table: dict[str, Any]) -> str:
    """Return a table as Markdown; ``seen`` is what four of five such studies would tell from 0."""
    arms = ("fine-tuning", "CPO", "OO-RLHF", "DR-CPO")
    heads = ("β", "tunings", *arms, "DR-CPO − OO-RLHF", "seen", "DR-CPO wins against OO-RLHF")
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for strength, row in table.items():
        gap, wins = row["DR-CPO - OO-RLHF"], row["DR-CPO wins against OO-RLHF"]
        seen = (
            "–" if gap["spread"] is None else f"{SEEN * gap['spread'] / row['tunings'] ** 0.5:.2f}"
        )
        cells = [strength, str(row["tunings"])]
        cells += [f"{_interval(row[arm])}, {row['nats'][arm]:.1f} nats" for arm in arms]
        cells += [_interval(gap), seen]
        cells += ["{:.0f} % ({:.0f} to {:.0f})".format(*(100 * wins[k] for k in ENDS))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(found: dict[str, float]) -> str:
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*(found[key] for key in ENDS))


def _row(
    lines: dict[Tuning, dict[str, Any]], units: list[tuple[int, int]], strength: float, what: str
) -> dict[str, Any]:
    arms = _arms(strength)
    worth = {
        short: np.array([lines[Tuning(*unit, arm)][what] for unit in units])
        for short, arm in arms.items()
    }
    worth["f0"] = np.array([lines[Tuning(split, 0, "f0")]["worth"] for split, _ in units])
    random = np.random.default_rng(int(abs(strength)))
    row: dict[str, Any] = {"tunings": len(units)}
    key = "nats" if what == "worth" else "nats at the same divergence"
    row["nats"] = {
        short: round(float(np.mean([lines[Tuning(*unit, arm)][key] for unit in units])), 2)
        for short, arm in arms.items()
    }
    row["effective rows"] = {
        short: round(float(np.mean([lines[Tuning(*u, arm)]["effective rows"] for u in units])), 1)
        for short, arm in arms.items()
    }
    stopped = {
        short: [lines[Tuning(*u, arm)].get("stopped") for u in units] for short, arm in arms.items()
    }
    # The first lines do not tell it.
    row["stopped"] = {s: None if None in found else sum(found) for s, found in stopped.items()}
    for short in arms:
        row[short] = _difference(worth[short], worth["f0"], units, random, one_each_split=True)
    for other in ("OO-RLHF", "CPO", "fine-tuning"):
        row[f"DR-CPO - {other}"] = _difference(worth["DR-CPO"], worth[other], units, random)
    shares = [_wins(*pair) for pair in zip(worth["DR-CPO"], worth["OO-RLHF"], strict=True)]
    won, noise = np.array(shares).T
    row["DR-CPO wins against OO-RLHF"] = _resampled(won, noise, units, random, digits=3)
    return row


def _wins(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return how often a text of the first is judged better, a tie as half, and its error."""
    gap = np.subtract.outer(first, second)
    won = (gap > 0) + 0.5 * (gap == 0)
    variance = won.mean(axis=1).var() / len(first) + won.mean(axis=0).var() / len(second)
    return float(won.mean()), float(np.sqrt(variance))


def _difference(
    first: np.ndarray,
    second: np.ndarray,
    units: list[tuple[int, int]],
    random: np.random.Generator,
    *,
    one_each_split: bool = False,
) -> dict[str, Any]:
    """Return the mean difference of what texts are worth; both (u, n).

    ``one_each_split``: the second are the same texts in all tunings of a split, those of f₀.
    """
    errors = [np.sqrt(side.var(axis=1) / side.shape[1]) for side in (first, second)]
    own, shared = (errors[0], errors[1]) if one_each_split else (np.hypot(*errors), 0 * errors[1])
    gaps = first.mean(axis=1) - second.mean(axis=1)
    return _resampled(gaps, own, units, random, digits=2, shared=shared)


def _resampled(
    gaps: np.ndarray,
    noise: np.ndarray,
    units: list[tuple[int, int]],
    random: np.random.Generator,
    digits: int,
    shared: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return the mean over tunings (u,), resampled by splits, tunings within them, and texts.

    ``noise`` is the standard error over the texts of each tuning, ``shared`` that over texts which
    all tunings of a split have in common. ``spread``, the standard deviation over tunings, tells
    what could have been seen; ``splits`` are the means of each, since few of them tell little of
    how splits differ.
    """
    split = np.array([each for each, _ in units])
    rows_of = {kind: np.flatnonzero(split == kind) for kind in np.unique(split)}
    common = np.zeros(len(gaps)) if shared is None else shared
    means = []
    for _ in range(RESAMPLES):
        drawn = []
        for kind in random.choice(list(rows_of), len(rows_of)):
            rows = random.choice(rows_of[kind], len(rows_of[kind]))
            texts = noise[rows] * random.standard_normal(len(rows))
            drawn.append(gaps[rows] + texts + common[rows] * random.standard_normal())
        means.append(np.concatenate(drawn).mean())
    low, high = np.quantile(means, (0.025, 0.975))
    found: dict[str, Any] = {
        name: round(float(value), digits)
        for name, value in (("found", gaps.mean()), ("low", low), ("high", high))
    }
    found["splits"] = [round(float(gaps[rows].mean()), digits) for rows in rows_of.values()]
    return found | {"spread": round(float(gaps.std(ddof=1)), digits) if len(gaps) > 1 else None}
