"""The one noun that flows: a table of texts and outcomes whose columns have causal roles."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from causalign.errors import ColumnNotFound, InputError, RoleNotDeclared, nearest
from causalign.logs import intake
from causalign.logs.columns import settle_values
from causalign.logs.containers import to_arrow
from causalign.logs.covariates import Covariate, codes, covariate, mark_levels, numeric
from causalign.logs.database import query_table
from causalign.logs.pairs import (
    Pairs,
    join_codes,
    join_prompts,
    match_within,
    orient,
    pairs_of_rows,
    pairs_within,
    two_proportion_p_value,
)
from causalign.logs.reading import read_with_notes
from causalign.logs.remote import Source, say_origin
from causalign.logs.roles import Roles
from causalign.results import card, html_card


@dataclass(frozen=True, slots=True, repr=False)
class Logs:
    """A table of texts and outcomes whose columns have causal roles; never changed in place.

    Make logs with `Logs.read` or `Logs.of`, which check every column that has a role. The
    constructor takes a table that was checked before: it asks only that the columns are there.

    Parameters
    ----------
    data : pyarrow.Table
        One row for each text that was sent.
    roles : Roles
        Which column plays which causal role.
    history : tuple of str
        What was done to the table, in order.

    Raises
    ------
    ColumnNotFound
        When a role names a column that the table lacks.
    """

    data: pa.Table
    roles: Roles
    history: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        intake.check_columns(self.data, self.roles)

    @staticmethod
    def read(path: Source, roles: Roles, *, drop_incomplete: bool = False) -> "Logs":
        """Read logs from csv, tsv, jsonl or parquet, compressed or not.

        Parameters
        ----------
        path : path, URI or stream of bytes
            A file, a folder or a glob: here, or behind ``s3://``, ``gs://``, ``hf://``,
            ``https://`` (the extra ``cloud``); or a stream, such as ``sys.stdin.buffer``.
        roles : Roles
            Which column plays which causal role.
        drop_incomplete : bool
            Leave out rows that miss a value in a column with a role; the history says how many.

        Raises
        ------
        UnreadableFile
            When a file is missing, damaged or of another format.
        ColumnNotFound, InputError
            When a column with a role is missing, or cannot be used as it is.
        """
        table, notes = read_with_notes(path)
        history = (say_origin(table, path), *notes)
        return Logs(*intake.check_table(table, roles, history, drop_incomplete))

    @staticmethod
    def query(uri: str, sql: str, roles: Roles, *, drop_incomplete: bool = False) -> "Logs":
        """Read logs from a database, which the query does not change.

        Parameters
        ----------
        uri : str
            ``postgresql://``, ``sqlite:///FILE``, ``duckdb:///FILE`` (the extra ``sql``),
            ``snowflake://``, ``bigquery://PROJECT/DATASET``. No message shows its password.
        sql : str
            What to select; with ``order by``, so that rows come in the same order each time.
        roles, drop_incomplete : as in `read`

        Raises
        ------
        InputError
            When the database is away or refuses, or the rows cannot be used as they are.
        """
        table = query_table(uri, sql)
        return Logs(*intake.check_table(table, roles, (say_origin(table, uri),), drop_incomplete))

    @staticmethod
    def of(table: object, roles: Roles, *, drop_incomplete: bool = False) -> "Logs":
        """Make logs of a table in memory.

        Parameters
        ----------
        table : pandas or polars frame, Arrow table, datasets.Dataset, mapping or list of rows
            One row for each text; whatever narwhals reads (DuckDB, lazy frames), or Arrow streams.
        roles, drop_incomplete : as in `read`

        Raises
        ------
        ColumnNotFound, InputError
            As `read` does, and when this is no table.
        """
        arrow = to_arrow(table)
        history = (f"took {arrow.num_rows} rows",)
        return Logs(*intake.check_table(arrow, roles, history, drop_incomplete))

    @staticmethod
    def load(folder: str | os.PathLike[str]) -> "Logs":
        """Read logs that `save` wrote; raise `ArtifactError` when they are damaged or missing."""
        return Logs(*intake.load_table(folder))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``logs.parquet`` and, with roles and history, ``logs.json`` to a folder."""
        intake.save_table(folder, self.data, self.roles, self.history)

    def __len__(self) -> int:
        return int(self.data.num_rows)

    def __repr__(self) -> str:
        return card("Logs", self._lines())

    def _repr_html_(self) -> str:
        return html_card("Logs", self._lines(), self.data.select(list(self.roles.columns())))

    def _lines(self) -> list[str]:
        """Return what a card says: size, outcome, roles, the end of the history."""
        try:
            outcome = self.outcome
            reach = f"; outcome from {outcome.min():.4g} to {outcome.max():.4g}"
        except (InputError, ValueError):  # not numbers, or no rows: no reason to show nothing
            reach = ""
        known = [f"history: {'; '.join(self.history[-3:])}"] if self.history else []
        size = f"{len(self):,} rows, {self.data.num_columns} columns{reach}"
        return [size, "; ".join(self.roles.describe()), *known]

    @property
    def completions(self) -> list[str]:
        """The texts, n strings."""
        return list(self.data[self.roles.completion].to_pylist())

    @property
    def prompts(self) -> list[str] | None:
        """The prompts, n strings, or None when there is no such role."""
        prompt = self.roles.prompt
        return None if prompt is None else list(self.data[prompt].to_pylist())

    @property
    def texts(self) -> list[str]:
        """What an encoder reads, n strings: each completion, below its prompt if any."""
        return join_prompts(self.completions, self.prompts)

    @property
    def outcome(self) -> np.ndarray:
        """The outcome ``(n,)``: the column, or its rate when there are trials."""
        values = self.numbers(self.roles.outcome)
        return values if self.roles.trials is None else values / self.trials

    @property
    def trials(self) -> np.ndarray:
        """The numbers of trials ``(n,)``."""
        self.require("trials")
        return self.numbers(str(self.roles.trials))

    @property
    def weights(self) -> np.ndarray | None:
        """The row weights ``(n,)`` or None."""
        return None if self.roles.weight is None else self.numbers(self.roles.weight)

    @property
    def confounders(self) -> tuple[Covariate, ...]:
        """The confounders in the order in which they are named."""
        return tuple(self.covariate(name) for name in self.roles.confounders)

    @property
    def instruments(self) -> tuple[Covariate, ...]:
        """The instruments in the order in which they are named."""
        return tuple(self.covariate(name) for name in self.roles.instruments)

    @property
    def features(self) -> np.ndarray | None:
        """The columns that describe the text ``(n, p)`` or None."""
        if not self.roles.features:
            return None
        return np.column_stack([self.covariate(n).columns()[0] for n in self.roles.features])

    @property
    def groups(self) -> np.ndarray:
        """Integer codes ``(n,)`` of the groups; every row its own when there is no role."""
        group = self.roles.group
        return np.arange(len(self)) if group is None else self.codes_of(group)

    @property
    def clusters(self) -> np.ndarray | None:
        """Integer codes ``(n,)`` of the clusters (else groups), or None.

        Of two ways to cluster the first: it is the one that folds and splits keep together.
        """
        names = self.roles.cluster_columns()
        return self.codes_of(names[0]) if names else None

    @property
    def cluster_ways(self) -> np.ndarray | None:
        """Integer codes of the clusters, ``(n,)`` or ``(n, 2)`` for two ways, or None."""
        ways = [self.codes_of(name) for name in self.roles.cluster_columns()]
        if not ways:
            return None
        return ways[0] if len(ways) == 1 else np.column_stack(ways)

    def numbers(self, name: str) -> np.ndarray:
        """Return any column as floats ``(n,)``; raise `InputError` when it is not numbers."""
        return numeric(name, self._settled(name, "outcome"))

    def covariate(self, name: str) -> Covariate:
        """Return any column as a `Covariate`; raise `InputError` when it cannot be one."""
        column = self._settled(name, "confounders")
        return covariate(name, column, categorical=name in self.roles.categorical)

    def codes_of(self, name: str) -> np.ndarray:
        """Return integer codes ``(n,)`` of any column's values, -1 where missing."""
        return codes(self._column(name))[0]

    def require(self, *names: str) -> None:
        """Raise `RoleNotDeclared` unless every named role is declared."""
        free = [c for c in self.data.column_names if c not in self.roles.columns()]
        for name in names:
            if not getattr(self.roles, name):
                others = f"columns without a role: {', '.join(free) or 'none'}"
                raise RoleNotDeclared(f"These logs declare no {name} ({others}).", name)

    def take(self, rows: np.ndarray, note: str) -> "Logs":
        """Return the logs of some rows.

        Parameters
        ----------
        rows : (k,) integers or (n,) booleans
            Positions, or a mask.
        note : str
            What the history says.
        """
        index = np.asarray(rows)
        picked = self.data.take(np.flatnonzero(index) if index.dtype == bool else index)
        return Logs(picked, self.roles, (*self.history, note))

    def batches(self, rows: int = 32_768) -> Iterator["Logs"]:
        """Return the rows some at a time, as a `LogScan` does: categories keep all their levels."""
        if len(self) <= rows:
            yield self
            return
        covariates = (*self.roles.confounders, *self.roles.instruments, *self.roles.features)
        data = mark_levels(self.data, {n: n in self.roles.categorical for n in covariates})
        for start in range(0, len(self), rows):
            yield Logs(data.slice(start, rows), self.roles, self.history)

    def with_outcome(self, values: np.ndarray, note: str) -> "Logs":
        """Return logs with another outcome; the old column stays in the table.

        Parameters
        ----------
        values, note : (n,) finite numbers, else `InputError` is raised; what the history says
        """
        if np.shape(values) != (len(self),) or not np.isfinite(values).all():
            raise InputError(f"The new outcome must be {len(self)} finite numbers.")
        data, name = self._append(self.roles.outcome, values)
        roles = replace(self.roles, outcome=name, trials=None)
        return Logs(data, roles, (*self.history, note))

    def with_weights(self, values: np.ndarray, note: str) -> "Logs":
        """Return logs with other row weights; the old column stays in the table.

        Parameters
        ----------
        values, note : (n,) numbers, what the history says
            Raises `InputError` unless no number is negative and not all are zero.
        """
        given = np.asarray(values, dtype=np.float64)
        usable = given.shape == (len(self),) and np.isfinite(given).all() and (given >= 0).all()
        if not usable or given.sum() <= 0:
            raise InputError(
                f"Weights must be {len(self)} numbers, none negative and not all zero."
            )
        data, name = self._append(self.roles.weight or "weight", given)
        return Logs(data, replace(self.roles, weight=name), (*self.history, note))

    def _append(self, name: str, values: np.ndarray) -> tuple[pa.Table, str]:
        """Return the table with one more column, and the name that was free for it."""
        while name in self.data.column_names:
            name += "_adjusted"
        return self.data.append_column(name, pa.array(values, pa.float64())), name

    def pairs(
        self,
        by: str | Sequence[str] | None = None,
        *,
        minimum_margin: float = 0.0,
        significance: float | None = None,
    ) -> Pairs:
        """Return every pair of rows that agree in some columns and differ in outcome.

        The row with the higher outcome is chosen; pairs of equal texts are left out.

        Parameters
        ----------
        by : str or several, optional
            Columns in which both rows agree; by default the role ``group``.
        minimum_margin : float
            Leave out pairs whose outcomes differ by no more than this; below 0 not even ties.
        significance : float, optional
            Leave out pairs whose rates do not differ at this level in a two-proportion test, which
            needs the role ``trials``.

        Raises
        ------
        RoleNotDeclared
            When a role is needed that the logs do not declare.
        ColumnNotFound
            When there is no such column.
        """
        if by is None:
            self.require("group")
            by = str(self.roles.group)
        group, known = join_codes(
            map(self.codes_of, (by,) if isinstance(by, str) else by), len(self)
        )
        rows = known[pairs_within(group[known])]
        if significance is not None:  # a test needs the trials
            counts = self.numbers(self.roles.outcome)
            rows = rows[two_proportion_p_value(counts, self.trials, rows) < significance]
        return self._orient(rows, minimum_margin, group)

    def matched_pairs(
        self,
        by: Sequence[str] = (),
        *,
        seed: int,
        most: int | None = None,
        minimum_margin: float = 0.0,
    ) -> Pairs:
        """Return random pairs of rows, each row in one at most.

        So large groups, or none, give as many pairs as a policy can read, and no row counts more
        than another. Which side is chosen, and what is left out, is as in `pairs`.

        Parameters
        ----------
        by : several str
            Columns in which both rows agree; without them any two rows may meet.
        seed : int
            The same seed matches the same rows, whatever their outcomes.
        most : int, optional
            Keep so many pairs, at random.
        minimum_margin : as in `pairs`
        """
        group, known = join_codes(map(self.codes_of, by), len(self))
        rows = known[match_within(group[known], seed, most)]
        return self._orient(rows, minimum_margin, group)

    def _orient(self, rows: np.ndarray, minimum_margin: float, group: np.ndarray) -> Pairs:
        """Return pairs of rows ``(m, 2)`` with the higher outcome first, equal texts left out."""
        text, objective = self.codes_of(self.roles.completion), self.roles.objective
        differ = rows[text[rows[:, 0]] != text[rows[:, 1]]]
        rows, margin = orient(differ, self.outcome, minimum_margin)
        labels = None if objective is None else [str(v) for v in self.data[objective].to_pylist()]
        texts = {"prompt": self.prompts, "objective": labels}
        return pairs_of_rows(rows, margin, self.completions, self.weights, group, **texts)

    def _settled(self, name: str, role: str) -> pa.ChunkedArray:
        """Return a column as the boundary settled it, or settle one that has no role."""
        column = self._column(name)
        if name in self.roles.columns():
            return column
        return settle_values(name, column, role, self.data.schema.field(name))

    def _column(self, name: str) -> pa.ChunkedArray:
        if name not in (names := self.data.column_names):
            raise ColumnNotFound(f"The table has no column {name!r}; {nearest(name, names)}")
        return self.data.column(names.index(name))
