"""Chosen and rejected texts with margin and weight: made from logs within a group, or read."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike
from scipy.special import ndtr

from causalign.errors import InputError
from causalign.logs.preferences import read_preferences
from causalign.logs.reading import read_with_notes
from causalign.results import card, html_card


@dataclass(frozen=True, slots=True, repr=False)
class Pairs:
    """Comparisons of two texts: m chosen ones and m rejected ones.

    Parameters
    ----------
    chosen, rejected : m texts
        The text with the higher outcome and the other one.
    margin : (m,)
        Difference of outcomes, chosen minus rejected, in units of the outcome; never negative.
    weight : (m,)
        How much a pair counts.
    group : (m,) integers
        What the pair was made within, for splitting and clustered intervals.
    prompt : m texts, optional
        What both texts answer.
    objective : m strings, optional
        What a labeller judged by.
    rows : (m, 2) integers, optional
        Positions of chosen and rejected in the logs that they come from.
    notes : several str
        How they were read.
    cost : (m,) numbers, optional
        By how much the chosen text costs more than the rejected one, in log-odds of winning; below
        0 where it costs less. See `with_costs`.

    Raises
    ------
    InputError
        When lengths differ, a text is empty, a margin or a weight is negative or no number, or a
        group is missing.
    """

    chosen: Sequence[str]
    rejected: Sequence[str]
    margin: np.ndarray
    weight: np.ndarray
    group: np.ndarray
    prompt: Sequence[str] | None = None
    objective: Sequence[str] | None = None
    rows: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    cost: np.ndarray | None = None

    def __post_init__(self) -> None:
        size = len(self.chosen)
        for name in (
            "rejected",
            "margin",
            "weight",
            "group",
            "prompt",
            "objective",
            "rows",
            "cost",
        ):
            values = getattr(self, name)
            if values is not None and len(values) != size:
                raise InputError(f"There are {size} chosen texts, but {len(values)} of {name!r}.")
        for name in ("margin", "weight"):
            object.__setattr__(self, name, _not_negative(name, getattr(self, name)))
        group = np.asarray(self.group)
        whole = group.dtype.kind in "iu" or (group.dtype.kind == "f" and (group % 1 == 0).all())
        if not whole:
            raise InputError("The groups of pairs must be integers, one for each pair.")
        if size and group.min() < 0:
            raise InputError("A pair has no group (a negative code). Give it one of its own.")
        object.__setattr__(self, "group", group.astype(np.int64))
        for name in ("chosen", "rejected", "prompt"):
            _require_texts(name, getattr(self, name))

    def __len__(self) -> int:
        return len(self.margin)

    @property
    def has_margins(self) -> bool:
        """Whether margins are known: those of a file that has none are all equal."""
        return bool(len(self) and np.ptp(self.margin) > 0)

    def take(self, rows: np.ndarray) -> "Pairs":
        """Return some of the pairs.

        Parameters
        ----------
        rows : (k,) integers or (m,) booleans
            Positions, or a mask.
        """
        index = np.asarray(rows)
        if index.dtype == bool:
            index = np.flatnonzero(index)
        return Pairs(
            chosen=pick(self.chosen, index),
            rejected=pick(self.rejected, index),
            margin=self.margin[index],
            weight=self.weight[index],
            group=self.group[index],
            prompt=pick(self.prompt, index),
            objective=pick(self.objective, index),
            rows=None if self.rows is None else self.rows[index],
            notes=self.notes,
            cost=None if self.cost is None else self.cost[index],
        )

    def with_costs(
        self, costs: Callable[[Sequence[str], Sequence[str] | None], ArrayLike]
    ) -> "Pairs":
        """Return pairs that know what their texts cost, so that DPO counts it.

        DPO then has its minimum where ``β Δ`` is the log-odds of winning less the difference of
        costs: Zhou et al. (2024), arXiv 2310.03708.

        Parameters
        ----------
        costs : callable
            ``(completions, prompts)`` to ``(n,)``, in log-odds of winning: what a reward says of
            a guardrail, times its price.

        Raises
        ------
        InputError
            Unless each text gets a finite number.
        """
        sides = [
            np.asarray(costs(list(side), self.prompt), dtype=np.float64)
            for side in (self.chosen, self.rejected)
        ]
        if any(side.shape != (len(self),) or not np.isfinite(side).all() for side in sides):
            raise InputError("Costs must be finite numbers, one for each text.")
        return replace(self, cost=sides[0] - sides[1])

    @staticmethod
    def read(path: str | os.PathLike[str]) -> "Pairs":
        """Read pairs from a file with columns ``chosen`` and ``rejected``, as TRL documents them.

        Optional columns: ``prompt``, ``margin`` (or ``score_chosen`` and ``score_rejected``, whose
        difference it is), ``weight``, ``objective``, ``group`` (unless given, pairs of the same
        two texts are one). Texts may be conversations, lists of messages or their JSON; the
        messages that both sides share are then the prompt. Every row becomes one pair.

        Parameters
        ----------
        path : path
            A csv, tsv, jsonl or parquet file, a folder or a glob of them.

        Raises
        ------
        ColumnNotFound
            When a side is missing.
        InputError
            When a text is missing or empty, a margin is negative, a group is missing, a column of
            numbers holds something else, or sides answer different prompts.
        UnreadableFile
            When a file is missing, damaged or of another format.
        """
        table, assumed = read_with_notes(path)
        read = read_preferences(table)
        return Pairs(**read | {"notes": (*assumed, *read["notes"])})

    def to_trl(self) -> list[dict[str, object]]:
        """Return one mapping for each pair in TRL's preference format.

        ``datasets.Dataset.from_list(pairs.to_trl())`` is what `trl.RewardTrainer` takes.

        Returns
        -------
        list of dict
            With ``chosen``, ``rejected``, ``margin``, ``weight`` and, where known, ``prompt``.
        """
        rows: list[dict[str, object]] = self._columns().to_pylist()
        return rows

    def __repr__(self) -> str:
        return card("Pairs", self._lines())

    def _repr_html_(self) -> str:
        return html_card("Pairs", self._lines(), self._columns())

    def _lines(self) -> list[str]:
        lines = [
            f"{len(self):,} pairs; groups they were made within: {len(np.unique(self.group)):,}"
        ]
        if len(self):
            lines.append(f"margin: from {self.margin.min():.4g} to {self.margin.max():.4g}")
        if self.objective is not None:
            lines.append(f"objectives: {', '.join(sorted(set(self.objective)))}")
        return [*lines, f"read: {'; '.join(self.notes)}"] if self.notes else lines

    def _columns(self) -> pa.Table:
        columns = {} if self.prompt is None else {"prompt": list(self.prompt)}
        return pa.table(
            columns
            | {"chosen": list(self.chosen), "rejected": list(self.rejected)}
            | {"margin": self.margin, "weight": self.weight}
        )


@overload
def pick(texts: Sequence[str], rows: np.ndarray) -> list[str]: ...
@overload
def pick(texts: None, rows: np.ndarray) -> None: ...
def pick(texts: Sequence[str] | None, rows: np.ndarray) -> list[str] | None:
    """Return the texts at some positions, if there are texts."""
    return None if texts is None else [texts[row] for row in rows]


def orient(
    rows: np.ndarray, outcome: np.ndarray, minimum_margin: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of rows ``(m, 2)`` with the higher outcome first, and the margins ``(m,)``.

    Pairs whose outcomes differ by no more than ``minimum_margin`` are left out.
    """
    margin = outcome[rows[:, 0]] - outcome[rows[:, 1]]
    keep = np.abs(margin) > minimum_margin
    rows, margin = rows[keep], margin[keep]
    return np.where((margin >= 0)[:, None], rows, rows[:, ::-1]), np.abs(margin)


def pairs_of_rows(
    rows: np.ndarray,
    margin: np.ndarray,
    completions: Sequence[str],
    weights: np.ndarray | None,
    group: np.ndarray,
    *,
    prompt: Sequence[str] | None,
    objective: Sequence[str] | None,
) -> Pairs:
    """Return the pairs at positions ``(m, 2)`` of logs, the chosen row first."""
    first, second = rows.T
    weight = np.ones(len(group)) if weights is None else weights
    return Pairs(
        chosen=pick(completions, first),
        rejected=pick(completions, second),
        margin=margin,
        weight=np.sqrt(weight[first] * weight[second]),
        group=group[first],
        prompt=pick(prompt, first),
        objective=pick(objective, first),
        rows=rows,
    )


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
    pairs: np.ndarray = order[np.concatenate(blocks)]
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def join_codes(columns: Iterable[np.ndarray], rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return codes ``(n,)`` of the combinations, and the rows where all of them are known."""
    same = np.zeros(rows, dtype=np.int64)  # without columns all rows agree
    joint = np.column_stack([same, *columns])
    group = np.unique(joint, axis=0, return_inverse=True)[1].ravel()
    return group, np.flatnonzero((joint >= 0).all(axis=1))


def match_within(group: np.ndarray, seed: int, most: int | None = None) -> np.ndarray:
    """Return random pairs of rows that share a group, each row in one at most: ``(m, 2)``.

    Of more than ``most`` pairs so many are drawn.
    """
    order = np.random.default_rng(seed).permutation(len(group))
    order = order[np.argsort(group[order], kind="stable")]
    _, starts, sizes = np.unique(group[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(starts, sizes)
    # The last row of a group of odd size stays alone.
    opens = np.flatnonzero((place % 2 == 0) & (place + 1 < np.repeat(sizes, sizes)))
    rows = np.stack([order[opens], order[opens + 1]], axis=1)
    if most is not None and most < len(rows):
        rows = rows[np.random.default_rng(seed).permutation(len(rows))[:most]]
    return rows


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
    p_values: np.ndarray = 2 * ndtr(-np.abs(z))
    return p_values


def _not_negative(name: str, values: ArrayLike) -> np.ndarray:
    """Return floats; raise `InputError` for one that is negative or no finite number."""
    numbers = np.asarray(values, dtype=np.float64)
    wrong = np.flatnonzero(~(numbers >= 0) | np.isinf(numbers))
    if wrong.size:
        hint = (
            "A margin says by how much the chosen text is better: exchange the sides where the "
            "other one is, or correct it."
            if name == "margin"
            else "Correct it, or remove the pair."
        )
        raise InputError(
            f"The {name} of {wrong.size} pairs is negative or no finite number (first: pair "
            f"{wrong[0]}, {numbers[wrong[0]]:g}). {hint}"
        )
    return numbers


def _require_texts(name: str, texts: Sequence[str] | None) -> None:
    for row, text in enumerate(texts or ()):
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                f"The {name} text of pair {row} is {text!r}. Every side of a pair needs a text; "
                "remove the pair or fill it in."
            )


def join_prompts(completions: Sequence[str], prompts: Sequence[str] | None) -> list[str]:
    """Return what an encoder reads: each completion, below its prompt if there is one."""
    if prompts is None:
        return list(completions)
    if len(prompts) != len(completions):
        raise InputError(f"There are {len(prompts)} prompts for {len(completions)} completions.")
    return [f"{above}\n\n{below}" for above, below in zip(prompts, completions, strict=True)]
