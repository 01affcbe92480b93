"""Table 1: what a language model writes after PPO on each reward, from one fine-tuned start."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from news import DIVISIONS, News, divisions_named, sentiment
from rewards import IV, MODELS, SCENARIOS, Fitted, Vectors, fitted, simulated
from running import Settings
from scipy import stats

from causalign.artifacts import fingerprint
from causalign.lm.cache import EmbeddingCache
from causalign.lm.encoder import Encoder
from causalign.lm.generate import sample
from causalign.lm.language_model import LanguageModel, Lora
from causalign.lm.training import Training
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.policy import PPO, SFT, PolicyFit
from causalign.results import file_stem

__all__ = ["Reward", "judged", "parts_of", "shown", "table"]

ASK = "Write a headline of less than 30 words that makes many people read this article:\n\n"
SHOWN = 3


@dataclass(frozen=True)
class Parts:
    """Hold the articles that teach to write, that teach rewards, and that are written about."""

    sft: News
    rewards: News
    ppo: News
    test: News


@dataclass(frozen=True)
class Reward:
    """Score titles by one model, in its standard deviations over the titles that taught it.

    So one price of divergence means the same to all models.
    """

    fit: Fitted
    name: str
    vectors: Vectors
    centre: float
    scale: float

    @classmethod
    def of(
        cls, fit: Fitted, name: str, vectors: Vectors, titles: list[str], abstracts: Any
    ) -> "Reward":
        """Take the units from titles and, if the model reads them, their abstracts."""
        known = fit.score((name,), vectors, titles, abstracts)[name]
        return cls(fit, name, vectors, float(known.mean()), float(known.std()))

    def __call__(self, texts: Sequence[str], prompts: Sequence[str] | None = None) -> np.ndarray:
        """Return the rewards ``(n,)`` of titles, written to these prompts or to none."""
        about = None if prompts is None else [prompt.removeprefix(ASK) for prompt in prompts]
        found = self.fit.score((self.name,), self.vectors, list(texts), about)[self.name]
        return (found - self.centre) / self.scale


def prompts_of(news: News, settings: Settings) -> list[str] | None:
    """Return what asks for the titles of these articles; None where titles are written freely."""
    return [ASK + abstract for abstract in news.abstracts] if settings["prompted"] else None


def table(news: News, encoder: Encoder, settings: Settings) -> dict[str, Any]:
    """Fine-tune once, tune with PPO on each reward, and judge what all of them write."""
    writing = settings["writing"]
    parts = parts_of(news, writing["articles"])
    folder = Path("runs") / f"mind-{settings['name']}"
    start = _fine_tuned(parts, writing, folder)
    model = start.language_model("bfloat16")
    with model.reference() as untouched:
        texts = {"base": _written(untouched, parts, writing)}
    texts["SFT"] = _written(model, parts, writing)
    found: dict[str, Any] = {name: judged(written) for name, written in texts.items()}
    for scenario, names in writing["policies"].items():
        rewards = _rewards(parts.rewards, encoder, settings, scenario)
        follows = {name: _follows(reward, parts.sft, writing) for name, reward in rewards.items()}
        found[scenario], drawn = {"rewards, unseen titles": follows}, {}
        for name in names:
            reward = rewards[name]
            fit = _tuned(name, reward, start, parts, writing, folder / scenario)
            drawn[name] = _written(fit.language_model("bfloat16"), parts, writing)
            found[scenario][name] = judged(drawn[name]) | {
                "own reward": _earned(reward, parts, writing, SFT=texts["SFT"], tuned=drawn[name]),
                "nats from SFT": round(float(fit.curve["kl"].to_numpy()[-1]), 2),
            }
            print(f"{scenario}, {name}: {found[scenario][name]}", file=sys.stderr, flush=True)
        if {IV, "observed"} <= set(drawn):
            gain = _gain(sentiment(drawn[IV]), sentiment(drawn["observed"]))
            found[scenario]["sentiment, IV less observed"] = gain
    return found


def parts_of(news: News, sizes: dict[str, int]) -> Parts:
    """Cut the articles by chance; no article is in two parts."""
    order = np.random.default_rng(0).permutation(len(news.titles))
    cuts = np.cumsum([sizes[name] for name in ("sft", "rewards", "ppo", "test")])
    return Parts(*(news.take(rows) for rows in np.split(order, cuts)[:4]))


def _fine_tuned(parts: Parts, writing: Settings, folder: Path) -> PolicyFit:
    columns: dict[str, Any] = {"title": parts.sft.titles, "sentiment": parts.sft.sentiment}
    asked = prompts_of(parts.sft, writing)
    if asked is not None:
        columns["prompt"] = asked
    # Plain fine-tuning reads no outcome; logs have one.
    roles = Roles("title", "sentiment", prompt=None if asked is None else "prompt")
    method = SFT(
        model=writing["model"],
        lora=Lora(**writing["lora"]),
        training=Training(**writing["sft"]),
        chat=writing["prompted"],
    )
    logs = Logs.of(pa.table(columns), roles)
    return method.fit(logs, folder / "sft", progress=sys.stderr.isatty())


def _rewards(news: News, encoder: Encoder, settings: Settings, scenario: str) -> dict[str, Reward]:
    """Return all rewards; they read abstracts only where titles are written to them."""
    prompted, vectors = settings["writing"]["prompted"], Vectors(encoder, EmbeddingCache())
    logs = simulated(news, SCENARIOS[scenario], seed=0)
    fit = fitted(news, logs, vectors, settings, seed=0, abstracts=prompted)
    abstracts = news.abstracts if prompted else None
    # Texts that are written are scored once; the cache keeps none of them.
    return {name: Reward.of(fit, name, Vectors(encoder), news.titles, abstracts) for name in MODELS}


def _tuned(
    name: str, reward: Reward, start: PolicyFit, parts: Parts, writing: Settings, folder: Path
) -> PolicyFit:
    """Tune with PPO; another reward gets another folder, the same one goes on where it stopped."""
    asked = prompts_of(parts.ppo, writing)
    known = reward(parts.rewards.titles, prompts_of(parts.rewards, writing))
    method = PPO(
        model=writing["model"],
        adapter=str(start.model_folder),
        lora=Lora(**writing["lora"]),
        training=Training(**writing["ppo"]),
        rollout_size=writing["rollout_size"],
        num_ppo_epochs=writing["num_ppo_epochs"],
        kl_coef=writing["kl_coef"],
        max_new_tokens=writing["max_new_tokens"],
        evaluation_texts=0,
        chat=writing["prompted"],
    )
    out = folder / f"{file_stem(name)}-{fingerprint(known.round(3).tolist())}"
    return method.fit(asked, out, reward=reward, progress=sys.stderr.isatty())


def _asked(parts: Parts, writing: Settings) -> list[str] | None:
    asked = prompts_of(parts.test, writing)
    return None if asked is None else asked[: writing["generations"]]


def _written(model: LanguageModel, parts: Parts, writing: Settings) -> list[str]:
    """Return titles that a model writes, one to each prompt, always from the same seed."""
    drawn = sample(
        model,
        _asked(parts, writing) or [None] * writing["generations"],
        max_new_tokens=writing["max_new_tokens"],
        seed=2026,
        batch_size=32,
        chat=writing["prompted"],
    )
    return drawn.texts


def _earned(
    reward: Reward, parts: Parts, writing: Settings, **texts: list[str]
) -> dict[str, float]:
    """Return the mean reward of each set of titles, in the reward's standard deviations."""
    asked = _asked(parts, writing)
    return {name: round(float(reward(found, asked).mean()), 3) for name, found in texts.items()}


def _follows(reward: Reward, news: News, writing: Settings) -> dict[str, float]:
    """Return what a reward follows in titles that did not teach it.

    ``sentiment``: its correlation with it; ``teams``: what a title that names some team has more.
    """
    rewards = reward(news.titles, prompts_of(news, writing))
    named = np.any(list(news.divisions.values()), axis=0)
    return {
        "sentiment": round(float(np.corrcoef(rewards, news.sentiment)[0, 1]), 3),
        "teams": round(float(rewards[named].mean() - rewards[~named].mean()), 2),
    }


def judged(texts: list[str]) -> dict[str, Any]:
    """Return mean sentiment and the share of titles that name each division, 95% intervals."""
    found: dict[str, Any] = {"sentiment": _mean(sentiment(texts))}
    for division, named in divisions_named(texts).items():
        found[division] = _share(int(named.sum()), len(texts))
    return found | {
        "words": round(float(np.mean([len(text.split()) for text in texts])), 1),
        "distinct": round(len(set(texts)) / len(texts), 3),
        "examples": texts[:SHOWN],
    }


def _mean(values: np.ndarray) -> dict[str, float]:
    """Return the mean and its bootstrap interval over texts."""
    low, high = stats.bootstrap((values,), np.mean, method="percentile", rng=0).confidence_interval
    return _interval(float(values.mean()), low, high)


def _share(count: int, total: int) -> dict[str, float]:
    """Return a share and Wilson's interval, which is right for shares near 0 as well."""
    ends = stats.binomtest(count, total).proportion_ci(method="wilson")
    return _interval(count / total, ends.low, ends.high)


def _gain(first: np.ndarray, second: np.ndarray) -> dict[str, float]:
    """Return a difference of means and its bootstrap interval over texts."""

    def difference(a: np.ndarray, b: np.ndarray, axis: int) -> Any:
        return a.mean(axis=axis) - b.mean(axis=axis)

    found = stats.bootstrap((first, second), difference, method="percentile", rng=0)
    return _interval(float(first.mean() - second.mean()), *found.confidence_interval)


def _interval(middle: float, low: float, high: float) -> dict[str, float]:
    return {"mean": round(middle, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def shown(found: dict[str, Any]) -> str:
    """Return Table 1 as lines of Markdown."""
    lines = [
        f"| | sentiment | {' | '.join(DIVISIONS)} | distinct | own reward |",
        f"| --- | --- {'| --- ' * len(DIVISIONS)}| --- | --- |",
    ]
    rows = {name: found[name] for name in ("base", "SFT")} | {
        f"{scenario}: {name}": row
        for scenario in SCENARIOS
        for name, row in found.get(scenario, {}).items()
        if "sentiment" in row
    }
    for name, row in rows.items():
        cells = [_cell(row["sentiment"], 1, "")]
        cells += [_cell(row[division], 100, " %") for division in DIVISIONS]
        own = row.get("own reward")
        cells += [f"{row['distinct']:.2f}", f"{own['SFT']} to {own['tuned']}" if own else "–"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: dict[str, float], unit: int, sign: str) -> str:
    mean, low, high = (unit * value[name] for name in ("mean", "low", "high"))
    digits = 3 if unit == 1 else 1
    return f"{mean:.{digits}f}{sign} ({low:.{digits}f} to {high:.{digits}f})"
