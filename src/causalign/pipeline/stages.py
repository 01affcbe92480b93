"""The stages that every run has: audit, deconfound, reward, evaluate."""

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from causalign import artifacts, config, deconfound, reward
from causalign.audit import audit, audit_markers, with_markers
from causalign.evaluate import HeldOut, confounder_outcome, dependence, marker_effects, rank
from causalign.lm import Embeddings
from causalign.logs import Logs
from causalign.pipeline.work import Work, embedded, sides, vectors_of
from causalign.results import Section
from causalign.roles import Roles
from causalign.stats.strata import crossed, quantile_strata

__all__ = [
    "Payload",
    "adjusted_logs",
    "audited",
    "deconfounded",
    "evaluated",
    "fitted_reward",
    "rewarded",
    "scoring",
]

Payload = Callable[[Path], object] | None


def audited(work: Work, _: Path, __: Path) -> tuple[Section, Payload]:
    """Ask what the logs support, and which markers travel with confounders."""
    features, seed = vectors_of(work, work.train), work.recipe.seed
    section = audit(work.train, text_features=features, seed=seed).section()
    marked = audit_markers(
        work.train, text_features=features, seed=seed, progress=sys.stderr.isatty()
    )
    return with_markers(section, marked), None


def deconfounded(work: Work, _: Path, __: Path) -> tuple[Section, Payload]:
    """Estimate the confounders' effect and store the logs without it."""
    features = vectors_of(work, work.train)
    found = work.deconfounder.fit(work.train, text_features=features)
    adjusted = deconfound.adjusted(found, work.train)

    def payload(folder: Path) -> None:
        pq.write_table(adjusted.data, folder / "logs.parquet")
        artifacts.write_json(
            folder / "logs.json", {"roles": adjusted.roles, "history": adjusted.history}
        )

    return deconfound.with_sensitivity(found.section(), work.train, features), payload


def rewarded(work: Work, target: Path, _: Path) -> tuple[Section, Payload]:
    """Fit the same head twice, on the outcome as logged and deconfounded, and on experiments."""
    features = vectors_of(work, work.train)
    logs = {"naive": work.train, "deconfounded": adjusted_logs(target)}
    fits = {name: fitted_reward(work, read, features) for name, read in logs.items()}
    diagnosed = {name: _diagnosed(fit, logs[name], work) for name, fit in fits.items()}
    long = reward.truncated_texts(embedded(work, work.train))
    fits = {name: fit.with_findings(long) for name, fit in fits.items()}
    if work.benchmark is not None:
        fits["experimental"] = reward.PairwiseReward(seed=work.recipe.seed).fit(
            *sides(work, work.benchmark), groups=work.benchmark.group
        )
    models = {name: scoring(work, fit) for name, fit in fits.items()}

    def payload(folder: Path) -> None:
        for name, model in models.items():
            model.save(folder / name)

    return reward.with_diagnostics(reward.compare(fits), diagnosed), payload


def fitted_reward(work: Work, logs: Logs, features: np.ndarray) -> reward.RewardFit:
    """Fit the recipe's head to the outcome of these logs, whose texts have these vectors."""
    groups = logs.clusters
    return work.fitter.fit(
        features,
        logs.outcome,
        groups=logs.codes_of(logs.roles.completion) if groups is None else groups,
        weights=logs.weights,
        environment=_environment(logs),
    )


def scoring(work: Work, fit: reward.RewardFit) -> reward.RewardModel:
    """Return the fit as a model that scores texts."""
    return reward.RewardModel(
        work.encoder.name,
        fit.head,
        units=fit.units,
        reads_prompt=work.reads_prompt,
        encoder=work.encoder,
    )


def adjusted_logs(target: Path) -> Logs:
    """Read the logs that the second stage stored."""
    place = target / "2-deconfound"
    stored = json.loads((place / "logs.json").read_text(encoding="utf-8"))
    roles = {name: value for name, value in stored["roles"].items() if name != "type"}
    return Logs(pq.read_table(place / "logs.parquet"), config.construct(Roles, roles))


def _diagnosed(fit: reward.RewardFit, logs: Logs, work: Work) -> reward.Diagnostics:
    return reward.diagnose(
        fit.out_of_fold,
        logs.outcome,
        confounders=work.train.confounders,
        clusters=work.train.clusters,
        seed=work.recipe.seed,
    )


def _environment(logs: Logs) -> np.ndarray:
    """Return which rows had equal conditions: confounders crossed, numbers cut at their deciles."""
    return crossed(
        [c.values if c.is_categorical else quantile_strata(c.values) for c in logs.confounders]
    )


def evaluated(work: Work, target: Path, _: Path) -> tuple[Section, Payload]:
    """Judge the rewards by held-out pairs and texts."""
    places = sorted(p for p in (target / "3-reward").iterdir() if p.is_dir())
    order = ["naive", "deconfounded", "experimental"]
    heads = {p.name: reward.RewardModel.load(p).head for p in places}
    heads = {name: heads[name] for name in order if name in heads}
    ranking = None
    if work.judge is not None:
        chosen, rejected = sides(work, work.judge)
        differences = {n: h(chosen) - h(rejected) for n, h in heads.items()}
        ranking = rank(differences, work.judge.group, work.judge.margin)
    seen = vectors_of(work, work.test)
    targets = {
        f"outcome by {name}": confounder_outcome(
            work.train.covariate(name), work.train.outcome, work.test.covariate(name)
        )
        for name in work.train.roles.confounders
    }
    truth = work.recipe.evaluate.truth
    if truth is not None:
        targets["true effect"] = work.test.numbers(truth)
    clusters = work.test.clusters
    related = dependence(
        {name: head(seen) for name, head in heads.items()},
        targets,
        len(work.test) if clusters is None else len(np.unique(clusters)),
    )
    markers = None
    if work.recipe.evaluate.markers:
        markers = marker_effects(
            {name: partial(_score, head, work.embed) for name, head in heads.items()},
            work.test.completions,
            work.recipe.evaluate.markers,
        )
    return HeldOut(ranking, related, markers).section(), None


def _score(
    head: reward.Head, encode: Callable[..., Embeddings], texts: Sequence[str]
) -> np.ndarray:
    return head(encode(texts).vectors)
