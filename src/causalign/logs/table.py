"""The one noun that flows: a table of texts and outcomes whose columns have causal roles."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from causalign.errors import InputError
from causalign.logs import intake
from causalign.logs.containers import to_arrow
from causalign.logs.covariates import mark_levels
from causalign.logs.database import query_table
from causalign.logs.kinds import COVARIATES
from causalign.logs.log_columns import LogColumns
from causalign.logs.pairs import (
    Pairs,
    join_codes,
    match_within,
    orient,
    pairs_of_rows,
    pairs_within,
    two_proportion_p_value,
)
from causalign.logs.reading import read_with_notes
from causalign.logs.remote import Source, say_origin
from causalign.logs.roles import Roles, find_guardrail
from causalign.results import card, html_card
from causalign.settings import require_number


@dataclass(frozen=True, slots=True, repr=False)
class Logs(LogColumns):
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
        names = [n for n, role in self.roles.columns().items() if role in COVARIATES]
        data = mark_levels(self.data, {n: n in self.roles.categorical for n in names})
        for start in range(0, len(self), rows):
            yield Logs(data.slice(start, rows), self.roles, self.history)

    def with_outcome(self, values: np.ndarray, note: str) -> "Logs":
        """Return logs with another outcome; the old column stays in the table.

        Parameters
        ----------
        values, note : (n,) finite numbers, else `InputError` is raised; what the history says
        """
        return self.with_outcomes({self.roles.outcome: values}, note)

    def with_outcomes(self, values: Mapping[str, np.ndarray], note: str) -> "Logs":
        """Return logs with other values of the outcome, of guardrails, or of both.

        Parameters
        ----------
        values : mapping from str to (n,) finite numbers, else `InputError` is raised
            By the column that they stand for, which stays in the table. What counts among trials
            becomes rates, also where no values are given for it.
        note : str
            What the history says.
        """
        data, names, changed = self.data, {}, dict(values)
        if self.roles.trials is not None:
            both = (self.roles.outcome, *self.roles.guardrails)
            changed = {name: self.rate(name) for name in both} | changed
        for name, given in changed.items():
            if np.shape(given) != (len(self),) or not np.isfinite(given).all():
                raise InputError(f"The new {name!r} must be {len(self)} finite numbers.")
            data, names[name] = _append(data, name, given)
        old = self.roles
        guardrails = tuple(names.get(name, name) for name in old.guardrails)
        outcome = names.get(old.outcome, old.outcome)
        roles = replace(old, outcome=outcome, guardrails=guardrails, trials=None)
        return Logs(data, roles, (*self.history, note))

    def of_guardrail(self, name: str) -> "Logs":
        """Return logs whose outcome is a guardrail, and that have none beside it."""
        roles = replace(self.roles, outcome=name, guardrails=())
        return Logs(self.data, roles, self.history)

    def price(self, prices: Mapping[str, float]) -> "Logs":
        """Return logs whose outcome is what texts earned less what they cost.

        ``y - Σ_g price_g · g``, g the guardrails: what is learned from such logs counts both.
        Guardrails that have a price are none any more.

        Parameters
        ----------
        prices : mapping from str to float
            What one of a guardrail costs, in units of the outcome; below 0 what it is worth.

        Raises
        ------
        SettingsError
            For a guardrail that the logs do not have, or a price that is no number.
        """
        named = {find_guardrail(name, self.roles.guardrails): p for name, p in prices.items()}
        for name, price in named.items():
            require_number(f"the price of {name}", price)
        cost = sum(price * self.rate(name) for name, price in named.items())
        note = "less " + " and ".join(f"{price:g} × {name}" for name, price in named.items())
        logs = self.with_outcome(self.outcome - cost, note)
        left = [name for name in logs.roles.guardrails if name not in named]
        return replace(logs, roles=replace(logs.roles, guardrails=tuple(left)))

    def with_prompts(self, values: Sequence[str], note: str) -> "Logs":
        """Return logs with other prompts; the old column stays in the table.

        Parameters
        ----------
        values, note : n strings, else `InputError` is raised; what the history says
        """
        if len(values) != len(self):
            raise InputError(f"The new prompts must be {len(self)} texts.")
        column = pa.array(values, pa.large_string())
        data, name = _append(self.data, self.roles.prompt or "prompt", column)
        return Logs(data, replace(self.roles, prompt=name), (*self.history, note))

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
        data, name = _append(self.data, self.roles.weight or "weight", given)
        return Logs(data, replace(self.roles, weight=name), (*self.history, note))

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


def _append(table: pa.Table, name: str, values: np.ndarray | pa.Array) -> tuple[pa.Table, str]:
    """Return the table with one more column, and the name that was free for it."""
    while name in table.column_names:
        name += "_adjusted"
    column = values if isinstance(values, pa.Array) else pa.array(values, pa.float64())
    return table.append_column(name, column), name
