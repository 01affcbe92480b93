"""What the stages of one run share: settings, logs and texts, built and checked before any cost."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from causalign import artifacts, config, deconfound, reward
from causalign.errors import SettingsError
from causalign.lm import EmbeddingCache, Embeddings, Encoder, embed, load_encoder
from causalign.logs import Logs
from causalign.pairs import Pairs
from causalign.pipeline.plans import Tuning, planned
from causalign.recipe import Recipe
from causalign.scales import rescaled
from causalign.splits import held_out_rows, one_per_group

__all__ = ["Work", "embedded", "prepared", "sides", "vectors_of"]


@dataclass(frozen=True, slots=True)
class Work:
    """Hold what every stage of a run reads; ``tuning`` is None in a run without a policy."""

    recipe: Recipe
    train: Logs
    test: Logs
    benchmark: Pairs | None
    judge: Pairs | None
    encoder: Encoder
    embed: Callable[[Sequence[str]], Embeddings]
    reads_prompt: bool
    deconfounder: Any
    fitter: Any
    tuning: Tuning | None
    key: str


def prepared(recipe: Recipe) -> Work:
    """Read the logs and check every setting; raise any `CausalignError`."""
    method = config.choose(deconfound.methods, recipe.deconfound, "deconfound")
    fitter = config.choose(reward.pointwise_methods, recipe.reward, "reward")
    if not 0 < recipe.data.held_out < 1:
        raise SettingsError("Setting 'data.held_out' must lie between 0 and 1.")
    raw = Logs.read(
        recipe.data.path, recipe.data.roles, drop_incomplete=recipe.data.drop_incomplete
    )
    raw.require("confounders")
    if recipe.evaluate.truth is not None:
        raw.numbers(recipe.evaluate.truth)
    held = held_out_rows(raw, recipe.data.held_out, recipe.seed)
    benchmark, judge = _pairs(raw, held, recipe)
    logs = rescaled(raw, recipe.data.scale)
    train = logs.take(~held, f"set aside {held.sum()} rows to judge by")
    if recipe.data.one_per_group:
        train = one_per_group(train, recipe.seed)
    read = reward.reward_texts(train.prompts, train.completions)
    encoder = load_encoder(recipe.encoder, training_texts=read)
    key = artifacts.fingerprint(
        replace(recipe.data, path=""),
        recipe.seed,
        (encoder.name, encoder.revision),
        artifacts.hash_table(raw.data.select(list(raw.roles.columns()))),
        None if judge is None else (judge.chosen, judge.rejected, judge.margin, judge.group),
        artifacts.versions()["causalign"],
    )
    return Work(
        recipe=recipe,
        train=train,
        test=logs.take(held, "held out"),
        benchmark=benchmark,
        judge=judge,
        encoder=encoder,
        embed=partial(_embed, encoder, EmbeddingCache()),
        reads_prompt=raw.roles.prompt is not None,
        deconfounder=method,
        fitter=fitter,
        tuning=planned(recipe, train),
        key=key,
    )


def _pairs(logs: Logs, held: np.ndarray, recipe: Recipe) -> tuple[Pairs | None, Pairs | None]:
    """Return the pairs that fit the experimental benchmark and those that judge."""
    given = recipe.evaluate
    if given.pairs is not None:
        pairs = Pairs.read(given.pairs)
        groups = np.unique(pairs.group)
        half = np.random.default_rng(recipe.seed).permutation(groups)[: len(groups) // 2]
        judges = np.isin(pairs.group, half)
    elif given.pairs_by:
        pairs = logs.pairs(
            given.pairs_by, significance=given.significance, minimum_margin=given.minimum_margin
        )
        if pairs.rows is None or not len(pairs):
            raise SettingsError("No two rows make a pair; see 'evaluate.pairs_by'.")
        if logs.roles.group is not None:
            pairs = replace(pairs, group=logs.groups[pairs.rows[:, 0]])
        # A pair that straddles the split would let its texts teach and judge.
        sides = held[pairs.rows]
        whole = sides[:, 0] == sides[:, 1]
        pairs, judges = pairs.take(whole), sides[whole, 0]
    else:
        return None, None
    if not judges.any():
        raise SettingsError("No pair is held out to judge the rewards; raise 'data.held_out'.")
    return (pairs.take(~judges) if not judges.all() else None), pairs.take(judges)


def embedded(work: Work, logs: Logs) -> Embeddings:
    """Return the vectors of the logs' texts, and how they were read."""
    return work.embed(reward.reward_texts(logs.prompts, logs.completions))


def vectors_of(work: Work, logs: Logs) -> np.ndarray:
    """Return the vectors ``(n, d)`` of the logs' texts."""
    return embedded(work, logs).vectors.astype(np.float64)


def sides(work: Work, pairs: Pairs) -> list[np.ndarray]:
    """Return the vectors of the chosen and of the rejected texts, ``(m, d)`` each."""
    prompts = pairs.prompt if work.reads_prompt else None
    return [
        work.embed(reward.reward_texts(prompts, side)).vectors.astype(np.float64)
        for side in (pairs.chosen, pairs.rejected)
    ]


def _embed(encoder: Encoder, cache: EmbeddingCache, texts: Sequence[str]) -> Embeddings:
    return embed(list(texts), encoder, cache, progress=sys.stderr.isatty())
