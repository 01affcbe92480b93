"""What a formula does with a column, fitted: knots, means and levels are kept for other logs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from causalign.covariates import Covariate, covariate
from causalign.deconfound.formula import Factor
from causalign.deconfound.terms import Categories, Slope, Term
from causalign.errors import InputError
from causalign.logs import Logs
from causalign.stats.splines import spline_columns, spline_knots

__all__ = [
    "Combinations",
    "Curve",
    "FittedFactor",
    "Levels",
    "Line",
    "Reader",
    "curve",
    "levels",
    "line",
]


class Reader:
    """Read the columns of logs, each one once, as numbers or as categories."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        self._read: dict[str, Covariate] = {}

    def covariate(self, name: str) -> Covariate:
        """Return a column in the role that it has."""
        if name not in self._read:
            self._read[name] = self._logs.covariate(name)
        return self._read[name]

    def numbers(self, name: str, function: str = "") -> np.ndarray:
        """Return a numeric column ``(n,)``, or its logarithm."""
        found = self.covariate(name)
        if found.is_categorical:
            raise InputError(
                f"Column {name!r} is used as a number and holds categories here. Convert it to "
                "numbers."
            )
        if function != "log":
            return found.values
        bad = np.flatnonzero(found.values <= 0)
        if bad.size:
            raise InputError(
                f"log({name}) needs values above 0; {bad.size} are not (first at row {bad[0]}: "
                f"{found.values[bad[0]]:g}). Use {name} or spline({name})."
            )
        return np.log(found.values)

    def categories(self, names: Sequence[str]) -> tuple[tuple[tuple[str, ...], ...], np.ndarray]:
        """Return the combinations of categories that occur, and which one each row ``(n,)`` has."""
        parts = [self._category(name) for name in names]
        if len(parts) == 1:
            return tuple((level,) for level in parts[0].levels), parts[0].values
        joint, codes = np.unique(
            np.column_stack([part.values for part in parts]), axis=0, return_inverse=True
        )
        found = [
            tuple(part.levels[int(code)] for part, code in zip(parts, row, strict=True))
            for row in joint
        ]
        return tuple(found), codes.ravel()

    def levels_among(self, names: Sequence[str], known: Sequence[tuple[str, ...]]) -> np.ndarray:
        """Return the place ``(n,)`` of each row's combination among the known, -1 where absent."""
        place = {level: code for code, level in enumerate(known)}
        found, codes = self.categories(names)
        return np.array([place.get(level, -1) for level in found], dtype=np.int64)[codes]

    def _category(self, name: str) -> Covariate:
        found = self.covariate(name)
        if found.is_categorical:
            return found
        return covariate(name, self._logs.data[name], categorical=True)


@dataclass(frozen=True, slots=True)
class Line:
    """Use a numeric column as it is, or its logarithm; ``mean`` is that of the fitted logs."""

    column: str
    function: str
    mean: float

    @property
    def label(self) -> str:
        """Return the words of the formula."""
        return str(Factor(self.column, self.function))

    @property
    def names(self) -> tuple[str, ...]:
        """Return the name of the only column."""
        return (self.label,)

    @property
    def means(self) -> np.ndarray:
        """Return the mean ``(1,)`` of the column in the fitted logs."""
        return np.array([self.mean])

    def columns(self, read: Reader) -> np.ndarray:
        """Return the column ``(n, 1)``."""
        return read.numbers(self.column, self.function)[:, None]

    def reading(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return what is told of the effect: its slope."""
        return (self.label,), np.ones((1, 1))

    def term(self, coefficients: np.ndarray) -> Term | None:
        """Return the simplest term that says the same."""
        if self.function:
            return None
        return Slope(self.column, float(coefficients[0]), self.mean)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Use a numeric column through cubic splines with given ``knots``; ``means (k,)``."""

    column: str
    knots: np.ndarray
    means: np.ndarray

    @property
    def label(self) -> str:
        """Return the words of the formula."""
        return str(Factor(self.column, "spline"))

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the k columns."""
        return tuple(f"{self.label}[{j + 1}]" for j in range(len(self.means)))

    def columns(self, read: Reader) -> np.ndarray:
        """Return the spline columns ``(n, k)``."""
        return spline_columns(read.numbers(self.column), self.knots)

    def reading(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return what is told of the effect: the curve at its knots, against the average row."""
        shown = _distinct(self.knots)
        names = tuple(f"{self.label} at {value}" for value in shown)
        return names, spline_columns(self.knots, self.knots) - self.means

    def term(self, coefficients: np.ndarray) -> Term | None:
        """Return None: a curve has no simpler form."""
        del coefficients
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Use the categories of one column, or the combinations of several that the logs hold.

    ``found`` names the L levels, each a category for each column, ``shares (L,)`` their weights in
    the fitted logs and ``codes (n,)`` the level of each fitted row.
    """

    read: tuple[str, ...]
    found: tuple[tuple[str, ...], ...]
    shares: np.ndarray
    codes: np.ndarray

    @property
    def label(self) -> str:
        """Return the names of the columns."""
        return " × ".join(self.read)

    @property
    def level_names(self) -> tuple[str, ...]:
        """Return the L levels in words."""
        return tuple(" × ".join(level) for level in self.found)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the L - 1 columns; the first level is the reference."""
        return tuple(f"{self.label}[{level}]" for level in self.level_names[1:])

    @property
    def means(self) -> np.ndarray:
        """Return the means ``(L - 1,)`` of the columns in the fitted logs."""
        return self.shares[1:]

    def covariate(self) -> Covariate:
        """Return the fitted rows as a categorical covariate."""
        return Covariate(self.label, "categorical", self.codes, self.level_names)

    def columns(self, read: Reader) -> np.ndarray:
        """Return indicators ``(n, L - 1)``; a row of no known level is an average one."""
        codes = read.levels_among(self.read, self.found)
        shown = (codes[:, None] == np.arange(1, len(self.found))).astype(float)
        shown[codes < 0] = self.means
        return shown

    def reading(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return what is told of the effect: each level against the average row."""
        width = len(self.found) - 1
        contrast = np.vstack([np.zeros(width), np.eye(width)]) - self.means
        return tuple(f"{self.label}[{level}]" for level in self.level_names), contrast

    def unknown(self, read: Reader) -> np.ndarray:
        """Return the rows ``(n,)`` whose level the fitted logs did not hold."""
        return read.levels_among(self.read, self.found) < 0

    def term(self, coefficients: np.ndarray) -> Term | None:
        """Return the simplest term that says the same."""
        return self.effects(np.arange(len(self.found)), self.reading()[1] @ coefficients)

    def effects(self, codes: Sequence[int] | np.ndarray, deviations: np.ndarray) -> Term:
        """Return the term in which the levels with these ``codes`` have these ``deviations``."""
        kept = [self.found[int(code)] for code in codes]
        by_level = dict(zip(kept, deviations.tolist(), strict=True))
        if len(self.read) == 1:
            return Categories(self.read[0], {level[0]: by_level[level] for level in by_level})
        return Combinations(self.read, by_level)


FittedFactor = Line | Curve | Levels


@dataclass(frozen=True, slots=True)
class Combinations:
    """Contribute the deviation of a row's combination of categories from the average row."""

    read: tuple[str, ...]
    deviations: dict[tuple[str, ...], float]

    @property
    def column(self) -> str:
        """Return the names of the columns."""
        return " × ".join(self.read)

    def contribution(self, logs: Logs) -> np.ndarray:
        """Return the contributions ``(n,)`` in units of the outcome."""
        values = np.array([*self.deviations.values(), 0.0])
        return values[Reader(logs).levels_among(self.read, tuple(self.deviations))]

    def unknown(self, logs: Logs) -> int:
        """Return how many rows hold a combination that has no effect of its own."""
        return int((Reader(logs).levels_among(self.read, tuple(self.deviations)) < 0).sum())


def line(read: Reader, column: str, function: str, weights: np.ndarray) -> Line:
    """Fit the use of a numeric column."""
    values = read.numbers(column, function)
    return Line(column, function, float(np.average(values, weights=weights)))


def curve(read: Reader, column: str, width: int, weights: np.ndarray) -> Curve:
    """Fit a spline of ``width`` columns: its knots are quantiles of the fitted logs."""
    values = read.numbers(column)
    try:
        knots = spline_knots(values, width)
    except InputError as error:
        raise InputError(f"spline({column}, {width}): {error}") from error
    return Curve(column, knots, np.average(spline_columns(values, knots), axis=0, weights=weights))


def levels(read: Reader, columns: tuple[str, ...], weights: np.ndarray) -> Levels:
    """Fit the use of one categorical column, or of several in combination."""
    found, codes = read.categories(columns)
    shares = np.bincount(codes, weights=weights, minlength=len(found)) / weights.sum()
    return Levels(columns, found, shares, codes)


def _distinct(values: np.ndarray) -> list[str]:
    """Write numbers as shortly as keeps them apart."""
    for digits in range(4, 17):
        shown = [f"{value:.{digits}g}" for value in values]
        if len(set(shown)) == len(shown):
            break
    return shown
