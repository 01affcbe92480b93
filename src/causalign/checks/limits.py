"""How far chosen texts may move a guardrail: limits, whom they refuse, and whether they hold."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from causalign.checks.candidates import OfferedTexts
from causalign.errors import SettingsError
from causalign.logs.outcome_model import Assessment
from causalign.logs.roles import find_guardrail
from causalign.results import Finding, Verdict
from causalign.stats.best_of import ChoiceWorth

Floats = NDArray[np.float64]
# A bound on one side that holds in 95 of 100 cases is so many standard errors away.
ONE_SIDED_95 = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class Limit:
    """By how much a guardrail may differ from its mean in the log: ``complaints <= 0.01``.

    Parameters
    ----------
    guardrail : str
    sign : int
        1 where it may not rise by more than the bound, -1 where it may not fall below it.
    bound : float
        In units of the guardrail.
    """

    guardrail: str
    sign: int
    bound: float

    def __str__(self) -> str:
        return f"{self.guardrail} {'<=' if self.sign > 0 else '>='} {self.bound:g}"

    def excess(self, assessed: Assessment) -> Floats:
        """Return by how much each text ``(n,)`` may lie beyond the limit; above 0 it is refused.

        The bound of the interval counts, not the estimate: ``ĝ(T) + 1.64 √(φ'Vφ)`` against the
        limit.

        Parameters
        ----------
        assessed : Assessment
        """
        change = assessed.guardrails[find_guardrail(self.guardrail, assessed.guardrails)]
        error = 0.0 if change.standard_error is None else change.standard_error
        return np.asarray(self.sign * (change.reward - self.bound) + ONE_SIDED_95 * error)


def read_limit(written: str) -> Limit:
    """Read ``complaints <= 0.01`` or ``rating >= -0.05``.

    Parameters
    ----------
    written : str

    Raises
    ------
    SettingsError
        For anything else.
    """
    parts = re.fullmatch(r"\s*(.+?)\s*(<=|>=)\s*(\S+)\s*", written)
    try:
        bound = float(parts[3]) if parts else np.nan
    except ValueError:
        bound = np.nan
    if parts is None or not np.isfinite(bound):
        raise SettingsError(
            f"A limit says by how much a guardrail may differ from its mean in the log, as in "
            f"'complaints <= 0.01' or 'rating >= -0.05'; found {written!r}."
        )
    return Limit(parts[1], 1 if parts[2] == "<=" else -1, bound)


def refuse_beyond(
    candidates: OfferedTexts,
    read: NDArray[np.int64],
    assessed: Assessment,
    limits: Sequence[Limit],
) -> OfferedTexts:
    """Refuse candidates that may break a limit.

    Parameters
    ----------
    candidates : OfferedTexts
    read : (k,) integers
        Which of them were assessed.
    assessed : Assessment
    limits : sequence of Limit
    """
    reasons = list(candidates.reasons)
    for limit in limits:
        for row, excess in zip(read, limit.excess(assessed), strict=True):
            if reasons[row] is None and excess > 0:
                reach = limit.bound + limit.sign * excess
                reasons[row] = f"may break {limit}: perhaps {reach:+.3g}"
    return replace(candidates, reasons=tuple(reasons))


def refuse_losses(
    candidates: OfferedTexts, read: NDArray[np.int64], assessed: Assessment, most_loss: float
) -> OfferedTexts:
    """Refuse candidates under which some audience may lose more than it is asked to bear.

    Parameters
    ----------
    candidates : OfferedTexts
    read : (k,) integers
        Which of them were assessed.
    assessed : Assessment
    most_loss : float
        In units of the outcome, against what the audience earned in the log.
    """
    reasons = list(candidates.reasons)
    for name, gain in assessed.audiences.items():
        error = 0.0 if gain.standard_error is None else gain.standard_error
        for row, lower in zip(read, gain.reward - ONE_SIDED_95 * error, strict=True):
            if reasons[row] is None and lower < -most_loss:
                reasons[row] = f"the audience {name} may lose: perhaps {lower:+.3g}"
    return replace(candidates, reasons=tuple(reasons))


def hold_to_limits(score: Floats, assessed: Assessment, limits: Sequence[Limit]) -> Floats:
    """Return scores ``(n,)`` under which texts that may break a limit come last, the worst at last.

    Parameters
    ----------
    score : (n,) array
    assessed : Assessment
    limits : sequence of Limit
    """
    held = score
    for limit in limits:
        excess = limit.excess(assessed)
        below = score.min() - 1 - excess / max(float(np.abs(excess).max()), np.finfo(float).tiny)
        held = np.where(excess > 0, np.minimum(held, below), held)
    return np.asarray(held)


def guardrails_kept(changes: Mapping[str, ChoiceWorth], limits: Sequence[Limit]) -> Finding:
    """Do the chosen texts keep to the limits, and what do they do to other guardrails (WR105)?

    Parameters
    ----------
    changes : mapping from str to ChoiceWorth
        What the chosen texts do to each guardrail, by models that did not choose.
    limits : sequence of Limit
        A guardrail without one must not rise.
    """
    title = "Guardrails of the chosen texts"
    if not changes:
        explanation = "The reward knows no guardrail, or what the texts do to it was not estimated."
        return Finding("WR105", title, Verdict.NOT_APPLICABLE, explanation)
    asked = {find_guardrail(limit.guardrail, changes): limit for limit in limits}
    numbers: dict[str, float] = {}
    verdicts, sentences = [], []
    for name, change in changes.items():
        limit = asked.get(name, Limit(name, 1, 0.0))
        ends = sorted(limit.sign * (end - limit.bound) for end in (change.lower, change.upper))
        verdict = Verdict.PASS if ends[1] <= 0 else Verdict.FAIL if ends[0] > 0 else Verdict.WARN
        words = {Verdict.PASS: "holds", Verdict.FAIL: "is broken"}
        sentences.append(
            f"moves {name} by {change.estimate:+.3g} ({change.lower:.3g} to {change.upper:.3g}), "
            f"so that {limit} {words.get(verdict, 'is not shown to hold')}"
        )
        verdicts.append(verdict)
        numbers |= {f"change of {name}": change.estimate, f"at most, {name}": change.upper}
    worst = next(v for v in (Verdict.FAIL, Verdict.WARN, Verdict.PASS) if v in verdicts)
    explanation = f"By models that did not choose, a chosen text {'; it '.join(sentences)}."
    if worst is not Verdict.PASS:
        explanation += " Ask for a tighter limit or more candidates, or test the texts first."
    return Finding("WR105", title, worst, explanation, numbers)


def cost_of_gain(
    guardrail: str, gain: tuple[float, float, float], rise: tuple[float, float, float]
) -> Finding:
    """Does a policy win the outcome at the cost of a guardrail (PO121)?

    Parameters
    ----------
    guardrail : str
    gain, rise : three floats
        By how much its texts raise the outcome and the guardrail: estimate, and 95% interval.
    """
    numbers = {"gain": gain[0], "rise": rise[0], "lower": rise[1], "upper": rise[2]}
    seen = (
        f"Against what was written before, a judge that training never saw says {gain[0]:+.3g} of "
        f"the outcome ({gain[1]:.3g} to {gain[2]:.3g}) and {rise[0]:+.3g} of {guardrail} "
        f"({rise[1]:.3g} to {rise[2]:.3g})"
    )
    title = "Guardrails of a policy"
    if rise[1] <= 0:
        verdict = Verdict.PASS if rise[2] <= 0 else Verdict.WARN
        more = "" if verdict is Verdict.PASS else " A rise is not ruled out."
        return Finding("PO121", title, verdict, f"{seen}.{more}", numbers)
    bought = " Its gain is bought." if gain[1] > 0 else ""
    explanation = (
        f"{seen}.{bought} Give {guardrail} a price (prices: {{{guardrail}: ...}}), choose within "
        "limits, or keep the policy away from readers."
    )
    return Finding("PO121", title, Verdict.FAIL, explanation, numbers)


def guardrails_not_judged(guardrails: Sequence[str]) -> Finding:
    """Say that nobody can tell what a policy does to the guardrails (PO121).

    Parameters
    ----------
    guardrails : sequence of str
    """
    explanation = (
        "The held-out rows are too few for a reward of their own, so that nothing is known of what "
        f"the policies do to {', '.join(guardrails)}. Hold out more rows."
    )
    return Finding("PO121", "Guardrails of a policy", Verdict.WARN, explanation)
