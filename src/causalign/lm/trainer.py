"""The one trainer: the Hugging Face loop around a task that knows its batches and its loss."""

import math
import os
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainingArguments

from causalign.errors import ArtifactError, SettingsError
from causalign.files import flush_folder, read_json, write_json
from causalign.lm.checkpoints import (
    WHOLE,
    NotFinite,
    find_last_whole,
    put_back,
    require_finite,
    set_callbacks,
)
from causalign.lm.language_model import LanguageModel, write_adapter
from causalign.lm.layout import Batch
from causalign.lm.processes import (
    gather,
    is_main_process,
    process_count,
    run_once,
    weights_are_split,
)
from causalign.lm.progress import ignore_advance, show_progress, silence_transformers
from causalign.lm.training import Training

MEMORY = "task.safetensors"
State = dict[str, NDArray[Any]]
# A pair is a sum and a count, divided when those of the whole batch are known.
Measured = float | tuple[float, float]
Metrics = Mapping[str, Measured]


class Task(Protocol):
    """What is learned: which rows make a batch, and what is minimised on it.

    ``order`` (steps * batch size,) holds the rows to read; batches are consecutive in it, so any
    number of processes reads the same global batches, in parts of equal size. The loss of a batch
    must be the mean of the losses of its parts. What a task remembers between steps goes through
    ``state`` and ``restore`` with every checkpoint; it is the same in all processes.
    """

    order: NDArray[np.int64]

    def batch(self, positions: NDArray[np.int64], step: int) -> Batch:
        """Return the tensors of a batch; ``positions`` (b,) count in ``order``."""
        ...

    def loss(self, model: torch.nn.Module, batch: Batch) -> tuple[Tensor, Metrics]:
        """Return what is minimised, with its gradient, and what is logged."""
        ...

    def stop_reason(self) -> str | None:
        """Return why training must stop now, or None."""
        ...

    def validation_score(self) -> float | None:
        """Return a score of the model, the higher the better; None to keep the last model."""
        ...

    def state(self) -> State:
        """Return what is remembered between steps."""
        ...

    def restore(self, state: State) -> None:
        """Take up what :meth:`state` returned."""
        ...


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """What training left: the log of every step, why it stopped early, the step that was kept.

    ``weights`` are those of the whole model where no process has them all, else None.
    """

    curve: list[dict[str, float]]
    stop_reason: str | None
    kept_step: int
    weights: Mapping[str, Tensor] | None = None


def train(
    language_model: LanguageModel,
    task: Task,
    training: Training,
    folder: Path,
    *,
    progress: bool = False,
) -> TrainingRun:
    """Train the network in place; continue from the last whole checkpoint in ``folder``.

    A run that was killed ends with the weights of one that was not: order, dropout, optimiser and
    the task's memory are restored. Where the task gives a reason, training stops. Where the task
    ranks its models, the best one at a checkpoint is kept and put back at the end. Several
    processes share every batch; the main one writes.

    Where a loss or a gradient is not a number, training stops before it changes the weights, and
    the newest checkpoint before is put back. Raises ``SettingsError`` where there is none,
    ``ArtifactError`` when a checkpoint cannot be written, naming what is left to continue from. The
    random state of the process is left as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with keep_random_state(), silence_transformers():
        trainer = ObjectiveTrainer(language_model, task, training, folder)
        start = run_once(lambda: find_last_whole(folder))
        if start is not None:
            task.restore(_memory(start))
        else:
            trainer.keep_if_best(0)
        trainer.stop_reason = trainer.stop_reason or task.stop_reason()
        with show_progress("Training", trainer.args.max_steps, progress) as advance:
            trainer.advance = advance
            if trainer.stop_reason is None:
                try:
                    trainer.train(resume_from_checkpoint=None if start is None else str(start))
                except NotFinite as failure:
                    trainer.stop_reason = put_back(trainer, folder, failure)
        kept_step = trainer.restore_best()
    language_model.model.eval()
    curve = [entry for entry in trainer.state.log_history if "loss" in entry]
    weights = None
    if weights_are_split():
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return TrainingRun(curve, trainer.stop_reason, kept_step, weights)


class ObjectiveTrainer(Trainer):
    """Minimise a task's loss; write checkpoints that are whole or do not count."""

    def __init__(
        self, language_model: LanguageModel, task: Task, training: Training, folder: Path
    ) -> None:
        self.language_model = language_model
        self.task = task
        self.folder = folder
        self.stop_reason: str | None = None
        self.advance: Callable[[int], None] = ignore_advance
        self.recorded: dict[str, list[Measured]] = defaultdict(list)
        super().__init__(
            model=language_model.model,
            args=TrainingArguments(
                **training_arguments(
                    language_model, training, len(task.order) // training.batch_size, folder
                )
            ),
            train_dataset=range(len(task.order)),
            data_collator=lambda positions: {"positions": torch.tensor(positions)},
        )
        set_callbacks(self)

    def _get_train_sampler(self, *_: object) -> SequentialSampler:
        return SequentialSampler(range(len(self.task.order)))

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002  (the library's signature)
    ) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
        """Return the task's loss on the rows at these positions."""
        positions = inputs["positions"].cpu().numpy()
        batch = self.task.batch(positions, self.state.global_step)
        batch = {name: value.to(self.args.device) for name, value in batch.items()}
        loss, metrics = self.task.loss(model, batch)
        require_finite("loss", loss.detach(), step=self.state.global_step)
        self.stop_reason = self.stop_reason or self.task.stop_reason()
        parts = gather((self.stop_reason, dict(metrics)))
        self.stop_reason = next((reason for reason, _ in parts if reason is not None), None)
        for _, measured in parts:
            for name, value in measured.items():
                self.recorded[name].append(value)
        if self.stop_reason is not None:
            self.control.should_training_stop = True
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log the step with what the task measured in all parts of its batch."""
        means = {name: _combine(name, values) for name, values in self.recorded.items()}
        self.recorded.clear()
        if "loss" in logs:
            self.advance(1)
        super().log({**logs, **means}, start_time)

    def keep_if_best(self, step: int) -> None:
        """Store the model as the best so far, unless it is not, or training must stop."""
        score = None if self.stop_reason else self.task.validation_score()
        self.stop_reason = self.stop_reason or self.task.stop_reason()
        if self.stop_reason is not None:
            self.control.should_training_stop = True
        best, partial = self.folder / "best", self.folder / ".best.partial"
        if score is None or not run_once(lambda: _is_better(score, best)):
            return
        # All processes write into one folder, so that this cannot be the block of one writer.
        run_once(lambda: shutil.rmtree(partial, ignore_errors=True))
        self.save_model(str(partial), _internal_call=True)
        if is_main_process():
            flush_folder(partial)
            write_json(partial / WHOLE, {"step": step, "validation_score": score})
            shutil.rmtree(best, ignore_errors=True)
            os.replace(partial, best)

    def restore_best(self) -> int:
        """Load the best model into the network if there is one; return its step."""
        best = self.folder / "best"
        if not run_once(best.is_dir):
            return int(self.state.global_step)
        self._load_from_checkpoint(str(best))
        return int(read_json(best / WHOLE)["step"])

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        with _tell_damage(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        with _tell_damage(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with _tell_damage(checkpoint):
            super()._load_rng_state(checkpoint)

    def _save(
        self, output_dir: str | None = None, state_dict: dict[str, Tensor] | None = None
    ) -> None:
        # The library would ask a hub whether the base grew new words; an adapter of ours does not.
        if not self.language_model.has_adapter:
            super()._save(output_dir, state_dict)
        elif self.args.should_save:
            write_adapter(self.language_model, Path(output_dir or self.folder), state_dict)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        step = self.state.global_step
        target = self.folder / f"checkpoint-{step}"
        before = run_once(lambda: find_last_whole(self.folder))
        run_once(lambda: shutil.rmtree(target, ignore_errors=True))
        failure = None
        # torch reports a full disk as RuntimeError, safetensors as an error of its own.
        try:
            self.keep_if_best(step)
            super()._save_checkpoint(model, trial)
            if self.args.should_save:
                state = {n: np.ascontiguousarray(v) for n, v in self.task.state().items()}
                save_file(state, target / MEMORY)
        except (OSError, RuntimeError, SafetensorError) as error:
            failure = error
        # Each process writes a part of the checkpoint: it is whole when all have.
        failures = gather(None if failure is None else str(failure))
        if any(failures):
            run_once(lambda: shutil.rmtree(target, ignore_errors=True))
            step_before = before and read_json(before / WHOLE)["step"]
            left = "from the start" if before is None else f"from step {step_before}"
            raise ArtifactError(
                f"The checkpoint of step {step} cannot be written to {self.folder}: "
                f"{next(filter(None, failures))}. Free some space and run again: training "
                f"continues {left}."
            ) from failure
        run_once(lambda: flush_folder(target))  # the mark must not outlive what it speaks of
        run_once(lambda: write_json(target / WHOLE, {"step": step}))


def training_arguments(
    language_model: LanguageModel, training: Training, steps: int, folder: Path
) -> dict[str, Any]:
    """Return our settings in the words of transformers' ``TrainingArguments``."""
    processes = process_count()
    share, rest = divmod(training.batch_size, processes)
    micro = min(training.micro_batch_size or share, share)
    if rest or share % micro:
        raise SettingsError(
            f"batch_size is shared by {processes} processes and cut into parts of "
            f"micro_batch_size; {training.batch_size} rows cannot be cut evenly into "
            + (f"{processes} shares." if rest else f"parts of {micro}.")
        )
    full = not language_model.has_adapter
    return {
        "output_dir": str(folder),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": share // micro,
        "max_steps": steps,
        "learning_rate": training.learning_rate,
        "warmup_steps": math.ceil(training.warmup * steps),
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_gradient_norm,
        "bf16": full and training.precision == "bfloat16",
        "use_cpu": language_model.model.device.type == "cpu",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_steps": training.save_every,
        "report_to": list(training.report_to) or "none",
        "remove_unused_columns": False,
        "label_names": [],
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "seed": training.seed,
    }


def _combine(name: str, values: list[Measured]) -> float:
    """Return what was measured on a batch from what was measured on its parts."""
    if name.endswith("_min"):
        return float(np.min(values))
    if name.endswith("_max"):
        return float(np.max(values))
    if isinstance(values[0], tuple):
        total, size = np.sum(values, axis=0)
        return float(total / size) if size else float("nan")
    return float(np.mean(values))


def _is_better(score: float, best: Path) -> bool:
    return not best.is_dir() or float(read_json(best / WHOLE)["validation_score"]) < score


def _memory(checkpoint: Path) -> State:
    with _tell_damage(checkpoint):
        return load_file(checkpoint / MEMORY)


@contextmanager
def _tell_damage(checkpoint: str | Path | None) -> Iterator[None]:
    """Say that a checkpoint is damaged, whatever the libraries make of what they read."""
    try:
        yield
    except Exception as damage:
        reason = " ".join(str(damage).split())[:200] or type(damage).__name__
        raise ArtifactError(
            f"The checkpoint {checkpoint} is damaged: {reason}. Delete it and run again."
        ) from damage


@contextmanager
def keep_random_state() -> Iterator[None]:
    """Give the process its random state back; the library seeds all generators there are."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
