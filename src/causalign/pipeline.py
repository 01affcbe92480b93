"""The only file that knows the order: logs → audit → deconfound → reward → evaluate → report."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from causalign import artifacts, config, cost, deconfound, report, reward
from causalign.audit import audit, audit_markers, with_markers
from causalign.errors import ArtifactError, SettingsError
from causalign.evaluate import HeldOut, confounder_outcome, dependence, marker_effects, rank
from causalign.lm import EmbeddingCache, Embeddings, Encoder, embed, load_encoder
from causalign.logs import Logs
from causalign.pairs import Pairs
from causalign.recipe import Recipe
from causalign.results import Section, Verdict, worst
from causalign.roles import Roles
from causalign.scales import rescaled
from causalign.splits import held_out_rows, one_per_group
from causalign.stats.strata import crossed, quantile_strata

__all__ = ["Run", "rebuild_report", "run"]

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Run:
    """Hold where a run was written, what its sections say, and its report."""

    folder: Path
    sections: tuple[Section, ...]
    report: Path
    answer: str

    @property
    def failed(self) -> bool:
        """Return whether any finding failed."""
        return worst(tuple(f for s in self.sections for f in s.findings)) is Verdict.FAIL


@dataclass(frozen=True, slots=True)
class _Work:
    """Hold what the stages of one run share, built and checked before the first costly step."""

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
    key: str


def run(recipe: Recipe, folder: str | Path, *, redo: bool = False, say: Say = print) -> Run:
    """Run all stages into ``folder``, skipping those that are there with the same settings.

    Everything is read and checked before the first costly stage. A run that was killed continues
    where it stopped and gives the same files. With other settings than the stored ones a stage is
    done again only if ``redo``. Raises any `CausalignError`.
    """
    target = artifacts.open_run(folder)
    with artifacts.locked(target):
        work = _prepare(recipe)
        key = work.key
        for name, step, used in _plan(recipe):
            key = artifacts.fingerprint(key, name, used)
            place = target / name
            if artifacts.is_done(place, key, replace=redo):
                say(f"{name}: done before")
                continue
            with cost.recorded(target / "cost.json", name):
                section, payload = step(work, target)
                artifacts.write_stage(place, section, key=key, settings=used, payload=payload)
            say(f"{name}: {section.answer}")
        return _finish(target, recipe.name)


def rebuild_report(folder: str | Path) -> Run:
    """Write the report of a run folder again from what its stages stored."""
    target = Path(folder)
    if not target.is_dir() or not artifacts.stages(target):
        raise ArtifactError(f"{str(target)!r} holds no finished stage. Use `causalign run` first.")
    return _finish(target, target.name)


Payload = Callable[[Path], object] | None


def _plan(recipe: Recipe) -> list[tuple[str, Callable[..., tuple[Section, Payload]], Any]]:
    return [
        ("1-audit", _audit, None),
        ("2-deconfound", _deconfound, recipe.deconfound),
        ("3-reward", _reward, (recipe.reward, recipe.evaluate)),
        ("5-evaluate", _evaluate, recipe.evaluate),
    ]


def _prepare(recipe: Recipe) -> _Work:
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
    return _Work(
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


def _audit(work: _Work, _: Path) -> tuple[Section, Payload]:
    features, seed = _features(work, work.train), work.recipe.seed
    section = audit(work.train, text_features=features, seed=seed).section()
    marked = audit_markers(
        work.train, text_features=features, seed=seed, progress=sys.stderr.isatty()
    )
    return with_markers(section, marked), None


def _deconfound(work: _Work, _: Path) -> tuple[Section, Payload]:
    features = _features(work, work.train)
    found = work.deconfounder.fit(work.train, text_features=features)
    adjusted = deconfound.adjusted(found, work.train)

    def payload(folder: Path) -> None:
        pq.write_table(adjusted.data, folder / "logs.parquet")
        artifacts.write_json(
            folder / "logs.json", {"roles": adjusted.roles, "history": adjusted.history}
        )

    return deconfound.with_sensitivity(found.section(), work.train, features), payload


def _reward(work: _Work, target: Path) -> tuple[Section, Payload]:
    """Fit the same head twice, on the outcome as logged and deconfounded, and on experiments."""
    features = _features(work, work.train)
    groups = work.train.clusters
    if groups is None:
        groups = work.train.codes_of(work.train.roles.completion)
    logs = {"naive": work.train, "deconfounded": _adjusted_logs(target / "2-deconfound")}
    equal = _environment(work.train)
    fits = {
        name: work.fitter.fit(
            features, read.outcome, groups=groups, weights=read.weights, environment=equal
        )
        for name, read in logs.items()
    }
    diagnosed = {name: _diagnosed(fit, logs[name], work) for name, fit in fits.items()}
    long = reward.truncated_texts(_texts(work, work.train))
    fits = {name: fit.with_findings(long) for name, fit in fits.items()}
    if work.benchmark is not None:
        fits["experimental"] = reward.PairwiseReward(seed=work.recipe.seed).fit(
            *_sides(work, work.benchmark), groups=work.benchmark.group
        )
    models = {
        name: reward.RewardModel(
            work.encoder.name,
            fit.head,
            units=fit.units,
            reads_prompt=work.reads_prompt,
            encoder=work.encoder,
        )
        for name, fit in fits.items()
    }

    def payload(folder: Path) -> None:
        for name, model in models.items():
            model.save(folder / name)

    return reward.with_diagnostics(reward.compare(fits), diagnosed), payload


def _adjusted_logs(place: Path) -> Logs:
    stored = json.loads((place / "logs.json").read_text(encoding="utf-8"))
    roles = {name: value for name, value in stored["roles"].items() if name != "type"}
    return Logs(pq.read_table(place / "logs.parquet"), config.construct(Roles, roles))


def _diagnosed(fit: reward.RewardFit, logs: Logs, work: _Work) -> reward.Diagnostics:
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


def _evaluate(work: _Work, target: Path) -> tuple[Section, Payload]:
    places = sorted(p for p in (target / "3-reward").iterdir() if p.is_dir())
    order = ["naive", "deconfounded", "experimental"]
    heads = {p.name: reward.RewardModel.load(p).head for p in places}
    heads = {name: heads[name] for name in order if name in heads}
    ranking = None
    if work.judge is not None:
        chosen, rejected = _sides(work, work.judge)
        ranking = rank({n: h(chosen) - h(rejected) for n, h in heads.items()}, work.judge.group)
    seen = _features(work, work.test)
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


def _embed(encoder: Encoder, cache: EmbeddingCache, texts: Sequence[str]) -> Embeddings:
    return embed(list(texts), encoder, cache, progress=sys.stderr.isatty())


def _texts(work: _Work, logs: Logs) -> Embeddings:
    return work.embed(reward.reward_texts(logs.prompts, logs.completions))


def _features(work: _Work, logs: Logs) -> np.ndarray:
    return _texts(work, logs).vectors.astype(np.float64)


def _sides(work: _Work, pairs: Pairs) -> list[np.ndarray]:
    prompts = pairs.prompt if work.reads_prompt else None
    return [
        work.embed(reward.reward_texts(prompts, side)).vectors.astype(np.float64)
        for side in (pairs.chosen, pairs.rejected)
    ]


def _score(
    head: reward.Head, encode: Callable[..., Embeddings], texts: Sequence[str]
) -> np.ndarray:
    return head(encode(texts).vectors)


def _finish(target: Path, title: str) -> Run:
    sections = tuple(artifacts.read_stage(place) for place in artifacts.stages(target))
    answer = " ".join(s.answer for s in sections if s.stage in ("audit", "evaluate"))
    page = report.build(
        sections,
        title=title,
        answer=answer,
        provenance={"command": f"causalign report {target}", **artifacts.versions()},
    )
    written, _ = page.write(target / "6-report")
    return Run(target, sections, written, answer)
