"""Fit any reward on logs: what each method needs, what it learns from, the models it leaves."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from causalign import config, lm
from causalign.cli import options as given
from causalign.covariates import design
from causalign.errors import InputError, RoleNotDeclared, SettingsError, nearest
from causalign.lm.prefixed_encoder import PrefixedEncoder
from causalign.logs import Logs
from causalign.results import Section, file_stem
from causalign.reward import (
    ConfounderInText,
    Examples,
    LanguageModelReward,
    ObjectiveHeads,
    PairwiseReward,
    RewardModel,
    RidgeReward,
    Training,
    methods,
    reward_texts,
    truncated_texts,
)
from causalign.reward.heads import Head
from causalign.reward.networks.network import Network
from causalign.stats.strata import crossed, quantile_strata

__all__ = ["METHODS", "Chosen", "Fitted", "check_needs", "choose", "fitted"]

# Names for the losses of the plain network: what a newcomer looks for is the kind of outcome.
_OUTCOMES = {"logistic": "logistic", "multi-class": "multi-class", "ordinal": "ordinal"}
METHODS = (*methods, *_OUTCOMES)
_DEFAULT_ENCODER = "minilm"
_BY_OBJECTIVE = ("base", "multihead", "adversarial")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Hold a method by its name, with its settings; networks are trained as ``training`` says."""

    name: str
    method: Any
    training: Training
    seed: int

    @property
    def compares(self) -> bool:
        """Return whether it learns from pairs."""
        loss = getattr(self.method, "loss", None)
        return isinstance(self.method, PairwiseReward) or loss == "bradley-terry"


@dataclass(frozen=True, slots=True)
class Fitted:
    """Hold what a fit left: its section, and what writes its models into a folder.

    ``models`` names the folders below the one of the stage.
    """

    section: Section
    models: tuple[str, ...]
    save: Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class _Rows:
    """Hold what there is to learn from: ``sides`` (n, s) are positions in the logs."""

    sides: np.ndarray
    weights: np.ndarray | None
    groups: np.ndarray


def choose(name: str, assignments: Sequence[str]) -> Chosen:
    """Return the method called ``name`` with settings such as ``training.epochs=20``."""
    if name not in METHODS:
        raise SettingsError(f"Setting 'method': unknown method {name!r}; {nearest(name, METHODS)}")
    settings: dict[str, Any] = config.override({}, assignments)
    training, seed = Training(), 0
    cls = methods[_class_of(name)]
    if issubclass(cls, Network):
        training = config.construct(Training, settings.pop("training", {}), "training")
        seed = settings.pop("seed", 0)
        if not isinstance(seed, int) or seed < 0:
            raise SettingsError(f"Setting 'seed' must be a whole number from 0; found {seed!r}.")
    if name in _OUTCOMES:
        settings = {"loss": _OUTCOMES[name], **settings}
    if cls is ConfounderInText:
        settings = {"names": ["confounder"], **settings}  # named by the logs, when they are read
    return Chosen(name, config.construct(cls, settings), training, seed)


def check_needs(chosen: Chosen, named: Mapping[str, Any], encoder: str) -> None:
    """Raise ``RoleNotDeclared`` for a column that the method needs and that was not named."""
    if isinstance(chosen.method, LanguageModelReward) and encoder != _DEFAULT_ENCODER:
        raise SettingsError(
            f"The method {chosen.name!r} reads texts itself and takes no --encoder. Name the model "
            f"with --set model={encoder}."
        )
    if chosen.compares and not named["group"]:
        instead = "" if chosen.name == "pairwise" else ", or --set loss=squared-error"
        raise RoleNotDeclared(
            f"The method {chosen.name!r} compares texts that competed. Name the column that says "
            f"which did: --group COLUMN{instead}."
        )
    confounders = named["confounders"] or []
    if chosen.name in ("confounder-in-text", "confounder-in-layer", "odin") and not confounders:
        raise RoleNotDeclared(
            f"The method {chosen.name!r} needs a confounder. Name its column: --confounder COLUMN."
        )
    if chosen.name == "odin" and len(confounders) > 1:
        raise SettingsError(f"ODIN takes one --confounder; {len(confounders)} were named.")
    if chosen.name in _BY_OBJECTIVE and not (named["objective"] or confounders):
        raise RoleNotDeclared(
            f"The method {chosen.name!r} needs to know by which objective a row was judged. Name "
            "the column: --objective COLUMN; or continuous confounders: --confounder COLUMN."
        )


def fitted(chosen: Chosen, read: Logs, encoder: str, work: Path) -> Fitted:
    """Fit the method on the logs; ``work`` is for what a killed training needs to go on."""
    rows = _rows(chosen, read)
    if isinstance(chosen.method, LanguageModelReward):
        return _of_language_model(chosen.method, read, rows, work)
    texts = reward_texts(read.prompts, read.completions)
    after: Callable[[lm.Encoder], lm.Encoder] = _unchanged
    if isinstance(chosen.method, ConfounderInText):
        values, names = _numbers(read)
        written = replace(chosen.method, names=names)
        plain = texts
        texts = written.write(plain, values)
        before = written.neutral([""], values)[0]

        def after(loaded: lm.Encoder) -> lm.Encoder:
            return PrefixedEncoder(before, loaded)

    loaded = lm.load_encoder(encoder, training_texts=texts)
    found = given.embedded(texts, loaded)
    section, heads, units = _fit(chosen, read, rows, found.vectors)
    section = replace(section, findings=(*section.findings, truncated_texts(found)))
    models = {
        place: RewardModel(
            loaded.name,
            head,
            units,
            reads_prompt=read.prompts is not None,
            encoder=after(loaded),
        )
        for place, head in heads.items()
    }

    def save(folder: Path) -> None:
        for place, model in models.items():
            model.save(folder / place)

    return Fitted(section, tuple(models), save)


def _rows(chosen: Chosen, read: Logs) -> _Rows:
    if not chosen.compares:
        groups = read.codes_of(read.roles.completion) if read.clusters is None else read.clusters
        return _Rows(np.arange(len(read))[:, None], read.weights, groups)
    pairs = read.pairs()
    if pairs.rows is None or len(pairs) == 0:
        raise InputError("No two rows of a group differ in text and outcome, so there is no pair.")
    return _Rows(pairs.rows, pairs.weight, pairs.group)


def _fit(
    chosen: Chosen, read: Logs, rows: _Rows, vectors: np.ndarray
) -> tuple[Section, dict[str, Head], str]:
    """Return the section, the heads by the folder of their model, and the units of the reward."""
    shared: dict[str, Any] = {"groups": rows.groups, "weights": rows.weights}
    if isinstance(chosen.method, Network):
        examples = _examples(read, rows, vectors, shared)
        net = chosen.method.fit(examples, training=chosen.training, seed=chosen.seed)
        return net.section("reward"), _placed(net.head), net.units
    sides = [vectors[side].astype(np.float64) for side in rows.sides.T]
    if isinstance(chosen.method, PairwiseReward):
        fit = chosen.method.fit(*sides, **shared)
    else:
        ridge = chosen.method if isinstance(chosen.method, RidgeReward) else RidgeReward()
        fit = ridge.fit(sides[0], read.outcome, environment=_environment(read), **shared)
    return fit.section("reward"), {"model": fit.head}, fit.units


def _environment(read: Logs) -> np.ndarray | None:
    """Return which rows had equal conditions: confounders crossed, numbers cut at their deciles."""
    found = [c.values if c.is_categorical else quantile_strata(c.values) for c in read.confounders]
    return crossed(found) if found else None


def _examples(read: Logs, rows: _Rows, vectors: np.ndarray, shared: Mapping[str, Any]) -> Examples:
    known = dict(shared)
    if read.roles.objective is not None:
        labels = np.array(read.data[read.roles.objective].to_pylist(), dtype=str)
        known["objectives"] = labels[rows.sides[:, 0]]
    if read.roles.confounders:
        values = design(read.confounders)[0]
        known["confounders"] = values[rows.sides]  # (n, s, k)
    if rows.sides.shape[1] == 2:
        return Examples.of_pairs(vectors, rows.sides[:, 0], rows.sides[:, 1], **known)
    return Examples.of_outcomes(vectors, read.outcome, **known)


def _placed(head: Any) -> dict[str, Head]:
    """Return one head for each folder: networks that tell objectives apart leave several."""
    if not isinstance(head, ObjectiveHeads):
        return {"model": head}
    if len(head.heads) == 1:
        return {"model": next(iter(head.heads.values()))}
    stems = [file_stem(name) for name in head.heads]
    plain = len(set(stems)) == len(stems) and all(stems)
    return {
        f"model/{stem if plain else f'{number}-{stem}'}": one
        for number, (stem, one) in enumerate(zip(stems, head.heads.values(), strict=True))
    }


def _of_language_model(method: LanguageModelReward, read: Logs, rows: _Rows, work: Path) -> Fitted:
    texts, prompts = read.completions, read.prompts
    shown = sys.stderr.isatty()
    shared: dict[str, Any] = {"groups": rows.groups, "weights": rows.weights, "progress": shown}
    if method.loss == "bradley-terry":
        chosen, rejected = ([texts[i] for i in side] for side in rows.sides.T)
        asked = None if prompts is None else [prompts[i] for i in rows.sides[:, 0]]
        fit = method.fit_pairs(chosen, rejected, work, prompts=asked, **shared)
    else:
        fit = method.fit(texts, read.outcome, work, prompts=prompts, **shared)
    model = fit.model()
    return Fitted(fit.section("reward"), ("model",), lambda folder: model.save(folder / "model"))


def _numbers(read: Logs) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the confounders ``(n, k)`` that are written into texts, and their names."""
    names = [c.name for c in read.confounders if c.is_categorical]
    if names:
        raise InputError(
            f"'confounder-in-text' writes numbers; {', '.join(map(repr, names))} holds names. Use "
            "'confounder-in-layer'."
        )
    return design(read.confounders)


def _class_of(name: str) -> str:
    return "perceptron" if name in _OUTCOMES else name


def _unchanged(encoder: lm.Encoder) -> lm.Encoder:
    return encoder
