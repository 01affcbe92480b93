"""Read tests that still run: intervals that hold at every look, and whether to stop."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.stats import norm

from causalign import figures
from causalign.errors import RoleNotDeclared
from causalign.experiment.comparisons import StopRule, bound_guardrails, compare_arms
from causalign.experiment.expectation import Expectation
from causalign.experiment.inspection import has_mismatch, inspect_tests
from causalign.experiment.running_tests import RunningTest, read_running_tests
from causalign.experiment.stopping import Reading, decide, name_arm
from causalign.logs import Logs
from causalign.results import Finding, Result, Section

_ASSUMPTION = (
    "Readers were assigned to arms at random and are independent; there are enough of them for "
    "the normal approximation. The level holds for each test, however often it is looked at."
)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Readings(Result):
    """What running tests say today, one reading for each test.

    Attributes
    ----------
    readings : tuple of Reading
    outcome : str
        What is compared, in words.
    level : float
        Of the intervals.
    findings : tuple of Finding
        EX101 to EX110.
    """

    readings: tuple[Reading, ...]
    outcome: str
    level: float
    findings: tuple[Finding, ...]

    def answer(self) -> str:
        """Return what to do with the test, or how many of several are at their end."""
        if len(self.readings) == 1:
            return self.readings[0].decision.sentence
        actions = [one.decision.action for one in self.readings]
        counted = {action: actions.count(action) for action in dict.fromkeys(actions)}
        return f"Of {len(actions):,} tests: " + ", ".join(
            f"{count:,} {'stop, ' if action in ('use', 'keep', 'no difference') else ''}{action}"
            + (" an arm" if action == "use" else " the control" if action == "keep" else "")
            for action, count in sorted(counted.items(), key=lambda item: -item[1])
        )

    def details(self) -> list[str]:
        """Return the sentence of each of the first tests, where there are several."""
        if len(self.readings) == 1:
            return []
        return [f"{one.test.name}: {one.decision.sentence}" for one in self.readings[:8]]

    def table(self) -> pa.Table:
        """Return one row for each comparison."""
        rows = [(one.test, c) for one in self.readings for c in one.comparisons]
        ends = [(*c.interval(), *c.naive(self.level)) for _, c in rows]
        names = ("lower", "upper", "naive lower", "naive upper")
        return pa.table(
            {
                **self._names([test for test, _ in rows]),
                "arm": [test.arms[c.arm] for test, c in rows],
                "against": [test.arms[c.against] for test, c in rows],
                "difference": [c.difference for _, c in rows],
                **{name: [of[place] for of in ends] for place, name in enumerate(names)},
                "ln e-value": [c.log_e() for _, c in rows],
                "differs": [c.differs for _, c in rows],
            }
        )

    def arms(self) -> pa.Table:
        """Return one row for each arm: its readers and its mean outcome."""
        rows = [(one.test, arm) for one in self.readings for arm in range(len(one.test.arms))]
        return pa.table(
            {
                **self._names([test for test, _ in rows]),
                "arm": [test.arms[arm] for test, arm in rows],
                "readers": [float(test.readers[arm]) for test, arm in rows],
                self.outcome: [float(test.means[arm]) for test, arm in rows],
            }
        )

    def decisions(self) -> pa.Table:
        """Return one row for each test: what to do, and what it takes to settle it."""
        tests, made = [one.test for one in self.readings], [one.decision for one in self.readings]
        arms = [None if d.arm is None else t.arms[d.arm] for t, d in zip(tests, made, strict=True)]
        return pa.table(
            {
                **self._names(tests),
                "action": [d.action for d in made],
                "arm": pa.array(arms, pa.string()),
                "more readers": pa.array([d.more_readers for d in made], pa.float64()),
                "more days": pa.array([d.more_days for d in made], pa.float64()),
                "decision": [d.sentence for d in made],
            }
        )

    def guardrails(self) -> pa.Table:
        """Return one row for each guardrail and comparison: how much it rises, with bounds."""
        rows = [(one.test, bound) for one in self.readings for bound in one.guardrails]
        return pa.table(
            {
                **self._names([test for test, _ in rows]),
                "guardrail": [b.guardrail for _, b in rows],
                "arm": [t.arms[b.arm] for t, b in rows],
                "against": [t.arms[b.against] for t, b in rows],
                "rises by": [b.difference for _, b in rows],
                "at least": [b.least for _, b in rows],
                "at most": [b.most for _, b in rows],
            }
        )

    def section(self) -> Section:
        """Return the readings as a section of the report."""
        tables = {"arms": self.arms(), "comparisons": self.table()}
        if any(one.guardrails for one in self.readings):
            tables["guardrails"] = self.guardrails()
        if len(self.readings) > 1:
            tables = {"decisions": self.decisions(), **tables}
        return Section(
            stage="experiment",
            question="Is the test at its end, and which text is better?",
            answer=self.answer(),
            assumption=_ASSUMPTION,
            numbers=self._numbers(),
            tables=tables,
            figures=figures.draw_figures(self.drawing()),
            findings=self.findings,
        )

    def drawing(self) -> figures.Drawing:
        """Return the difference over the days, or all comparisons side by side."""
        first = self.readings[0]
        if len(self.readings) == 1 and len(first.test.days) > 1:
            return _draw_days(first, self.outcome, self.level)
        rows = [(one.test, c) for one in self.readings for c in one.comparisons]
        labels = [f"{name_arm(t, c.arm)} against {name_arm(t, c.against)}" for t, c in rows]
        if len(self.readings) > 1:
            labels = [f"{t.name}: {name_arm(t, c.arm)}" for t, c in rows]
        ends = [c.interval() for _, c in rows]
        return figures.forest(
            "differences",
            labels,
            [c.difference for _, c in rows],
            [low for low, _ in ends],
            [high for _, high in ends],
            xlabel=f"difference in {self.outcome}",
            caption=f"Differences with intervals that hold at every look ({self.level:.0%}).",
            alt=self.answer(),
        )

    def _names(self, tests: Sequence[RunningTest]) -> dict[str, list[str]]:
        return {"test": [test.name for test in tests]} if len(self.readings) > 1 else {}

    def _numbers(self) -> dict[str, float | str | None]:
        numbers: dict[str, float | str | None] = {
            "tests": float(len(self.readings)),
            "stopped": float(sum(one.decision.stops for one in self.readings)),
            "readers": float(sum(one.test.readers.sum() for one in self.readings)),
        }
        if len(self.readings) > 1:
            return numbers
        one = self.readings[0]
        first = max(one.comparisons, key=lambda c: abs(c.difference))
        low, high = (end if np.isfinite(end) else None for end in first.interval())
        more = one.decision.more_readers
        return numbers | {
            "action": one.decision.action,
            "difference": first.difference if np.isfinite(first.difference) else None,
            "lower": low,
            "upper": high,
            "log_e_value": first.log_e(),
            "more_readers": more,
        }


def read(
    logs: Logs,
    *,
    control: str | None = None,
    guardrails: Sequence[str] = (),
    covariates: Sequence[str] = (),
    variance: str | None = None,
    expectation: Expectation | None = None,
    minimum: float | None = None,
    planned: float | None = None,
    level: float = 0.95,
) -> Readings:
    """Read tests that still run, with intervals that hold however often one looks.

        Δ̂ ± s √( (1 + 1/x) (ln(1 + x) + 2 ln(1/α)) )

    Δ̂ compares two arms within days (see `causalign.stats.daily_differences`), s is its standard
    error, x the information so far over that of the plan, 8.2 where the plan ends. Among several
    arms e-values with e-BH keep the share of false discoveries at α; the intervals have the level
    that it leaves. Guardrails are bounded on the side of harm. Assumption: readers were assigned to
    arms at random and are independent, and there are enough of them for the normal approximation.

    Parameters
    ----------
    logs : Logs
        Counts by day and arm (roles ``completion`` the arm's text, ``outcome`` and ``trials``,
        ``time`` the day, ``group`` the test where there are several, ``propensity`` the share of
        readers meant for the arm unless all are equal); or one row for each reader; or means of
        so many readers (``weight``) with their ``variance``.
    control : str, optional
        The text that others are compared with. Without it the leading arm is compared with each
        other one.
    guardrails : sequence of str
        Columns that must not rise: unsubscriptions, complaints.
    covariates : sequence of str
        Columns that were settled before the text was shown and tell the outcome: they narrow the
        interval by regression. The reward of the text that was shown is none, since it is the same
        for all readers of an arm; it belongs into ``expectation``.
    variance : str, optional
        Column with the variance among the readers of a row, where rows are means.
    expectation : Expectation, optional
        What a reward leads to expect, from `expect`. The interval then holds as well, is narrower
        where the reward is right and wider where it is wrong.
    minimum : float, optional
        The smallest difference worth having, in units of the outcome: a test stops when no arms can
        differ by so much.
    planned : float, optional
        Readers of all arms for which the test is planned; needed without days.
    level : float
        Of the intervals.

    Returns
    -------
    Readings

    Raises
    ------
    InputError
        When no test compares two texts, counts exceed their trials, or no arm is the control.
    RoleNotDeclared
        Without days, plan and expectation.
    SettingsError
        For settings out of range.

    References
    ----------
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, arXiv 2103.06476; Wang and Ramdas (2022),
    arXiv 2009.02824.
    """
    rule = StopRule(control, minimum, planned, level)
    if logs.roles.time is None and planned is None and expectation is None:
        raise RoleNotDeclared(
            "An interval that holds at every look needs the days, or how many readers are planned "
            "(planned).",
            "time",
        )
    tests, empty = read_running_tests(
        logs, guardrails=guardrails, covariates=covariates, variance=variance
    )
    readings = tuple(_read_one(test, rule, expectation) for test in tests)
    outcome = logs.roles.outcome
    words = outcome if logs.roles.trials is None else f"{outcome} per {logs.roles.trials}"
    return Readings(readings, words, level, inspect_tests(readings, empty, len(guardrails)))


def _read_one(test: RunningTest, rule: StopRule, expectation: Expectation | None) -> Reading:
    compared = compare_arms(test, rule, expectation)
    bounds = bound_guardrails(test, compared, rule)
    decision = decide(test, compared, bounds, rule, is_mismatched=has_mismatch(test))
    return Reading(test, compared, bounds, decision)


def _draw_days(one: Reading, outcome: str, level: float) -> figures.Drawing:
    """Draw how the strongest comparison of a test stood after each day."""
    strongest = max(one.comparisons, key=lambda c: (c.log_e(), abs(c.difference)))
    path, half = strongest.path, strongest.half_width()
    shown = np.isfinite(half)
    shown = shown if shown.any() else np.isfinite(path.estimate)
    estimate, half = path.estimate[shown], np.where(np.isfinite(half), half, np.nan)[shown]
    naive = np.where(np.isfinite(path.error), path.error, np.nan)[shown]
    naive = naive * norm.ppf(0.5 + level / 2)
    day = (one.test.days - one.test.days[0] + 1)[shown]
    arm, against = (name_arm(one.test, place) for place in (strongest.arm, strongest.against))
    return figures.curve(
        "differences",
        day,
        {"valid at every look": estimate, "naive": estimate, "no difference": np.zeros(len(day))},
        xlabel="day of the test",
        ylabel=f"difference in {outcome}",
        caption=(
            f"{arm} against {against}, all days so far, with the interval that holds at every "
            f"look ({level:.0%}) and the naive one, which holds at one look only."
        ),
        alt=one.decision.sentence,
        bands={
            "valid at every look": (estimate - half, estimate + half),
            "naive": (estimate - naive, estimate + naive),
        },
    )
