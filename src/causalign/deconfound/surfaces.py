"""An effect of confounders that is a function of them: its term, and what a table shows of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from causalign.deconfound.factors import Reader
from causalign.errors import NotIdentified
from causalign.logs import Logs
from causalign.logs.covariates import Covariate, Kind

Function = Callable[[np.ndarray], np.ndarray]
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
# Width of the difference quotient, in standard deviations.
STEP = 1e-3
# At most so many rows are asked for each confounder when a function is averaged over the log.
EVALUATIONS = 20_000
BLOCK = 8192


@dataclass(frozen=True, slots=True, eq=False)
class ColumnsOfLogs:
    """Read columns of logs as one matrix ``(n, d)``: numbers, and codes of the fitted levels.

    ``levels`` has one entry for each name, empty for numbers; -1 stands for a level not fitted.
    """

    names: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    kinds: tuple[Kind, ...]

    def __call__(self, logs: Logs) -> np.ndarray:
        """Return ``(n, d)``; raise `InputError` where a column is of another kind than it was."""
        read = Reader(logs)
        columns = [
            read.levels_among((name,), [(level,) for level in known])
            if known
            else read.numbers(name, fitted=kind)
            for name, known, kind in zip(self.names, self.levels, self.kinds, strict=True)
        ]
        return np.column_stack(columns).astype(np.float64, copy=False)

    @property
    def counts(self) -> tuple[int, ...]:
        """Return the number of levels of each column, 0 for numbers."""
        return tuple(len(known) for known in self.levels)


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """Contribute ``h(C)``, a function of all confounders at once, less its fitted average."""

    read: ColumnsOfLogs
    function: Function

    @property
    def column(self) -> str:
        """Return the columns that the function reads."""
        return ", ".join(self.read.names)

    def contribution(self, logs: Logs) -> np.ndarray:
        """Return the contributions ``(n,)`` in units of the outcome."""
        rows = self.read(logs)
        parts = [self.function(rows[i : i + BLOCK]) for i in range(0, len(rows), BLOCK)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def unknown(self, logs: Logs) -> int:
        """Return how many rows hold a category that the fitted logs did not; taken as average."""
        coded = self.read(logs)[:, [bool(known) for known in self.read.levels]]
        return int((coded < 0).any(axis=1).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Functionals:
    """Hold what is shown of a function: ``k`` names, and each one's weights of function values.

    Number i is ``Σ_r weights[i][r] h(points[i][r])``: an average slope or an average value.
    """

    names: tuple[str, ...]
    points: tuple[np.ndarray, ...]
    weights: tuple[np.ndarray, ...]

    def apply(self, function: Function) -> np.ndarray:
        """Return the k numbers of a function of rows, or ``(k, p)`` of p functions."""
        sums = zip(self.points, self.weights, strict=True)
        return np.array([weights @ function(points) for points, weights in sums])


def read_columns(covariates: Sequence[Covariate]) -> tuple[ColumnsOfLogs, np.ndarray]:
    """Return how to read these covariates from other logs, and their matrix ``(n, d)``.

    Raises `NotIdentified` naming one that holds a single value.
    """
    for one in covariates:
        if np.ptp(one.values) == 0:
            raise NotIdentified(
                f"Column {one.name!r} holds one value only: nothing can be learned from it. Leave "
                "it out."
            )
    read = ColumnsOfLogs(
        tuple(c.name for c in covariates),
        tuple(c.levels for c in covariates),
        tuple(c.kind for c in covariates),
    )
    return read, np.column_stack([c.values for c in covariates]).astype(np.float64)


def choose_functionals(
    read: ColumnsOfLogs, rows: np.ndarray, weights: np.ndarray, seed: int
) -> Functionals:
    """Choose what is shown of a function h of ``rows (n, d)`` with ``weights (n,)``.

    For a number: its average slope over the rows, ``E[∂h/∂c_j]`` (with two values, the average
    difference of h between them, for one unit), then h at five of its quantiles, less the average
    of h. For a category: h at each level, less that average. Values of h at a point are averages
    over the rows' other confounders; a sample of rows stands for all where there are many.
    """
    names: list[str] = []
    points: list[np.ndarray] = []
    shares: list[np.ndarray] = []
    generator = np.random.default_rng(seed)
    for j, (name, known) in enumerate(zip(read.names, read.levels, strict=True)):
        values = rows[:, j]
        distinct = np.unique(values)
        if known:
            at, labels = distinct, [f"{name}[{known[int(code)]}]" for code in distinct]
        elif len(distinct) == 2:
            at, labels = distinct[:0], []
        else:
            at = np.quantile(values, QUANTILES, method="inverted_cdf")
            labels = [f"{name} = {q:.4g} ({p:.0%})" for p, q in zip(QUANTILES, at, strict=True)]
        sample, share = _sample(rows, weights, len(at) + 2, generator)
        if not known:
            names.append(name)
            places, differences = _slope(sample, share, j, distinct, float(values.std()))
            points.append(places)
            shares.append(differences)
        for label, value in zip(labels, at, strict=True):
            moved = sample.copy()
            moved[:, j] = value
            names.append(label)
            points.append(moved)
            shares.append(share)
    return Functionals(tuple(names), tuple(points), tuple(shares))


def _sample(
    rows: np.ndarray, weights: np.ndarray, points: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows to average over and their shares, fewer the more points there are."""
    most = max(EVALUATIONS // points, 20)
    if len(rows) > most:
        chosen = np.sort(generator.choice(len(rows), size=most, replace=False))
        rows, weights = rows[chosen], weights[chosen]
    return rows, weights / weights.sum()


def _slope(
    sample: np.ndarray, share: np.ndarray, j: int, distinct: np.ndarray, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return points and weights of the average difference quotient in column j."""
    low, high = sample.copy(), sample.copy()
    if len(distinct) == 2:
        low[:, j], high[:, j] = distinct
    else:
        low[:, j] -= STEP * spread
        high[:, j] += STEP * spread
    width = high[:, j] - low[:, j]
    return np.vstack([high, low]), np.concatenate([share / width, -share / width])
