"""Of a run's checkpoints keep the newest; an older one stops counting before it is deleted."""

import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerState, TrainingArguments

__all__ = ["WHOLE", "WHOLE_OF_LIBRARY", "NewestCheckpoint"]

WHOLE = "whole.json"
WHOLE_OF_LIBRARY = "trainer_state.json"


class NewestCheckpoint(TrainerCallback):
    """Delete older checkpoints once the newest is whole.

    The library deletes by time of change before the newest is whole. A folder whose deletion was
    cut short looks young then, and the last whole checkpoint goes in its place.
    """

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: Any,  # noqa: ARG002  (the signature is the library's)
        **_: Any,
    ) -> None:
        """Keep the checkpoint of this step alone."""
        if not state.is_world_process_zero:
            return
        newest = f"checkpoint-{state.global_step}"
        for checkpoint in Path(str(args.output_dir)).glob("checkpoint-*"):
            if checkpoint.name != newest:
                for mark in (WHOLE, WHOLE_OF_LIBRARY):
                    (checkpoint / mark).unlink(missing_ok=True)
                shutil.rmtree(checkpoint, ignore_errors=True)
