"""How many readers a test needs: at one look at its end, and with a look whenever one likes."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.optimize import brentq
from scipy.stats import norm

from causalign import figures
from causalign.errors import InputError
from causalign.experiment.running_tests import read_running_tests
from causalign.logs import Logs
from causalign.results import Finding, Result, Section
from causalign.settings import require_number
from causalign.stats.confidence_sequence import (
    StoppingLaw,
    narrowest_ratio,
    reach,
    stopping_law,
)

_ASSUMPTION = (
    "Arms get equal shares of readers, who are independent; the true difference is the smallest "
    "one worth having. With several arms each is compared with one other at α over the comparisons."
)
# Differences for which the picture shows the power, over the one that was planned for.
_DRAWN = np.linspace(0.0, 2.0, 21)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ReaderPlan(Result):
    """How many readers a test needs to show the smallest difference worth having.

    Attributes
    ----------
    baseline, minimum : float
        Mean outcome of the present text, and the difference to show.
    variance : float
        Of the outcome among readers.
    arms, looks : int
    power, level : float
    fixed : float
        Readers of an arm if the test is looked at once, at its end.
    sequential : float
        Readers of an arm at most, if it is looked at ``looks`` times and stops when it may.
    expected, expected_null : float
        Readers of an arm when it stops, on average: with this difference, and with none.
    peeking : float
        How often naive looks would stop a test without a difference.
    readers_a_day : float or None
        Of all arms together.
    findings : tuple of Finding
        None; the plan is arithmetic.
    """

    baseline: float
    minimum: float
    variance: float
    arms: int
    looks: int
    power: float
    level: float
    fixed: float
    sequential: float
    expected: float
    expected_null: float
    peeking: float
    readers_a_day: float | None
    findings: tuple[Finding, ...] = ()

    @property
    def planned(self) -> float:
        """Readers of all arms at most: what `read` takes as ``planned``."""
        return self.arms * self.sequential

    def days(self, readers_of_an_arm: float) -> float | None:
        """Return the days that so many readers of an arm take, where the traffic is known."""
        if self.readers_a_day is None:
            return None
        return float(np.ceil(readers_of_an_arm * self.arms / self.readers_a_day))

    def answer(self) -> str:
        """Return how many readers, at one look and at many."""
        days = self.days(self.sequential)
        time = "" if days is None else f" ({days:,.0f} days)"
        return (
            f"To show a difference of {self.minimum:.3g} with power {self.power:.0%}: "
            f"{self.fixed:,.0f} readers an arm if you look once, at the end; if you look "
            f"{self.looks} times and stop when the interval allows, at most {self.sequential:,.0f}"
            f"{time}, on average {self.expected:,.0f}."
        )

    def table(self) -> pa.Table:
        """Return one row for each way to look."""
        sizes = [self.fixed, self.sequential, self.expected, self.expected_null]
        return pa.table(
            {
                "look": [
                    "once, at the end",
                    f"{self.looks} times, at most",
                    f"{self.looks} times, on average",
                    f"{self.looks} times, on average without a difference",
                ],
                "readers of an arm": sizes,
                "readers": [self.arms * size for size in sizes],
                "days": pa.array([self.days(size) for size in sizes], pa.float64()),
            }
        )

    def section(self) -> Section:
        """Return the plan as a section of the report."""
        return Section(
            stage="experiment",
            question="How many readers does the test need?",
            answer=self.answer(),
            assumption=_ASSUMPTION,
            numbers={
                "fixed": self.fixed,
                "sequential": self.sequential,
                "expected": self.expected,
                "expected_null": self.expected_null,
                "planned": self.planned,
                "days": self.days(self.sequential),
                "peeking": self.peeking,
            },
            tables={"readers": self.table()},
            figures=figures.draw_figures(self.drawing()),
            findings=self.findings,
        )

    def drawing(self) -> figures.Drawing:
        """Return the power of both ways to look, against the true difference."""
        family = self.arms - 1
        alpha = (1 - self.level) / family
        errors = np.sqrt(2 * self.variance / np.array([self.fixed, self.sequential]))
        shift = _DRAWN * self.minimum
        z = norm.ppf(1 - alpha / 2)
        once = norm.sf(z - shift / errors[0]) + norm.cdf(-z - shift / errors[0])
        laws = [_law(alpha, self.looks, float(d / errors[1])).power for d in shift]
        return figures.curve(
            "power",
            shift,
            {
                "one look": once,
                f"{self.looks} looks" if self.looks > 1 else "always valid": laws,
            },
            xlabel="true difference",
            ylabel="power",
            caption=(
                f"Probability that the test shows a difference (level {self.level:.0%}): with "
                f"{self.fixed:,.0f} readers an arm at one look, {self.sequential:,.0f} at most at "
                "several."
            ),
            alt=self.answer(),
            mark_x=self.minimum,
        )


def plan(
    baseline: float,
    minimum: float,
    *,
    variance: float | None = None,
    arms: int = 2,
    power: float = 0.8,
    level: float = 0.95,
    looks: int = 14,
    readers_a_day: float | None = None,
) -> ReaderPlan:
    """Say how many readers each arm needs to show a difference, at one look and at many.

        one look:    n = (z_{α/2} √(2 p̄ q̄) + z_β √(p₀ q₀ + p₁ q₁))² / δ²
        L looks:     the n at which P(the interval of `read` leaves out 0 at a look ≤ L) = power

    The second is integrated from look to look with equal readers between them, and an interval that
    is narrowest at the last. Assumption: equal arms of independent readers; the normal
    approximation.

    Parameters
    ----------
    baseline : float
        Mean outcome of the present text: its rate, or its mean with ``variance``.
    minimum : float
        δ, the smallest difference worth having, in units of the outcome.
    variance : float, optional
        Of the outcome among readers, where it is no rate.
    arms : int
    power, level : float
    looks : int
        How often the test is looked at, at equal steps: days.
    readers_a_day : float, optional
        Of all arms together; then days are given too.

    Returns
    -------
    ReaderPlan

    Raises
    ------
    SettingsError
        For numbers out of range.

    References
    ----------
    Fleiss, Levin and Paik (2003), Statistical Methods for Rates and Proportions, chapter 4.
    """
    require_number("minimum", minimum, above=0)
    if variance is None:
        require_number("baseline", baseline, above=0, below=1)
        require_number("minimum", minimum, above=0, below=1 - baseline)
    else:
        require_number("variance", variance, above=0)
    require_number("arms", arms, least=2, whole=True)
    require_number("level", level, above=0, below=1)
    require_number("power", power, above=1 - level, below=1)
    require_number("looks", looks, least=1, most=1000, whole=True)
    if readers_a_day is not None:
        require_number("readers_a_day", readers_a_day, above=0)
    alpha = (1 - level) / (arms - 1)
    equal, apart = _variances(baseline, minimum, variance)
    z = float(norm.ppf(1 - alpha / 2)), float(norm.ppf(power))
    fixed = (z[0] * np.sqrt(2 * equal) + z[1] * np.sqrt(2 * apart)) ** 2 / minimum**2
    drift = float(brentq(lambda d: _law(alpha, looks, d).power - power, 0.0, 40.0, xtol=1e-6))
    sequential = 2 * apart * drift**2 / minimum**2
    at = np.arange(1, looks + 1.0)
    naive = stopping_law(np.full(looks, norm.ppf(0.5 + level / 2)), at, 0.0).power
    return ReaderPlan(
        float(baseline),
        float(minimum),
        apart,
        int(arms),
        int(looks),
        float(power),
        float(level),
        float(np.ceil(fixed)),
        float(np.ceil(sequential)),
        float(np.ceil(sequential * _law(alpha, looks, drift).expected_share(at))),
        float(np.ceil(sequential * _law(alpha, looks, 0.0).expected_share(at))),
        naive,
        readers_a_day,
    )


def plan_like(
    logs: Logs, minimum: float, *, power: float = 0.8, level: float = 0.95, looks: int = 14
) -> ReaderPlan:
    """ReaderPlan a test from one that was begun: its rate, its arms and its traffic so far.

    Parameters
    ----------
    logs : Logs
        As for `read`, of one test with days.
    minimum : float
        The smallest difference worth having, in units of the outcome.
    power, level : float
    looks : int

    Returns
    -------
    ReaderPlan

    Raises
    ------
    InputError
        When the logs hold several tests.
    RoleNotDeclared
        Without days.
    """
    logs.require("time")
    tests, _ = read_running_tests(logs)
    if len(tests) > 1:
        raise InputError(f"A plan is for one test; these logs hold {len(tests)} of them.")
    test = tests[0]
    mean = float(test.readers @ test.means / test.readers.sum())
    spare = max(test.readers.sum() - test.shown.sum(), 1.0)
    variance = None if test.counts else float(test.cells.square.sum() / spare)
    return plan(
        mean,
        minimum,
        variance=variance,
        arms=len(test.arms),
        power=power,
        level=level,
        looks=looks,
        readers_a_day=float(test.readers.sum() / len(test.days)),
    )


def _variances(baseline: float, minimum: float, variance: float | None) -> tuple[float, float]:
    """Return the mean variance of two arms without a difference, and with it."""
    if variance is not None:
        return float(variance), float(variance)
    other = baseline + minimum
    middle = (baseline + other) / 2
    apart = (baseline * (1 - baseline) + other * (1 - other)) / 2
    return middle * (1 - middle), apart


def _law(alpha: float, looks: int, drift: float) -> StoppingLaw:
    """Return when a test stops whose difference is ``drift`` errors at its last look."""
    at = np.arange(1, looks + 1.0) / looks
    return stopping_law(reach(narrowest_ratio(alpha) * at, alpha), at, drift)
