"""What a formula does with a column: lines, cubic splines, levels, fitted for other logs."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.deconfound.formula import Factor
from causalign.deconfound.terms import Categories, Slope, Term, read_categories, read_numbers
from causalign.errors import InputError
from causalign.logs import Logs
from causalign.logs.covariates import Covariate, Kind
from causalign.stats.rounding import MARGIN, roundoff

Floats = NDArray[np.float64]
DEGREE = 3


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

    def numbers(self, name: str, function: str = "", fitted: Kind | None = None) -> np.ndarray:
        """Return a column of numbers ``(n,)``, of the kind that was fitted, or its logarithm."""
        values = read_numbers(self.covariate(name), fitted)
        if function != "log":
            return values
        bad = np.flatnonzero(values <= 0)
        if bad.size:
            raise InputError(
                f"log({name}) needs values above 0; {bad.size} are not (first at row {bad[0]}: "
                f"{values[bad[0]]:g}). Use {name} or spline({name})."
            )
        return np.asarray(np.log(values))

    def rounding(self, name: str, function: str = "") -> float:
        """Return the share of a numeric column less its mean that may be rounding."""
        raw = read_numbers(self.covariate(name))
        used = self.numbers(name, function)
        # An error of e x in x is one of e in log x.
        size = np.ones(len(raw)) if function == "log" else raw
        length = float(np.linalg.norm(used - used.mean()))
        lost = MARGIN * float(roundoff(raw[:, None])[0]) * float(np.linalg.norm(size))
        return lost / length if length > 0 else np.inf

    def categories(
        self, names: Sequence[str], known: Sequence[tuple[str, ...]] = ()
    ) -> tuple[tuple[tuple[str, ...], ...], np.ndarray]:
        """Return the combinations of categories that occur, and which one each row ``(n,)`` has."""
        parts = [
            read_categories(self.covariate(name), self._logs, {level[j] for level in known})
            for j, name in enumerate(names)
        ]
        if len(parts) == 1:
            return tuple((level,) for level in parts[0].levels), parts[0].values
        joint, codes = np.unique(
            np.column_stack([part.values for part in parts]), axis=0, return_inverse=True
        )
        combinations = [
            tuple(part.levels[int(code)] for part, code in zip(parts, row, strict=True))
            for row in joint
        ]
        return tuple(combinations), codes.ravel()

    def levels_among(self, names: Sequence[str], known: Sequence[tuple[str, ...]]) -> np.ndarray:
        """Return the place ``(n,)`` of each row's combination among the known, -1 where absent."""
        place = {level: code for code, level in enumerate(known)}
        levels, codes = self.categories(names, known)
        places = np.array([place.get(level, -1) for level in levels], dtype=np.int64)
        return np.asarray(places[codes])


@dataclass(frozen=True, slots=True)
class Line:
    """Use a numeric column as it is, or its logarithm; ``mean`` is that of the fitted logs."""

    column: str
    function: str
    mean: float
    kind: Kind

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
        return read.numbers(self.column, self.function, self.kind)[:, None]

    def rounding(self, read: Reader) -> float:
        """Return the share of the column, less its mean, that may be rounding."""
        return read.rounding(self.column, self.function)

    def reading(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return what is shown of the effect: its slope."""
        return (self.label,), np.ones((1, 1))

    def term(self, coefficients: np.ndarray) -> Term | None:
        """Return the simplest term that says the same."""
        if self.function:
            return None
        return Slope(self.column, float(coefficients[0]), self.mean, self.kind)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Use a numeric column through cubic splines with given ``knots``; ``means (k,)``."""

    column: str
    knots: np.ndarray
    means: np.ndarray
    kind: Kind

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
        return spline_columns(read.numbers(self.column, fitted=self.kind), self.knots)

    def rounding(self, read: Reader) -> float:
        """Return the share of the columns that may be rounding: about that of the numbers."""
        return read.rounding(self.column)

    def reading(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return what is shown of the effect: the curve at its knots, against the average row."""
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

    ``members`` names the L levels, each a category for each column, ``shares (L,)`` their weights
    in the fitted logs and ``codes (n,)`` the level of each fitted row.
    """

    read: tuple[str, ...]
    members: tuple[tuple[str, ...], ...]
    shares: np.ndarray
    codes: np.ndarray

    @property
    def label(self) -> str:
        """Return the names of the columns."""
        return " × ".join(self.read)

    @property
    def level_names(self) -> tuple[str, ...]:
        """Return the L levels in words."""
        if len(self.read) == 1:
            return tuple(chain.from_iterable(self.members))
        return tuple(" × ".join(level) for level in self.members)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the L - 1 columns; the first level is the reference."""
        return tuple(f"{self.label}[{level}]" for level in self.level_names[1:])

    @property
    def means(self) -> np.ndarray:
        """Return the means ``(L - 1,)`` of the columns in the fitted logs."""
        return np.asarray(self.shares[1:])

    def covariate(self) -> Covariate:
        """Return the fitted rows as a categorical covariate."""
        return Covariate(self.label, "categorical", self.codes, self.level_names)

    def columns(self, read: Reader) -> np.ndarray:
        """Return indicators ``(n, L - 1)``; a row of no known level is an average one."""
        codes = read.levels_among(self.read, self.members)
        indicators = (codes[:, None] == np.arange(1, len(self.members))).astype(float)
        indicators[codes < 0] = self.means
        return np.asarray(indicators)

    def rounding(self, read: Reader) -> float:
        """Return 0: a row belongs to a category or does not."""
        del read
        return 0.0

    def reading(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return what is shown of the effect: each level against the average row."""
        width = len(self.members) - 1
        contrast = np.vstack([np.zeros(width), np.eye(width)]) - self.means
        return tuple(f"{self.label}[{level}]" for level in self.level_names), contrast

    def unknown(self, read: Reader) -> np.ndarray:
        """Return the rows ``(n,)`` whose level the fitted logs did not hold."""
        return np.asarray(read.levels_among(self.read, self.members) < 0)

    def term(self, coefficients: np.ndarray) -> Term | None:
        """Return the simplest term that says the same."""
        return self.effects(np.arange(len(self.members)), self.reading()[1] @ coefficients)

    def effects(self, codes: np.ndarray, deviations: np.ndarray) -> Term:
        """Return the term in which the levels with these ``codes`` have these ``deviations``."""
        members, numbers = [self.members[code] for code in codes.tolist()], deviations.tolist()
        if len(self.read) == 1:
            levels = chain.from_iterable(members)
            return Categories(self.read[0], dict(zip(levels, numbers, strict=True)))
        return Combinations(self.read, dict(zip(members, numbers, strict=True)))


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
        return np.asarray(values[Reader(logs).levels_among(self.read, tuple(self.deviations))])

    def unknown(self, logs: Logs) -> int:
        """Return how many rows hold a combination that has no effect of its own."""
        return int((Reader(logs).levels_among(self.read, tuple(self.deviations)) < 0).sum())


def fit_line(read: Reader, column: str, function: str, weights: np.ndarray) -> Line:
    """Fit the use of a numeric column."""
    values = read.numbers(column, function)
    mean = float(np.average(values, weights=weights))
    return Line(column, function, mean, read.covariate(column).kind)


def fit_curve(read: Reader, column: str, width: int, weights: np.ndarray) -> Curve:
    """Fit a spline of ``width`` columns: its knots are quantiles of the fitted logs."""
    values = read.numbers(column)
    try:
        knots = spline_knots(values, width)
    except InputError as error:
        raise InputError(f"spline({column}, {width}): {error}") from error
    means = np.average(spline_columns(values, knots), axis=0, weights=weights)
    return Curve(column, knots, means, read.covariate(column).kind)


def fit_levels(read: Reader, columns: tuple[str, ...], weights: np.ndarray) -> Levels:
    """Fit the use of one categorical column, or of several in combination."""
    members, codes = read.categories(columns)
    shares = np.bincount(codes, weights=weights, minlength=len(members)) / weights.sum()
    return Levels(columns, members, shares, codes)


def _distinct(values: np.ndarray) -> list[str]:
    """Write numbers as shortly as keeps them apart."""
    for digits in range(4, 17):
        shown = [f"{value:.{digits}g}" for value in values]
        if len(set(shown)) == len(shown):
            break
    return shown


def spline_knots(values: ArrayLike, columns: int) -> Floats:
    """Return the knots of a cubic spline with as many ``columns``: smallest, quantiles, largest.

    ``columns - 3`` knots lie inside, at equally spaced quantiles of ``values (n,)``. Raises
    `InputError` when fewer than 3 columns are asked for or when the values are too few to differ
    at the knots.
    """
    if columns < DEGREE:
        raise InputError(f"A cubic spline has at least {DEGREE} columns, not {columns}.")
    x = np.asarray(values, dtype=np.float64)
    shares = np.linspace(0, 1, columns - DEGREE + 2)
    knots: Floats = np.quantile(x, shares)
    distinct = len(np.unique(x))
    if (np.diff(knots) <= 0).any() or distinct <= columns:
        raise InputError(
            f"{distinct} distinct values, or many equal ones, do not carry a spline of {columns} "
            "columns. Ask for fewer columns, or use the values as categories."
        )
    return knots


def spline_columns(values: ArrayLike, knots: ArrayLike) -> Floats:
    """Return the cubic B-splines ``(n, k)`` at ``values (n,)``, without the first: no intercept.

    ``k`` is three more than the inner knots. Between the outer knots equal to `patsy` ``bs(x,
    df=k)``; beyond them each column goes on along its tangent, because a cubic would run away.
    Reference: de Boor (1978).
    """
    from scipy.interpolate import BSpline  # brings scipy.optimize, which nothing else here needs

    x, given = np.asarray(values, dtype=np.float64), np.asarray(knots, dtype=np.float64)
    low, high = given[0], given[-1]
    padded = np.concatenate([[low] * DEGREE, given, [high] * DEGREE])
    inside = np.clip(x, low, high)
    columns = BSpline.design_matrix(inside, padded, DEGREE).toarray()
    beyond = x - inside
    if beyond.any():
        splines = BSpline(padded, np.eye(columns.shape[1]), DEGREE)
        columns = columns + beyond[:, None] * splines(inside, nu=1)
    without_first: Floats = columns[:, 1:]
    return without_first
