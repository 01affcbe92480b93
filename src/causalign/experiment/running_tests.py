"""Logs of running tests as days and arms: who was shown what on which day, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, SettingsError
from causalign.logs import Logs
from causalign.logs.propensity import log_propensities
from causalign.results import Card
from causalign.stats.daily_differences import Cells, sum_cells

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RunningTest(Card):
    """Hold one test: D days, K arms, and what readers did.

    Attributes
    ----------
    name : str
        Of the test; "" where there is one only.
    arms : tuple of K str
        The texts, in the order of the table.
    days : (D,) array
        Days since 1970-01-01, or the numbers of the days; one 0 where there is no time.
    has_dates : bool
        Whether the days are dates.
    is_timed : bool
        Whether the logs tell the days.
    counts : bool
        Whether the outcome counts successes.
    cells : Cells
        Of the outcome.
    guardrails : mapping of str to Cells
        Of each further outcome.
    shares : (D, K) array
        Which share of a day's readers the design meant for each arm.
    copies : (K,) array
        How many arms had this text; they are read as one.
    """

    name: str
    arms: tuple[str, ...]
    days: Floats
    has_dates: bool
    is_timed: bool
    counts: bool
    cells: Cells
    guardrails: Mapping[str, Cells]
    shares: Floats
    copies: Floats

    @property
    def readers(self) -> Floats:
        """Readers of each arm ``(K,)``."""
        return np.asarray(self.cells.readers.sum(axis=0))

    @property
    def means(self) -> Floats:
        """The outcome of each arm ``(K,)``, all days together."""
        total = (self.cells.readers * self.cells.mean).sum(axis=0)
        return np.asarray(total / np.maximum(self.readers, 1.0))

    @property
    def meant(self) -> Floats:
        """How many readers the design meant for each arm ``(K,)``."""
        return np.asarray((self.cells.readers.sum(axis=1)[:, None] * self.shares).sum(axis=0))

    @property
    def shown(self) -> NDArray[np.bool_]:
        """On which days each arm had readers ``(D, K)``."""
        return np.asarray(self.cells.readers > 0)

    def name_day(self, place: int) -> str:
        """Return a day in words: its date, or its number."""
        day = self.days[place]
        if not self.has_dates:
            return f"day {day:g}"
        return str(np.datetime64("1970-01-01") + np.timedelta64(int(day), "D"))


def read_running_tests(
    logs: Logs,
    *,
    guardrails: Sequence[str] = (),
    covariates: Sequence[str] = (),
    variance: str | None = None,
) -> tuple[tuple[RunningTest, ...], int]:
    """Return the tests of logs that compare two texts or more, and how many do not.

    A row is a count (the outcome counts successes among the role ``trials``), or one reader, or the
    mean of as many readers as the role ``weight`` says, who differ by the column ``variance``.

    Parameters
    ----------
    logs : Logs
        Texts, outcomes, and where declared tests (``group``), days (``time``) and the share of
        readers that was meant for the text (``propensity``).
    guardrails : sequence of str
        Further outcomes, of the same readers.
    covariates : sequence of str
        Columns that were settled before the text was shown.
    variance : str, optional
        Column with the variance among the readers of a row.

    Raises
    ------
    InputError
        When no test compares two texts, or days are no dates or numbers.
    SettingsError
        When rows of means lack their variance, or guardrails are asked of them.
    """
    rows = _ReaderRows.of(logs, guardrails, covariates, variance)
    order = np.argsort(rows.test, kind="stable")
    starts = np.flatnonzero(np.diff(rows.test[order], prepend=-1))
    names = _names_of(logs, order[starts])
    tests = [
        test
        for name, part in zip(names, np.split(order, starts[1:]), strict=True)
        if (test := _gather(name, part, logs, rows)) is not None
    ]
    if not tests:
        raise InputError(_explain_nothing(logs, len(starts)))
    return tuple(tests), len(starts) - len(tests)


@dataclass(frozen=True, slots=True, eq=False)
class _ReaderRows:
    """Hold the rows of logs as readers, with their mean and sum of squares."""

    test: NDArray[np.int64]
    text: NDArray[np.int64]
    day: Floats
    has_dates: bool
    readers: Floats
    outcomes: Mapping[str, tuple[Floats, Floats]]
    covariates: Floats
    share: Floats | None

    @classmethod
    def of(
        cls,
        logs: Logs,
        guardrails: Sequence[str],
        covariates: Sequence[str],
        variance: str | None,
    ) -> "_ReaderRows":
        """Read columns; raise where rows of means do not say how much their readers differ."""
        roles, size = logs.roles, len(logs)
        if roles.trials is not None and variance is not None:
            raise SettingsError("Counts of trials know their variance: leave `variance` out.")
        if (roles.weight is not None) != (variance is not None):
            raise SettingsError(
                "Rows that are means of several readers need both the role weight, how many they "
                "are, and the column `variance`, by how much they differ."
            )
        if variance is not None and guardrails:
            raise SettingsError("Guardrails need counts of trials, or one row for each reader.")
        readers = np.ones(size) if roles.weight is None else logs.weights
        readers = logs.trials if roles.trials is not None else readers
        outcomes = {
            name: _read_outcome(logs, name, np.asarray(readers), variance)
            for name in (roles.outcome, *guardrails)
        }
        X = [logs.covariate(name).columns()[0] for name in covariates]
        share = None
        if roles.propensity is not None:
            share = np.exp(log_propensities(logs.numbers(roles.propensity), roles.propensity))
        test = np.zeros(size, dtype=np.int64) if roles.group is None else logs.groups
        day, has_dates = _read_days(logs)
        text = logs.codes_of(roles.completion)
        stacked = np.hstack([np.empty((size, 0)), *X])
        return cls(test, text, day, has_dates, np.asarray(readers), outcomes, stacked, share)


def _read_outcome(
    logs: Logs, name: str, readers: Floats, variance: str | None
) -> tuple[Floats, Floats]:
    """Return mean and sum of squares ``(n,)`` of each row; raise for counts above their trials."""
    values = logs.numbers(name)
    if logs.roles.trials is not None:
        wrong = np.flatnonzero((values < 0) | (values > readers))
        if wrong.size:
            raise InputError(
                f"{wrong.size} rows do not have 0 <= {name} <= {logs.roles.trials} (first at row "
                f"{wrong[0]})."
            )
        rate = values / readers
        return rate, readers * rate * (1 - rate)
    if variance is None:
        return values, np.zeros(len(values))
    spread = logs.numbers(variance)
    if (spread < 0).any() or (readers <= 0).any():
        raise InputError(f"Variances in {variance!r} must not be negative, and weights above 0.")
    return values, spread * np.maximum(readers - 1, 0)


def _read_days(logs: Logs) -> tuple[Floats, bool]:
    """Return the day of each row and whether they are dates."""
    if logs.roles.time is None:
        return np.zeros(len(logs)), False
    time = logs.covariate(logs.roles.time)
    if time.is_categorical:
        example = time.levels[0] if time.levels else ""
        raise InputError(
            f"The time column {time.name!r} holds names such as {example!r}. It must hold dates, "
            "or the numbers of the days."
        )
    return np.floor(time.values), time.kind == "datetime"


def _names_of(logs: Logs, rows: NDArray[np.int64]) -> list[str]:
    """Return the name of the test of each of the rows."""
    group = logs.roles.group
    if group is None:
        return [""] * len(rows)
    return [str(name) for name in logs.data[group].take(rows).to_pylist()]


def _gather(
    name: str, part: NDArray[np.int64], logs: Logs, rows: _ReaderRows
) -> RunningTest | None:
    """Return one test, or None where it has one text only."""
    texts, first, arm = np.unique(rows.text[part], return_index=True, return_inverse=True)
    if len(texts) < 2:
        return None
    rank = np.argsort(np.argsort(first))  # arms in the order of the table
    days, day = np.unique(rows.day[part], return_inverse=True)
    shape, cell = (len(days), len(texts)), day.ravel() * len(texts) + rank[arm.ravel()]
    readers = rows.readers[part]
    cells = {
        outcome: sum_cells(cell, shape, readers, mean[part], square[part], rows.covariates[part])
        for outcome, (mean, square) in rows.outcomes.items()
    }
    own = cells.pop(logs.roles.outcome)
    texts_of = logs.data[logs.roles.completion].take(part[np.sort(first)]).to_pylist()
    timed, counts = logs.roles.time is not None, logs.roles.trials is not None
    lines = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape).astype(float)
    shown = lines > 0
    if shown.sum(axis=1).max() < 2:
        raise InputError(
            f"No two arms{f' of test {name!r}' if name else ''} were shown on one day, so nothing "
            f"can be compared. Does the time column {logs.roles.time!r} hold days?"
        )
    copies = _count_copies(lines, timed) if counts else np.ones(len(texts))
    shares = shown * copies
    if rows.share is not None:
        total = np.bincount(cell, weights=rows.share[part], minlength=lines.size).reshape(shape)
        shares = shares * total / np.maximum(lines, 1.0)
    shares = shares / shares.sum(axis=1, keepdims=True)
    arms = tuple(texts_of)
    has = rows.has_dates, timed, counts
    return RunningTest(name, arms, days, *has, own, cells, shares, copies)


def _count_copies(lines: Floats, timed: bool) -> Floats:
    """Return how many arms of one text there were ``(K,)``, from the rows of days and texts.

    Without days each row was an arm. With them, a text that has a multiple of the others' rows on
    every day was several arms; where numbers of rows change, rows are parts, such as countries.
    """
    most = lines.max(axis=0)
    copies = most / most.min() if timed else most
    steady = ((lines == most) | (lines == 0)).all() and (copies == np.round(copies)).all()
    return np.asarray(copies if steady else np.ones(len(most)))


def _explain_nothing(logs: Logs, groups: int) -> str:
    """Return why no test compares anything."""
    group = logs.roles.group
    if group is None:
        text = logs.completions[0]
        return (
            f"All rows have one arm, {text[:60]!r}, so nothing is compared. Give rows of two arms "
            "or more."
        )
    if groups == len(logs):
        return (
            f"The group column {group!r} names no tests: each of its {groups:,} values has one "
            "row. Name the column whose value the arms of one test share."
        )
    return (
        f"Each of the {groups:,} tests in {group!r} has one arm or one text, so nothing is "
        "compared. Give rows of two texts or more for a test."
    )
