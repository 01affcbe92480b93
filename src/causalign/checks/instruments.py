"""ID2xx: what the logs can tell about instruments, beyond their number and their strength."""

from collections.abc import Sequence

import numpy as np

from causalign.checks.check import Check
from causalign.results import Finding, Verdict
from causalign.stats.instrument_tests import (
    effective_f,
    endogeneity,
    exclusion_sensitivity,
    over_identification,
)
from causalign.stats.least_squares import FirstStage
from causalign.stats.partial import Partialled
from causalign.stats.weak_instruments import weak_instrument_test

# The rule of thumb of Staiger and Stock; the effective F is read against the same number.
WEAK = 10.0
# The worst bias of two-stage least squares in its standard errors: at 0.5, 95% intervals hold 92%.
BIASED = 0.5
SIGNIFICANCE = 0.05
# Unexplained shares below this are rounding: the instruments determine the confounder.
DETERMINED = 1e-12


def instrument_findings(parts: Partialled, confounders: Sequence[str]) -> tuple[Finding, ...]:
    """Return every finding about instruments, for p confounder columns named in order."""
    own = own_instruments(parts, confounders)
    if own.verdict is Verdict.FAIL:
        return (own,)
    return (
        interval_if_weak(parts, confounders),
        agreement(parts),
        disagreement_with_least_squares(parts),
        own,
        direct_effects(parts, confounders),
    )


def strength_of_instruments(
    strength: FirstStage, confounders: Sequence[str], *, leans_towards: str, is_two_stage: bool
) -> Finding:
    """ID201: do the instruments move every confounder? Judged by the smallest first-stage F.

    Two-stage least squares is biased by many instruments that are not weak: by at most
    ``(q - 2) / sqrt(q (F - 1))`` of its standard errors, q the restrictions.
    """
    weakest, q = int(np.argmin(strength.f)), strength.numerator
    f, name = float(strength.f[weakest]), confounders[weakest]
    check = Check(
        "ID201",
        "Strength of the instruments",
        f=f,
        partial_r2=float(strength.partial_r2[weakest]),
        restrictions=float(q),
    )
    limited = is_two_stage and q > 1
    if f < WEAK:
        return check.fails(
            f"The instruments barely move {name} (F = {f:.1f}, below {WEAK:g}). The estimate then "
            f"leans towards {leans_towards}, and its interval is too short. Find stronger "
            "instruments, drop those that do nothing, or "
            + ("set kappa to 'liml'." if limited else "read the set of ID203 instead.")
        )
    moved = f"The instruments move {name} (F = {f:.1f}, at least {WEAK:g})"
    bias = (q - 2) / np.sqrt(q * (f - 1))
    if limited and bias > BIASED:
        return check.warns(
            f"{moved}, but for two-stage least squares they are many ({q}): it leans towards "
            f"{leans_towards}, by up to {bias:.1f} of its standard errors. Set kappa to 'liml'."
        )
    return check.passes(f"{moved}.")


def interval_if_weak(parts: Partialled, confounders: Sequence[str]) -> Finding:
    """ID203: state the interval that holds however weak or many the instruments are."""
    title = "Interval that weak instruments cannot spoil"
    if len(confounders) != 1:
        return Check("ID203", title).does_not_apply(
            "These intervals and the effective F are for one confounder column; "
            f"{len(confounders)} need instruments here."
        )
    f, confidence = effective_f(parts), weak_instrument_test(parts).confidence_set()
    interval = confidence.describe()
    ends = (
        dict(zip(("lower", "upper"), confidence.pieces[0], strict=True))
        if (confidence.shape == "interval")
        else {}
    )
    test = "Anderson-Rubin test" if parts.Z.shape[1] == 1 else "jackknife score test"
    check = Check("ID203", title, effective_f=f, shape=confidence.shape, **ends)
    if f < WEAK:
        return check.fails(
            f"The effective F of {confounders[0]} is {f:.1f}, below {WEAK:g}: do not use the "
            f"interval in the table. By the {test}, which stays valid, {interval}."
        )
    return check.end(
        Verdict.WARN if confidence.shape == "empty" else Verdict.PASS,
        f"For {confounders[0]} (effective F {f:.1f}), by the {test} {interval}.",
    )


def agreement(parts: Partialled) -> Finding:
    """ID204: do instruments, where there are more than needed, tell the same effect?"""
    title = "Agreement of the instruments"
    if parts.Z.shape[1] == parts.X.shape[1]:
        return Check("ID204", title).does_not_apply(
            "There are as many instruments as confounders, so that none can contradict another."
        )
    tests = over_identification(parts)
    p_value = tests.score.p_value
    check = Check(
        "ID204",
        title,
        score=tests.score.statistic,
        score_p_value=p_value,
        hansen=tests.hansen.statistic,
        hansen_p_value=tests.hansen.p_value,
        sargan=tests.sargan.statistic,
        sargan_p_value=tests.sargan.p_value,
        degrees_of_freedom=tests.score.numerator,
    )
    if p_value < SIGNIFICANCE:
        return check.warns(
            f"The instruments contradict each other ({_p(p_value)}): at least one reaches "
            "the outcome on another way, or effects differ between the rows that each of them "
            "moves. Compare the estimates with one instrument left out at a time."
        )
    return check.passes(
        f"The instruments tell the same effect ({_p(p_value)}). Instruments that are all "
        "wrong in the same way would do so too."
    )


def disagreement_with_least_squares(parts: Partialled) -> Finding:
    """ID205: did least squares, which needs no instruments, give another answer?"""
    tests = endogeneity(parts)
    p_value = tests.robust.p_value
    check = Check(
        "ID205",
        "Were instruments needed",
        wald=tests.robust.statistic,
        wald_p_value=p_value,
        wu_hausman=tests.wu_hausman.statistic,
        wu_hausman_p_value=tests.wu_hausman.p_value,
    )
    if p_value < SIGNIFICANCE:
        return check.passes(
            f"Least squares without instruments tells another effect ({_p(p_value)}), as it "
            "does when text and confounder travel together."
        )
    return check.passes(
        f"Least squares without instruments tells no other effect ({_p(p_value)}): either "
        "little travels with the confounder, or the instruments are too weak to see it."
    )


def own_instruments(parts: Partialled, confounders: Sequence[str]) -> Finding:
    """ID206: does a confounder serve as its own instrument, by name or by copy?"""
    left = parts.X - parts.basis @ (parts.basis.T @ parts.X)
    share = np.square(left).sum(axis=0) / np.square(parts.X).sum(axis=0)
    most = int(np.argmin(share))
    check = Check(
        "ID206", "Instruments differ from the confounders", unexplained=float(share[most])
    )
    if share[most] > DETERMINED:
        return check.passes("No confounder is determined by the instruments.")
    return check.fails(
        f"The instruments determine {confounders[most]} wholly: one of them is a copy of it, and "
        "the estimate for it is that of least squares without instruments. Drop that instrument, "
        "or, if nothing travels with this confounder, name it as exogenous."
    )


def direct_effects(parts: Partialled, confounders: Sequence[str]) -> Finding:
    """ID207: how large may the instruments' direct effects be before an estimate vanishes?"""
    title = "Direct effects that would undo the estimate"
    breakdown = exclusion_sensitivity(parts, [0.0]).breakdown
    nonzero = np.flatnonzero(breakdown > 0)
    if not nonzero.size:
        return Check("ID207", title).does_not_apply(
            "Every interval holds zero already, without any direct effect of the instruments."
        )
    first = int(nonzero[np.argmin(breakdown[nonzero])])
    size = float(breakdown[first])
    share = size / float(np.sqrt(np.mean(np.square(parts.y))))
    return Check("ID207", title, breakdown=size, share_of_deviation=share).passes(
        f"If a typical move of an instrument changed the outcome directly by {size:.3g} "
        f"({share:.1%} of the outcome's standard deviation), the interval of {confounders[first]} "
        "would hold zero. Ask whether that is believable."
    )


def _p(p_value: float) -> str:
    return f"p = {p_value:.2g}" if p_value >= 1e-4 else "p < 0.0001"
