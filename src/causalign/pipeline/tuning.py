"""The stage that tunes: one policy from the outcome as logged, one from the deconfounded one."""

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from causalign import artifacts, deconfound, policy, reward
from causalign.errors import InputError, NotIdentified
from causalign.logs import Logs
from causalign.pipeline.plans import Tuning
from causalign.pipeline.stages import Payload, adjusted_logs, fitted_reward, scoring
from causalign.pipeline.work import Work, vectors_of
from causalign.pipeline.written import POLICIES, Judge, Written, told
from causalign.results import Section
from causalign.stats.folds import group_folds

__all__ = ["tuned_twice"]

TEXTS_AT_A_TIME = 32


@dataclass(frozen=True, slots=True)
class _Source:
    """Hold what one policy learns from: logs with an outcome, and the reward fitted to it."""

    logs: Logs
    reward: reward.RewardModel


def tuned_twice(work: Work, target: Path, unfinished: Path) -> tuple[Section, Payload]:
    """Tune from either outcome with the same settings, and let all write to the same prompts.

    Whatever training leaves lies in ``unfinished`` until the stage is stored, so that a killed run
    goes on from its last checkpoint.
    """
    assert work.tuning is not None
    artifacts.open_run(unfinished)
    judge = _judge(work, target)
    fits, method = _started(work.tuning, work.train, unfinished)
    for name in POLICIES[1:]:
        fits[name] = _fitted(method, _source(work, target, name), work, unfinished / name)
    prompts = _prompts(work)
    written = {
        name: _written(work, prompts, partial(_opened, fits.get(name), method), unfinished, name)
        for name in POLICIES
    }

    def payload(folder: Path) -> None:
        for name, fit in fits.items():
            shutil.copytree(fit.model_folder, folder / name / "model")
            shutil.copy(fit.folder / "fit.json", folder / name)
        asked = pa.nulls(work.recipe.generate.texts, pa.string()) if prompts is None else prompts
        columns = {name: texts.texts for name, texts in written.items()}
        pq.write_table(pa.table({"prompt": asked} | columns), folder / "generations.parquet")

    markers = work.recipe.evaluate.markers
    return told(method, fits, written, prompts, markers, judge), payload


def _started(
    tuning: Tuning, train: Logs, unfinished: Path
) -> tuple[dict[str, policy.PolicyFit], Any]:
    """Fine-tune on the logged texts if asked; return that fit, and the method that goes on."""
    if tuning.start is None:
        return {}, tuning.method
    fit = tuning.start.fit(train, unfinished / "start", progress=sys.stderr.isatty())
    place = "model" if tuning.method.lora is None else "adapter"
    return {"start": fit}, replace(tuning.method, **{place: str(fit.model_folder)})


def _source(work: Work, target: Path, name: str) -> _Source:
    logs = work.train if name == "naive" else adjusted_logs(target)
    return _Source(logs, _stored_reward(work, target, name))


def _stored_reward(work: Work, target: Path, name: str) -> reward.RewardModel:
    return replace(reward.RewardModel.load(target / "3-reward" / name), encoder=work.encoder)


def _fitted(method: Any, source: _Source, work: Work, out: Path) -> policy.PolicyFit:
    """Tune by what the method reads: rewards of logged texts, outcomes, or of what it writes."""
    progress, logs = sys.stderr.isatty(), source.logs
    if isinstance(method, policy.PPO | policy.GRPO | policy.RLOO):
        return method.fit(_distinct(logs.prompts), out, reward=source.reward, progress=progress)
    if isinstance(method, policy.CausalPreference):
        model = None if method.objective == "weighted" else _cross_fitted(work, logs)
        return method.fit(logs, out, outcome_model=model, progress=progress)
    # A reward holds what any deconfounder did, weights too, and averages over the outcome's noise.
    rewards = source.reward.head(vectors_of(work, logs))
    scored = logs.with_outcome(rewards, "the reward of each text")
    if isinstance(method, policy.DPO):
        by = () if logs.roles.prompt is None else (logs.roles.prompt,)
        steps, size = method.training.steps, method.training.batch_size
        most = None if steps is None else steps * size
        # The same rows meet whatever the reward: only who won can differ between both policies.
        pairs = scored.matched_pairs(by, seed=work.recipe.seed, most=most)
        return method.fit(pairs, out, progress=progress)
    return method.fit(scored, out, progress=progress)


def _cross_fitted(work: Work, logs: Logs) -> policy.CrossFitted:
    """Fit the recipe's reward without each fold of the log, for the doubly robust correction."""
    features, clusters = vectors_of(work, logs), logs.clusters
    unit = logs.codes_of(logs.roles.completion) if clusters is None else clusters
    fold = group_folds(unit, seed=work.recipe.seed)
    models = []
    for number in range(fold.max() + 1):
        rest = fold != number
        fit = fitted_reward(work, logs.take(rest, "all folds but one"), features[rest])
        models.append(scoring(work, fit))
    return policy.CrossFitted(tuple(models), fold)


def _judge(work: Work, target: Path) -> Judge | None:
    """Return a reward that training never saw: of experiments, else of the held-out rows.

    None where the held-out rows are too few to deconfound, or to fit a reward to.
    """
    if (target / "3-reward" / "experimental").is_dir():
        model = _stored_reward(work, target, "experimental")
        return Judge("the reward of the experiments", model.units, model)
    features = vectors_of(work, work.test)
    try:
        found = work.deconfounder.fit(work.test, text_features=features)
        fit = fitted_reward(work, deconfound.adjusted(found, work.test), features)
    except (InputError, NotIdentified):
        return None
    return Judge("a deconfounded reward of the held-out rows", fit.units, scoring(work, fit))


def _prompts(work: Work) -> list[str] | None:
    """Return held-out prompts, one for each text to write; None where logs have no prompts."""
    known = _distinct(work.test.prompts)
    if known is None:
        return None
    order = np.random.default_rng(work.recipe.seed).permutation(len(known))
    return [known[row] for row in np.resize(order, work.recipe.generate.texts)]


def _distinct(prompts: list[str] | None) -> list[str] | None:
    return None if prompts is None else list(dict.fromkeys(prompts))


def _opened(fit: policy.PolicyFit | None, method: Any) -> Any:
    """Open a tuned policy, or the model that tuning started from."""
    from causalign.policy.tuning import opened

    if fit is None:
        return opened(method)
    return fit.language_model("float32" if method.lora is None else method.training.precision)


def _written(
    work: Work,
    prompts: list[str] | None,
    open_model: Callable[[], Any],
    unfinished: Path,
    name: str,
) -> Written:
    """Let a policy write, or read what it wrote before the run was killed."""
    from causalign.lm.generate import sample

    kept, wanted = unfinished / f"{name}.json", work.recipe.generate
    if not kept.exists():
        assert work.tuning is not None
        drawn = sample(
            open_model(),
            [None] * wanted.texts if prompts is None else prompts,
            max_new_tokens=wanted.max_new_tokens,
            seed=work.recipe.seed,
            batch_size=TEXTS_AT_A_TIME,
            chat=work.tuning.method.chat,
            progress=sys.stderr.isatty(),
        )
        cut = int(drawn.completions.cut.sum())
        artifacts.write_json(kept, {"texts": drawn.texts, "cut": cut})
    read: Mapping[str, Any] = artifacts.read_json(kept)
    return Written(tuple(read["texts"]), read["cut"])
