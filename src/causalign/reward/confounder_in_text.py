"""The confounder written into the text that the encoder reads: a baseline that hopes it is read."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from causalign.errors import InputError, SettingsError

__all__ = ["ConfounderInText"]


@dataclass(frozen=True, slots=True)
class ConfounderInText:
    """Write confounders in front of texts: ``price: 4.50. The text``.

    Encode what :meth:`write` returns and fit any head on it; then encode what :meth:`neutral`
    returns, with the confounders at one value for all texts, and score that. ``names`` are the
    confounders, ``digits`` the decimals of numbers.

    Assumption: the encoder turns the written number into vectors that the head can subtract, and
    given the text the confounder is as good as random. In arXiv 2506.00152, table 2, the
    correlation with the truth is .84 where text and confounder are orthogonal, -.26 where they are
    entangled.
    """

    names: tuple[str, ...]
    digits: int = 2

    def __post_init__(self) -> None:
        if not self.names or self.digits < 0:
            raise SettingsError("Name at least one confounder, and write 0 or more digits.")

    def write(self, texts: Sequence[str], confounders: ArrayLike) -> list[str]:
        """Return texts with their confounders ``(n,)`` or ``(n, k)`` in front.

        Raises ``InputError`` if shapes do not fit or numbers are not finite.
        """
        values = np.asarray(confounders, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.shape != (len(texts), len(self.names)) or not np.isfinite(values).all():
            raise InputError(
                f"{len(texts)} texts need finite confounders ({len(texts)}, {len(self.names)}); "
                f"their shape is {values.shape}."
            )
        return [self._written(row, text) for row, text in zip(values, texts, strict=True)]

    def neutral(self, texts: Sequence[str], confounders: ArrayLike) -> list[str]:
        """Return texts with the mean of ``confounders`` in front of every one."""
        values = np.asarray(confounders, dtype=np.float64)
        mean = np.atleast_1d(values.mean(axis=0))
        return self.write(texts, np.tile(mean, (len(texts), 1)))

    def _written(self, row: Sequence[float], text: str) -> str:
        stated = (
            f"{name}: {value:.{self.digits}f}." for name, value in zip(self.names, row, strict=True)
        )
        return f"{' '.join(stated)} {text}"
