"""How long, how fast and how precisely a language model is trained."""

from dataclasses import dataclass

from causalign.errors import SettingsError
from causalign.lm.encoder_name import Precision, check_precision


@dataclass(frozen=True, slots=True)
class Training:
    """How a language model is trained, whatever the method.

    Parameters
    ----------
    epochs : float
        Passes over the rows.
    steps : int, optional
        Updates, in place of epochs.
    batch_size : int
        Rows for each update, over all processes.
    micro_batch_size : int, optional
        Rows at a time on one device; by default all of its share.
    learning_rate : float
        The largest; it rises over the share ``warmup`` of the steps, then falls linearly to zero.
    warmup : float
        Share of the steps.
    weight_decay : float
        Of AdamW.
    max_gradient_norm : float
        Longer gradients are cut to this length.
    max_length : int
        Tokens of prompt and completion together.
    precision : {"float32", "bfloat16"}
        bfloat16 is about twice as fast where the processor has it: with an adapter the base is
        kept in it, without one the weights stay float32 and only the arithmetic is in it.
    save_every : int
        Steps between checkpoints.
    report_to : tuple of str
        Loggers of transformers, such as ``("tensorboard",)``.
    seed : int
        Of order, dropout and sampling.

    Raises
    ------
    SettingsError
        When a number is out of range.
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
    precision: Precision = "float32"
    save_every: int = 50
    report_to: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        needed = ("epochs", "batch_size", "learning_rate", "max_gradient_norm", "save_every")
        for name in (*needed, "steps", "micro_batch_size"):
            value = getattr(self, name)
            if (name in needed or value is not None) and not value > 0:
                raise SettingsError(f"{name} must be above 0; found {value}.")
        if not 0 <= self.warmup < 1 or self.weight_decay < 0:
            raise SettingsError(
                "warmup must lie in [0, 1) and weight_decay must not be negative; found "
                f"{self.warmup} and {self.weight_decay}."
            )
        check_precision(self.precision)

    def steps_for(self, rows: int) -> int:
        """Return how many updates are made on so many rows."""
        return self.steps or max(1, round(self.epochs * rows / self.batch_size))
