"""TM1xx: do texts and outcomes change together with time, the season, or after a gap?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalign.checks.confounding import RELEVANT_R2, SIGNIFICANCE
from causalign.results import Finding, Verdict
from causalign.stats.predictability import Predictability

__all__ = ["Moved", "gaps", "seasons", "time_not_read", "trend"]

LONG_GAP = 0.1
ROWS_FOR_GAPS = 100


@dataclass(frozen=True, slots=True)
class Moved:
    """Hold what was seen of one side of time: the trend, the weekday, the hour, the month.

    ``outcome`` is how well it explains what the confounders leave of the outcome, ``text`` how
    well the text predicts just that; None without text features.
    """

    name: str
    outcome: Predictability
    text: Predictability | None

    @property
    def moves_the_outcome(self) -> bool:
        """Return whether more than 1 % of the outcome follows it, beyond chance."""
        return self.outcome.score > RELEVANT_R2 and self.outcome.p_value < SIGNIFICANCE

    @property
    def shows_in_the_text(self) -> bool:
        """Return whether the text predicts what it does, beyond chance."""
        if self.text is None:
            return False
        return self.text.score > RELEVANT_R2 and self.text.p_value < SIGNIFICANCE

    @property
    def confounds(self) -> bool:
        """Return whether both hold."""
        return self.moves_the_outcome and self.shows_in_the_text

    def told(self) -> str:
        """Return both scores in words."""
        said = f"{self.name} explains {max(self.outcome.score, 0.0):.1%} of the outcome"
        if self.text is None:
            return said
        return f"{said}, and the text predicts that with R² {max(self.text.score, 0.0):.2f}"


def trend(found: Moved, *, early: float, late: float) -> Finding:
    """TM101: do outcome and texts drift together, beyond what the confounders explain?

    ``early`` and ``late`` are mean outcomes of the first and the last quarter of the rows.
    """
    title = "Drift over time"
    numbers: dict[str, float | str] = {
        "outcome_r2": found.outcome.score,
        "early": early,
        "late": late,
    }
    if found.text is not None:
        numbers["from_text"] = found.text.score
    ends = f"the outcome is {early:.3g} in the first quarter of the rows and {late:.3g} in the last"
    if found.confounds:
        return Finding(
            "TM101",
            title,
            Verdict.WARN,
            f"Texts and outcome change together: {found.told()} beyond the declared confounders; "
            f"{ends}. A reward then pays for what was written when things went well. Name the "
            "time, or its month, as a confounder.",
            numbers,
        )
    if found.text is None and found.moves_the_outcome:
        return Finding(
            "TM101",
            title,
            Verdict.NOT_APPLICABLE,
            f"Beyond the declared confounders {found.told()}; without text features nobody can "
            "say whether the texts change too.",
            numbers,
        )
    said = "the texts do not" if found.moves_the_outcome else "the confounders leave no drift"
    return Finding("TM101", title, Verdict.PASS, f"{_capital(found.told())}: {said}.", numbers)


def seasons(found: Sequence[Moved]) -> Finding:
    """TM102: do weekday, hour or month move the outcome and show in the text, undeclared?"""
    title = "Weekday, hour and month"
    if not found:
        return Finding(
            "TM102",
            title,
            Verdict.NOT_APPLICABLE,
            "The time has no weekdays, hours or months: it is not a date, or spans too few days.",
        )
    numbers: dict[str, float | str] = {
        f"outcome_r2_{m.name.replace(' ', '_')}": m.outcome.score for m in found
    }
    grave = [m for m in found if m.confounds]
    if grave:
        return Finding(
            "TM102",
            title,
            Verdict.WARN,
            "Beyond the declared confounders "
            f"{'; '.join(m.told() for m in grave)}. Add a column with the "
            f"{' and the '.join(m.name for m in grave)} and name it as a confounder.",
            numbers,
        )
    told = _capital("; ".join(m.told() for m in found))
    return Finding("TM102", title, Verdict.PASS, f"{told}: too little of one or both.", numbers)


def gaps(days: NDArray[np.float64]) -> Finding:
    """TM103: is there a long time without any row? ``days`` ``(n,)`` since 1970."""
    title = "Gaps in time"
    ordered = np.unique(days)
    span = float(ordered[-1] - ordered[0])
    if span == 0 or len(days) < ROWS_FOR_GAPS:
        said = f"Fewer than {ROWS_FOR_GAPS} rows, or one point in time."
        return Finding("TM103", title, Verdict.NOT_APPLICABLE, said)
    steps = np.diff(ordered)
    widest = int(np.argmax(steps))
    share = float(steps[widest] / span)
    # Two points in time always have a gap between them; so have seven days.
    usual = LONG_GAP + 2.0 / len(ordered)
    numbers: dict[str, float | str] = {"gap_days": float(steps[widest]), "share": share}
    start, end = (_day(ordered[widest + i]) for i in (0, 1))
    if share <= usual:
        said = f"The longest time without a row is {share:.1%} of {span:,.0f} days."
        return Finding("TM103", title, Verdict.PASS, said, numbers)
    return Finding(
        "TM103",
        title,
        Verdict.WARN,
        f"No row lies between {start} and {end}, {share:.0%} of the time the log spans. What "
        "changed meanwhile cannot be told from a trend. Ask why, and compare both sides, or use "
        "one.",
        numbers,
    )


def time_not_read(explanation: str) -> Finding:
    """TM101 where nothing can be said: no time is declared but there is one, or it has no order."""
    return Finding("TM101", "Drift over time", Verdict.NOT_APPLICABLE, explanation)


def _day(days: float) -> str:
    return str(np.datetime64("1970-01-01") + np.timedelta64(int(np.floor(days)), "D"))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
