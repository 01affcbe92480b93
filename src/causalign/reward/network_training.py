"""How a network is trained: Adam on batches, keeping the epoch that validates best."""

from dataclasses import dataclass
from typing import Literal

from causalign.errors import SettingsError


@dataclass(frozen=True, slots=True)
class NetworkTraining:
    """Train with Adam for ``epochs``, and keep the weights of the epoch that validates best.

    The defaults of learning rate and epochs are those of arXiv 2506.05967, appendix E.1, which does
    not state its batch size.

    Parameters
    ----------
    learning_rate : float
    epochs : int
    batch_size : int
    patience : int, optional
        Stop a network after that many epochs without improvement; never, unless given.
    validation_share : float
        Share of the groups that validate, where no validation rows are given.
    precision : {"float32", "bfloat16"}
        With "bfloat16" products are taken in bfloat16, weights and Adam stay in float32: about
        twice as fast on processors that have the instructions.
    device : str, optional
        A GPU where there is one, unless given.

    Raises
    ------
    SettingsError
        For settings out of range.
    """

    learning_rate: float = 1e-4
    epochs: int = 10
    batch_size: int = 32
    patience: int | None = None
    validation_share: float = 0.2
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str | None = None

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise SettingsError(f"learning_rate must be positive; found {self.learning_rate!r}.")
        for name in ("epochs", "batch_size"):
            if not (isinstance(getattr(self, name), int) and getattr(self, name) >= 1):
                raise SettingsError(f"{name} must be a whole number of at least 1.")
        if self.patience is not None and self.patience < 1:
            raise SettingsError(f"patience must be at least 1, or None; found {self.patience!r}.")
        if not 0 <= self.validation_share < 1:
            raise SettingsError(
                f"validation_share must be in [0, 1); found {self.validation_share!r}."
            )
        if self.precision not in ("float32", "bfloat16"):
            raise SettingsError(
                f"precision must be 'float32' or 'bfloat16'; found {self.precision!r}."
            )

    @property
    def validation_folds(self) -> int:
        """Into how many parts the groups are cut, one of which validates."""
        return max(2, round(1 / self.validation_share))
