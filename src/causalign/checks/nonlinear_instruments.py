"""ID208 to ID210: what logs can tell about instruments when the effect may be any function."""

from collections.abc import Sequence

import numpy as np

from causalign.results import Finding, Verdict

__all__ = ["enough_for_a_function", "held_out_moments", "own_function", "strength_for_a_function"]

WEAK = 10.0
# A confounder that held-out instruments predict this well is a function of them.
DETERMINED = 0.999
# Fewer distinct equations than these for each number: a line at most can be told.
EQUATIONS_FOR_A_CURVE = 4


def strength_for_a_function(f: np.ndarray, r2: np.ndarray, names: Sequence[str]) -> Finding:
    """ID208: do smooth functions of the instruments move each confounder? ``f``, ``r2 (p,)``."""
    title = "Strength of the instruments for a function"
    weakest = int(np.argmin(f))
    numbers: dict[str, float | str] = {
        "f": float(f[weakest]),
        "held_out_r2": float(r2[weakest]),
        "confounder": names[weakest],
    }
    said = (
        f"smooth functions of the instruments predict {names[weakest]} with F = {f[weakest]:.1f} "
        f"(R² {max(float(r2[weakest]), 0.0):.1%} on held-out rows)"
    )
    if f[weakest] >= WEAK:
        return Finding("ID208", title, Verdict.PASS, f"At the least, {said}.", numbers)
    return Finding(
        "ID208",
        title,
        Verdict.FAIL,
        f"Too little: {said}, below {WEAK:g}. The estimate is then what the penalty prefers, or "
        "leans towards regression without instruments. Find instruments that move it more.",
        numbers,
    )


def enough_for_a_function(
    distinct: int, instruments: int, numbers: int, columns: int, confounders: int
) -> Finding:
    """ID209: how many equations do the instruments give, and how many does a function need?

    ``distinct`` combinations of the values of ``instruments`` columns; ``confounders``, of which
    ``numbers`` are numeric, make ``columns`` columns of a linear model.
    """
    title = "Equations for a function"
    equations = distinct - 1
    told: dict[str, float | str] = {"equations": equations, "columns": columns}
    told |= {"instruments": instruments, "confounders": confounders}
    said = f"The instruments take {distinct} distinct values: {equations} equations"
    if equations < columns:
        return Finding(
            "ID209",
            title,
            Verdict.FAIL,
            f"{said}, fewer than the {columns} columns of a linear effect. Most of this function "
            "was decided by the penalty and not by the logs. Declare more instruments, merge "
            "categories, or name confounders that need no instrument in `exogenous`.",
            told,
        )
    if equations < columns + (EQUATIONS_FOR_A_CURVE - 1) * numbers:
        return Finding(
            "ID209",
            title,
            Verdict.WARN,
            f"{said}, enough for a linear effect and not for a curve. Its bends are what the "
            "penalty prefers. Use two-stage least squares, or instruments with more values.",
            told,
        )
    if instruments < confounders:
        return Finding(
            "ID209",
            title,
            Verdict.WARN,
            f"{instruments} instrument(s) for {confounders} confounders: what the instruments move "
            "together they cannot tell apart, except by the shape of the first stage. Declare as "
            "many instruments as confounders.",
            told,
        )
    return Finding("ID209", title, Verdict.PASS, f"{said}.", told)


def own_function(r2: np.ndarray, names: Sequence[str]) -> Finding:
    """ID206: is a confounder a function of the instruments?

    ``r2 (p,)`` is the larger of R² on held-out rows and the squared rank correlation.
    """
    title = "Instruments differ from the confounders"
    most = int(np.argmax(r2))
    numbers: dict[str, float | str] = {"unexplained": float(1 - r2[most])}
    if r2[most] < DETERMINED:
        explanation = "No confounder is determined by the instruments."
        return Finding("ID206", title, Verdict.PASS, explanation, numbers)
    return Finding(
        "ID206",
        title,
        Verdict.FAIL,
        f"The instruments determine {names[most]} (R² {r2[most]:.4f} on held-out rows, or between "
        "ranks): one of them is a copy or a function of it, and the estimate for it is that of a "
        "regression without instruments. Drop that instrument, or, if nothing travels with this "
        "confounder, name it as exogenous.",
        numbers,
    )


def held_out_moments(
    violations: np.ndarray, of_nothing: np.ndarray, of_line: np.ndarray
) -> Finding:
    """ID210: does h explain what the instruments predict of the outcome, on held-out rows?

    Violations ``(k,)`` of k held-out folds, of the function, of h = 0 and of two-stage.
    """
    title = "Moments on held-out rows"
    violation, nothing, line = (float(v.mean()) for v in (violations, of_nothing, of_line))
    numbers: dict[str, float | str] = {
        "violation": violation,
        "of_nothing": nothing,
        "of_line": line,
    }
    if violation >= nothing:
        return Finding(
            "ID210",
            title,
            Verdict.WARN,
            f"On held-out rows the function leaves a violation of {violation:.3g}, no less than "
            f"without any effect ({nothing:.3g}). Either these confounders do nothing that the "
            "instruments show, or there are too few rows. Do not subtract this effect.",
            numbers,
        )
    said = (
        f"The function leaves {violation / nothing:.1%} of what the instruments predict of the "
        f"outcome on held-out rows; two-stage least squares leaves {line / nothing:.1%}."
    )
    gain = of_line - violations
    # One standard error over folds: what a choice among many penalties gains by chance alone.
    if gain.mean() <= gain.std(ddof=1) / np.sqrt(len(gain)):
        said += " A line does as well: two-stage, with its shorter intervals, is enough."
    return Finding("ID210", title, Verdict.PASS, said, numbers)
