"""Compare the arms of one test with each other, and their guardrails, so that every look holds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from causalign.errors import InputError
from causalign.experiment.expectation import Expectation
from causalign.experiment.running_tests import RunningTest
from causalign.results import Card
from causalign.settings import require_number
from causalign.stats.confidence_sequence import (
    count_discoveries,
    expecting_log_e_value,
    expecting_reach,
    log_e_value,
    narrowest_ratio,
    one_sided_reach,
    reach,
)
from causalign.stats.daily_differences import Cells, Differences, daily_differences

Floats = NDArray[np.float64]

# Below so many successes and failures expected in an arm, rates are far from normal.
LEAST_EVENTS = 10
_LEAST_READERS = 30
# Unless it is said how long a test is planned for, two weeks like its first day.
_DAYS_PLANNED = 14
# Beyond so many times the readers so far, a test that goes on has no end in sight.
_FAR = 100.0
_NAMED = 8


@dataclass(frozen=True, slots=True)
class StopRule:
    """What is asked of every test.

    Parameters
    ----------
    control : str, optional
        The text of the arm that others are compared with; the leading arm unless given.
    minimum : float, optional
        The smallest difference worth having, in units of the outcome.
    planned : float, optional
        Readers of all arms after which the interval shall be narrowest; fourteen times those of
        the first day unless given.
    level : float
        Of the intervals.

    Raises
    ------
    SettingsError
        For numbers out of range.
    """

    control: str | None = None
    minimum: float | None = None
    planned: float | None = None
    level: float = 0.95

    def __post_init__(self) -> None:
        require_number("level", self.level, above=0, below=1)
        if self.minimum is not None:
            require_number("minimum", self.minimum, above=0)
        if self.planned is not None:
            require_number("planned", self.planned, above=0)

    @property
    def alpha(self) -> float:
        """One less the level."""
        return 1 - self.level


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ArmComparison(Card):
    """Hold how an arm stands against another after each of D days.

    Attributes
    ----------
    arm, against : int
        Places among the arms.
    path : Differences
        The difference after each day; errors are infinite while it is too early.
    ratio : (D,) array
        Information so far, 8.2 (at α = 0.05) where the interval is narrowest.
    mean, spread : float or None
        What was expected of the difference.
    alpha : float
        At which the interval holds: what e-BH leaves to one comparison of the family's α.
    differs : bool
        Whether it is a discovery: just then the interval leaves out 0.
    """

    arm: int
    against: int
    path: Differences
    ratio: Floats
    mean: float | None = None
    spread: float | None = None
    alpha: float = 0.05
    differs: bool = False

    @property
    def difference(self) -> float:
        """The difference today."""
        return float(self.path.estimate[-1])

    @property
    def is_early(self) -> bool:
        """Whether nothing can be said yet."""
        return not bool(np.isfinite(self.path.error[-1]))

    def turn(self) -> "ArmComparison":
        """Return the same comparison from the other side."""
        path = replace(self.path, estimate=-self.path.estimate, daily=-self.path.daily)
        mean = None if self.mean is None else -self.mean
        return replace(self, arm=self.against, against=self.arm, path=path, mean=mean)

    def log_e(self) -> float:
        """Return ln E against no difference today, 0 while it is too early."""
        error = self.path.error[-1]
        if not np.isfinite(error) or error == 0:
            return 0.0
        if self.mean is None or self.spread is None:
            return float(log_e_value(self.difference / error, self.ratio[-1]))
        return float(expecting_log_e_value(self.difference, error, self.mean, self.spread))

    def half_width(self) -> Floats:
        """Return half the width of the interval after each day ``(D,)``."""
        half, known = np.full(len(self.ratio), np.inf), np.isfinite(self.path.error)
        estimate, error = self.path.estimate[known], self.path.error[known]
        half[known] = self._half_width(estimate, error, self.ratio[known])
        return half

    def _half_width(self, estimate: ArrayLike, error: Floats, ratio: Floats) -> Floats:
        if self.mean is None or self.spread is None:
            return error * reach(ratio, self.alpha)
        return error * expecting_reach(estimate, error, self.mean, self.spread, self.alpha)

    def interval(self) -> tuple[float, float]:
        """Return the ends of the interval today."""
        half = float(self.half_width()[-1])
        return (-np.inf, np.inf) if self.is_early else _around(self.difference, half)

    def naive(self, level: float) -> tuple[float, float]:
        """Return the ends of the interval that holds at one look only."""
        half = float(norm.ppf(0.5 + level / 2) * self.path.error[-1])
        return (-np.inf, np.inf) if self.is_early else _around(self.difference, half)

    def readers_needed(self, minimum: float | None) -> float:
        """Return how many times today's readers settle it, if the difference stays as it is."""
        if self.is_early:
            return np.inf
        size, times = abs(self.difference), np.geomspace(1.0, _FAR, 400)
        error = self.path.error[-1] / np.sqrt(times)
        half = self._half_width(self.difference, error, self.ratio[-1] * times)
        settled = half <= size
        if minimum is not None:
            settled |= size + half <= minimum
        return float(times[settled.argmax()]) if settled.any() else np.inf


@dataclass(frozen=True, slots=True)
class GuardrailBound:
    """Hold by how much an arm raises what must not rise, with bounds that hold at every look.

    Attributes
    ----------
    guardrail : str
        The column.
    arm, against : int
        Places among the arms.
    difference, least, most : float
        The rise, and its bounds: each holds alone, on its side.
    """

    guardrail: str
    arm: int
    against: int
    difference: float
    least: float
    most: float

    @property
    def is_harm(self) -> bool:
        """Whether the rise is shown."""
        return self.least > 0


def compare_arms(
    test: RunningTest, rule: StopRule, expectation: Expectation | None
) -> tuple[ArmComparison, ...]:
    """Compare each arm with the control, or the leading arm with each other one.

    Discoveries are those of e-BH in the family of all comparisons made; without a control these are
    all pairs, since it was the data that chose the leader. Intervals hold at the level that e-BH
    leaves, 1 - α max(k, 1)/m for k discoveries among m, so that intervals and discoveries agree.
    """
    control = find_control(test, rule)
    expected = None if expectation is None else expectation.of(test)
    arms = range(len(test.arms))
    pairs = [(i, j) for i in arms for j in range(i)]
    if control is not None:
        pairs = [(arm, control) for arm in arms if arm != control]
    compared = [_compare(test, i, j, rule, expected, len(pairs)) for i, j in pairs]
    strongest = sorted(compared, key=lambda one: -one.log_e())
    count = count_discoveries([one.log_e() for one in strongest], rule.alpha)
    alpha = rule.alpha * max(count, 1) / len(pairs)
    compared = [
        replace(one, alpha=alpha, differs=place < count) for place, one in enumerate(strongest)
    ]
    if control is None:
        leader = _find_leader(len(test.arms), compared)
        against = [one for one in compared if leader in (one.arm, one.against)]
        compared = [one if one.arm == leader else one.turn() for one in against]
    return tuple(sorted(compared, key=lambda one: (one.arm, one.against)))


def find_control(test: RunningTest, rule: StopRule) -> int | None:
    """Return the place of the control, or None without one; raise if no arm has its text."""
    if rule.control is None:
        return None
    if rule.control in test.arms:
        return test.arms.index(rule.control)
    where = f" of test {test.name!r}" if test.name else ""
    names = ", ".join(repr(arm[:60]) for arm in test.arms[:_NAMED])
    raise InputError(f"No arm{where} is the control {rule.control!r}; there are: {names}.")


def bound_guardrails(
    test: RunningTest, compared: Sequence[ArmComparison], rule: StopRule
) -> tuple[GuardrailBound, ...]:
    """Return for each guardrail and comparison by how much it rises, at least and at most.

    Each guardrail alone is falsely shown to rise in at most α of the tests, whichever arm leads.
    """
    arms = len(test.arms)
    alpha = rule.alpha / (arms - 1 if rule.control is not None else arms * (arms - 1))
    bounds = []
    for name, cells in test.guardrails.items():
        for one in compared:
            path = daily_differences(cells, one.arm, one.against)
            difference, error = float(path.estimate[-1]), float(path.error[-1])
            half = np.inf
            if np.isfinite(error) and not _is_early(cells, one.arm, one.against, test.counts)[-1]:
                half = error * float(one_sided_reach(one.ratio[-1], alpha))
            ends = _around(difference, half)
            bounds.append(GuardrailBound(name, one.arm, one.against, difference, *ends))
    return tuple(bounds)


def _compare(
    test: RunningTest,
    arm: int,
    against: int,
    rule: StopRule,
    expected: tuple[Floats, float] | None,
    family: int,
) -> ArmComparison:
    """Return the comparison of two arms, its error infinite while it is too early."""
    path = daily_differences(test.cells, arm, against)
    early = _is_early(test.cells, arm, against, test.counts) | ~np.isfinite(path.error)
    path = replace(path, error=np.where(early, np.inf, path.error))
    ratio = _time(test, path, rule, family)
    if expected is None:
        return ArmComparison(arm, against, path, ratio)
    mean = float(expected[0][arm] - expected[0][against])
    return ArmComparison(arm, against, path, ratio, mean, float(np.sqrt(2) * expected[1]))


def _is_early(cells: Cells, arm: int, against: int, counts: bool) -> NDArray[np.bool_]:
    """Return on which days ``(D,)`` too little was seen of two arms together."""
    n = np.cumsum(cells.readers[:, [arm, against]], axis=0)
    if not counts:
        return np.asarray(n.min(axis=1) < _LEAST_READERS)
    hits = np.cumsum(cells.readers * cells.mean, axis=0)[:, [arm, against]]
    rate = hits.sum(axis=1) / np.maximum(n.sum(axis=1), 1.0)
    return np.asarray(n.min(axis=1) * np.minimum(rate, 1 - rate) < LEAST_EVENTS)


def _time(test: RunningTest, path: Differences, rule: StopRule, family: int) -> Floats:
    """Return the ratio of each day, from the plan or from the traffic of the first day.

    Neither knows an outcome: the boundary is settled before it could be chosen to suit.
    """
    if not path.shared_days:
        return np.ones(len(path.information))
    first = int(np.flatnonzero(path.information > 0)[0])
    days = _DAYS_PLANNED
    if rule.planned is not None:
        days = rule.planned / test.cells.readers[first].sum()
    narrowest = narrowest_ratio(rule.alpha / family)
    ratio = narrowest * path.information / (path.information[first] * days)
    return np.asarray(np.where(ratio > 0, ratio, 1.0))


def _find_leader(arms: int, compared: Sequence[ArmComparison]) -> int:
    """Return the arm with the largest sum of differences from the others."""
    score = np.zeros(arms)
    for one in compared:
        if np.isfinite(one.difference):
            score[one.arm] += one.difference
            score[one.against] -= one.difference
    return int(score.argmax())


def _around(middle: float, half: float) -> tuple[float, float]:
    return middle - half, middle + half
