"""ID208 to ID210: what logs can tell about instruments when the effect may be any function."""

from collections.abc import Sequence

import numpy as np

from causalign.checks.check import Check
from causalign.results import Finding

WEAK = 10.0
# A confounder that held-out instruments predict this well is a function of them.
DETERMINED = 0.999
# Fewer distinct equations than these for each number: a line at most can be told.
EQUATIONS_FOR_A_CURVE = 4


def strength_for_a_function(f: np.ndarray, r2: np.ndarray, names: Sequence[str]) -> Finding:
    """ID208: do smooth functions of the instruments move each confounder? ``f``, ``r2 (p,)``."""
    weakest = int(np.argmin(f))
    check = Check(
        "ID208",
        "Strength of the instruments for a function",
        f=float(f[weakest]),
        held_out_r2=float(r2[weakest]),
        confounder=names[weakest],
    )
    strength = (
        f"smooth functions of the instruments predict {names[weakest]} with F = {f[weakest]:.1f} "
        f"(R² {max(float(r2[weakest]), 0.0):.1%} on held-out rows)"
    )
    if f[weakest] >= WEAK:
        return check.passes(f"At the least, {strength}.")
    return check.fails(
        f"Too little: {strength}, below {WEAK:g}. The estimate is then what the penalty prefers, "
        "or leans towards regression without instruments. Find instruments that move it more."
    )


def enough_for_a_function(
    distinct: int, instruments: int, numbers: int, columns: int, confounders: int
) -> Finding:
    """ID209: how many equations do the instruments give, and how many does a function need?

    ``distinct`` combinations of the values of ``instruments`` columns; ``confounders``, of which
    ``numbers`` are numeric, make ``columns`` columns of a linear model.
    """
    equations = distinct - 1
    check = Check(
        "ID209",
        "Equations for a function",
        equations=equations,
        columns=columns,
        instruments=instruments,
        confounders=confounders,
    )
    count = f"The instruments take {distinct} distinct values: {equations} equations"
    if equations < columns:
        return check.fails(
            f"{count}, fewer than the {columns} columns of a linear effect. Most of this function "
            "was decided by the penalty and not by the logs. Declare more instruments, merge "
            "categories, or name confounders that need no instrument in `exogenous`."
        )
    if equations < columns + (EQUATIONS_FOR_A_CURVE - 1) * numbers:
        return check.warns(
            f"{count}, enough for a linear effect and not for a curve. Its bends are what the "
            "penalty prefers. Use two-stage least squares, or instruments with more values."
        )
    if instruments < confounders:
        return check.warns(
            f"{instruments} instrument(s) for {confounders} confounders: what the instruments move "
            "together they cannot tell apart, except by the shape of the first stage. Declare as "
            "many instruments as confounders."
        )
    return check.passes(f"{count}.")


def own_function(r2: np.ndarray, names: Sequence[str]) -> Finding:
    """ID206: is a confounder a function of the instruments?

    ``r2 (p,)`` is the larger of R² on held-out rows and the squared rank correlation.
    """
    most = int(np.argmax(r2))
    check = Check(
        "ID206", "Instruments differ from the confounders", unexplained=float(1 - r2[most])
    )
    if r2[most] < DETERMINED:
        return check.passes("No confounder is determined by the instruments.")
    return check.fails(
        f"The instruments determine {names[most]} (R² {r2[most]:.4f} on held-out rows, or between "
        "ranks): one of them is a copy or a function of it, and the estimate for it is that of a "
        "regression without instruments. Drop that instrument, or, if nothing travels with this "
        "confounder, name it as exogenous."
    )


def held_out_moments(
    violations: np.ndarray, of_nothing: np.ndarray, of_line: np.ndarray
) -> Finding:
    """ID210: does h explain what the instruments predict of the outcome, on held-out rows?

    Violations ``(k,)`` of k held-out folds, of the function, of h = 0 and of two-stage.
    """
    violation, nothing, line = (float(v.mean()) for v in (violations, of_nothing, of_line))
    check = Check(
        "ID210", "Moments on held-out rows", violation=violation, of_nothing=nothing, of_line=line
    )
    if violation >= nothing:
        return check.warns(
            f"On held-out rows the function leaves a violation of {violation:.3g}, no less than "
            f"without any effect ({nothing:.3g}). Either these confounders do nothing that the "
            "instruments show, or there are too few rows. Do not subtract this effect."
        )
    explanation = (
        f"The function leaves {violation / nothing:.1%} of what the instruments predict of the "
        f"outcome on held-out rows; two-stage least squares leaves {line / nothing:.1%}."
    )
    gain = of_line - violations
    # One standard error over folds: what a choice among many penalties gains by chance alone.
    if gain.mean() <= gain.std(ddof=1) / np.sqrt(len(gain)):
        explanation += " A line does as well: two-stage, with its shorter intervals, is enough."
    return check.passes(explanation)
