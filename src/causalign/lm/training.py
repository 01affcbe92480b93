"""How long, how fast and how precisely a language model is trained."""

from dataclasses import dataclass
from typing import Literal

from causalign.errors import SettingsError

__all__ = ["Training"]


@dataclass(frozen=True, slots=True)
class Training:
    """Set what every method of training shares.

    ``epochs`` passes over the rows, or ``steps`` updates if given. ``batch_size`` rows for each
    update, over all processes; ``micro_batch_size`` of them at a time on one device (default: all
    of its share). The learning rate rises over the share ``warmup`` of the steps, then falls
    linearly to zero. ``max_length`` tokens of prompt and completion together. ``bfloat16`` is
    about twice as fast where the processor has it: with an adapter the base is kept in it, without
    one the weights stay float32 and only the arithmetic is in it. A checkpoint is written every
    ``save_every`` steps. ``report_to`` names the loggers of transformers, such as
    ``("tensorboard",)``.
    """

    epochs: float = 1.0
    steps: int | None = None
    batch_size: int = 8
    micro_batch_size: int | None = None
    learning_rate: float = 1e-4
    warmup: float = 0.05
    weight_decay: float = 0.0
    max_gradient_norm: float = 1.0
    max_length: int = 256
    precision: Literal["float32", "bfloat16"] = "float32"
    save_every: int = 50
    report_to: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "learning_rate", "max_gradient_norm", "save_every")
        for name in positive:
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be above 0; found {getattr(self, name)}.")
        for name in ("steps", "micro_batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} must be at least 1; found {value}.")
        if not 0 <= self.warmup < 1 or self.weight_decay < 0:
            raise SettingsError(
                "warmup must lie in [0, 1) and weight_decay must not be negative; found "
                f"{self.warmup} and {self.weight_decay}."
            )
        if self.precision not in ("float32", "bfloat16"):
            raise SettingsError(
                f"precision must be 'float32' or 'bfloat16'; found {self.precision!r}."
            )

    def steps_for(self, rows: int) -> int:
        """Return how many updates are made on so many rows."""
        return self.steps or max(1, round(self.epochs * rows / self.batch_size))
