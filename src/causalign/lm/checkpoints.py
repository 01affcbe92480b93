"""Checkpoints of a training: the newest whole one stays, and what is no number gets into none."""

import shutil
from pathlib import Path

import torch
from torch import Tensor
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from causalign.errors import SettingsError
from causalign.lm.processes import gather, run_once

WHOLE = "whole.json"
WHOLE_OF_LIBRARY = "trainer_state.json"


class NotFinite(Exception):
    """Say that ``what``, a loss or a gradient, was no finite number after so many steps."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(f"the {what} is not a finite number at step {step}")
        self.what, self.step = what, step


def require_finite(what: str, *values: Tensor, step: int) -> None:
    """Raise `NotFinite` in all processes where a value of one of them is no finite number."""
    broken = not all(bool(value.isfinite().all()) for value in values)
    if any(gather(broken)):
        raise NotFinite(what, step)


def put_back(trainer: Trainer, folder: Path, failure: NotFinite) -> str:
    """Load the newest weights that were still good into the network; return why training stopped.

    Where the gradient failed, the weights before it are those of the network. Raises
    ``SettingsError`` where nothing good was stored.
    """
    if failure.what == "gradient" or run_once((folder / "best").is_dir):
        return str(failure)
    good = [p.parent for p in folder.glob(f"checkpoint-*/{WHOLE_OF_LIBRARY}")]
    good = [path for path in good if _step_of(path) < failure.step]
    if not run_once(lambda: bool(good)):
        raise SettingsError(
            f"Training diverged before its first checkpoint: {failure}. Use a smaller "
            "learning_rate, or precision='float32', and another output folder."
        )
    newest = max(good, key=_step_of)
    trainer._load_from_checkpoint(str(newest))
    trainer.state.global_step = _step_of(newest)
    return str(failure)


class GoodCheckpoints(TrainerCallback):
    """Stop before a broken gradient reaches the weights; delete what a good step made old.

    Older checkpoints go when the newest is whole and a step from it had numbers for loss and
    gradient; one stops counting before it goes. The library deletes by time of change before the
    newest is whole. A folder whose deletion was cut short looks young then, and the last whole
    checkpoint goes in its place.
    """

    def __init__(self) -> None:
        self.newest: str | None = None

    def on_save(
        self,
        args: TrainingArguments,  # noqa: ARG002  (the signature is the library's)
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: object,
    ) -> None:
        """Remember the checkpoint of this step, which is whole by now."""
        self.newest = f"checkpoint-{state.global_step}"

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        model: torch.nn.Module | None = None,
        **_: object,
    ) -> None:
        """Look at the gradients of all processes, then delete what is older than the newest."""
        parameters = () if model is None else model.parameters()
        gradients = [p.grad for p in parameters if p.grad is not None]
        require_finite("gradient", *gradients, step=state.global_step)
        if self.newest is None or not state.is_world_process_zero:
            return
        for checkpoint in Path(str(args.output_dir)).glob("checkpoint-*"):
            if checkpoint.name != self.newest:
                for mark in (WHOLE, WHOLE_OF_LIBRARY):
                    (checkpoint / mark).unlink(missing_ok=True)
                shutil.rmtree(checkpoint, ignore_errors=True)
        self.newest = None


def set_callbacks(trainer: Trainer) -> Trainer:
    """Let the trainer keep its newest good checkpoint and no longer print every step; return it."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(GoodCheckpoints)
    return trainer


def find_last_whole(folder: Path, mark: str = WHOLE) -> Path | None:
    """Return the newest checkpoint that was written to its end, where ``mark`` is written last."""
    whole = [path.parent for path in folder.glob(f"checkpoint-*/{mark}")]
    return max(whole, key=_step_of, default=None)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.rsplit("-", 1)[1])
