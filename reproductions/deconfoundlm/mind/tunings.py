"""Table 1 with many tunings: PPO of a small language model on each reward, seed after seed."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from news import News, read_others
from rewards import SCENARIOS, Vectors, fitted, simulated
from running import Settings
from writing import Reward

from causalign.lm.cache import EmbeddingCache
from causalign.lm.encoder import Encoder
from causalign.lm.generate import Samples, sample
from causalign.lm.language_model import LanguageModel
from causalign.lm.logprob import completion_logprobs
from causalign.lm.small_model import SmallModel
from causalign.lm.training import Training
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.policy import PPO, SFT, PolicyFit, Pretraining
from causalign.results import file_stem

__all__ = ["Key", "Rows", "read_finished", "start_of", "tune_all", "write"]

Key = tuple[str, str, str, int]  # heads, scenario, reward, seed
Rows = dict[Key, dict[str, Any]]
UNITS = 300  # titles whose rewards have mean zero and variance one
TRIES = 5
TEXTS_A_TRY = 96


def tune_all(teach: News, start: PolicyFit, encoder: Encoder, settings: Settings) -> Rows:
    """Tune on every reward with every seed, all rewards of a seed before the next seed.

    Each finished tuning is a line of a file; a later call goes on after the last one.
    """
    small = settings["small"]
    folder = Path("runs") / f"mind-{settings['name']}"
    file = folder / "tunings.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    done, reference = read_finished(file), start.language_model()
    for heads, scenario, names, seed in _order(small):
        missing = [name for name in names if (heads, scenario, name, seed) not in done]
        rewards = _rewards(teach, encoder, settings, heads, scenario, missing, seed)
        for name, reward in rewards.items():
            row = {"heads": heads, "scenario": scenario, "reward": name, "seed": seed}
            row |= _tune(reward, start, reference, small, folder / "tuning", seed)
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(row) + "\n")
            print({k: row[k] for k in row if "texts" not in k}, file=sys.stderr, flush=True)
    return read_finished(file)


def read_finished(file: Path) -> Rows:
    """Return the finished tunings; none where there is no file yet."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    rows = [json.loads(line) for line in lines]
    return {(row["heads"], row["scenario"], row["reward"], row["seed"]): row for row in rows}


def start_of(news: News, known: News, settings: Settings) -> PolicyFit:
    """Pre-train on news without the sports titles that teach rewards; fine-tune on the rest.

    ``known`` are the sports articles that may be read.
    """
    small = settings["small"]
    hidden = set(news.titles) - set(known.titles)
    texts = [*read_others(settings["data"]), *known.titles]
    shape = SmallModel(**small["shape"])
    base = Pretraining(shape=shape, tokens=small["tokens"]).fit(
        [text for text in texts if text not in hidden]
    )
    titles = pa.table({"title": known.titles, "sentiment": known.sentiment})
    method = SFT(model=str(base.model_folder), lora=None, training=Training(**small["sft"]))
    folder = Path("runs") / f"mind-{settings['name']}" / "small-sft"
    return method.fit(Logs.of(titles, Roles("title", "sentiment")), folder)


def _order(small: Settings) -> Iterator[tuple[str, str, list[str], int]]:
    """Yield kind of heads, scenario, rewards and seed of all tunings, seed after seed."""
    for heads, scenarios in small["rewards"].items():
        for seed in range(small["first_seed"], small["first_seed"] + small["tunings"]):
            for scenario, names in scenarios.items():
                yield heads, scenario, names, seed


def _rewards(
    teach: News,
    encoder: Encoder,
    settings: Settings,
    heads: str,
    scenario: str,
    names: list[str],
    seed: int,
) -> dict[str, Reward]:
    """Return rewards of titles alone; a seed draws popularity, noise and initial weights."""
    logs = simulated(teach, SCENARIOS.get(scenario, False), seed)
    regressions = tuple(name for name in names if heads == "ridge" and name != "ODIN")
    networks = tuple(name for name in names if name not in regressions)
    titles, vectors = teach.titles[:UNITS], Vectors(encoder, EmbeddingCache())
    found = {}
    for members, ridge in ((regressions, True), (networks, False)):
        if members:
            how = {"abstracts": False, "names": members, "ridge": ridge}
            fit = fitted(teach, logs, vectors, settings, seed, **how)
            units = {name: Reward.of(fit, name, vectors, titles, None) for name in members}
            # Texts that are written are scored once; the cache keeps none of them.
            found |= {n: replace(r, vectors=Vectors(encoder)) for n, r in units.items()}
    return found


def _tune(
    reward: Reward,
    start: PolicyFit,
    reference: LanguageModel,
    small: Settings,
    folder: Path,
    seed: int,
) -> dict[str, Any]:
    """Tune, let the policy write, and let it write again at the divergence common to all."""
    shutil.rmtree(folder, ignore_errors=True)
    method = PPO(
        model=str(start.model_folder),
        lora=None,
        training=Training(**small["ppo"], seed=seed),
        rollout_size=small["rollout_size"],
        num_ppo_epochs=small["num_ppo_epochs"],
        kl_coef=small["kl_coef"],
        max_new_tokens=small["max_new_tokens"],
        evaluation_texts=0,
    )
    fit = method.fit(None, folder / file_stem(reward.name), reward=reward)
    tuned = fit.language_model()
    shutil.rmtree(folder)
    free = write(tuned, small, seed, small["generations"])
    share, equal = _at_divergence(tuned, reference, small, seed)
    return {
        "nats": round(_nats(free, reference), 3),
        "own reward": round(float(reward(free.texts).mean()), 3),
        "texts": free.texts,
        "share of the update": round(share, 4),
        "nats, equal": round(_nats(equal, reference), 3),
        "own reward, equal": round(float(reward(equal.texts).mean()), 3),
        "texts, equal": equal.texts,
    }


def _at_divergence(
    tuned: LanguageModel, reference: LanguageModel, small: Settings, seed: int
) -> tuple[float, Samples]:
    """Return what is written where the update is scaled until its divergence is ``small["nats"]``.

    The scale is sought between 0 and 1 by halving; the texts are then drawn anew.
    """
    first = {name: value.clone() for name, value in reference.model.state_dict().items()}
    last = {name: value.clone() for name, value in tuned.model.state_dict().items()}
    low, high = 0.0, 1.0
    for attempt in range(TRIES):
        share = (low + high) / 2
        _scale_update(tuned, first, last, share)
        drawn = write(tuned, small, [seed, attempt], TEXTS_A_TRY)
        if _nats(drawn, reference) > small["nats"]:
            high = share
        else:
            low = share
    share = (low + high) / 2
    _scale_update(tuned, first, last, share)
    return share, write(tuned, small, [seed, TRIES], small["generations"])


def _scale_update(
    model: LanguageModel,
    first: dict[str, torch.Tensor],
    last: dict[str, torch.Tensor],
    share: float,
) -> None:
    """Set the weights to start + share × update."""
    model.model.load_state_dict({name: torch.lerp(first[name], last[name], share) for name in last})


def write(model: LanguageModel, small: Settings, seed: int | list[int], count: int) -> Samples:
    """Return titles that a model writes of its own."""
    return sample(
        model,
        [None] * count,
        max_new_tokens=small["max_new_tokens"],
        seed=int(np.random.default_rng(seed).integers(2**31)),
        batch_size=count,
    )


def _nats(drawn: Samples, reference: LanguageModel) -> float:
    """Return how much likelier a text is than under the start, on average: the divergence."""
    return float((drawn.logprob - completion_logprobs(reference, drawn.completions)).mean())
