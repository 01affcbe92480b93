"""TM1xx: do texts and outcomes change together with time, the season, or after a gap?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from causalign.checks.check import Check
from causalign.checks.confounding import Judged, capital
from causalign.results import Finding

LONG_GAP = 0.1
ROWS_FOR_GAPS = 100


def trend(side: Judged, *, early: float, late: float) -> Finding:
    """TM101: do outcome and texts drift together, beyond what the confounders explain?

    ``early`` and ``late`` are mean outcomes of the first and the last quarter of the rows.
    """
    numbers = {"outcome_r2": side.test.as_it_is.moves.score, "early": early, "late": late}
    shows = side.test.strongest.shows
    if shows is not None:
        numbers["from_text"] = shows.score
    check = Check("TM101", "Drift over time", **numbers)
    ends = f"the outcome is {early:.3g} in the first quarter of the rows and {late:.3g} in the last"
    if side.confounds:
        return check.warns(
            f"Texts and outcome change together: {_both(side)} beyond the declared "
            f"confounders; {ends}. A reward then pays for what was written when things went "
            "well. Name the time, or its month, as a confounder."
        )
    if side.confounds is None:
        return check.does_not_apply(
            f"Beyond the declared confounders {side.describe()}; without text features nobody can "
            "say whether the texts change too."
        )
    reason = "the texts do not" if side.moves else "the confounders leave no drift"
    return check.passes(f"{capital(_both(side))}: {reason}.")


def seasons(sides: Sequence[Judged]) -> Finding:
    """TM102: do weekday, hour or month move the outcome and show in the text, undeclared?"""
    numbers = {f"outcome_r2_{m.name.replace(' ', '_')}": m.test.as_it_is.moves.score for m in sides}
    check = Check("TM102", "Weekday, hour and month", **numbers)
    if not sides:
        return check.does_not_apply(
            "The time has no weekdays, hours or months: it is not a date, or spans too few days."
        )
    grave = [m for m in sides if m.confounds]
    if grave:
        return check.warns(
            f"Beyond the declared confounders {'; '.join(map(_both, grave))}. Add a "
            f"column with the {' and the '.join(m.name for m in grave)} and name it as a "
            "confounder."
        )
    unknown = [m for m in sides if m.confounds is None]
    if unknown:
        return check.does_not_apply(
            f"Beyond the declared confounders {'; '.join(map(_both, unknown))}; without text "
            "features nobody can say whether the texts follow."
        )
    return check.passes(f"{capital('; '.join(map(_both, sides)))}: too little of one or both.")


def _both(side: Judged) -> str:
    """Return in words what it does to the outcome, and how well the text predicts that."""
    shows = side.test.strongest.shows
    if shows is None:
        return side.describe()
    return f"{side.describe()}, and the text predicts that with R² {max(shows.score, 0.0):.2f}"


def gaps(days: NDArray[np.float64]) -> Finding:
    """TM103: is there a long time without any row? ``days`` ``(n,)`` since 1970."""
    title, ordered = "Gaps in time", np.unique(days)
    span = float(ordered[-1] - ordered[0])
    if span == 0 or len(days) < ROWS_FOR_GAPS:
        why = f"Fewer than {ROWS_FOR_GAPS} rows, or one point in time."
        return Check("TM103", title).does_not_apply(why)
    steps = np.diff(ordered)
    widest = int(np.argmax(steps))
    share = float(steps[widest] / span)
    check = Check("TM103", title, gap_days=float(steps[widest]), share=share)
    # Two points in time always have a gap between them; so have seven days.
    if share <= LONG_GAP + 2.0 / len(ordered):
        return check.passes(f"The longest time without a row is {share:.1%} of {span:,.0f} days.")
    start, end = (_day(ordered[widest + i]) for i in (0, 1))
    return check.warns(
        f"No row lies between {start} and {end}, {share:.0%} of the time the log spans. What "
        "changed meanwhile cannot be told from a trend. Ask why, and compare both sides, or use "
        "one."
    )


def time_not_read(explanation: str) -> Finding:
    """TM101 where nothing can be said: no time is declared but there is one, or it has no order."""
    return Check("TM101", "Drift over time").does_not_apply(explanation)


def _day(days: float) -> str:
    return str(np.datetime64("1970-01-01") + np.timedelta64(int(np.floor(days)), "D"))
