"""What the methods train on: fixed rows with their columns, one or two texts for each row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalign.lm.completions import Completions
from causalign.lm.layout import Batch, laid_out
from causalign.lm.logprob import sequence_logprobs

__all__ = ["FixedRows", "passes_over", "tensors"]

Columns = Mapping[str, NDArray[Any]]


@dataclass(slots=True)
class FixedRows:
    """Train on rows that do not change: texts, columns and an objective.

    Row i owns the completions ``i * texts_in_row`` onwards. ``columns`` are (n,) or, for numbers
    that belong to texts, (n, texts_in_row).
    """

    objective: Any
    completions: Completions
    columns: Columns
    order: NDArray[np.int64]
    batch_size: int
    share_prompts: bool
    texts_in_row: int = 1

    def batch(self, positions: NDArray[np.int64], step: int) -> Batch:  # noqa: ARG002
        """Return the texts and columns of the rows at these positions.

        ``mean_length`` is that of the texts of the whole batch, of which these may be a part.
        """
        rows = self.order[positions]
        batch = laid_out(self.completions.take(self._texts(rows)), share_prompts=self.share_prompts)
        columns = {name: value[rows] for name, value in self.columns.items()}
        first = positions[0] // self.batch_size * self.batch_size
        whole = self._texts(self.order[first : first + self.batch_size])
        columns["mean_length"] = self.completions.take(whole).lengths.mean()
        return batch | tensors(columns)

    def _texts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return (rows[:, None] * self.texts_in_row + np.arange(self.texts_in_row)).ravel()

    def loss(self, model: Any, batch: Batch) -> tuple[Tensor, Mapping[str, float]]:
        """Return the objective on the batch."""
        return self.objective(sequence_logprobs(model, batch), batch)

    def trouble(self) -> str | None:
        """Return None: nothing here can go wrong between steps."""
        return None

    def standing(self) -> float | None:
        """Return None: the last model is kept."""
        return None

    def state(self) -> dict[str, NDArray[Any]]:
        """Return nothing to remember."""
        return {}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up nothing."""


def tensors(columns: Columns) -> Batch:
    """Return columns as flat tensors: numbers that belong to texts follow the order of texts."""
    return {name: torch.from_numpy(np.ravel(value)) for name, value in columns.items()}


def passes_over(size: int, rows: int, seed: int) -> NDArray[np.int64]:
    """Return so many ``rows`` to read: pass after pass over ``size`` texts, each in a new order."""
    generator = np.random.default_rng([seed, 0x9905])
    passes = [generator.permutation(size) for _ in range(-(-rows // size))]
    return np.concatenate(passes)[:rows]
