"""Tune a language model into a reward: an adapter and a linear head, on outcomes or on pairs."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from causalign import artifacts
from causalign.errors import InputError, SettingsError, nearest
from causalign.lm.language_model import LanguageModel, Lora, load_language_model, with_lora
from causalign.lm.training import Training
from causalign.reward.examples import Examples
from causalign.reward.findings import (
    dropped_pairs,
    no_signal,
    texts_read_whole,
    tuning_helped,
)
from causalign.reward.head import LinearHead
from causalign.reward.language_model_fit import LanguageModelFit, training_table, validation_table
from causalign.reward.model import RewardModel, reward_texts
from causalign.reward.networks.outcome_kinds import UNITS, check_loss
from causalign.reward.pairwise import PairwiseReward
from causalign.reward.ridge import RidgeReward
from causalign.stats.folds import group_folds

if TYPE_CHECKING:
    from causalign.lm.adapted_encoder import AdaptedEncoder
    from causalign.lm.trainer import Trained
    from causalign.reward.language_model_task import ScoreTask

__all__ = ["LanguageModelReward"]

LOSSES = ("squared-error", "bradley-terry")
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LanguageModelReward:
    """Fit ``r(x) = v(x)'w + b`` with v the unit state of the text's last token, tuned by LoRA.

    ``loss`` says what is learned from: outcomes (``squared-error``) with :meth:`fit`, comparisons
    (``bradley-terry``) with :meth:`fit_pairs`. The head starts as the ridge or Bradley-Terry fit on
    the vectors of the untouched model; then head and adapter are trained together. A share
    ``validation_share`` of the groups judges, and the step that they judge best is kept, step 0
    included: the reward is never worse for them than the frozen one.

    Assumption: the outcome, deconfounded, is the effect of the text plus noise independent of it;
    the two sides of a pair were compared under equal conditions.

    Raises ``SettingsError`` for settings out of range. References: arXiv 2506.00152, section 4 (a
    language model with LoRA as the reward); Kumar et al. (2022), arXiv 2202.10054 (fit the head
    before the network).
    """

    model: str = "smollm2"
    loss: Literal["squared-error", "bradley-terry"] = "squared-error"
    lora: Lora = field(default_factory=Lora)
    training: Training = field(default_factory=Training)
    validation_share: float = 0.2

    name: ClassVar[str] = "language-model"

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise SettingsError(
                f"There is no loss {self.loss!r} here; {nearest(self.loss, LOSSES)}"
            )
        if not 0 < self.validation_share <= 0.5:
            raise SettingsError(
                f"validation_share must be in (0, 0.5]; found {self.validation_share}."
            )

    def fit(
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
        """Tune on texts with outcomes ``(n,)``; model, numbers and findings go to ``out``.

        Rows of one of ``groups`` ``(n,)`` teach together or judge together. A killed fit goes on
        when it is called again, and ends with the same weights. Raises ``InputError`` for texts or
        numbers that cannot be used, ``ArtifactError`` when ``out`` holds another run or cannot be
        written, ``SettingsError`` when training diverges.
        """
        texts = _checked(reward_texts(prompts, completions))

        def examples(features: ArrayLike) -> Examples:
            return Examples.of_outcomes(features, outcome, weights=weights, groups=groups)

        return _fitted(self, texts, examples, Path(out), prompts is not None, progress)

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
        """Tune on pairs of texts ``(n,)``; see :meth:`fit`.

        ``margins`` ``(n,)`` ask the chosen side to win by that many log-odds. Pairs with identical
        sides are dropped and counted in finding RM104.
        """
        if len(chosen) != len(rejected):
            raise InputError(f"There are {len(chosen)} chosen for {len(rejected)} rejected texts.")
        sides = [_checked(reward_texts(prompts, side)) for side in (chosen, rejected)]
        texts = list(dict.fromkeys([*sides[0], *sides[1]]))
        position = {text: i for i, text in enumerate(texts)}
        first, second = (np.array([position[t] for t in s], dtype=np.int64) for s in sides)

        def examples(features: ArrayLike) -> Examples:
            given = {"weights": weights, "margins": margins, "groups": groups}
            return Examples.of_pairs(features, first, second, **given)

        return _fitted(self, texts, examples, Path(out), prompts is not None, progress)


def _fitted(
    method: LanguageModelReward,
    texts: list[str],
    examples_of: Callable[[ArrayLike], Examples],
    out: Path,
    reads_prompt: bool,
    progress: bool,
) -> LanguageModelFit:
    """Train in ``out / "training"``, keep the model in ``out / "model"``, tell it as a fit."""
    from causalign.lm.adapted_encoder import AdaptedEncoder

    # All is checked before the first costly step; a text's number stands for its vector.
    checked = examples_of(np.arange(len(texts))[:, None])
    check_loss(method.loss, checked, LOSSES)
    _cut(method, checked)
    low = method.training.precision == "bfloat16"
    start = load_language_model(method.model, precision="bfloat16" if low else "float32")
    artifacts.open_run(out)
    with artifacts.locked(out):
        key = artifacts.fingerprint(method, start.revision, _hash(texts, checked))
        artifacts.claim(out, key)
        if (out / "fit.json").exists():
            return LanguageModelFit.load(out)
        window = min(start.window, start.tokenizer.model_max_length, method.training.max_length)
        tuned = with_lora(start, method.lora, seed=method.training.seed)
        encoder = AdaptedEncoder(tuned, int(window))
        vectors = encoder.encode(texts, progress=progress)  # an adapter starts by changing nothing
        task = _task(method, encoder, texts, examples_of(vectors))
        fit = _trained(method, task, out, reads_prompt, progress)
        shutil.rmtree(out / "training", ignore_errors=True)
        return fit


def _task(
    method: LanguageModelReward, encoder: "AdaptedEncoder", texts: list[str], examples: Examples
) -> "ScoreTask":
    """Cut the rows, start the head where the frozen vectors lead, and deal the batches."""
    from causalign.lm.layout import sorted_order
    from causalign.lm.score_head import ScoreHead
    from causalign.reward.language_model_task import ScoreTask

    seed, size = method.training.seed, method.training.batch_size
    teach, judges = _cut(method, examples)
    head = _frozen_head(examples, teach, seed)
    seen = examples.features[np.unique(examples.sides[teach])].astype(np.float64)
    center = seen.mean(axis=0)
    scale = float(np.sqrt(seen.var(axis=0).mean())) or 1.0
    mean, unit = _target(examples, teach)
    task = ScoreTask(
        encoder=encoder,
        head=ScoreHead(
            center,
            scale,
            head.coefficients * scale / unit,
            (head.intercept + float(center @ head.coefficients) - mean) / unit,
        ),
        texts=texts,
        examples=examples,
        teach=teach,
        judges=judges,
        target=(mean, unit),
        order=np.empty(0, dtype=np.int64),
    )
    lengths = np.array([len(ids) for ids in encoder.tokens(texts)])
    sizes = lengths[examples.sides[teach]].sum(axis=1)
    steps = method.training.steps_for(len(teach))
    task.order = sorted_order(sizes, batch_size=size, steps=steps, seed=seed)
    return task


def _cut(method: LanguageModelReward, examples: Examples) -> tuple[Rows, Rows]:
    """Return the rows that teach and those that judge; no group is on both sides."""
    kept = np.flatnonzero(examples.weight > 0)
    folds = round(1 / method.validation_share)
    fold = group_folds(examples.groups[kept], folds, method.training.seed)
    return kept[fold != 0], kept[fold == 0]


def _frozen_head(examples: Examples, teach: Rows, seed: int) -> LinearHead:
    """Return the linear reward on the vectors of the untouched model, from the rows that teach."""
    sides = [examples.features[side].astype(np.float64) for side in examples.sides[teach].T]
    given = {"groups": examples.groups[teach], "weights": examples.weight[teach]}
    if examples.are_pairs:
        margins = examples.margin[teach]
        return PairwiseReward(seed=seed).fit(sides[0], sides[1], margins=margins, **given).head
    return RidgeReward(seed=seed).fit(sides[0], examples.target[teach], **given).head


def _target(examples: Examples, teach: Rows) -> tuple[float, float]:
    """Return mean and spread of an outcome among the rows that teach; pairs have a scale."""
    if examples.are_pairs:
        return 0.0, 1.0
    y, w = examples.target[teach], examples.weight[teach]
    mean = float(np.average(y, weights=w))
    return mean, float(np.sqrt(np.average((y - mean) ** 2, weights=w)))


def _trained(
    method: LanguageModelReward, task: "ScoreTask", out: Path, reads_prompt: bool, progress: bool
) -> LanguageModelFit:
    from causalign.lm.score_head import add_score_head, remove_score_head
    from causalign.lm.trainer import train

    language_model = task.encoder.language_model
    add_score_head(language_model, task.head)
    try:
        trained = train(language_model, task, method.training, out / "training", progress=progress)
    finally:
        remove_score_head(language_model)
    if trained.trouble is not None:
        raise SettingsError(
            f"Training diverged: {trained.trouble}. Use a smaller learning rate, and another "
            "output folder."
        )
    task.put_best_back()
    model = RewardModel(
        task.encoder.name,
        task.linear_head(),
        units=UNITS[method.loss],
        reads_prompt=reads_prompt,
        encoder=task.encoder,
    )
    model.save(out / "model")
    fit = _told(method, language_model, task, trained, out)
    fit.save()
    return fit


def _told(
    method: LanguageModelReward,
    language_model: LanguageModel,
    task: "ScoreTask",
    trained: "Trained",
    out: Path,
) -> LanguageModelFit:
    """Gather what training left into a result."""
    steps = len(task.order) // method.training.batch_size
    judged = [*range(0, steps, method.training.save_every), steps]
    null = float(np.average(task.ignorant(), weights=task.examples.weight[task.judges]))
    first, best = task.validation[0], min(task.validation)
    kept = trained.kept_step
    numbers = {
        "rows": float(len(task.teach)),
        "validation_rows": float(len(task.judges)),
        "steps": float(steps),
        "kept_step": float(kept),
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
        tuning_helped(kept, steps, numbers["untouched_r2"], numbers["validation_r2"]),
    ]
    if pairs:
        findings.append(dropped_pairs(task.examples.identical, len(task.examples)))
    return LanguageModelFit(
        method=method.name,
        base=language_model.public_name,
        folder=out,
        units=UNITS[method.loss],
        validation=validation_table(judged, task.validation, kept),
        training=training_table(trained.curve),
        numbers=numbers,
        findings=tuple(findings),
    )


def _checked(texts: Sequence[str]) -> list[str]:
    for row, text in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                f"The text in row {row} is {text!r}. Every row, and every side of a pair, needs a "
                "text; remove the row or fill it in."
            )
    return list(texts)


def _hash(texts: list[str], examples: Examples) -> str:
    columns: dict[str, NDArray] = {f"side{i}": side for i, side in enumerate(examples.sides.T)}
    columns |= {n: getattr(examples, n) for n in ("target", "weight", "margin", "groups")}
    known = pa.table({name: pa.array(values) for name, values in columns.items()})
    return artifacts.hash_table(pa.table({"text": texts})) + artifacts.hash_table(known)
