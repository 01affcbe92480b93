"""ID2xx: what the logs can tell about instruments, beyond their number and their strength."""

from collections.abc import Sequence

import numpy as np

from causalign.results import Finding, Verdict
from causalign.stats.anderson_rubin import anderson_rubin
from causalign.stats.exclusion import exclusion_sensitivity
from causalign.stats.instruments import effective_f, endogeneity, over_identification
from causalign.stats.least_squares import FirstStage
from causalign.stats.partial import Partialled

__all__ = [
    "agreement",
    "direct_effects",
    "disagreement_with_least_squares",
    "instrument_findings",
    "interval_if_weak",
    "own_instruments",
    "strength_of_instruments",
]

# The rule of thumb of Staiger and Stock; the effective F is read against the same number.
WEAK = 10.0
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
    strength: FirstStage, confounders: Sequence[str], *, leans_towards: str, remedy: str
) -> Finding:
    """ID201: do the instruments move every confounder? Judged by the smallest first-stage F."""
    weakest = int(np.argmin(strength.f))
    f, name = float(strength.f[weakest]), confounders[weakest]
    numbers = {
        "f": f,
        "partial_r2": float(strength.partial_r2[weakest]),
        "restrictions": float(strength.numerator),
    }
    title = "Strength of the instruments"
    if f >= WEAK:
        told = f"The instruments move {name} (F = {f:.1f}, at least {WEAK:g})."
        return Finding("ID201", title, Verdict.PASS, told, numbers)
    told = (
        f"The instruments barely move {name} (F = {f:.1f}, below {WEAK:g}). The estimate then "
        f"leans towards {leans_towards}, and its interval is too short. Find stronger instruments, "
        f"drop those that do nothing, or {remedy}."
    )
    return Finding("ID201", title, Verdict.FAIL, told, numbers)


def interval_if_weak(parts: Partialled, confounders: Sequence[str]) -> Finding:
    """ID203: state the interval that holds however weak the instruments are."""
    title = "Interval that weak instruments cannot spoil"
    if len(confounders) != 1:
        return Finding(
            "ID203",
            title,
            Verdict.NOT_APPLICABLE,
            f"Anderson-Rubin intervals and the effective F are for one confounder column; "
            f"{len(confounders)} need instruments here.",
        )
    f, found = effective_f(parts), anderson_rubin(parts).confidence_set()
    told = found.describe()
    numbers: dict[str, float | str] = {"effective_f": f, "shape": found.shape}
    if found.shape == "interval":
        numbers |= {"lower": found.pieces[0][0], "upper": found.pieces[0][1]}
    if f < WEAK:
        explanation = (
            f"The effective F of {confounders[0]} is {f:.1f}, below {WEAK:g}: do not use the "
            f"interval in the table. By the Anderson-Rubin test, which stays valid, {told}."
        )
        return Finding("ID203", title, Verdict.FAIL, explanation, numbers)
    explanation = f"For {confounders[0]} (effective F {f:.1f}), by the Anderson-Rubin test {told}."
    verdict = Verdict.WARN if found.shape == "empty" else Verdict.PASS
    return Finding("ID203", title, verdict, explanation, numbers)


def agreement(parts: Partialled) -> Finding:
    """ID204: do instruments, where there are more than needed, tell the same effect?"""
    title = "Agreement of the instruments"
    if parts.Z.shape[1] == parts.X.shape[1]:
        return Finding(
            "ID204",
            title,
            Verdict.NOT_APPLICABLE,
            "There are as many instruments as confounders, so that none can contradict another.",
        )
    tests = over_identification(parts)
    p_value = tests.score.p_value
    numbers: dict[str, float | str] = {
        "score": tests.score.statistic,
        "score_p_value": p_value,
        "hansen": tests.hansen.statistic,
        "hansen_p_value": tests.hansen.p_value,
        "sargan": tests.sargan.statistic,
        "sargan_p_value": tests.sargan.p_value,
        "degrees_of_freedom": tests.score.numerator,
    }
    if p_value < SIGNIFICANCE:
        verdict, told = (
            Verdict.WARN,
            f"The instruments contradict each other ({_told(p_value)}): at least one reaches the "
            "outcome on another way, or effects differ between the rows that each of them moves. "
            "Compare the estimates with one instrument left out at a time.",
        )
    else:
        verdict, told = (
            Verdict.PASS,
            f"The instruments tell the same effect ({_told(p_value)}). Instruments that are all "
            "wrong in the same way would do so too.",
        )
    return Finding("ID204", title, verdict, told, numbers)


def disagreement_with_least_squares(parts: Partialled) -> Finding:
    """ID205: did least squares, which needs no instruments, give another answer?"""
    tests = endogeneity(parts)
    p_value = tests.robust.p_value
    if p_value < SIGNIFICANCE:
        told = (
            f"Least squares without instruments tells another effect ({_told(p_value)}), as it "
            "does when text and confounder travel together."
        )
    else:
        told = (
            f"Least squares without instruments tells no other effect ({_told(p_value)}): either "
            "little travels with the confounder, or the instruments are too weak to see it."
        )
    numbers: dict[str, float | str] = {
        "wald": tests.robust.statistic,
        "wald_p_value": p_value,
        "wu_hausman": tests.wu_hausman.statistic,
        "wu_hausman_p_value": tests.wu_hausman.p_value,
    }
    return Finding("ID205", "Were instruments needed", Verdict.PASS, told, numbers)


def own_instruments(parts: Partialled, confounders: Sequence[str]) -> Finding:
    """ID206: does a confounder serve as its own instrument, by name or by copy?"""
    title = "Instruments differ from the confounders"
    left = parts.X - parts.basis @ (parts.basis.T @ parts.X)
    share = np.square(left).sum(axis=0) / np.square(parts.X).sum(axis=0)
    most = int(np.argmin(share))
    numbers: dict[str, float | str] = {"unexplained": float(share[most])}
    if share[most] > DETERMINED:
        explanation = "No confounder is determined by the instruments."
        return Finding("ID206", title, Verdict.PASS, explanation, numbers)
    return Finding(
        "ID206",
        title,
        Verdict.FAIL,
        f"The instruments determine {confounders[most]} wholly: one of them is a copy of it, and "
        "the estimate for it is that of least squares without instruments. Drop that instrument, "
        "or, if nothing travels with this confounder, name it as exogenous.",
        numbers,
    )


def direct_effects(parts: Partialled, confounders: Sequence[str]) -> Finding:
    """ID207: how large may the instruments' direct effects be before an estimate vanishes?"""
    title = "Direct effects that would undo the estimate"
    breakdown = exclusion_sensitivity(parts, [0.0]).breakdown
    told = np.flatnonzero(breakdown > 0)
    if not told.size:
        return Finding(
            "ID207",
            title,
            Verdict.NOT_APPLICABLE,
            "Every interval holds zero already, without any direct effect of the instruments.",
        )
    first = int(told[np.argmin(breakdown[told])])
    size = float(breakdown[first])
    share = size / float(np.sqrt(np.mean(np.square(parts.y))))
    explanation = (
        f"If a typical move of an instrument changed the outcome directly by {size:.3g} "
        f"({share:.1%} of the outcome's standard deviation), the interval of {confounders[first]} "
        "would hold zero. Ask whether that is believable."
    )
    numbers: dict[str, float | str] = {"breakdown": size, "share_of_deviation": share}
    return Finding("ID207", title, Verdict.PASS, explanation, numbers)


def _told(p_value: float) -> str:
    return f"p = {p_value:.2g}" if p_value >= 1e-4 else "p < 0.0001"
