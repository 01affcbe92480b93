"""Chosen and rejected texts with margin and weight: made from logs within a group, or read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import ndtr

from causalign.covariates import codes, numeric
from causalign.errors import ColumnNotFound, InputError, nearest
from causalign.reading import read_table


@dataclass(frozen=True, slots=True)
class Pairs:
    """Hold m comparisons of two texts under one prompt.

    ``margin`` ``(m,)`` is the difference of outcomes, chosen minus rejected, in units of the
    outcome and never negative; ``weight`` ``(m,)`` the row weights; ``group`` ``(m,)`` integer
    codes of what the pair was made within (for splitting and clustered intervals);
    ``rows`` ``(m, 2)`` the positions of chosen and rejected in the logs they came from.
    """

    chosen: Sequence[str]
    rejected: Sequence[str]
    margin: np.ndarray
    weight: np.ndarray
    group: np.ndarray
    prompt: Sequence[str] | None = None
    objective: Sequence[str] | None = None
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.margin)

    def take(self, rows: np.ndarray) -> "Pairs":
        """Return the pairs at the given positions."""
        index = np.asarray(rows)
        if index.dtype == bool:
            index = np.flatnonzero(index)
        pick = lambda texts: None if texts is None else [texts[i] for i in index]  # noqa: E731
        return Pairs(
            chosen=[self.chosen[i] for i in index],
            rejected=[self.rejected[i] for i in index],
            margin=self.margin[index],
            weight=self.weight[index],
            group=self.group[index],
            prompt=pick(self.prompt),
            objective=pick(self.objective),
            rows=None if self.rows is None else self.rows[index],
        )

    @staticmethod
    def read(path: str | os.PathLike[str]) -> "Pairs":
        """Read pairs from a file with columns ``chosen`` and ``rejected``.

        Optional columns: ``prompt``, ``margin``, ``weight``, ``objective``, ``group``. Raises
        `ColumnNotFound` or `InputError` when sides are missing or empty.
        """
        table = read_table(path)
        for name in ("chosen", "rejected"):
            if name not in table.column_names:
                raise ColumnNotFound(
                    f"Pairs need a column {name!r}; {nearest(name, table.column_names)}"
                )
        columns = {name: table[name] for name in table.column_names}
        size = table.num_rows
        sides = {name: _texts(name, columns[name]) for name in ("chosen", "rejected")}
        ones = np.ones(size)
        return Pairs(
            chosen=sides["chosen"],
            rejected=sides["rejected"],
            margin=numeric("margin", columns["margin"]) if "margin" in columns else ones,
            weight=numeric("weight", columns["weight"]) if "weight" in columns else ones,
            group=codes(columns["group"])[0] if "group" in columns else np.arange(size),
            prompt=_texts("prompt", columns["prompt"]) if "prompt" in columns else None,
            objective=_texts("objective", columns["objective"]) if "objective" in columns else None,
        )

    def to_trl(self) -> list[dict[str, Any]]:
        """Return one mapping per pair in TRL's preference format.

        Columns: ``chosen``, ``rejected``, ``margin``, ``weight`` and, where known, ``prompt``;
        ``datasets.Dataset.from_list(pairs.to_trl())`` is what `trl.RewardTrainer` takes.
        """
        names = ["chosen", "rejected", "margin", "weight"]
        columns: list[Sequence[Any]] = [
            self.chosen,
            self.rejected,
            self.margin.tolist(),
            self.weight.tolist(),
        ]
        if self.prompt is not None:
            names, columns = ["prompt", *names], [self.prompt, *columns]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def pairs_within(group: np.ndarray) -> np.ndarray:
    """Return every unordered pair of rows that share a group: positions ``(m, 2)``.

    Groups of equal size are handled together, so the cost is that of the pairs themselves.
    """
    order = np.argsort(group, kind="stable")
    _, starts, sizes = np.unique(group[order], return_index=True, return_counts=True)
    blocks = []
    for size in np.unique(sizes[sizes > 1]):
        first, second = np.triu_indices(size, k=1)
        begin = starts[sizes == size][:, None]
        blocks.append(np.stack([(begin + first).ravel(), (begin + second).ravel()], axis=1))
    if not blocks:
        return np.empty((0, 2), dtype=np.int64)
    found = order[np.concatenate(blocks)]
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def matched_within(group: np.ndarray, seed: int) -> np.ndarray:
    """Return random pairs of rows that share a group, each row in one at most: ``(m, 2)``."""
    order = np.random.default_rng(seed).permutation(len(group))
    order = order[np.argsort(group[order], kind="stable")]
    _, starts, sizes = np.unique(group[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(starts, sizes)
    # The last row of a group of odd size stays alone.
    opens = np.flatnonzero((place % 2 == 0) & (place + 1 < np.repeat(sizes, sizes)))
    return np.stack([order[opens], order[opens + 1]], axis=1)


def two_proportion_p_value(
    successes: np.ndarray, trials: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """Return two-sided p-values ``(m,)`` of H0: both texts of a pair have the same rate.

    z = (p₁ − p₂) / √(p̄(1 − p̄)(1/n₁ + 1/n₂)) with the pooled rate p̄; valid when each text has
    many trials. Rates that are both 0 or both 1 give a p-value of 1.
    """
    first, second = pairs[:, 0], pairs[:, 1]
    pooled = (successes[first] + successes[second]) / (trials[first] + trials[second])
    variance = pooled * (1 - pooled) * (1 / trials[first] + 1 / trials[second])
    difference = successes[first] / trials[first] - successes[second] / trials[second]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(variance > 0, difference / np.sqrt(variance), 0.0)
    return 2 * ndtr(-np.abs(z))


def _texts(name: str, column: pa.ChunkedArray) -> list[str]:
    values = column.to_pylist()
    for row, value in enumerate(values):
        if not isinstance(value, str) or not value.strip():
            raise InputError(
                f"Column {name!r} holds no text in row {row} ({value!r}). Every side of a pair "
                "needs a text; remove the row or fill it in."
            )
    return values
