"""Guess from names and values which role each column of a table plays, and say why."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from causalign.errors import ColumnNotFound, InputError, nearest
from causalign.logs.columns import ColumnReading, holds_dates, read_column, require_usable
from causalign.logs.intake import check_columns, require_varying
from causalign.logs.roles import Roles

Part = Literal[
    "completion", "prompt", "outcome", "trials", "group", "cluster", "time", "confounder", ""
]

# Names of what happens after a text, the surer ones first.
OUTCOMES = (
    "outcome", "converted", "conversion", "conversions", "purchased", "purchase", "purchases",
    "booked", "bookings", "booking", "received", "granted", "clicked", "clicks", "click", "ctr",
    "adherence", "adhered", "rating", "ratings", "stars", "score", "scores", "points", "upvotes",
    "likes", "revenue", "sales", "minutes", "replied", "replies", "opened", "opens", "comments",
    "shares", "reward", "label",
)  # fmt: skip
# What counts what happened where no surer name does.
PROXIES = ("profit", "reviews", "review", "occupancy", "results", "result")
# Further names of what is known only afterwards; none of them is taken for the outcome.
AFTERWARDS = (
    *OUTCOMES, "winner", "significance", "pvalue", "review", "reviews", "availability",
    "occupancy", "retrieval", "unsub", "unsubscribed", "unsubscribes", "complaints", "returns",
    "bounced", "bounces", "profit", "result", "results",
)  # fmt: skip
TRIALS = ("impressions", "shown", "views", "displays", "exposures", "sent", "delivered",
          "recipients", "trials", "visitors", "sessions", "readers")  # fmt: skip
TEXTS = ("completion", "text", "mail", "message", "headline", "title", "body", "description",
         "subject", "response", "answer", "content", "copy")  # fmt: skip
PROMPTS = ("prompt", "question", "instruction", "query", "context", "post")
GROUPS = ("test", "experiment", "story", "ab")
CLUSTERS = ("user", "author", "host", "customer", "reader", "account", "owner", "shop", "seller",
            "sender", "patient", "client", "session")  # fmt: skip
PERIODS = ("week", "month", "weekday", "day", "hour", "quarter", "season", "year")
NAMES = ("id", "code", "zip", "postcode", *PERIODS)

NAMED = "named on the command line"
FEWEST_WORDS = 3.0
MOST_MISSING = 0.3
# A category with fewer rows than this on average is taken out only with the text's own effect.
FEWEST_ROWS = 5
SAME = 0.95


@dataclass(frozen=True, slots=True)
class RoleGuess:
    """What one column seems to be, and why.

    Parameters
    ----------
    column, kind : str
        Its name, and how it was read.
    part : str
        Its role; empty where it is left out.
    because : str
    missing : int
        Cells without a usable value.
    is_name : bool
        Whether its numbers are names.
    """

    column: str
    kind: str
    part: Part
    because: str
    missing: int = 0
    is_name: bool = False


@dataclass(frozen=True, slots=True)
class RoleGuesses:
    """What all columns of a table seem to be.

    Parameters
    ----------
    columns : tuple of RoleGuess
        In the order of the table.
    words : float
        The mean number of words of a text.
    rows : int
        Of the table.
    """

    columns: tuple[RoleGuess, ...]
    words: float
    rows: int

    def columns_of(self, part: Part) -> tuple[str, ...]:
        """Return the columns that seem to play a role."""
        return tuple(guess.column for guess in self.columns if guess.part == part)

    @property
    def roles(self) -> Roles:
        """The roles, as a recipe declares them; where nothing else may confound, the time does."""
        one: Callable[[Part], str | None] = lambda part: next(iter(self.columns_of(part)), None)  # noqa: E731
        return Roles(
            self.columns_of("completion")[0],
            self.columns_of("outcome")[0],
            trials=one("trials"),
            prompt=one("prompt"),
            confounders=self.columns_of("confounder") or self.columns_of("time"),
            group=one("group"),
            cluster=one("cluster"),
            time=one("time"),
            categorical=tuple(
                g.column for g in self.columns if g.is_name and g.part == "confounder"
            ),
        )

    def table(self) -> pa.Table:
        """Return one row for each column: how it is read, its role, and why."""
        return pa.table(
            {
                "column": [guess.column for guess in self.columns],
                "read as": [guess.kind for guess in self.columns],
                "role": [guess.part or "left out" for guess in self.columns],
                "because": [guess.because for guess in self.columns],
            }
        )

    @property
    def missing(self) -> int:
        """The most cells that a column with a role lacks."""
        return max((g.missing for g in self.columns if g.part), default=0)


def guess_roles(
    table: pa.Table, *, completion: str | None = None, outcome: str | None = None
) -> RoleGuesses:
    """Guess the role of every column of a table.

    The text is the column of most words, the outcome the one whose name says so most surely. What
    else is named like an outcome, or goes with it nearly one to one, came after the text and is
    left out, as are columns that are different in every row, or the same in all. What remains is a
    candidate for a confounder: whether it was known before the text was written, no table can say.

    Parameters
    ----------
    table : pyarrow.Table
        As `read_table` returns it.
    completion, outcome : str, optional
        Columns that are known.

    Raises
    ------
    ColumnNotFound
        When there is no column of such a name.
    InputError
        Where no column holds texts, or none may be the outcome; where one that is known, or is
        named like an outcome, cannot be it.
    SettingsError
        Where one column is named as both.
    """
    for name in (completion, outcome):
        if name is not None and name not in table.column_names:
            raise ColumnNotFound(
                f"There is no column {name!r}; {nearest(name, table.column_names)}"
            )
    seen = {name: _look(table, name) for name in dict.fromkeys(table.column_names)}
    text = completion or _find_text(seen)
    after = outcome or _find_outcome([look for look in seen.values() if look.name != text])
    values = _read_outcome(table, Roles(text, after))
    guesses = []
    for look in seen.values():
        if look.name == text:
            why = NAMED if completion else "the column of most words"
            guesses.append(look.guess("completion", why))
        elif look.name == after:
            why = NAMED if outcome else "its name says what happened"
            guesses.append(look.guess("outcome", why))
        else:
            guesses.append(_guess_other(look, values, after))
    return RoleGuesses(_once(guesses), seen[text].words, table.num_rows)


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """Hold what is seen of one column."""

    name: str
    values: pa.ChunkedArray
    reading: ColumnReading
    different: int
    words: float

    @property
    def tokens(self) -> tuple[str, ...]:
        """The words of the name, in lower case."""
        parts = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", self.name)
        return tuple(re.findall(r"[a-z]+|[0-9]+", parts.lower()))

    @property
    def rows(self) -> int:
        return len(self.values)

    def is_called(self, names: Iterable[str]) -> bool:
        return not set(self.tokens).isdisjoint(names)

    def guess(self, part: Part, because: str, *, is_name: bool = False) -> RoleGuess:
        kind = "text" if part in ("completion", "prompt") else self.reading.kind
        lacking = self.reading.missing + self.reading.odd
        return RoleGuess(self.name, kind, part, because, lacking, is_name)


def _look(table: pa.Table, name: str) -> _Look:
    roles = Roles("\0text", "\0outcome", confounders=(name,))
    values, reading = read_column(table, name, roles)
    is_text = reading.kind in ("categorical", "text") and pa.types.is_large_string(values.type)
    words = 0.0
    if is_text:
        some = values.slice(0, 1000).drop_null()
        counts = pc.count_substring_regex(some, r"\S+")
        words = float(pc.mean(counts).as_py() or 0.0)
    different = 0 if reading.refusal else int(pc.count_distinct(values).as_py())
    return _Look(name, values, reading, different, words)


def _find_text(seen: dict[str, _Look]) -> str:
    """Return the column of texts; one that is named like a prompt is none."""
    long = [look for look in seen.values() if look.words >= FEWEST_WORDS]
    if not long:
        raise InputError(
            "No column holds texts of three words or more. Name the column of texts: --completion."
        )
    written = [look for look in long if not look.is_called(PROMPTS)] or long
    named = [look for look in written if look.is_called(TEXTS)] or written
    return max(named, key=lambda look: look.words).name


def _find_outcome(looks: list[_Look]) -> str:
    numeric = [look for look in looks if look.reading.kind in ("numeric", "boolean")]
    varying = [look for look in numeric if look.different > 1]
    for name, look in (
        *product((*OUTCOMES, *PROXIES), varying),
        *product(OUTCOMES, numeric),  # a constant one is refused by its name
    ):
        if name in look.tokens:
            return look.name
    listed = ", ".join(look.name for look in varying) or "none"
    raise InputError(
        "No column is named like an outcome (clicks, bookings, rating, ...). Name what happened "
        f"after the text: --outcome. Columns of numbers: {listed}."
    )


def _read_outcome(table: pa.Table, roles: Roles) -> np.ndarray:
    """Return the outcome ``(n,)``; raise `InputError` where it, or the text, cannot be used."""
    check_columns(table, roles)
    require_usable(read_column(table, roles.completion, roles)[1])
    values, reading = read_column(table, roles.outcome, roles)
    require_usable(reading)
    numbers: np.ndarray = values.to_numpy()
    known = numbers[np.isfinite(numbers)]
    if not known.size:
        raise InputError(f"{reading.title} holds no usable value in any row.")
    require_varying(roles.outcome, roles, known.min(), known.max())
    return numbers


def _guess_other(look: _Look, outcome: np.ndarray, outcome_name: str) -> RoleGuess:
    """Return what a column is that is neither the text nor the outcome."""
    reading = look.reading
    if reading.refusal:
        return look.guess("", f"cannot be used: it {reading.refusal}")
    if look.different <= 1:
        return look.guess("", "the same in every row")
    if look.words >= FEWEST_WORDS:
        if look.is_called(PROMPTS):
            return look.guess("prompt", "a text that is named like what others answer")
        return look.guess("", "another text")
    if holds_dates(look.values) and not look.is_called(AFTERWARDS):
        return look.guess("time", "holds dates")
    period = look.is_called(PERIODS)
    numeric = reading.kind == "numeric"
    if numeric and look.is_called(TRIALS) and _holds_trials(look, outcome):
        return look.guess("trials", f"never below {outcome_name}")
    if not period and look.is_called(GROUPS) and look.different <= 0.9 * look.rows:
        return look.guess("group", "named like tests, and several rows share one")
    # A rank is a number, the place where somebody lives a name.
    if look.is_called(AFTERWARDS) or (look.is_called(("place",)) and reading.kind != "categorical"):
        return look.guess("", "named like what is known only after the text")
    if _goes_with(look, outcome):
        return look.guess("", f"goes with {outcome_name} nearly one to one: it came after the text")
    if look.different >= 0.98 * look.rows and (not numeric or look.is_called(("id",))):
        return look.guess("", "different in every row")
    if numeric and look.is_called(("timestamp", "unix")):
        return look.guess("", "a time that is written as a number")
    if reading.missing + reading.odd > MOST_MISSING * look.rows:
        return look.guess("", f"without a value in {reading.missing + reading.odd:,} rows")
    names_someone = reading.kind == "categorical" or look.is_called(("id",))
    if look.is_called(CLUSTERS) and names_someone and look.different > 20:
        return look.guess("cluster", "named like who is behind several rows")
    is_name = numeric and look.is_called(NAMES)
    if (is_name or reading.kind == "categorical") and look.rows < FEWEST_ROWS * look.different:
        return look.guess("", f"{look.different:,} different names: too few rows of each")
    return look.guess("confounder", "keep it if it was known before the text", is_name=is_name)


def _numbers(look: _Look) -> np.ndarray:
    return np.asarray(look.values.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _holds_trials(look: _Look, outcome: np.ndarray) -> bool:
    trials = _numbers(look)
    both = np.isfinite(trials) & np.isfinite(outcome)
    return bool(both.any()) and bool((trials[both] >= outcome[both]).all())


def _goes_with(look: _Look, outcome: np.ndarray) -> bool:
    """Say whether a column's order is nearly that of the outcome, or its names tell it."""
    if look.reading.kind == "categorical":
        return _tells(look, outcome)
    if look.reading.kind not in ("numeric", "boolean") or look.different < 3:
        return False
    values = _numbers(look)
    both = np.isfinite(values) & np.isfinite(outcome)
    if both.sum() < 3 or np.ptp(values[both]) == 0 or np.ptp(outcome[both]) == 0:
        return False
    return bool(abs(np.corrcoef(values[both], outcome[both])[0, 1]) > SAME)


def _tells(look: _Look, outcome: np.ndarray) -> bool:
    """Say whether what differs in the outcome differs between the names of a column."""
    names = look.values.combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy()
    known = np.isfinite(outcome)
    y, code = outcome[known] - outcome[known].mean(), names[known] + 1
    size = np.bincount(code)
    if FEWEST_ROWS * (size > 0).sum() > len(y) or not y.any():
        return False  # of few rows each, any names would
    sums = np.bincount(code, weights=y)
    between = (sums[size > 0] ** 2 / size[size > 0]).sum()
    return bool(between > SAME**2 * (y @ y))


def _once(guesses: list[RoleGuess]) -> tuple[RoleGuess, ...]:
    """Leave a role that one column can play to the first that seems to."""
    taken: set[str] = set()
    settled = []
    for guess in guesses:
        repeats = guess.part in taken and guess.part not in ("confounder", "")
        taken.add(guess.part)
        if repeats:
            why = f"another column is the {guess.part} already"
            guess = RoleGuess(guess.column, guess.kind, "", why, guess.missing)
        settled.append(guess)
    return tuple(settled)
