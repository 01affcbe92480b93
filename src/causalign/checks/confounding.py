"""CF1xx, OV1xx, MK1xx, PO120: what travels with the texts, and what taking it out achieves."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalign.checks.check import Check
from causalign.results import Finding, Verdict
from causalign.stats.confounding import ConfoundingTest, holm
from causalign.stats.counterparts import Overlap

Floats = NDArray[np.float64]

# Among all columns judged together, the chance of calling any a confounder that is none.
SIGNIFICANCE = 0.01
# Recognising a column that explains less of the outcome cannot turn a reward around: a convention.
LEAST_SHARE = 1e-4
TOO_MANY_MISSING = 0.05
LITTLE_LEFT = 0.1
NOTHING_LEFT = 0.01
# A marker of which the confounders explain more than this stands for them.
STANDS_FOR = 0.9
NAMED = 5
GAIN = "Gain from deconfounding"


@dataclass(frozen=True, slots=True)
class Judged:
    """Say of one column whether it confounds: the one rule that all words of an audit follow.

    It confounds when it moves the outcome beside the text and the text shows what it does, both
    beyond chance (p < .01, Holm over the columns judged together), and when recognising it would
    explain more than 0.01 % of the outcome. The text shows it by its features or by ``word``, the
    marker that travels most with what it does. Where there are no text features, no word shows it
    and it moves the outcome, ``confounds`` is None: nobody can say.
    """

    name: str
    test: ConfoundingTest
    p_value: float
    moves: bool
    word: str = ""

    @property
    def confounds(self) -> bool | None:
        """Return whether it does, or None where that is not known."""
        if self.word:
            return True
        if self.test.as_it_is.shows is None:
            return None if self.moves else False
        return self.p_value < SIGNIFICANCE and self.test.strongest.share > LEAST_SHARE

    def describe(self) -> str:
        """Return in words how much of the outcome it explains."""
        as_it_is, ranks = self.test.as_it_is, self.test.scales[-1]
        share = f"{self.name} explains {max(as_it_is.moves.score, 0.0):.2%} "
        beside = as_it_is.shows is not None and self.test.beside_text
        share += "of what the text leaves of the outcome" if beside else "of the outcome"
        # Where the outcome has a heavy tail its ranks say more of most rows than it says itself.
        if ranks.moves.score > max(as_it_is.moves.score, 0.0):
            share += f" and {max(ranks.moves.score, 0.0):.2%} of its ranks"
        return share

    def describe_text(self, from_text: float, metric: str) -> str:
        """Return in words how well the text predicts it, or what it does where that is more."""
        shows = self.test.strongest.shows
        if metric == "R²" and shows is not None and shows.score > from_text:
            return f"the text predicts what it does with R² {shows.score:.2f}"
        return f"the text predicts it with {metric} {from_text:.2f}"


def judge(names: Sequence[str], tests: Sequence[ConfoundingTest]) -> tuple[Judged, ...]:
    """Apply the rule to the columns that were tested together."""
    both = holm([test.p_value for test in tests])
    moves = holm([test.moves_p_value for test in tests])
    return tuple(
        Judged(name, test, float(p), bool(q < SIGNIFICANCE))
        for name, test, p, q in zip(names, tests, both, moves, strict=True)
    )


def confounded_by(judged: Judged, from_text: float | None, metric: str) -> Finding:
    """CF101: the text shows the confounder *and* the confounder moves the outcome.

    Both are needed: a reward model fitted on the raw outcome then learns to recognise the
    confounder in the text.
    """
    name, test = judged.name, judged.test
    numbers: dict[str, float | str] = {"outcome_r2": test.as_it_is.moves.score}
    numbers |= {"rank_r2": test.scales[-1].moves.score, "p": judged.p_value}
    if from_text is not None:
        numbers |= {"from_text": from_text, "metric": metric}
    check = Check("CF101", f"Confounding by {name}", **numbers)
    if from_text is None and test.as_it_is.shows is not None:
        return check.does_not_apply(f"No value of {name} occurs twice, so nothing can be seen.")
    if judged.word:
        return check.warns(
            f"Confounded: “{judged.word}” travels with what {name} does, and {judged.describe()}. "
            "Deconfound before fitting a reward."
        )
    if from_text is None:
        effect = "" if judged.moves else ", no more than chance would"
        return check.does_not_apply(
            f"{capital(judged.describe())}{effect}; without text features nobody can say whether "
            "the text shows it. Name an encoder, or features in Roles(features=...)."
        )
    seen = judged.describe_text(from_text, metric)
    if judged.confounds:
        advice = "Deconfound before fitting a reward."
        if not test.beside_text:
            advice = "The text all but determines it: which of both moved the outcome cannot be "
            advice += "told (OV102)."
        return check.warns(f"Confounded: {judged.describe()}, and {seen}. {advice}")
    if not judged.moves:
        return check.passes(
            f"{capital(judged.describe())}, no more than chance would, so there is nothing to take "
            f"out; {seen}."
        )
    if judged.p_value < SIGNIFICANCE:
        return check.passes(
            f"{capital(judged.describe())}, and {seen}: too little to turn a reward around."
        )
    return check.passes(
        f"{capital(judged.describe())}, but neither the text nor a word of it shows what it does: "
        "a reward cannot learn it."
    )


def no_confounders() -> Finding:
    """CF102: no confounder is declared, so nothing can be checked or removed."""
    return Check("CF102", "Declared confounders").warns(
        "These logs declare no confounders. Ask what else differed when these texts were written "
        "(time, place, price, author) and name those columns in Roles(confounders=...)."
    )


def counterparts(names: Sequence[str], overlaps: Sequence[Overlap]) -> Finding:
    """OV101: how often has a text met no condition but its own? The worst confounder decides."""
    missing = np.array([o.missing for o in overlaps])
    worst = int(np.argmax(missing))
    check = Check(
        "OV101", "Counterparts of the texts", missing=float(missing[worst]), confounder=names[worst]
    )
    shares = ", ".join(
        f"{names[i]} ({missing[i]:.0%})" for i in np.argsort(-missing) if missing[i] > 0.005
    )
    if missing[worst] <= TOO_MANY_MISSING:
        explanation = f"Texts of all kinds met the other conditions; without counterpart: {shares}."
        if not shares:
            explanation = "Texts of all kinds met the other conditions of every confounder."
        return check.passes(explanation)
    return check.warns(
        "Texts of some kind never met some conditions. Share of comparisons without a counterpart: "
        f"{shares}. What such texts would have earned there is extrapolated by any method. Leave "
        "those rows out, log such texts under other conditions, or use an instrument."
    )


def left_beside_the_text(names: Sequence[str], overlaps: Sequence[Overlap], rows: int) -> Finding:
    """OV102: is any of a confounder left once the text is known, to read its effect from?"""
    left = np.array([o.left for o in overlaps])
    least = int(np.argmin(left))
    check = Check(
        "OV102",
        "Confounders vary beside the text",
        left=float(left[least]),
        confounder=names[least],
    )
    rest = f"{left[least]:.1%} of {names[least]} is left once the text is known"
    if left[least] >= LITTLE_LEFT:
        return check.passes(f"At the least, {rest}.")
    if left[least] < NOTHING_LEFT:
        return check.fails(
            f"The text determines {names[least]}: {rest}. Its effect and that of the words cannot "
            "be told apart by any regression. Use an instrument or an experiment, or take out of "
            "the texts what names the confounder."
        )
    return check.warns(
        f"Only {rest}: its {rows:,} rows tell as much of its effect as {left[least] * rows:,.0f} "
        "that say nothing of the text. Expect wide intervals; log such texts under other "
        "conditions, or use an instrument."
    )


def overlap_not_known(explanation: str) -> Finding:
    """OV101 where nobody can say which texts are alike, or which conditions they met."""
    return Check("OV101", "Counterparts of the texts").does_not_apply(explanation)


def spurious_markers(
    names: Sequence[str],
    naive: Floats,
    deconfounded: Floats,
    tested: int,
    level: float,
    *,
    confounded: bool,
) -> Finding:
    """MK101: markers whose effect changes when the confounders' effect is taken out.

    Of the markers found, ``names`` leads with those that share no texts with an earlier one.
    """
    check = Check("MK101", "Spurious markers", found=len(names), tested=tested, level=level)
    if not tested:
        return check.does_not_apply("There is no marker to test.")
    if not confounded:
        return check.passes(
            f"No confounder is seen both to show in the text and to move the outcome (CF101), so "
            f"none of {tested} markers is said to be paid for what it travels with."
        )
    if not names:
        return check.passes(f"None of {tested} markers by itself seems better or worse than it is.")
    shown = [
        "“{}” ({} as logged, {} without the confounders)".format(name, *write_alike(before, after))
        for name, before, after in zip(names[:NAMED], naive, deconfounded, strict=False)
    ]
    more = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return check.warns(
        f"A reward fitted on the outcome as logged pays for what only travels with it: "
        f"{', '.join(shown)}{more}. Deconfound before fitting a reward."
    )


def markers_that_stand_for_confounders(names: Sequence[str], r2: Floats, tested: int) -> Finding:
    """MK102: markers that the confounders determine, so that nothing tells the two apart."""
    title = "Markers can be told from confounders"
    if not tested:
        return Check("MK102", title).does_not_apply("There is no marker to test.")
    if not names:
        return Check("MK102", title).passes("No marker is determined by the confounders.")
    shown = ", ".join(f"“{n}” (R² {r:.2f})" for n, r in zip(names[:NAMED], r2, strict=False))
    return Check("MK102", title, markers=len(names), r2=float(np.max(r2))).warns(
        f"The confounders determine {len(names)} markers: {shown}. Whether marker or confounder "
        "moved the outcome cannot be told from these logs; write some texts without the marker "
        "where it is usual."
    )


def markers_tested(
    tested: int, variants: int, left_out: int, rare: int, *, with_text: bool, same_texts: bool
) -> Finding:
    """MK103: how many markers were frequent enough, and whether the rest of the text was known."""
    numbers = {"tested": tested, "variants": variants, "left_out": left_out, "rare": rare}
    check = Check("MK103", "Markers tested", **numbers)
    if same_texts:
        return check.does_not_apply("All texts are the same, so there is no marker to test.")
    if not tested:
        return check.does_not_apply(f"No marker occurs in {rare} texts and is missing in {rare}.")
    explanation = f"{tested} markers occur in at least {rare} texts"
    if variants:
        explanation += f"; {variants} more words and phrases are told with them as variants"
    if left_out:
        explanation += f"; {left_out} rarer words and phrases were left out"
    if with_text:
        return check.passes(f"{explanation}.")
    return check.warns(
        f"{explanation}. Without text features what the rest of the text does is given to the "
        "confounders that travel with it. Name an encoder, or features in Roles(features=...)."
    )


def markers_by_audience(
    different: Sequence[tuple[str, str]], tested: int, audiences: int
) -> Finding:
    """MK104: which markers do other things in some audiences than in others?

    ``different`` holds their names and effects in words, the surest first.
    """
    check = Check("MK104", "Markers alike for audiences", different=len(different), tested=tested)
    if not tested:
        return check.does_not_apply("No marker is frequent enough in two audiences.")
    if not different:
        return check.passes(
            f"None of {tested} markers is seen to do other things in some of {audiences} audiences."
        )
    named = "; ".join(f"“{name}” {effects}" for name, effects in different[:3])
    return check.warns(
        f"{len(different)} of {tested} markers do other things in some audiences than in others: "
        f"{named}. Fit a reward for each audience: ForAudience."
    )


def no_judge() -> Finding:
    """Say that nobody can tell whether deconfounding helped the policy (PO120)."""
    explanation = (
        "There is no experiment, and the held-out rows are too few for a reward of their own, so "
        "nobody but the reader can say which policy writes better. Give experimental pairs in "
        "'evaluate.pairs', or hold out more rows."
    )
    return Check("PO120", GAIN).does_not_apply(explanation)


def gain_of_deconfounding(difference: float, lower: float, upper: float, judge: str) -> Finding:
    """Compare the mean reward of the deconfounded policy's texts with the naive one's (PO120)."""
    verdict = Verdict.PASS if lower > 0 else Verdict.FAIL if upper < 0 else Verdict.WARN
    comparison, advice = {
        Verdict.PASS: ("above", ""),
        Verdict.WARN: (
            "no different from",
            " Write more texts, train for longer, or ask the audit whether these logs are "
            "confounded at all.",
        ),
        Verdict.FAIL: (
            "below",
            " Do not use the policy; see whether the deconfounded reward ranks held-out pairs "
            "worse as well.",
        ),
    }[verdict]
    explanation = (
        f"{judge[:1].upper()}{judge[1:]} rates the deconfounded policy's texts {comparison} those "
        f"of the policy tuned on the outcome as logged (difference {difference:.3g}, 95% interval "
        f"{lower:.3g} to {upper:.3g}).{advice}"
    )
    check = Check("PO120", GAIN, difference=difference, lower=lower, upper=upper)
    return check.end(verdict, explanation)


def capital(text: str) -> str:
    """Return the text with its first letter large, as a sentence begins."""
    return text[:1].upper() + text[1:]


def write_alike(*numbers: float) -> list[str]:
    """Write numbers that are compared with the same decimals: three digits of the largest."""
    largest = max((abs(number) for number in numbers if np.isfinite(number)), default=0.0)
    decimals = max(0, 2 - int(np.floor(np.log10(largest)))) if largest > 0 else 0
    return [f"{number:+.{decimals}f}" for number in numbers]
