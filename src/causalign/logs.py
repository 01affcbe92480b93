"""The one noun that flows: a table of texts and outcomes whose columns have causal roles."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from causalign.covariates import Covariate, codes, covariate, first_null, numeric
from causalign.errors import ColumnNotFound, InputError, RoleNotDeclared, nearest
from causalign.intake import (
    check_columns,
    check_present,
    check_rows,
    check_text,
    complete_rows,
    to_arrow,
)
from causalign.pairs import Pairs, matched_within, pairs_within, two_proportion_p_value
from causalign.reading import read_table
from causalign.roles import Roles


@dataclass(frozen=True, slots=True)
class Logs:
    """Hold an Arrow table, the roles of its columns and its history; never changed in place."""

    data: pa.Table
    roles: Roles
    history: tuple[str, ...] = ()

    @staticmethod
    def read(
        path: str | os.PathLike[str], roles: Roles, *, drop_incomplete: bool = False
    ) -> "Logs":
        """Read logs from csv, tsv, jsonl or parquet, compressed or not, a folder or a glob.

        ``drop_incomplete`` leaves out rows that miss a value in a column with a role, and says in
        the history how many. Raises `UnreadableFile`, `ColumnNotFound` or `InputError`.
        """
        table = read_table(path)
        note = f"read {table.num_rows} rows from {os.path.basename(os.fspath(path).rstrip('/'))}"
        return _checked(table, roles, (note,), drop_incomplete)

    @staticmethod
    def of(table: Any, roles: Roles, *, drop_incomplete: bool = False) -> "Logs":
        """Make logs from a pandas or polars frame, an Arrow table or a `datasets.Dataset`."""
        arrow = to_arrow(table)
        return _checked(arrow, roles, (f"took {arrow.num_rows} rows",), drop_incomplete)

    def __len__(self) -> int:
        return self.data.num_rows

    @property
    def completions(self) -> list[str]:
        """Return the texts, n strings."""
        return self.data[self.roles.completion].to_pylist()

    @property
    def prompts(self) -> list[str] | None:
        """Return the prompts, n strings, or None when there is no such role."""
        return None if self.roles.prompt is None else self.data[self.roles.prompt].to_pylist()

    @property
    def outcome(self) -> np.ndarray:
        """Return the outcome ``(n,)``: the column, or its rate when there are trials."""
        values = _number(self.roles.outcome, self.data[self.roles.outcome])
        return values if self.roles.trials is None else values / self.trials

    @property
    def trials(self) -> np.ndarray:
        """Return the numbers of trials ``(n,)``."""
        self.require("trials")
        return numeric(str(self.roles.trials), self.data[self.roles.trials])

    @property
    def weights(self) -> np.ndarray | None:
        """Return the row weights ``(n,)`` or None."""
        return None if self.roles.weight is None else self.numbers(self.roles.weight)

    @property
    def confounders(self) -> tuple[Covariate, ...]:
        """Return the confounders in the order in which they are named."""
        return tuple(self.covariate(name) for name in self.roles.confounders)

    @property
    def instruments(self) -> tuple[Covariate, ...]:
        """Return the instruments in the order in which they are named."""
        return tuple(self.covariate(name) for name in self.roles.instruments)

    @property
    def features(self) -> np.ndarray | None:
        """Return the columns that describe the text ``(n, p)`` or None."""
        if not self.roles.features:
            return None
        return np.column_stack([self.covariate(n).columns()[0] for n in self.roles.features])

    @property
    def groups(self) -> np.ndarray:
        """Return integer codes ``(n,)`` of the groups; every row its own when there is no role."""
        return self._codes_or_rows(self.roles.group)

    @property
    def clusters(self) -> np.ndarray | None:
        """Return integer codes ``(n,)`` of the clusters (else groups), or None.

        Of two ways to cluster the first: it is the one that folds and splits keep together.
        """
        names = self.roles.cluster_columns()
        return self.codes_of(names[0]) if names else None

    @property
    def cluster_ways(self) -> np.ndarray | None:
        """Return integer codes of the clusters, ``(n,)`` or ``(n, 2)`` for two ways, or None."""
        ways = [self.codes_of(name) for name in self.roles.cluster_columns()]
        if not ways:
            return None
        return ways[0] if len(ways) == 1 else np.column_stack(ways)

    def numbers(self, name: str) -> np.ndarray:
        """Return any column as floats ``(n,)``."""
        return numeric(name, self._column(name))

    def covariate(self, name: str) -> Covariate:
        """Return any column as a `Covariate`."""
        return covariate(name, self._column(name), categorical=name in self.roles.categorical)

    def codes_of(self, name: str) -> np.ndarray:
        """Return integer codes ``(n,)`` of any column's values, -1 where missing."""
        return codes(self._column(name))[0]

    def require(self, *names: str) -> None:
        """Raise `RoleNotDeclared` unless every named role is declared."""
        for name in names:
            if not getattr(self.roles, name):
                free = [c for c in self.data.column_names if c not in self.roles.columns()]
                raise RoleNotDeclared(
                    f"These logs declare no {name}. Name the column in `Roles({name}=...)`; "
                    f"columns without a role: {', '.join(free) or 'none'}."
                )

    def take(self, rows: np.ndarray, note: str) -> "Logs":
        """Return the logs of some rows (positions or a mask), with ``note`` in the history."""
        index = np.asarray(rows)
        picked = self.data.take(np.flatnonzero(index) if index.dtype == bool else index)
        return replace(self, data=picked, history=(*self.history, note))

    def with_outcome(self, values: np.ndarray, note: str) -> "Logs":
        """Return logs whose outcome is ``values`` ``(n,)``; the old column stays in the table."""
        if np.shape(values) != (len(self),) or not np.isfinite(values).all():
            raise InputError(f"The new outcome must be {len(self)} finite numbers.")
        name = self.roles.outcome
        while name in self.data.column_names:
            name += "_adjusted"
        return replace(
            self,
            data=self.data.append_column(name, pa.array(values, pa.float64())),
            roles=replace(self.roles, outcome=name, trials=None),
            history=(*self.history, note),
        )

    def with_weights(self, values: np.ndarray, note: str) -> "Logs":
        """Return logs whose weight is ``values`` ``(n,)``; the old column stays in the table."""
        given = np.asarray(values, dtype=np.float64)
        usable = given.shape == (len(self),) and np.isfinite(given).all() and (given >= 0).all()
        if not usable or given.sum() <= 0:
            raise InputError(
                f"The new weights must be {len(self)} numbers, none negative and not all zero."
            )
        name = self.roles.weight or "weight"
        while name in self.data.column_names:
            name += "_adjusted"
        return replace(
            self,
            data=self.data.append_column(name, pa.array(given)),
            roles=replace(self.roles, weight=name),
            history=(*self.history, note),
        )

    def pairs(
        self,
        by: str | Sequence[str] | None = None,
        *,
        minimum_margin: float = 0.0,
        significance: float | None = None,
    ) -> Pairs:
        """Return every pair of rows that agree in the columns ``by`` and differ in outcome.

        ``by`` defaults to the role ``group``. The row with the higher outcome is chosen; pairs
        whose outcomes differ by no more than ``minimum_margin`` (units of the outcome) or whose
        texts are the same are left out, and with ``significance`` = α those whose rates do not
        differ at level α in a two-proportion test, which needs the role ``trials``.
        """
        if by is None:
            self.require("group")
            by = str(self.roles.group)
        names = (by,) if isinstance(by, str) else tuple(by)
        group, known = self._joint_codes(names)
        found = known[pairs_within(group[known])]
        if significance is not None:
            self.require("trials")
            counts = self.numbers(self.roles.outcome)
            found = found[two_proportion_p_value(counts, self.trials, found) < significance]
        return self._compared(found, minimum_margin, group)

    def matched_pairs(self, by: Sequence[str] = (), *, seed: int, most: int | None = None) -> Pairs:
        """Return random pairs of rows that agree in the columns ``by``, each row in one at most.

        Without ``by`` any two rows may meet. So large groups, or logs without any, give as many
        pairs as a policy can read, and no row counts more than another; ``most`` keeps so many of
        them, at random. The same seed matches the same rows, whatever their outcomes; which side is
        chosen, and what is left out, is as in :meth:`pairs`.
        """
        group, known = np.zeros(len(self), dtype=np.int64), np.arange(len(self))
        if by:
            group, known = self._joint_codes(tuple(by))
        found = known[matched_within(group[known], seed)]
        if most is not None and most < len(found):
            found = found[np.random.default_rng(seed).permutation(len(found))[:most]]
        return self._compared(found, 0.0, group)

    def _compared(self, found: np.ndarray, minimum_margin: float, group: np.ndarray) -> Pairs:
        outcome = self.outcome
        margin = outcome[found[:, 0]] - outcome[found[:, 1]]
        text = self.codes_of(self.roles.completion)
        keep = (np.abs(margin) > minimum_margin) & (text[found[:, 0]] != text[found[:, 1]])
        found, margin = found[keep], margin[keep]
        found = np.where((margin >= 0)[:, None], found, found[:, ::-1])
        return self._pairs_of(found, np.abs(margin), group)

    def _pairs_of(self, rows: np.ndarray, margin: np.ndarray, group: np.ndarray) -> Pairs:
        texts, prompts = self.completions, self.prompts
        objective = self.roles.objective
        labels = None if objective is None else self.data[objective].to_pylist()
        ones = np.ones(len(self)) if self.weights is None else self.weights
        return Pairs(
            chosen=[texts[i] for i in rows[:, 0]],
            rejected=[texts[i] for i in rows[:, 1]],
            margin=margin,
            weight=np.sqrt(ones[rows[:, 0]] * ones[rows[:, 1]]),
            group=group[rows[:, 0]],
            prompt=None if prompts is None else [prompts[i] for i in rows[:, 0]],
            objective=None if labels is None else [str(labels[i]) for i in rows[:, 0]],
            rows=rows,
        )

    def _joint_codes(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return codes ``(n,)`` of the combinations, and the rows where all of them are known."""
        joint = np.column_stack([self.codes_of(name) for name in names])
        group = np.unique(joint, axis=0, return_inverse=True)[1].ravel()
        return group, np.flatnonzero((joint >= 0).all(axis=1))

    def _column(self, name: str) -> pa.ChunkedArray:
        if name not in self.data.column_names:
            raise ColumnNotFound(
                f"The table has no column {name!r}; {nearest(name, self.data.column_names)}"
            )
        return self.data[name]

    def _codes_or_rows(self, name: str | None) -> np.ndarray:
        return np.arange(len(self)) if name is None else self.codes_of(name)


def _checked(
    table: pa.Table, roles: Roles, history: tuple[str, ...], drop_incomplete: bool
) -> Logs:
    """Check once, at the boundary, all that every stage relies on."""
    check_columns(table, roles)
    if drop_incomplete:
        table, history = complete_rows(table, roles, history)
    check_rows(table)
    for name in filter(None, (roles.completion, roles.prompt)):
        table = check_text(table, name, roles.columns()[name])
    logs = Logs(table, roles, history)
    _check_outcome(logs)
    for name, role in roles.columns().items():
        if role in ("confounders", "instruments", "features"):
            logs.covariate(name)
        elif role in ("weight", "propensity"):
            logs.numbers(name)
        elif role in ("group", "cluster", "time", "objective"):
            check_present(table, name, role)
    return logs


def _number(name: str, column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_boolean(column.type) and not column.null_count:
        column = column.cast(pa.float64())
    return numeric(name, column)


def _check_outcome(logs: Logs) -> None:
    name = logs.roles.outcome
    column = logs.data[name]
    if column.null_count:
        raise InputError(
            f"The outcome {name!r} is missing in {column.null_count} rows (first at row "
            f"{first_null(column)}). Fill them in, or read with drop_incomplete=True."
        )
    values = _number(name, column)
    if logs.roles.trials is not None:
        trials = logs.trials
        wrong = np.flatnonzero((trials <= 0) | (values < 0) | (values > trials))
        if wrong.size:
            raise InputError(
                f"{wrong.size} rows do not have 0 <= {name} <= {logs.roles.trials} with "
                f"{logs.roles.trials} > 0 (first at row {wrong[0]})."
            )
        values = values / trials
    if np.ptp(values) == 0:
        raise InputError(
            f"The outcome {name!r} is constant ({values[0]:g}): nothing can be learned from it."
        )
