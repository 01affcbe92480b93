"""EX1xx: was the test run as a test, and may its numbers be read?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from causalign.checks.check import Check
from causalign.logs import Logs
from causalign.results import Finding
from causalign.stats.daily_differences import arm_sizes_p_values

# The usual threshold for a sample-ratio mismatch: it is looked at daily, and must seldom be wrong.
MISMATCH = 1e-3
# Where so many of the tests are off it is no accident of one of them.
MANY = 0.05
WEEK = 7
TREND = 0.01
CONTRADICTION = 3.0
# So many are farther away by chance.
_BEYOND = 0.0027
SHOWN = 3
_TINY = 1e-9


def check_arm_sizes(p_values: NDArray[np.float64], names: Sequence[str]) -> Finding:
    """EX101: did each arm get the readers that were meant for it?

    ``p_values`` ``(T,)`` of each test's chi-square, ``names`` of the tests.
    """
    off = np.flatnonzero(p_values < MISMATCH)
    smallest = float(p_values.min(initial=1.0))
    numbers = {"tests": float(len(names)), "off": float(len(off)), "smallest_p": smallest}
    check = Check("EX101", "Sizes of the arms", **numbers)
    by_chance = len(off) <= binom.ppf(1 - MISMATCH, len(names), MISMATCH)
    if by_chance and smallest >= MISMATCH / len(names):
        return check.passes(
            f"The arms have the readers that were meant for them (smallest p {smallest:.2g}"
            f"{'' if len(names) == 1 else f' of {len(names):,} tests'})."
        )
    advice = (
        "Readers were then not assigned at random, or some were lost: a difference may be that of "
        "the readers. Find the cause before the result is used. If shares were meant to differ, "
        "name the column that holds them as the propensity."
    )
    if len(names) == 1:
        return check.fails(
            f"The arms' sizes are off what was meant for them (chi-square, {_p(smallest)}). "
            f"{advice}"
        )
    share = len(off) / len(names)
    explanation = (
        f"In {len(off):,} of {len(names):,} tests ({share:.1%}) the arms' sizes are off (chi-"
        f"square, p < {MISMATCH:g}), where chance gives {MISMATCH:.1%}: {_list(names, off)}. "
        f"{advice}"
    )
    return check.fails(explanation) if share >= MANY else check.warns(explanation)


def check_sizes_of_logs(logs: Logs) -> Finding:
    """EX101 for finished tests: a row for each arm, with counts of trials.

    Arms are meant to be of one size, or of the sizes that the role ``propensity`` says.
    """
    if logs.roles.trials is None or logs.roles.group is None or logs.roles.time is not None:
        return Check("EX101", "Sizes of the arms").does_not_apply(
            "Sizes are compared where each row of a test is an arm with its trials."
        )
    meant = np.ones(len(logs))
    if logs.roles.propensity is not None:
        meant = logs.numbers(logs.roles.propensity)
        meant = np.exp(meant) if (meant < 0).any() else meant
    p_values = arm_sizes_p_values(logs.groups, logs.trials, meant)
    first = np.unique(logs.groups, return_index=True)[1]
    names = [str(name) for name in logs.data[logs.roles.group].take(first).to_pylist()]
    return check_arm_sizes(p_values, names)


def check_arms_throughout(parted: Sequence[str], total: int) -> Finding:
    """EX102: was every arm shown on every day? ``parted`` says of each test where not."""
    check = Check("EX102", "Arms on all days", tests=float(total), parted=float(len(parted)))
    if not parted:
        return check.passes("Every arm was shown on every day.")
    return check.warns(
        f"{_few(parted)}. Two arms are compared on the days that they share, so that an arm which "
        "came later is judged on fewer readers, and on other days than the rest."
    )


def check_days(gaps: Sequence[str], total: int, timed: bool) -> Finding:
    """EX103: are days missing, or not yet complete? ``gaps`` says of each test which."""
    check = Check("EX103", "Days missing or late", tests=float(total), with_gaps=float(len(gaps)))
    if not timed:
        return check.does_not_apply("No time is declared.")
    if not gaps:
        return check.passes("No day is missing, and the last one is not cut short.")
    return check.warns(
        f"{_few(gaps)}. Days that arrive late may differ from those that are here. Read again when "
        "they are complete; the interval stays valid at every look."
    )


def check_weekdays(short: int, total: int, timed: bool) -> Finding:
    """EX104: does the test cover a week? ``short`` tests do not."""
    check = Check("EX104", "Days of the week", tests=float(total), short=float(short))
    if not timed:
        return check.does_not_apply("No time is declared.")
    if not short:
        return check.passes(f"Every test covers {WEEK} days or more.")
    which = "The test covers" if total == 1 else f"{short:,} of {total:,} tests cover"
    return check.warns(
        f"{which} fewer than {WEEK} days. The difference is that of readers of these weekdays; "
        "others may answer otherwise. Let a test run for whole weeks."
    )


def check_texts_differ(alike: Sequence[str], total: int) -> Finding:
    """EX105: do arms have texts that differ, in more than blanks and letter case?"""
    check = Check("EX105", "Texts of the arms", tests=float(total), alike=float(len(alike)))
    if not alike:
        return check.passes("The arms of every test differ in more than blanks and letter case.")
    return check.warns(
        f"{_few(alike)}. Such arms show readers the same words. If something else differed, name "
        "the column that tells the arms apart; else read them as one arm."
    )


def check_tests_compare(empty: int, total: int) -> Finding:
    """EX106: has every test two texts or more? ``empty`` of ``total`` have not."""
    check = Check("EX106", "Tests that compare", tests=float(total), without=float(empty))
    if not empty:
        return check.passes("Every test has two texts or more.")
    return check.warns(
        f"{empty:,} of {total:,} tests have one arm or arms of one text, and are left out: there "
        "is nothing to compare."
    )


def check_trend(names: Sequence[str], p_values: NDArray[np.float64]) -> Finding:
    """EX107: does the difference change from day to day? ``p_values`` ``(T,)`` of a trend."""
    total = len(p_values)
    limit = TREND / max(total, 1)
    changing = np.flatnonzero(p_values < limit)
    numbers = {"smallest_p": float(p_values.min(initial=1.0)), "changing": float(len(changing))}
    check = Check("EX107", "Difference over the days", **numbers)
    if not total:
        return check.does_not_apply("A change over days needs three of them.")
    if not len(changing):
        return check.passes("The difference does not grow or shrink with the days beyond chance.")
    which = "" if total == 1 else f" in {len(changing):,} of {total:,} tests: "
    return check.warns(
        f"The difference grows or shrinks with the days{which}{_list(names, changing)} ("
        f"{_p(numbers['smallest_p'])}). A new text may lose its novelty: the mean so far is then "
        "not what readers will do later. Look at the last days, and let the test run on."
    )


def check_enough(early: int, total: int, least: int) -> Finding:
    """EX108: has every arm events enough for the approximation? ``early`` tests have not."""
    check = Check("EX108", "Enough to say anything", tests=float(total), early=float(early))
    if not early:
        return check.passes("Every arm has readers and events enough for an interval.")
    which = "The test is" if total == 1 else f"{early:,} of {total:,} tests are"
    return check.warns(
        f"{which} too early to read: intervals are given from {least} successes and {least} "
        "failures expected in each arm on, or 30 readers where the outcome is a number."
    )


def check_guardrails(harms: Sequence[str], count: int) -> Finding:
    """EX109: does an arm raise what must not rise? ``harms`` says which."""
    check = Check("EX109", "Guardrails", guardrails=float(count), harms=float(len(harms)))
    if not count:
        return check.does_not_apply("No guardrail is named.")
    if not harms:
        return check.passes("No arm is shown to raise a guardrail; see the bounds in the table.")
    return check.fails(f"{_few(harms)}. Do not use these arms.")


def check_expectation(away: NDArray[np.float64], names: Sequence[str]) -> Finding:
    """EX110: does the test contradict what was expected of it?

    ``away`` ``(T,)`` is the largest distance of a difference from what was expected, in standard
    deviations of both.
    """
    far = np.flatnonzero(away > CONTRADICTION)
    numbers = {"largest": float(away.max(initial=0.0)), "contradicted": float(len(far))}
    check = Check("EX110", "What was expected of the test", **numbers)
    if not len(names):
        return check.does_not_apply("No reward says what to expect.")
    if len(far) <= binom.ppf(0.99, len(names), _BEYOND):
        return check.passes("The differences are such as the reward led to expect.")
    return check.warns(
        f"The reward is contradicted by {len(far):,} of {len(names):,} tests: "
        f"{_list(names, far)}. The intervals hold all the same, but are wider than without it. Fit "
        "it again with these tests."
    )


def _p(value: float) -> str:
    return f"p {value:.1g}" if value > _TINY else f"p < {_TINY:g}"


def _list(names: Sequence[str], places: NDArray[np.int64]) -> str:
    shown = [names[place] for place in places[:SHOWN] if names[place]]
    return ", ".join(shown) + (", ..." if len(places) > SHOWN else "")


def _few(lines: Sequence[str]) -> str:
    more = f"; and {len(lines) - SHOWN:,} more" if len(lines) > SHOWN else ""
    return "; ".join(lines[:SHOWN]) + more
