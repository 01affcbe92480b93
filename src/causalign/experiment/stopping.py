"""Say in one sentence whether to stop a test, and what to use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from causalign.experiment.comparisons import ArmComparison, GuardrailBound, StopRule, find_control
from causalign.experiment.running_tests import RunningTest
from causalign.results import Card

Action = Literal["use", "keep", "no difference", "go on", "do not use"]
_NAME_LENGTH = 48


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a test now.

    Attributes
    ----------
    action : str
        "use" an arm, "keep" the control, "no difference" worth having, "go on", or "do not use"
        the test or its leading arm.
    sentence : str
        The same for a reader.
    arm : int or None
        The place of the arm that it speaks of.
    more_readers, more_days : float or None
        What it takes to settle the test, if differences and traffic stay as they are.
    """

    action: Action
    sentence: str
    arm: int | None = None
    more_readers: float | None = None
    more_days: float | None = None

    @property
    def stops(self) -> bool:
        """Whether the test is at its end."""
        return self.action != "go on"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Reading(Card):
    """One test, its comparisons, its guardrails and what to do.

    Attributes
    ----------
    test : RunningTest
    comparisons : tuple of ArmComparison
        Each arm against the control, or the leading arm against each other one.
    guardrails : tuple of GuardrailBound
    decision : Decision
    """

    test: RunningTest
    comparisons: tuple[ArmComparison, ...]
    guardrails: tuple[GuardrailBound, ...]
    decision: Decision


def decide(
    test: RunningTest,
    compared: Sequence[ArmComparison],
    bounds: Sequence[GuardrailBound],
    rule: StopRule,
    *,
    is_mismatched: bool,
) -> Decision:
    """Apply the stop rule to the comparisons of one test.

    A test whose arms' sizes are off is not read. With a control: stop and use the best arm that is
    shown to be better and to do no harm; keep the control when no harmless arm can still be better
    by the smallest difference worth having. Without: stop and use the leading arm when no other
    can be better by that. Stop as well when no arms can differ by that much. Else go on.
    """
    if is_mismatched:
        sentence = "Do not decide by this test: the sizes of its arms are off what was meant."
        return Decision("do not use", sentence)
    least = rule.minimum
    if least is not None and all(max(map(abs, one.interval())) < least for one in compared):
        sentence = f"Stop: no difference worth having; {least:.3g} or more is ruled out."
        return Decision("no difference", sentence)
    harmful = {bound.arm: bound.guardrail for bound in bounds if bound.is_harm}
    control = find_control(test, rule)
    if control is None:
        return _decide_on_leader(test, compared, harmful, least)
    return _decide_against_control(test, compared, harmful, least, control)


def _decide_against_control(
    test: RunningTest,
    compared: Sequence[ArmComparison],
    harmful: dict[int, str],
    least: float | None,
    control: int,
) -> Decision:
    harmless = [one for one in compared if one.arm not in harmful]
    better = [one for one in harmless if one.differs and one.difference > 0]
    if better:
        best = max(better, key=lambda one: one.difference)
        rest = len(better) - 1
        others = f"; {rest} more {'is' if rest == 1 else 'are'} better than it too" if rest else ""
        return Decision("use", f"{_praise(test, best)}{others}.", best.arm)
    undecided = [one for one in harmless if one.interval()[1] >= (least or 0.0)]
    if undecided:
        return _go_on(test, undecided, least, one_is_enough=True)
    beyond = f" by {least:.3g} or more" if least else ""
    harm = "" if not harmful else f"; {', '.join(sorted(set(harmful.values())))} rose elsewhere"
    sentence = f"Stop and keep {name_arm(test, control)}: no other arm is better{beyond}{harm}."
    return Decision("keep", sentence, control)


def _decide_on_leader(
    test: RunningTest,
    compared: Sequence[ArmComparison],
    harmful: dict[int, str],
    least: float | None,
) -> Decision:
    leader = compared[0].arm
    if leader in harmful:
        sentence = f"Stop and do not use {name_arm(test, leader)}: it raises {harmful[leader]}."
        return Decision("do not use", sentence, leader)
    undecided = [one for one in compared if one.interval()[0] <= -(least or 0.0)]
    if undecided:
        return _go_on(test, undecided, least, one_is_enough=False)
    closest = min(compared, key=lambda one: one.difference)
    return Decision("use", f"{_praise(test, closest)}.", leader)


def _praise(test: RunningTest, one: ArmComparison) -> str:
    low, high = one.interval()
    return (
        f"Stop and use {name_arm(test, one.arm)}: {one.difference:+.3g} [{low:+.3g}, {high:+.3g}] "
        f"against {name_arm(test, one.against)}"
    )


def _go_on(
    test: RunningTest,
    undecided: Sequence[ArmComparison],
    least: float | None,
    *,
    one_is_enough: bool,
) -> Decision:
    """Say how many more readers settle what is open."""
    needed = [one.readers_needed(least) for one in undecided]
    more = min(needed) if one_is_enough else max(needed)
    so_far = float(test.readers.sum())
    if any(one.is_early for one in undecided):
        return Decision("go on", "Go on: it is too early to say anything.")
    if not np.isfinite(more):
        advice = "" if least else "; name the smallest difference worth having (minimum)"
        sentence = f"Go on, or give up: 100 times the readers would not settle it{advice}."
        return Decision("go on", sentence)
    readers = float(f"{max((more - 1) * so_far, 1.0):.2g}")
    days = float(np.ceil(readers / so_far * len(test.days))) if test.is_timed else None
    time = "" if days is None else f" ({days:,.0f} day{'s' if days > 1 else ''})"
    sentence = f"Go on: about {readers:,.0f} more readers{time} settle it if differences stay so."
    return Decision("go on", sentence, None, readers, days)


def name_arm(test: RunningTest, arm: int) -> str:
    """Return the text of an arm in quotes, cut where it is long."""
    text = " ".join(test.arms[arm].split())
    return f"“{text if len(text) <= _NAME_LENGTH else text[: _NAME_LENGTH - 1] + '…'}”"
