"""DE104: on how many rows, or clusters, does each effect of a confounder rest?"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from causalign.checks.check import Check
from causalign.results import Finding
from causalign.stats.carrying_rows import ONE_ROW

# Below this, an interval needs noise that is close to normal (see the page).
FEW = 10
SHOWN = 3


def rows_behind_effects(
    names: Sequence[str], carried: NDArray[np.float64], observations: int, *, clustered: bool
) -> Finding:
    """Check on how many rows each effect rests (DE104).

    Parameters
    ----------
    names : sequence of k str
        What the effects are of.
    carried : (k,) floats
        On how many rows or clusters each rests, see `causalign.stats.carrying_rows`; NaN where
        nobody knows.
    observations : int
        The rows that were fitted.
    clustered : bool
        Whether clusters were counted instead of rows.

    Returns
    -------
    Finding
    """
    title, unit = "Rows behind each effect", "clusters" if clustered else "rows"
    known = np.flatnonzero(~np.isnan(carried))
    if not known.size:
        return Check("DE104", title).does_not_apply("No standard error was computed.")
    order = known[np.argsort(carried[known], kind="stable")]
    few = order[carried[order] < FEW]
    least = float(carried[order[0]])
    check = Check("DE104", title, fewest=least, effect=names[order[0]], effects=float(len(few)))
    if not few.size:
        return check.passes(
            f"Every effect rests on at least {np.floor(min(least, observations)):,.0f} {unit}."
        )
    shown = ", ".join(f"{names[i]} ({carried[i]:.1f})" for i in few[:SHOWN])
    more = f" and {len(few) - SHOWN} more" if len(few) > SHOWN else ""
    of = f"clusters, in {observations:,} rows" if clustered else f"of {observations:,} rows"
    words = (
        f"{len(few)} of {len(known)} effects rest on fewer than {FEW} {of}: {shown}{more}. Their "
        "intervals are widened for that, and hold if noise is about normal: one odd row can make "
        "such an effect."
    )
    if least < ONE_ROW:
        words += (
            f" What rests on one {unit[:-1]} has no interval: its noise cannot be told from the "
            "effect."
        )
    return check.warns(f"{words} Merge rare categories, or collect more of such {unit}.")
