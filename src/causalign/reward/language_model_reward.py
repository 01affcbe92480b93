"""Tune a language model into a reward: an adapter and a linear head, on outcomes or on pairs."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from causalign import artifacts
from causalign.errors import InputError, SettingsError, nearest
from causalign.lm.adapted_encoder import AdaptedEncoder
from causalign.lm.encoder import Encoder
from causalign.lm.language_model import LanguageModel, Lora, add_lora, load_language_model
from causalign.lm.score_head import add_score_head, check_states, remove_score_head
from causalign.lm.trainer import TrainingRun, train
from causalign.lm.training import Training
from causalign.logs import Logs, LogScan, Roles, require_memory
from causalign.logs.pairs import join_prompts
from causalign.reward.estimates import TRAINING, LanguageModelFit
from causalign.reward.examples import UNITS, Examples, check_loss
from causalign.reward.findings import dropped_pairs, no_signal, texts_read_whole, tuning_gain
from causalign.reward.from_logs import learning_rows, refuse_guardrails, require_group
from causalign.reward.language_model_task import ScoreTask, split_rows, start_task
from causalign.reward.model import RewardFit, RewardModel, settings_of
from causalign.stats.folds import group_folds

LOSSES = ("squared-error", "bradley-terry")
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LanguageModelReward:
    """Fit ``r(x) = v(x)'w + b`` with v the unit state of the text's last token, tuned by LoRA.

    The head starts as the ridge or Bradley-Terry fit on the vectors of the untouched model; then
    head and adapter are trained together. The step with the smallest loss in the validation rows is
    kept, step 0 included: the reward is never worse there than the frozen one.

    Assumption: the outcome, deconfounded, is the effect of the text plus noise independent of it;
    the two sides of a pair were compared under equal conditions.

    Parameters
    ----------
    model : str
        A language model: "smollm2", a folder, or ``owner/name`` on a hub.
    loss : {"squared-error", "bradley-terry"}
        Whether outcomes are learned from, or comparisons.
    lora : Lora
    training : causalign.lm.training.Training
    validation_share : float
        Share of the groups that validate, at most one half.

    Raises
    ------
    SettingsError
        For settings out of range.

    References
    ----------
    arXiv 2506.00152, section 4 (a language model with LoRA as the reward); Kumar et al. (2022),
    arXiv 2202.10054 (fit the head before the network).
    """

    model: str = "smollm2"
    loss: Literal["squared-error", "bradley-terry"] = "squared-error"
    lora: Lora = field(default_factory=Lora)
    training: Training = field(default_factory=Training)
    validation_share: float = 0.2

    name: ClassVar[str] = "language-model"
    reads_vectors: ClassVar[bool] = False
    reads_experiments: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise SettingsError(
                f"There is no loss {self.loss!r} here; {nearest(self.loss, LOSSES)}"
            )
        if not 0 < self.validation_share <= 0.5:
            raise SettingsError(
                f"validation_share must be in (0, 0.5]; found {self.validation_share}."
            )

    @property
    def compares(self) -> bool:
        """Whether it learns from pairs: its loss is Bradley-Terry."""
        return self.loss == "bradley-terry"

    def check_roles(self, roles: Roles) -> None:
        """Raise ``RoleNotDeclared`` if pairs are compared and no group says which competed."""
        refuse_guardrails(self.name, roles)
        if self.compares:
            require_group(f"The method {self.name!r} with loss='bradley-terry'", roles)

    def check_logs(self, logs: Logs | LogScan) -> None:
        """Raise before anything costly runs when the method cannot learn from these logs."""
        self.check_roles(logs.roles)
        logs = require_memory(logs, f"The method {self.name!r}")
        rows = learning_rows(logs, pairs=self.compares)
        group_folds(rows.groups, round(1 / self.validation_share), self.training.seed)

    def fit(
        self,
        logs: Logs | LogScan,
        encoder: str | Encoder | None = None,
        *,
        out: str | Path | None = None,
        progress: bool = False,
    ) -> RewardFit:
        """Tune on the outcome of logs, or on the pairs of their groups.

        Weights, clusters and prompts are those of the logs. The model reads texts itself: raises
        ``SettingsError`` if an ``encoder`` is given, or no folder ``out`` for checkpoints; see
        :meth:`causalign.reward.RewardMethod.fit`.
        """
        if encoder is not None:
            raise SettingsError(
                f"The method {self.name!r} reads texts itself and takes no encoder. Name the "
                "language model in its setting 'model'."
            )
        if out is None:
            raise SettingsError(f"The method {self.name!r} needs `out`, a folder for checkpoints.")
        self.check_roles(logs.roles)
        logs = require_memory(logs, f"The method {self.name!r}")
        rows = learning_rows(logs, pairs=self.compares)
        texts, prompts = logs.completions, logs.prompts
        asked = None if prompts is None else rows.texts(prompts)
        fit = partial(self.fit_texts, texts, logs.outcome)
        if self.compares:
            fit = partial(self.fit_pairs, rows.texts(texts), rows.texts(texts, side=1))
        estimate = fit(
            out, prompts=asked, groups=rows.groups, weights=rows.weights, progress=progress
        )
        model = RewardModel.load(Path(out) / "model")
        return RewardFit(self, {"model": model}, estimate, findings=estimate.findings)

    def fit_texts(
        self,
        completions: Sequence[str],
        outcome: ArrayLike,
        out: str | Path,
        *,
        prompts: Sequence[str] | None = None,
        groups: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        progress: bool = False,
    ) -> LanguageModelFit:
        """Tune on texts with outcomes; model, numbers and findings go to ``out``.

        A killed fit goes on when it is called again, and ends with the same weights.

        Parameters
        ----------
        completions : n strings
        outcome : (n,) array
        out : path
        prompts : n strings, optional
        groups : (n,) array, optional
            Rows of one group train together or validate together.
        weights : (n,) array, optional
        progress : bool
            Show a bar.

        Raises
        ------
        InputError
            For texts or numbers that cannot be used.
        ArtifactError
            When ``out`` holds another run or cannot be written.
        SettingsError
            When training diverges.
        """
        texts = _check_texts(join_prompts(completions, prompts))

        def examples(features: ArrayLike) -> Examples:
            return Examples.of_outcomes(features, outcome, weights=weights, groups=groups)

        return _train_in(self, texts, examples, Path(out), prompts is not None, progress)

    def fit_pairs(
        self,
        chosen: Sequence[str],
        rejected: Sequence[str],
        out: str | Path,
        *,
        prompts: Sequence[str] | None = None,
        groups: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        margins: ArrayLike | None = None,
        progress: bool = False,
    ) -> LanguageModelFit:
        """Tune on pairs of texts; see :meth:`fit_texts`.

        Pairs with identical sides are dropped and counted in finding RM104.

        Parameters
        ----------
        chosen, rejected : n strings
        out : path
        prompts : n strings, optional
        groups, weights : (n,) arrays, optional
        margins : (n,) array, optional
            The chosen side is asked to win by that many log-odds.
        progress : bool
            Show a bar.
        """
        if len(chosen) != len(rejected):
            raise InputError(f"There are {len(chosen)} chosen for {len(rejected)} rejected texts.")
        sides = [_check_texts(join_prompts(side, prompts)) for side in (chosen, rejected)]
        texts = list(dict.fromkeys([*sides[0], *sides[1]]))
        position = {text: i for i, text in enumerate(texts)}
        first, second = (np.array([position[t] for t in s], dtype=np.int64) for s in sides)

        def examples(features: ArrayLike) -> Examples:
            given = {"weights": weights, "margins": margins, "groups": groups}
            return Examples.of_pairs(features, first, second, **given)

        return _train_in(self, texts, examples, Path(out), prompts is not None, progress)


def _train_in(
    method: LanguageModelReward,
    texts: list[str],
    examples_of: Callable[[ArrayLike], Examples],
    out: Path,
    reads_prompt: bool,
    progress: bool,
) -> LanguageModelFit:
    """Train in ``out / "training"``, keep the model in ``out / "model"``."""
    # All is checked before the first costly step; a text's number stands for its vector.
    checked = examples_of(np.arange(len(texts))[:, None])
    check_loss(method.loss, checked, LOSSES)
    split_rows(checked, method.validation_share, method.training.seed)
    low = method.training.precision == "bfloat16"
    start = load_language_model(method.model, precision="bfloat16" if low else "float32")
    artifacts.open_run(out)
    with artifacts.lock(out):
        key = artifacts.fingerprint(method, start.revision, _hash(texts, checked))
        artifacts.claim(out, key)
        if (out / "fit.json").exists():
            return LanguageModelFit.load(out)
        window = min(start.window, start.tokenizer.model_max_length, method.training.max_length)
        tuned = add_lora(start, method.lora, seed=method.training.seed)
        encoder = AdaptedEncoder(tuned, int(window))
        check_states(tuned, next(filter(None, encoder.tokens(texts)), (0,)))
        vectors = encoder.encode(texts, progress=progress)  # an adapter starts by changing nothing
        examples = examples_of(vectors)
        task = start_task(method.training, method.validation_share, encoder, texts, examples)
        fit = _train(method, task, out, reads_prompt, progress)
        shutil.rmtree(out / "training", ignore_errors=True)
        return fit


def _train(
    method: LanguageModelReward, task: ScoreTask, out: Path, reads_prompt: bool, progress: bool
) -> LanguageModelFit:
    language_model = task.encoder.language_model
    add_score_head(language_model, task.head)
    try:
        trained = train(language_model, task, method.training, out / "training", progress=progress)
    finally:
        remove_score_head(language_model)
    if trained.stop_reason is not None:
        raise SettingsError(
            f"Training diverged: {trained.stop_reason}. Use a smaller learning rate, and another "
            "output folder."
        )
    task.put_best_back()
    model = RewardModel(
        task.encoder.name,
        task.linear_head(),
        units=UNITS[method.loss],
        reads_prompt=reads_prompt,
        encoder=task.encoder,
        settings=settings_of(method),
    )
    model.save(out / "model")
    fit = _language_model_fit(method, language_model, task, trained, out)
    fit.save()
    return fit


def _language_model_fit(
    method: LanguageModelReward,
    language_model: LanguageModel,
    task: ScoreTask,
    trained: TrainingRun,
    out: Path,
) -> LanguageModelFit:
    """Gather what training left into a result."""
    steps = len(task.order) // method.training.batch_size
    at = [*range(0, steps, method.training.save_every), steps]
    null = float(
        np.average(task.constant_losses(), weights=task.examples.weight[task.validation_rows])
    )
    first, best = task.validation[0], min(task.validation)
    best_step = trained.kept_step
    numbers = {
        "rows": float(len(task.rows)),
        "validation_rows": float(len(task.validation_rows)),
        "steps": float(steps),
        "kept_step": float(best_step),
        "validation_loss": best,
        "validation_r2": 1 - best / null,
        "untouched_r2": 1 - first / null,
    }
    pairs = task.examples.are_pairs
    measure = "log-likelihood explained" if pairs else "variance explained (R²)"
    truncated = int(task.encoder.too_long(task.texts).sum())
    findings = [
        no_signal(numbers["validation_r2"], f"the share of {measure}"),
        texts_read_whole(truncated, len(task.texts)),
        tuning_gain(best_step, steps, numbers["untouched_r2"], numbers["validation_r2"]),
    ]
    if pairs:
        findings.append(dropped_pairs(task.examples.identical, len(task.examples)))
    return LanguageModelFit(
        method=method.name,
        base=language_model.public_name,
        folder=out,
        units=UNITS[method.loss],
        validation=pa.table(
            {"step": at, "loss": task.validation, "kept": [step == best_step for step in at]}
        ),
        training=_training_table(trained.curve),
        numbers=numbers,
        findings=tuple(findings),
    )


def _training_table(curve: Sequence[Mapping[str, float]]) -> pa.Table:
    return pa.table(
        {"step": pa.array([int(entry["step"]) for entry in curve], pa.int64())}
        | {n: pa.array([entry.get(n) for entry in curve], pa.float64()) for n in TRAINING[1:]}
    )


def _check_texts(texts: Sequence[str]) -> list[str]:
    for row, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                f"The text in row {row} is {text!r}. Every row, and every side of a pair, needs a "
                "text; remove the row or fill it in."
            )
    return list(texts)


def _hash(texts: list[str], examples: Examples) -> str:
    columns: dict[str, NDArray[np.generic]] = {
        f"side{i}": side for i, side in enumerate(examples.sides.T)
    }
    columns |= {n: getattr(examples, n) for n in ("target", "weight", "margin", "groups")}
    known = pa.table({name: pa.array(values) for name, values in columns.items()})
    return artifacts.hash_table(pa.table({"text": texts})) + artifacts.hash_table(known)
