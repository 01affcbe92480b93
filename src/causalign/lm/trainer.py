"""The one trainer: the Hugging Face loop around a task that knows its batches and its loss."""

import json
import math
import os
import random
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
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
from transformers import PrinterCallback, Trainer, TrainingArguments

from causalign.errors import ArtifactError, SettingsError
from causalign.lm.adapter_files import write_adapter
from causalign.lm.language_model import LanguageModel
from causalign.lm.layout import Batch
from causalign.lm.newest_checkpoint import WHOLE, NewestCheckpoint
from causalign.lm.processes import all_of, count, is_main, once, weights_are_split
from causalign.lm.progress import progress_of
from causalign.lm.quiet import quiet_transformers
from causalign.lm.training import Training

__all__ = [
    "ObjectiveTrainer",
    "Task",
    "Trained",
    "random_state_kept",
    "train",
    "training_arguments",
    "with_our_callbacks",
]

MEMORY = "task.safetensors"
# A pair is a sum and a count, divided when those of the whole batch are known.
Metrics = Mapping[str, float | tuple[float, float]]


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

    def loss(self, model: Any, batch: Batch) -> tuple[Tensor, Metrics]:
        """Return what is minimised, with its gradient, and what is logged."""
        ...

    def trouble(self) -> str | None:
        """Return why training must stop now, or None."""
        ...

    def standing(self) -> float | None:
        """Return how good the model is, or None where the last one is the one to keep."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what is remembered between steps."""
        ...

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what :meth:`state` returned."""
        ...


@dataclass(frozen=True, slots=True)
class Trained:
    """Hold the log of every step, why training stopped early, and the step that was kept.

    ``weights`` are those of the whole model where no process has them all, else None.
    """

    curve: list[dict[str, float]]
    trouble: str | None
    kept_step: int
    weights: Mapping[str, Tensor] | None = None


def train(
    language_model: LanguageModel,
    task: Task,
    training: Training,
    folder: Path,
    *,
    progress: bool = False,
) -> Trained:
    """Train the network in place; continue from the last whole checkpoint in ``folder``.

    A run that was killed ends with the weights of one that was not: order, dropout, optimiser and
    the task's memory are restored. When the task reports trouble, training stops. Where the task
    ranks its models, the best one at a checkpoint is kept and put back at the end. Several
    processes share every batch; the main one writes.

    Raises ``ArtifactError`` when a checkpoint cannot be written, naming what is left to continue
    from. The random state of the process is left as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with random_state_kept(), quiet_transformers():
        trainer = ObjectiveTrainer(language_model, task, training, folder)
        start = once(lambda: _last_whole(folder))
        if start is not None:
            task.restore(_memory(start))
        else:
            trainer.keep_if_best(0)
        trainer.trouble = trainer.trouble or task.trouble()
        with progress_of("Training", trainer.args.max_steps, progress) as advance:
            trainer.advance = advance
            if trainer.trouble is None:
                trainer.train(resume_from_checkpoint=None if start is None else str(start))
        kept = trainer.put_best_back()
    language_model.model.eval()
    curve = [entry for entry in trainer.state.log_history if "loss" in entry]
    weights = None
    if weights_are_split():
        weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return Trained(curve, trainer.trouble, kept, weights)


class ObjectiveTrainer(Trainer):
    """Minimise a task's loss; write checkpoints that are whole or do not count."""

    def __init__(
        self, language_model: LanguageModel, task: Task, training: Training, folder: Path
    ) -> None:
        self.language_model = language_model
        self.task = task
        self.folder = folder
        self.trouble: str | None = None
        self.advance: Any = _say_nothing
        self.recorded: dict[str, list[Any]] = defaultdict(list)
        super().__init__(
            model=language_model.model,
            args=TrainingArguments(
                **training_arguments(
                    language_model, training, len(task.order) // training.batch_size, folder
                )
            ),
            train_dataset=range(len(task.order)),  # type: ignore[arg-type]
            data_collator=lambda positions: {"positions": torch.tensor(positions)},
        )
        with_our_callbacks(self)

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(range(len(self.task.order)))

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ARG002  (the signature is the library's)
    ) -> Any:
        """Return the task's loss on the rows at these positions."""
        positions = inputs["positions"].cpu().numpy()
        batch = self.task.batch(positions, self.state.global_step)
        batch = {name: value.to(self.args.device) for name, value in batch.items()}
        loss, metrics = self.task.loss(model, batch)
        if not math.isfinite(float(loss.detach())):
            self.trouble = f"the loss is {float(loss.detach())} at step {self.state.global_step}"
        self.trouble = self.trouble or self.task.trouble()
        parts = all_of((self.trouble, dict(metrics)))
        self.trouble = next((trouble for trouble, _ in parts if trouble is not None), None)
        for _, measured in parts:
            for name, value in measured.items():
                self.recorded[name].append(value)
        if self.trouble is not None:
            self.control.should_training_stop = True
        return (loss, {}) if return_outputs else loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log the step with what the task measured in all parts of its batch."""
        means = {name: _of_parts(name, values) for name, values in self.recorded.items()}
        self.recorded.clear()
        if "loss" in logs:
            self.advance(1)
        super().log({**logs, **means}, *args, **kwargs)

    def keep_if_best(self, step: int) -> None:
        """Store the model as the best so far, unless it is not, or is in trouble."""
        standing = None if self.trouble else self.task.standing()
        self.trouble = self.trouble or self.task.trouble()
        if self.trouble is not None:
            self.control.should_training_stop = True
        best, partial = self.folder / "best", self.folder / ".best.partial"
        if standing is None or not once(lambda: _beats(standing, best)):
            return
        once(lambda: shutil.rmtree(partial, ignore_errors=True))
        self.save_model(str(partial), _internal_call=True)
        if is_main():
            (partial / WHOLE).write_text(json.dumps({"step": step, "standing": standing}))
            shutil.rmtree(best, ignore_errors=True)
            os.replace(partial, best)

    def put_best_back(self) -> int:
        """Load the best model into the network if there is one; return its step."""
        best = self.folder / "best"
        if not once(best.is_dir):
            return int(self.state.global_step)
        self._load_from_checkpoint(str(best))
        return int(_read(best / WHOLE)["step"])

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        # The library would ask a hub whether the base grew new words; an adapter of ours does not.
        if not self.language_model.has_adapter:
            super()._save(output_dir, state_dict)
        elif self.args.should_save:
            write_adapter(self.language_model, Path(output_dir or self.folder), state_dict)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step = self.state.global_step
        target = self.folder / f"checkpoint-{step}"
        before = once(lambda: _last_whole(self.folder))
        once(lambda: shutil.rmtree(target, ignore_errors=True))
        failure = None
        # torch reports a full disk as RuntimeError, safetensors as an error of its own.
        try:
            self.keep_if_best(step)
            super()._save_checkpoint(model, trial)
            if self.args.should_save:
                save_file(_contiguous(self.task.state()), target / MEMORY)
        except (OSError, RuntimeError, SafetensorError) as error:
            failure = error
        # Each process writes a part of the checkpoint: it is whole when all have.
        told = all_of(None if failure is None else str(failure))
        if any(told):
            once(lambda: shutil.rmtree(target, ignore_errors=True))
            left = (
                "from the start" if before is None else f"from step {_read(before / WHOLE)['step']}"
            )
            raise ArtifactError(
                f"The checkpoint of step {step} cannot be written to {self.folder}: "
                f"{next(filter(None, told))}. Free some space and run again: training continues "
                f"{left}."
            ) from failure
        once(lambda: _mark_whole(target, step))


def training_arguments(
    language_model: LanguageModel, training: Training, steps: int, folder: Path
) -> dict[str, Any]:
    """Return our settings in the words of transformers' ``TrainingArguments``."""
    share, rest = divmod(training.batch_size, count())
    micro = min(training.micro_batch_size or share, share)
    if rest or share % micro:
        raise SettingsError(
            f"batch_size is shared by {count()} processes and cut into parts of micro_batch_size; "
            f"{training.batch_size} rows cannot be cut evenly into "
            + (f"{count()} shares." if rest else f"parts of {micro}.")
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


def with_our_callbacks(trainer: Trainer) -> Trainer:
    """Return the trainer, which keeps its newest checkpoint and no longer prints every step."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(NewestCheckpoint)
    return trainer


def _of_parts(name: str, values: list[Any]) -> float:
    """Return what was measured on a batch from what was measured on its parts."""
    if name.endswith("_min"):
        return float(np.min(values))
    if name.endswith("_max"):
        return float(np.max(values))
    if isinstance(values[0], tuple):
        total, size = np.sum(values, axis=0)
        return float(total / size) if size else float("nan")
    return float(np.mean(values))


def _beats(standing: float, best: Path) -> bool:
    return not best.is_dir() or _read(best / WHOLE)["standing"] < standing


def _mark_whole(checkpoint: Path, step: int) -> None:
    (checkpoint / f".{WHOLE}").write_text(json.dumps({"step": step}))
    os.replace(checkpoint / f".{WHOLE}", checkpoint / WHOLE)


def _last_whole(folder: Path) -> Path | None:
    """Return the newest checkpoint that was written to its end."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{WHOLE}")]
    return max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)


def _memory(checkpoint: Path) -> dict[str, NDArray[Any]]:
    try:
        return load_file(checkpoint / MEMORY)
    except (OSError, SafetensorError) as damage:
        raise ArtifactError(
            f"The checkpoint {checkpoint} is damaged: {damage}. Delete it and run again."
        ) from damage


def _contiguous(state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: np.ascontiguousarray(value) for name, value in state.items()}


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def _say_nothing(_count: int) -> None:
    """Take the place of a report that nobody asked for."""


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Give the process its random state back; the library seeds all generators there are."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
