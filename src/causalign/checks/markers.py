"""MK1xx: which words of the texts does the confounders' effect hang on?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from causalign.results import Finding, Verdict

STANDS_FOR = 0.9
NAMED = 5


def spurious_markers(
    names: Sequence[str], naive: NDArray, deconfounded: NDArray, tested: int, level: float
) -> Finding:
    """MK101: markers whose effect changes when the confounders' effect is taken out.

    Of the markers found, ``names`` leads with those that share no texts with an earlier one.
    """
    title = "Spurious markers"
    numbers: dict[str, float | str] = {"found": len(names), "tested": tested, "level": level}
    if not names:
        told = f"None of {tested} markers seems better or worse than it is."
        return Finding("MK101", title, Verdict.PASS, told, numbers)
    shown = [
        f"“{name}” ({before:+.3g} as logged, {after:+.3g} without the confounders)"
        for name, before, after in zip(names[:NAMED], naive, deconfounded, strict=False)
    ]
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return Finding(
        "MK101",
        title,
        Verdict.WARN,
        f"A reward fitted on the outcome as logged pays for what only travels with it: "
        f"{', '.join(shown)}{more}. Deconfound before fitting a reward.",
        numbers,
    )


def markers_that_stand_for_confounders(names: Sequence[str], told: NDArray) -> Finding:
    """MK102: markers that the confounders determine, so that nothing tells the two apart."""
    title = "Markers can be told from confounders"
    if not names:
        explanation = "No marker is determined by the confounders."
        return Finding("MK102", title, Verdict.PASS, explanation)
    shown = ", ".join(f"“{n}” (R² {r:.2f})" for n, r in zip(names[:NAMED], told, strict=False))
    return Finding(
        "MK102",
        title,
        Verdict.WARN,
        f"The confounders determine {len(names)} markers: {shown}. Whether marker or confounder "
        "moved the outcome cannot be told from these logs; write some texts without the marker "
        "where it is usual.",
        {"markers": len(names), "r2": float(np.max(told))},
    )


def markers_tested(tested: int, left_out: int, rare: int, with_text: bool) -> Finding:
    """MK103: how many markers were frequent enough, and whether the rest of the text was known."""
    title = "Markers tested"
    numbers: dict[str, float | str] = {"tested": tested, "left_out": left_out, "rare": rare}
    if not tested:
        explanation = f"No marker occurs in {rare} texts and is missing in {rare}."
        return Finding("MK103", title, Verdict.NOT_APPLICABLE, explanation, numbers)
    told = f"{tested} markers occur in at least {rare} texts"
    if left_out:
        told += f"; {left_out} rarer words and phrases were left out"
    if with_text:
        return Finding("MK103", title, Verdict.PASS, f"{told}.", numbers)
    return Finding(
        "MK103",
        title,
        Verdict.WARN,
        f"{told}. Without text features what the rest of the text does is given to the "
        "confounders that travel with it. Name an encoder, or features in Roles(features=...).",
        numbers,
    )
