"""What a reward method is, what its fit returns, and the model that then scores texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from causalign import config
from causalign.errors import SettingsError
from causalign.figures import Drawing
from causalign.files import to_json
from causalign.lm.encoder import Encoder
from causalign.lm.encoders import load_encoder
from causalign.lm.prefixed_encoder import PrefixedEncoder
from causalign.logs import CrossFitted, Logs, LogScan, Roles
from causalign.logs.outcome_model import AssessesTexts
from causalign.logs.stories import rows_together
from causalign.results import Card, Finding, Result, Section
from causalign.reward import CHOICES, METHODS
from causalign.reward.derived_rewards import DerivesRewards
from causalign.reward.estimates import LanguageModelFit, LinearHeadFit, NetworkFit
from causalign.reward.examples import EVENT_ODDS
from causalign.reward.findings import texts_read_whole
from causalign.reward.heads import ObjectiveHeads, Settings
from causalign.stats.folds import group_folds

Texts = Sequence[str]
Estimate = LinearHeadFit | NetworkFit | LanguageModelFit


class RewardMethod(Protocol):
    """Learn from logs what outcome a text is expected to earn.

    A method is a frozen dataclass of settings. ``name`` is its name on the command line;
    ``reads_vectors`` is False for a method that brings its own encoder; where ``reads_experiments``
    is True, ``fit`` also takes ``experiments``, logs of tests beside the log.
    """

    name: ClassVar[str]
    reads_vectors: ClassVar[bool]
    reads_experiments: ClassVar[bool]

    @property
    def compares(self) -> bool:
        """Whether it learns from pairs of rows of a group, rather than from outcomes."""
        ...

    def check_roles(self, roles: Roles) -> None:
        """Raise ``RoleNotDeclared`` or ``SettingsError`` for roles that the method cannot use."""
        ...

    def check_logs(self, logs: Logs | LogScan) -> None:
        """Raise before anything costly runs when the method cannot learn from these logs."""
        ...

    def fit(
        self,
        logs: Logs | LogScan,
        encoder: str | Encoder | None = None,
        *,
        out: str | Path | None = None,
        progress: bool = False,
    ) -> RewardFit:
        """Fit on logs, whose pairs, groups, weights, confounders and objectives it takes.

        Parameters
        ----------
        logs : Logs or LogScan
            Their outcome is learned as it is: deconfound first. Ridge reads a scan; the others
            raise ``SettingsError``.
        encoder : str or Encoder, optional
            What turns texts into vectors; "minilm+style" unless given.
        out : path, optional
            Folder for the checkpoints of a long training, which only language models need.
        progress : bool
            Show a bar.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RewardModel(Card, DerivesRewards):
    """Score completions: ``r(prompt, completion) = head(encode(text))``.

    Parameters
    ----------
    encoder_name : str
        What :func:`causalign.lm.load_encoder` loads when texts are first scored, unless ``encoder``
        is given.
    head : Head
        What turns vectors into numbers.
    units : str
        What a difference of one means.
    reads_prompt : bool
        Whether the head was fitted on texts below their prompts.
    encoder_revision : str, optional
        The revision that the head was fitted with.
    encoder : Encoder, optional
        Raises ``SettingsError`` unless its vectors are those that the head was fitted on.
    settings : mapping, optional
        How the model was fitted: the name under ``method``, and the settings.
    cache : EmbeddingCache, optional
        Where vectors are kept between calls that name no other.
    guardrail_heads : mapping from str to LinearHead
        What turns the same vectors into further outcomes.
    """

    def card_lines(self) -> list[str]:
        """Return what a card says: what is scored, in which units, by which encoder and head."""
        by = "" if self.settings is None else f", fitted by {self.settings['method']}"
        what = "prompts and texts" if self.reads_prompt else "texts"
        return [f"scores {what} in {self.units}: {self.encoder_name}, a {self.head.kind} head{by}"]

    @property
    def method(self) -> RewardMethod | None:
        """The method that fitted the model, or None if that is not recorded."""
        return None if self.settings is None else choose(self.settings)

    def cross_fit(
        self, logs: Logs, *, folds: int = 5, seed: int = 0, out: str | Path | None = None
    ) -> CrossFitted:
        """Fit the method again without each fold of the logs.

        Parameters
        ----------
        logs, folds, seed, out
            As in :func:`cross_fit`.

        Raises
        ------
        SettingsError
            If the model does not record how it was fitted.
        """
        method = self.method
        if method is None:
            raise SettingsError(
                "This reward model does not record the method that fitted it, so it cannot be "
                "fitted again without a fold. Use causalign.reward.cross_fit."
            )
        given = self._plain_encoder() if method.reads_vectors else None
        fitted = cross_fit(method, logs, given, folds=folds, seed=seed, out=out)
        return (
            replace(fitted, whole=method.fit(logs, given).model) if self.has_covariance else fitted
        )

    def fit_apart(self, logs: Logs, seed: int = 0) -> Sequence[tuple[RewardModel, AssessesTexts]]:
        """Fit the method again without a part of the logs, and let that part value its rewards.

        Parts are cut between clusters, else groups, which keep equal texts together. A reward of
        outcomes, or of pairs, is fitted without each of five parts, which value it by what happened
        there (`calibrate`); of other rewards the fits on two halves value each other's choice.

        Parameters
        ----------
        logs : Logs
            Those that the model was fitted on.
        seed : int
            Of the cut.

        Raises
        ------
        SettingsError
            If the model does not record how it was fitted, or experiments took part.
        """
        method = self.method
        if method is None or method.reads_experiments:
            by = "does not record its method" if method is None else "learned from experiments too"
            raise SettingsError(
                f"This reward model {by}, so that part of a log does not make it anew."
            )
        encoder = self._plain_encoder() if method.reads_vectors else None
        by_outcomes = self.units == "log-odds" or not (method.compares or self.units == EVENT_ODDS)
        part = group_folds(rows_together(logs), 5 if by_outcomes else 2, seed)
        rest = [logs.take(part != number, "without a part") for number in range(part.max() + 1)]
        models = [method.fit(rows, encoder).model for rows in rest]
        if not by_outcomes:
            return [*zip(models, models[::-1], strict=True)]
        return [
            (model, model.calibrate(logs.take(part == number, "a part")))
            for number, model in enumerate(models)
        ]

    def _plain_encoder(self) -> Encoder:
        """Return the encoder as a method takes it, which writes its own words in front."""
        encoder = self.load_encoder()
        return encoder.encoder if isinstance(encoder, PrefixedEncoder) else encoder


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RewardFit(Result):
    """A reward that was fitted on logs, and how well it predicts rows that it did not see.

    Attributes
    ----------
    method : RewardMethod
    models : mapping from str to RewardModel
        By the folder in which :meth:`save` writes them: ``model``, or ``model/OBJECTIVE`` where the
        method learns a reward for each objective.
    estimate : LinearHeadFit, NetworkFit or LanguageModelFit
        What the fit on arrays returned.
    """

    method: RewardMethod
    models: Mapping[str, RewardModel]
    estimate: Estimate
    findings: tuple[Finding, ...] = field(default=())

    @classmethod
    def of(
        cls,
        method: RewardMethod,
        estimate: LinearHeadFit | NetworkFit,
        encoder: Encoder,
        *,
        texts: int,
        truncated: int,
        reads_prompt: bool,
    ) -> RewardFit:
        """Make models of the heads of a fit on arrays.

        Parameters
        ----------
        method, estimate
            Who fitted what.
        encoder : Encoder
            What new texts are scored with.
        texts, truncated : int
            How many were read, and how many of them not to their end.
        reads_prompt : bool
        """
        head = estimate.head
        heads = head.by_folder() if isinstance(head, ObjectiveHeads) else {"": head}
        fits = estimate.guardrails if isinstance(estimate, LinearHeadFit) else {}
        beside = {name: fit.head for name, fit in fits.items()}
        models = {
            f"model{place}": RewardModel(
                encoder.name,
                head,
                units=estimate.units,
                reads_prompt=reads_prompt,
                encoder=encoder,
                settings=settings_of(method),
                guardrail_heads=beside,
            )
            for place, head in heads.items()
        }
        more = [
            replace(finding, title=f"{finding.title} ({name})")
            for name, fit in fits.items()
            for finding in fit.findings
        ]
        read = texts_read_whole(truncated, texts)
        return cls(method, models, estimate, (*estimate.findings, *more, read))

    @property
    def model(self) -> RewardModel:
        """The fitted model; raises ``SettingsError`` where there is one for each objective."""
        if len(self.models) > 1:
            raise SettingsError(
                f"This fit has a reward for each objective: {', '.join(self.models)}. Take one of "
                "`.models`."
            )
        return next(iter(self.models.values()))

    @property
    def units(self) -> str:
        """What a difference of one in the reward means."""
        return self.estimate.units

    @property
    def out_of_fold(self) -> NDArray[np.float64] | None:
        """Predictions of each row, or pair, by fits that did not see it; None for networks."""
        return self.estimate.out_of_fold if isinstance(self.estimate, LinearHeadFit) else None

    def predict(self, completions: Texts, prompts: Texts | None = None) -> NDArray[np.float64]:
        """Return the reward ``(n,)`` of each completion, as :meth:`RewardModel.predict` does."""
        return self.model(completions, prompts)

    def save(self, folder: str | Path) -> Path:
        """Write each model into its folder below ``folder``; return ``folder``."""
        for place, model in self.models.items():
            model.save(Path(folder) / place)
        return Path(folder)

    def answer(self) -> str:
        """Return in one sentence how well the reward predicts."""
        return self.estimate.answer()

    def details(self) -> Sequence[str]:
        """Return the assumption as a line of the summary."""
        return self.estimate.details()

    def table(self) -> pa.Table:
        """Return one row for each penalty, epoch or step that was compared."""
        return self.estimate.table()

    def drawing(self) -> Drawing | None:
        """Return the picture of the fit, or None when there is nothing to draw."""
        return self.estimate.drawing()

    def section(self) -> Section:
        """Return the fit as a section of a run folder and of the report."""
        return replace(self.estimate.section(), findings=self.findings)


def choose(settings: Settings, where: str = "reward") -> RewardMethod:
    """Build the method that ``settings["method"]`` names.

    Parameters
    ----------
    settings : mapping
        The name of one of ``METHODS``, or the kind of an outcome (``logistic``, ``multi-class``,
        ``ordinal``), which means a perceptron with that loss; further keys are its settings.
    where : str
        What messages call the settings.

    Raises
    ------
    SettingsError
        For an unknown method or setting, naming the nearest right one.
    """
    name = settings.get("method")
    if name in CHOICES and name not in METHODS:
        settings = {"loss": name, **settings}
    return config.choose(CHOICES, settings, where)


def settings_of(method: RewardMethod) -> Settings | None:
    """Return what :func:`choose` makes the method of; None for one that is not in ``METHODS``."""
    known = method.name in METHODS and METHODS[method.name] is type(method)
    if not known or not is_dataclass(method) or isinstance(method, type):
        return None
    return {"method": method.name, **to_json(asdict(method))}


def cross_fit(
    method: RewardMethod,
    logs: Logs,
    encoder: str | Encoder | None = None,
    *,
    folds: int = 5,
    seed: int = 0,
    out: str | Path | None = None,
) -> CrossFitted:
    """Fit a method without each fold of the logs, for doubly robust estimates.

    Parameters
    ----------
    method : RewardMethod
        One that learns from outcomes.
    logs : Logs
        Clusters, or else rows of the same text, share a fold.
    encoder : str or Encoder, optional
        As in ``method.fit``.
    folds, seed : int
        How many folds, and the seed of the cut.
    out : path, optional
        Folder for the checkpoints of a long training.

    Raises
    ------
    SettingsError
        If the method compares texts, so that it predicts no outcome.
    """
    if method.compares:
        raise SettingsError(
            f"The method {method.name!r} compares texts and predicts no outcome; cross-fit one "
            "that learns from outcomes."
        )
    method.check_roles(logs.roles)
    if method.reads_vectors and (encoder is None or isinstance(encoder, str)):
        encoder = load_encoder(encoder, training_texts=logs.texts)
    fold = group_folds(rows_together(logs), folds, seed)
    models = []
    for number in range(folds):
        rest = logs.take(fold != number, f"left out fold {number + 1} of {folds}")
        place = None if out is None else Path(out) / f"fold-{number + 1}"
        models.append(method.fit(rest, encoder, out=place).model.expected_outcome)
    return CrossFitted(tuple(models), fold)
