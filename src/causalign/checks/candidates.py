"""WR1xx: which candidates are refused, and why; what is to be known of those that are chosen."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError
from causalign.logs import Logs
from causalign.logs.outcome_model import AssessingReward, Assessment
from causalign.results import Finding, Verdict
from causalign.stats.best_of import ChoiceWorth

# What pages of servers begin with, where a text was asked for.
_PAGES = ("<!doctype", "<html", "<?xml", '{"error"')

# Below these shares a writer, or a log, leaves little to choose from.
_FEW_DISTINCT = 0.5
_FEW_INSIDE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class OfferedTexts:
    """Hold m candidates for some prompts.

    Attributes
    ----------
    prompts : tuple of str or None
    place : (m,) integers
        The prompt of each candidate.
    texts : tuple of m str
        Without blanks at their ends.
    reasons : tuple of m str or None
        Why a candidate is refused; None for one that may be chosen.
    """

    prompts: tuple[str | None, ...]
    place: NDArray[np.int64]
    texts: tuple[str, ...]
    reasons: tuple[str | None, ...]

    @property
    def kept(self) -> NDArray[np.int64]:
        """The candidates that may be chosen."""
        return np.array([i for i, reason in enumerate(self.reasons) if reason is None], dtype=int)

    def prompts_of(self, rows: NDArray[np.int64]) -> list[str] | None:
        """Return the prompts of some candidates; None where no prompt was asked."""
        asked = [self.prompts[self.place[row]] for row in rows]
        return None if None in asked else [str(prompt) for prompt in asked]


def gather_candidates(
    prompts: Sequence[str | None], offers: Sequence[Sequence[str]]
) -> OfferedTexts:
    """Strip what a writer offered, and refuse what is no text, or the same text again.

    Raises ``InputError`` unless there are offers for each prompt.
    """
    if len(offers) != len(prompts) or not len(prompts):
        raise InputError(f"There are offers for {len(offers)} of {len(prompts)} prompts.")
    place, texts, reasons = [], [], []
    for number, offered in enumerate(offers):
        seen: dict[str, int] = {}
        for order, raw in enumerate(offered, 1):
            text = raw.strip()
            first = seen.setdefault(text, order)
            place.append(number)
            texts.append(text)
            reasons.append(_refuse_form(text, first, order))
    return OfferedTexts(tuple(prompts), np.array(place, dtype=int), tuple(texts), tuple(reasons))


def _refuse_form(text: str, first: int, order: int) -> str | None:
    if not text:
        return "empty"
    if text.lower().startswith(_PAGES):
        return "an error page"
    return f"the same as candidate {first}" if first < order else None


def refuse_outside(candidates: OfferedTexts, assessed: Assessment) -> OfferedTexts:
    """Refuse candidates outside what the log covers.

    Parameters
    ----------
    candidates : OfferedTexts
    assessed : Assessment
        Of the candidates that may still be chosen, in their order.
    """
    inside = assessed.in_support
    if inside is None or assessed.leverage is None:
        return candidates
    reasons = list(candidates.reasons)
    for row, h, covered in zip(candidates.kept, assessed.leverage, inside, strict=True):
        if not covered:
            reasons[row] = (
                f"outside the support: leverage {h:.3g}, the log reaches {assessed.limit:.3g}"
            )
    return OfferedTexts(candidates.prompts, candidates.place, candidates.texts, tuple(reasons))


def find_nearest_logged(
    candidates: OfferedTexts, reward: AssessingReward, logs: Logs
) -> list[str | None]:
    """Return for each candidate outside the support the logged text nearest to it, else None.

    Parameters
    ----------
    candidates : OfferedTexts
    reward : AssessingReward
    logs : Logs
    """
    nearest: list[str | None] = [None] * len(candidates.texts)
    outside = [i for i, why in enumerate(candidates.reasons) if (why or "").startswith("outside")]
    if outside:
        texts = [candidates.texts[row] for row in outside]
        read = logs.texts if reward.reads_prompt else logs.completions
        asked = candidates.prompts_of(np.array(outside))
        for row, which in zip(outside, reward.find_nearest(texts, read, asked), strict=True):
            nearest[row] = logs.completions[which]
    return nearest


def count_reasons(candidates: OfferedTexts) -> dict[str, int]:
    """Return how many candidates were refused, by the first words of the reason."""
    given = (why.split(":")[0] for why in candidates.reasons if why)
    words = sorted("the same as another" if why.startswith("the same") else why for why in given)
    return {why: len(list(group)) for why, group in groupby(words)}


def choice_findings(
    candidates: OfferedTexts,
    assessed: Assessment,
    has_covariance: bool,
    n: int,
    caution: float,
    worth: Sequence[ChoiceWorth],
) -> tuple[Finding, ...]:
    """Return what is to be known before chosen texts are sent.

    Parameters
    ----------
    candidates : OfferedTexts
    assessed : Assessment
        Of all candidates that are distinct texts.
    has_covariance : bool
        Whether the reward tells its standard error.
    n : int
        Candidates that were asked for, for each prompt.
    caution : float
    worth : sequence of ChoiceWorth
        Of the chosen texts and of the gain, if they are known.
    """
    return (
        _candidates_inside(candidates, assessed),
        _distinct_candidates(candidates, assessed, n),
        _caution_taken(has_covariance, caution),
        _gain_known(worth, n),
    )


def _candidates_inside(candidates: OfferedTexts, assessed: Assessment) -> Finding:
    """Lie the candidates inside what the log covers (WR101)?"""
    title = "Candidates inside the support"
    inside = assessed.in_support
    if inside is None:
        return Finding(
            "WR101",
            title,
            Verdict.WARN,
            "This reward does not tell which texts its log covers, so none was refused for lying "
            "outside: networks do not, nor rewards that an earlier causalign saved. Fit a linear "
            "reward, or read the chosen texts one by one.",
        )
    total = len(candidates.prompts)
    without = total - len(np.unique(candidates.place[candidates.kept]))
    share = float(inside.mean()) if len(inside) else 0.0
    numbers = {"inside": share, "prompts without a text": float(without)}
    seen = f"{share:.0%} of {len(inside):,} distinct candidates lie inside what the log covers"
    if without:
        seen += f"; {without:,} of {total:,} prompts get no text, since all of theirs were refused"
    if share >= _FEW_INSIDE and not without:
        return Finding("WR101", title, Verdict.PASS, f"{seen}.", numbers)
    verdict = Verdict.FAIL if without == total else Verdict.WARN
    explanation = (
        f"{seen}. What the reward says of other texts is a guess: let the writer write more like "
        "the log (show it logged texts, or fine-tune it on them), or log texts like its own."
    )
    return Finding("WR101", title, verdict, explanation, numbers)


def _distinct_candidates(candidates: OfferedTexts, assessed: Assessment, n: int) -> Finding:
    """Does the writer offer different texts (WR102)?"""
    title = "Distinct candidates"
    if n == 1:
        explanation = "n = 1: each prompt has one candidate, and nothing is chosen. Ask for more."
        return Finding("WR102", title, Verdict.WARN, explanation)
    asked, distinct = n * len(candidates.prompts), len(assessed.reward)
    numbers = {"distinct": float(distinct), "asked for": float(asked)}
    seen = f"{distinct:,} of {asked:,} candidates that were asked for are texts of their own"
    if distinct >= _FEW_DISTINCT * asked:
        return Finding("WR102", title, Verdict.PASS, f"{seen}.", numbers)
    explanation = (
        f"{seen}; the others are empty, were offered before, or did not come. Raise the writer's "
        "temperature, or ask whether it gives several texts for one prompt."
    )
    return Finding("WR102", title, Verdict.WARN, explanation, numbers)


def _caution_taken(has_covariance: bool, caution: float) -> Finding:
    """Is it counted how uncertain the reward is (WR103)?"""
    title = "Caution"
    if not has_covariance:
        return Finding(
            "WR103",
            title,
            Verdict.WARN,
            "This reward tells no standard error, so texts were chosen by its estimate alone: what "
            "it overrates is chosen most of all. Linear rewards tell one.",
        )
    if caution == 0:
        explanation = "caution = 0: texts were chosen by the estimate alone, as was asked for."
        return Finding("WR103", title, Verdict.NOT_APPLICABLE, explanation)
    explanation = f"Texts were chosen by the reward less {caution:g} of its standard errors."
    return Finding("WR103", title, Verdict.PASS, explanation, {"caution": caution})


def _gain_known(worth: Sequence[ChoiceWorth], n: int) -> Finding:
    """Is what is chosen better than what the writer writes (WR104)?"""
    title = "Gain of the choice"
    if not worth:
        explanation = "What the choice is worth was not estimated: the answer says why."
        return Finding("WR104", title, Verdict.NOT_APPLICABLE, explanation, {"n": float(n)})
    gain = worth[1]
    numbers = {"gain": gain.estimate, "lower": gain.lower, "upper": gain.upper}
    numbers |= {"naive": gain.naive}
    seen = (
        f"By the part of the log that did not choose, a chosen text gains {gain.estimate:.3g} "
        f"(95% interval {gain.lower:.3g} to {gain.upper:.3g}); the reward that chose says "
        f"{gain.naive:.3g}"
    )
    if gain.lower > 0:
        return Finding("WR104", title, Verdict.PASS, f"{seen}.", numbers)
    explanation = (
        f"{seen}. A gain of nothing is not ruled out: fit the reward on more logs, or test the "
        "chosen texts against the writer's before they are sent to all."
    )
    return Finding("WR104", title, Verdict.WARN, explanation, numbers)
