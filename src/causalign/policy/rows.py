"""Training on rows that do not change: one or two texts for each row, with columns of numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalign.checks.weights import SupportLimits, effective_rows
from causalign.lm.chat_template import TODAY, reads_clock, template_text
from causalign.lm.completions import Completions, tokenize
from causalign.lm.language_model import LanguageModel, shares_prompts
from causalign.lm.layout import Batch, lay_out, order_rows
from causalign.lm.logprob import sequence_logprobs
from causalign.lm.plain_text import control_tokens, find_ending
from causalign.lm.trainer import Metrics, TrainingRun
from causalign.policy import findings
from causalign.policy.fit import PolicyFit
from causalign.policy.method import ModelSettings, Numbers, prepare_for_training, train_on_task
from causalign.results import Finding
from causalign.stats.importance_weights import diagnose_weights

Columns = Mapping[str, NDArray[Any]]
Network = torch.nn.Module
Objective = Callable[[Tensor, Batch], tuple[Tensor, Metrics]]
# What is measured anew of the rows of a whole batch, with the model as it is before a step.
Measure = Callable[[NDArray[np.int64]], Mapping[str, float]]
# Keeps the orders of passes apart from whatever else draws under the same seed.
ORDER_STREAM = 0x9905


@dataclass(slots=True)
class FixedRows:
    """A task on n rows: texts, columns and an objective.

    Row i owns the completions ``i * texts_in_row`` onwards. ``columns`` are (n,) or, for numbers
    that belong to texts, (n, texts_in_row). ``measure`` adds numbers of the whole batch.
    """

    objective: Objective
    completions: Completions
    columns: Columns
    order: NDArray[np.int64]
    batch_size: int
    share_prompts: bool
    texts_in_row: int = 1
    measure: Measure | None = None
    _measured: tuple[int, Mapping[str, float]] = field(default=(-1, {}))

    def batch(self, positions: NDArray[np.int64], step: int) -> Batch:  # noqa: ARG002
        """Return the texts and columns of the rows at these positions.

        ``mean_length`` is that of the texts of the whole batch, of which these may be a part.
        """
        rows = self.order[positions]
        batch = lay_out(self.completions.take(self._texts(rows)), share_prompts=self.share_prompts)
        columns = {name: value[rows] for name, value in self.columns.items()}
        first = positions[0] // self.batch_size * self.batch_size
        whole = self.order[first : first + self.batch_size]
        columns["mean_length"] = self.completions.take(self._texts(whole)).lengths.mean()
        if self.measure is not None and self._measured[0] != first:
            self._measured = first, self.measure(whole)
        known = {name: np.array(value) for name, value in self._measured[1].items()}
        return batch | tensors(columns | known)

    def _texts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return (rows[:, None] * self.texts_in_row + np.arange(self.texts_in_row)).ravel()

    def loss(self, model: Network, batch: Batch) -> tuple[Tensor, Metrics]:
        """Return the objective on the batch."""
        return self.objective(sequence_logprobs(model, batch), batch)

    def stop_reason(self) -> str | None:
        """Return None: nothing here can go wrong between steps."""
        return None

    def validation_score(self) -> float | None:
        """Return None: the last model is the one to keep."""
        return None

    def state(self) -> dict[str, NDArray[Any]]:
        """Return nothing to remember."""
        return {}

    def restore(self, state: Columns) -> None:
        """Take up nothing."""


def train_on_rows(
    method: ModelSettings,
    start: LanguageModel,
    objective: Objective,
    texts: Completions,
    columns: Columns,
    log_weight: NDArray[np.float64],
    out: str | Path,
    progress: bool,
    measure: Callable[[LanguageModel, NDArray[np.int64]], Mapping[str, float]] | None = None,
) -> PolicyFit:
    """Train ``objective`` on n rows, each of as many texts as there are for each weight.

    ``log_weight`` (n,) are the rows' weights, for the findings. ``measure`` takes the model as it
    is and the rows of a batch.
    """
    training = method.training
    each = len(texts) // len(log_weight)
    steps = training.steps_for(len(log_weight))
    order = order_rows(
        texts.sizes.reshape(-1, each).sum(axis=1),
        batch_size=training.batch_size,
        steps=steps,
        seed=training.seed,
    )
    model = prepare_for_training(start, method)
    share = shares_prompts(model.model)
    now = None if measure is None else partial(measure, model)
    task = FixedRows(objective, texts, columns, order, training.batch_size, share, each, now)

    def conclude(trained: TrainingRun) -> tuple[Numbers, tuple[Finding, ...]]:
        weights = diagnose_weights(log_weight)
        numbers = {
            "rows": float(len(log_weight)),
            "steps": float(len(trained.curve)),
            "effective_rows": weights.effective_sample_size,
        }
        return numbers, (
            *check_texts(method, start, texts),
            # Rows of equal weight are worth their number, however few they are.
            *([effective_rows(weights, SupportLimits())] if np.ptp(log_weight) else []),
            findings.training_end(trained.stop_reason, trained.kept_step, steps),
        )

    # What the model itself computed may differ in its last bits on another day.
    read = {name: value for name, value in columns.items() if name != "reference_logprob"}
    return train_on_task(method, model, task, texts.hash(read)[:16], conclude, out, progress)


def tokenize_texts(
    method: ModelSettings,
    start: LanguageModel,
    prompts: list[str] | None,
    completions: list[str],
    *,
    side_by_side: int = 1,
) -> Completions:
    """Return the token ids of texts, cut to the window of the method and of its model.

    ``side_by_side`` texts that follow each other stand behind the same part of their prompt.
    """
    return tokenize(
        start.tokenizer,
        prompts,
        completions,
        max_length=min(method.training.max_length, start.window),
        chat=method.chat,
        side_by_side=side_by_side,
    )


def check_texts(
    method: ModelSettings, start: LanguageModel, texts: Completions
) -> tuple[Finding, ...]:
    """Return the findings on how logged texts became tokens."""
    total, limit = len(texts), min(method.training.max_length, start.window)
    cut, shortened = int(texts.cut.sum()), texts.count("shortened")
    return (
        findings.read_whole(cut, shortened, total, limit, "completions"),
        *check_markup(start, texts, chat=method.chat),
        findings.lossless_tokens(texts.count("altered"), total),
    )


def check_markup(model: LanguageModel, texts: Completions, *, chat: bool) -> tuple[Finding, ...]:
    """Return the findings on control tokens: those that texts name, and the template's own."""
    tokenizer, controls = model.tokenizer, control_tokens(model.tokenizer)
    example = None
    for row in np.flatnonzero(texts.remarks.get("typed", [])):
        ids = [*texts.prompts[row], *texts.completions[row]]
        characters = tokenizer.decode([token for token in ids if token not in controls.ids])
        example = example or controls.names.search(characters)
    name = example and example.group()
    start = tokenizer.eos_token if (tokenizer.eos_token_id,) in texts.prompts else None
    start = start if tokenizer.bos_token_id is None else None
    typed = findings.typed_control_tokens(texts.count("typed"), len(texts), name, start)
    if not template_text(tokenizer):
        return (typed,)
    end, closing = (
        str(tokenizer.convert_ids_to_tokens(token))
        for token in (tokenizer.eos_token_id, find_ending(tokenizer, chat=True).token)
    )
    date = f"{TODAY:%d %B %Y}" if reads_clock(tokenizer) else None
    return typed, findings.chat_template(chat, end, closing, date)


def tensors(columns: Columns) -> Batch:
    """Return columns as flat tensors: numbers that belong to texts follow the order of texts."""
    return {name: torch.from_numpy(np.ravel(value)) for name, value in columns.items()}


def shuffle_passes(size: int, rows: int, seed: int) -> NDArray[np.int64]:
    """Return so many ``rows`` to read: pass after pass over ``size`` texts, each in a new order."""
    generator = np.random.default_rng([seed, ORDER_STREAM])
    passes = [generator.permutation(size) for _ in range(-(-rows // size))]
    return np.concatenate(passes)[:rows]
