"""OV1xx: could texts have met other conditions than they did, and what is left beside the text?"""

from collections.abc import Sequence

import numpy as np

from causalign.results import Finding, Verdict
from causalign.stats.counterparts import Overlap

__all__ = ["counterparts", "left_beside_the_text", "overlap_not_known"]

# Conventions: below these a reader need not know.
TOO_MANY_MISSING = 0.05
LITTLE_LEFT = 0.1
NOTHING_LEFT = 0.01


def counterparts(names: Sequence[str], overlaps: Sequence[Overlap]) -> Finding:
    """OV101: how often has a text met no condition but its own? The worst confounder decides."""
    title = "Counterparts of the texts"
    missing = np.array([o.missing for o in overlaps])
    worst = int(np.argmax(missing))
    numbers: dict[str, float | str] = {
        "missing": float(missing[worst]),
        "confounder": names[worst],
    }
    told = ", ".join(
        f"{names[i]} ({missing[i]:.0%})" for i in np.argsort(-missing) if missing[i] > 0.005
    )
    if missing[worst] <= TOO_MANY_MISSING:
        said = f"Texts of all kinds met the other conditions; without counterpart: {told}."
        if not told:
            said = "Texts of all kinds met the other conditions of every confounder."
        return Finding("OV101", title, Verdict.PASS, said, numbers)
    return Finding(
        "OV101",
        title,
        Verdict.WARN,
        "Texts of some kind never met some conditions. Share of comparisons without a counterpart: "
        f"{told}. What such texts would have earned there is extrapolated by any method. Leave "
        "those rows out, log such texts under other conditions, or use an instrument.",
        numbers,
    )


def left_beside_the_text(names: Sequence[str], overlaps: Sequence[Overlap], rows: int) -> Finding:
    """OV102: is any of a confounder left once the text is known, to read its effect from?"""
    title = "Confounders vary beside the text"
    left = np.array([o.left for o in overlaps])
    least = int(np.argmin(left))
    numbers: dict[str, float | str] = {"left": float(left[least]), "confounder": names[least]}
    said = f"{left[least]:.1%} of {names[least]} is left once the text is known"
    if left[least] >= LITTLE_LEFT:
        return Finding("OV102", title, Verdict.PASS, f"At the least, {said}.", numbers)
    if left[least] < NOTHING_LEFT:
        return Finding(
            "OV102",
            title,
            Verdict.FAIL,
            f"The text determines {names[least]}: {said}. Its effect and that of the words cannot "
            "be told apart by any regression. Use an instrument or an experiment, or take out of "
            "the texts what names the confounder.",
            numbers,
        )
    return Finding(
        "OV102",
        title,
        Verdict.WARN,
        f"Only {said}: its {rows:,} rows tell as much of its effect as {left[least] * rows:,.0f} "
        "that say nothing of the text. Expect wide intervals; log such texts under other "
        "conditions, or use an instrument.",
        numbers,
    )


def overlap_not_known(explanation: str) -> Finding:
    """OV101 where nobody can say which texts are alike, or which conditions they met."""
    return Finding("OV101", "Counterparts of the texts", Verdict.NOT_APPLICABLE, explanation)
