"""Look for what is wrong with tests that still run: EX101 to EX110."""

from collections.abc import Sequence

import numpy as np

from causalign.checks import experiments as checks
from causalign.experiment.comparisons import LEAST_EVENTS
from causalign.experiment.running_tests import RunningTest
from causalign.experiment.stopping import Reading, name_arm
from causalign.results import Finding
from causalign.stats.daily_differences import arm_sizes_p_values

# A last day with so much less than the median of the others is not complete.
_PARTIAL = 0.5


def inspect_tests(readings: Sequence[Reading], empty: int, guardrails: int) -> tuple[Finding, ...]:
    """Return EX101 to EX110 on tests that were read.

    ``empty`` tests compare nothing and were left out; ``guardrails`` were named.
    """
    tests = [one.test for one in readings]
    total, names, timed = len(tests), [test.name for test in tests], tests[0].is_timed
    trends = [(one.test.name, p) for one in readings for p in [_trend(one)] if p is not None]
    harms = [
        f"{_label(one.test)}{name_arm(one.test, b.arm)} raises {b.guardrail} by "
        f"{b.least:.2g} or more"
        for one in readings
        for b in one.guardrails
        if b.is_harm
    ]
    early = sum(any(c.is_early for c in one.comparisons) for one in readings)
    sizes = np.array([_size_p_value(test) for test in tests])
    distances = [_distance(one) for one in readings]
    away = np.array([far for far in distances if far is not None])
    return (
        checks.check_arm_sizes(sizes, names),
        checks.check_arms_throughout([w for t in tests for w in _find_parted(t)], total),
        checks.check_days([w for t in tests for w in _find_gaps(t)], total, timed),
        checks.check_weekdays(sum(len(t.days) < checks.WEEK for t in tests), total, timed),
        checks.check_texts_differ([w for t in tests for w in _find_alike(t)], total),
        checks.check_tests_compare(empty, total + empty),
        checks.check_trend([name for name, _ in trends], np.array([p for _, p in trends])),
        checks.check_enough(early, total, LEAST_EVENTS),
        checks.check_guardrails(harms, guardrails),
        checks.check_expectation(away, names if len(away) else []),
    )


def has_mismatch(test: RunningTest) -> bool:
    """Say whether the sizes of a test's arms are off what was meant, beyond chance."""
    return _size_p_value(test) < checks.MISMATCH


def _size_p_value(test: RunningTest) -> float:
    same = np.zeros(len(test.arms), dtype=np.int64)
    return float(arm_sizes_p_values(same, test.readers, test.meant)[0])


def _label(test: RunningTest) -> str:
    return f"{test.name}: " if test.name else ""


def _find_parted(test: RunningTest) -> list[str]:
    """Say which arms were not shown on all days of a test, from when or until when."""
    parted = []
    for arm, shown in enumerate(test.shown.T):
        if not shown.all():
            first, last = np.flatnonzero(shown)[[0, -1]]
            when = f"from {test.name_day(first)} to {test.name_day(last)}"
            name = name_arm(test, arm)
            parted.append(
                f"{_label(test)}{name} was shown on {shown.sum()} of {len(shown)} days, {when}"
            )
    return parted


def _find_gaps(test: RunningTest) -> list[str]:
    """Say which days are missing between others, and whether the last one is cut short."""
    gaps = []
    missing = int(test.days[-1] - test.days[0]) + 1 - len(test.days)
    if missing > 0:
        place = int(np.diff(test.days).argmax())
        gaps.append(
            f"{_label(test)}{missing} day{'s are' if missing > 1 else ' is'} missing, the first "
            f"after {test.name_day(place)}"
        )
    readers = test.cells.readers.sum(axis=1)
    if len(readers) > 2 and readers[-1] < _PARTIAL * np.median(readers[:-1]):
        gaps.append(f"{_label(test)}{test.name_day(-1)} has few readers: it is not complete yet")
    return gaps


def _find_alike(test: RunningTest) -> list[str]:
    """Say which arms have one text, or texts of the same words."""
    twice = int(test.copies.argmax())
    alike = []
    if test.copies[twice] > 1:
        count = int(test.copies[twice])
        alike.append(f"{_label(test)}{count} arms have the text {name_arm(test, twice)}")
    plain = [" ".join(arm.split()).casefold() for arm in test.arms]
    again = [place for place, words in enumerate(plain) if words in plain[:place]]
    alike += [f"{_label(test)}{name_arm(test, place)} is another arm's text" for place in again[:1]]
    return alike


def _trend(one: Reading) -> float | None:
    """Return the smallest p-value of a trend times the comparisons; None below three days."""
    paths = [c.path for c in one.comparisons if c.path.shared_days > 2 and not c.is_early]
    if not paths:
        return None
    return min(1.0, len(paths) * min(path.trend_p_value() for path in paths))


def _distance(one: Reading) -> float | None:
    """Return how far the differences are from what was expected, in standard deviations.

    None where nothing was expected, 0 where it is too early.
    """
    away = [
        0.0 if c.is_early else abs(c.difference - c.mean) / np.hypot(c.spread, c.path.error[-1])
        for c in one.comparisons
        if c.mean is not None and c.spread is not None
    ]
    return float(max(away)) if away else None
