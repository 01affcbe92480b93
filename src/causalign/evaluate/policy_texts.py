"""Two policies' texts for the same prompts: who wins, what they say more often, how they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

from causalign import figures
from causalign.errors import InputError
from causalign.evaluate.judges import Judge, Score
from causalign.evaluate.measure import Measure
from causalign.logs.outcome_model import predict_outcome
from causalign.results import Finding, Verdict
from causalign.settings import require_number
from causalign.stats.proportions import (
    SharesCompared,
    clustered_shares,
    paired_shares,
    unpaired_shares,
)
from causalign.stats.ratio_of_means import clustered_error, influence_spread

Floats = NDArray[np.float64]

# A marker for which a judge pays less than this, in standard deviations, earns nothing: a
# convention, Cohen's small effect.
EARNS = 0.2


@dataclass(frozen=True, slots=True)
class MeanDifference:
    """The means of two policies and their paired difference.

    Attributes
    ----------
    first, second : float
        The means.
    difference, stderr, lower, upper : float
        First minus second, its standard error and its 95 % interval.
    """

    first: float
    second: float
    difference: float
    stderr: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class WinRate(Measure):
    """How often a judge prefers the candidate, each pair asked in both orders.

    Attributes
    ----------
    estimate, stderr, lower, upper : float
        Share of pairs won, with its 95 % interval.
    pairs : int
        Number of pairs.
    first_place : float
        Share of verdicts for the text shown first, 0.5 for a judge whom order does not move.
    consistent : float
        Share of pairs with the same verdict in both orders.
    """

    question: ClassVar[str] = "Which of two policies writes the better texts?"
    assumption: ClassVar[str] = "The judge took no part in training either policy."

    estimate: float
    stderr: float
    lower: float
    upper: float
    pairs: int
    first_place: float
    consistent: float
    findings: tuple[Finding, ...]

    def table(self) -> pa.Table:
        """Return one row."""
        names = ("estimate", "stderr", "lower", "upper", "pairs", "first_place", "consistent")
        return pa.table({name: [getattr(self, name)] for name in names})

    def answer(self) -> str:
        """Return the win rate in a sentence."""
        return (
            f"The candidate wins {self.estimate:.1%} of {self.pairs:,} pairs, 95% interval "
            f"{self.lower:.1%} to {self.upper:.1%}."
        )

    def drawing(self) -> figures.Drawing:
        """Return the win rate beside one half."""
        return figures.forest(
            "win-rate",
            ["candidate"],
            [self.estimate],
            [self.lower],
            [self.upper],
            xlabel="share of pairs won",
            caption="How often the judge prefers the candidate, with the 95 % interval.",
            alt=self.answer(),
            reference=0.5,
        )


def win_rate(
    judge: Judge,
    candidate: Sequence[str],
    baseline: Sequence[str],
    *,
    prompts: Sequence[str] | None = None,
    clusters: Sequence[object] | None = None,
) -> WinRate:
    """Ask the judge about every pair in both orders; a win is the mean of both verdicts.

    A judge that always prefers the first text gives each pair one half, instead of the win to
    whoever is shown first. Assumption: the judge took no part in training either policy.

    Parameters
    ----------
    judge : Judge
        ``judge(first, second, prompts) -> (n,)``, preferences between 0 and 1.
    candidate, baseline : sequences of n str
        Texts for the same n prompts.
    prompts : sequence of n str, optional
        What was asked.
    clusters : sequence of n labels, optional
        Pairs that are not independent; by default the prompts, so that several texts of a prompt
        count as one.

    Returns
    -------
    WinRate

    Raises
    ------
    InputError
        For sides of different lengths and verdicts that are no preferences.
    """
    n = _check_sides(candidate, baseline, prompts)
    shown, swapped = (
        np.asarray(judge(list(a), list(b), prompts), dtype=np.float64)
        for a, b in ((candidate, baseline), (baseline, candidate))
    )
    for verdicts in (shown, swapped):
        if verdicts.shape != (n,) or not ((verdicts >= 0) & (verdicts <= 1)).all():
            raise InputError(f"A judge must return {n} preferences between 0 and 1.")
    wins = (shown + 1.0 - swapped) / 2
    own = clusters if clusters is not None else prompts
    spread = influence_spread(float(wins.mean()), (wins - wins.mean(), np.empty(0)), _codes(own))
    first = (shown + swapped) / 2
    finding = _order_finding(first, _codes(own))
    consistent = float((np.sign(shown - 0.5) == np.sign(0.5 - swapped)).mean())
    low, high = max(spread.lower, 0.0), min(spread.upper, 1.0)
    return WinRate(
        float(wins.mean()), spread.stderr, low, high, n, float(first.mean()), consistent, (finding,)
    )


def mean_reward_difference(
    score: Score,
    candidate: Sequence[str],
    baseline: Sequence[str],
    *,
    prompts: Sequence[str] | None = None,
    clusters: Sequence[object] | None = None,
) -> MeanDifference:
    """Return mean reward of candidate and baseline, and their difference paired by prompt.

    The reward should be one that training never saw: the one that a policy was tuned on rates it
    too well.

    Parameters
    ----------
    score : callable
        ``score(completions, prompts) -> (n,)``.
    candidate, baseline, prompts, clusters
        As in `win_rate`.

    Returns
    -------
    MeanDifference

    Raises
    ------
    InputError
        For sides of different lengths and scores that are not finite.
    """
    _check_sides(candidate, baseline, prompts)
    first, second = (predict_outcome(score, texts, prompts) for texts in (candidate, baseline))
    change = first - second
    difference = float(change.mean())
    own = clusters if clusters is not None else prompts
    spread = influence_spread(difference, (change - difference, np.empty(0)), _codes(own))
    return MeanDifference(
        float(first.mean()),
        float(second.mean()),
        difference,
        spread.stderr,
        spread.lower,
        spread.upper,
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MarkerShares(Measure):
    """The share of texts with each marker under two policies, tested and adjusted.

    Attributes
    ----------
    markers : tuple of str
        Words or phrases.
    shares : tuple of SharesCompared
        The shares of each, candidate first, with the interval of their difference.
    adjusted : tuple of float
        Benjamini-Hochberg p-values over the markers.
    level : float
        Adjusted p-value up to which shares differ.
    """

    question: ClassVar[str] = "Which markers does one policy write more often than the other?"
    assumption: ClassVar[str] = "Prompts, or clusters of texts, are independent."

    markers: tuple[str, ...]
    shares: tuple[SharesCompared, ...]
    adjusted: tuple[float, ...]
    level: float
    findings: tuple[Finding, ...]

    def table(self) -> pa.Table:
        """Return one row for each marker."""
        columns: dict[str, list[object]] = {
            "marker": list(self.markers),
            "candidate": [s.first for s in self.shares],
            "baseline": [s.second for s in self.shares],
            "difference": [s.difference for s in self.shares],
            "lower": [s.lower for s in self.shares],
            "upper": [s.upper for s in self.shares],
            "p": [s.p_value for s in self.shares],
            "p adjusted": list(self.adjusted),
        }
        return pa.table(columns)

    def answer(self) -> str:
        """Return which markers changed."""
        changed = [m for m, p in zip(self.markers, self.adjusted, strict=True) if p <= self.level]
        names = ", ".join(f"“{m}”" for m in changed) or "none"
        return f"Of {len(self.markers)} markers the policies differ in {len(changed)}: {names}."

    def drawing(self) -> figures.Drawing:
        """Return the difference of each marker's share."""
        return figures.forest(
            "marker-differences",
            list(self.markers),
            [s.difference for s in self.shares],
            [s.lower for s in self.shares],
            [s.upper for s in self.shares],
            xlabel="difference of the share of texts",
            caption="How much more often the candidate writes each marker, with 95 % intervals.",
            alt="; ".join(
                f"{m}: {s.difference:+.1%}" for m, s in zip(self.markers, self.shares, strict=True)
            ),
        )


def marker_shares(
    candidate: Sequence[str],
    baseline: Sequence[str],
    markers: Sequence[str],
    *,
    paired: bool = True,
    clusters: Sequence[object] | None = None,
    level: float = 0.05,
    worth: Mapping[str, float] | None = None,
) -> MarkerShares:
    """Compare how many texts of either policy hold each marker, whatever the case of letters.

    Assumption: prompts (clusters) are independent; without clusters, one text of each policy for
    each prompt.

    Parameters
    ----------
    candidate, baseline : sequences of str
        The texts of both policies.
    markers : sequence of str
        Words or phrases.
    paired : bool
        Text i of both answers prompt i (McNemar's exact test); else Fisher's exact test.
    clusters : sequence of n labels, optional
        Such as prompts that were answered several times: pairs are then compared by their mean
        difference and its clustered error.
    level : float
        Adjusted p-value up to which a difference is a finding.
    worth : mapping of str to float, optional
        What a judge pays for each marker, in standard deviations (`marker_worth`). A marker that
        it pays for may rise, and one that it does not pay for may fall, without a warning.

    Returns
    -------
    MarkerShares

    Raises
    ------
    InputError
        For paired sides of different lengths, or no marker.
    SettingsError
        For a level that is not between 0 and 1.
    """
    require_number("level", level, above=0, below=1)
    if not markers or any(not m.strip() for m in markers):
        raise InputError("Give at least one marker, a word or phrase that is not blank.")
    compare = paired_shares if paired else unpaired_shares
    codes = _codes(clusters)
    if codes is not None:
        compare = partial(clustered_shares, clusters=codes)
    sides = [[t.casefold() for t in texts] for texts in (candidate, baseline)]
    shares = []
    for marker in markers:
        wanted = marker.casefold()
        first, second = ([float(wanted in t) for t in side] for side in sides)
        shares.append(compare(first, second))
    adjusted = stats.false_discovery_control([s.p_value for s in shares])
    findings = tuple(
        _marker_finding(m, s, float(p), level, (worth or {}).get(m, float("nan")))
        for m, s, p in zip(markers, shares, adjusted, strict=True)
    )
    p_values = tuple(float(p) for p in adjusted)
    return MarkerShares(tuple(markers), tuple(shares), p_values, level, findings)


def _marker_finding(
    marker: str, shares: SharesCompared, p: float, level: float, worth: float
) -> Finding:
    """EV302: did a marker become frequent that earns nothing, or rare although it earns?"""
    rose = shares.difference > 0
    words = (
        f"“{marker}” is in {shares.first:.1%} of the candidate's texts and {shares.second:.1%} of "
        f"the baseline's (p = {p:.2g}, adjusted for all markers)"
    )
    numbers: dict[str, float | str] = {"difference": shares.difference, "p_adjusted": p}
    if np.isfinite(worth):
        numbers["worth"] = worth
    verdict = Verdict.PASS
    if p <= level and not np.isfinite(worth):
        verdict = Verdict.WARN
        words += ": tuning changed how often it is written. Ask whether it earns anything"
    elif p <= level:
        paid = f"the judge pays {worth:+.2f} standard deviations for it"
        harmful = worth < EARNS if rose else worth > EARNS
        verdict = Verdict.WARN if harmful else Verdict.PASS
        words += f"; {paid}"
        if harmful:
            words += (
                ": written often although it earns nothing" if rose else ": lost although it earns"
            )
            words += ". Ask the audit with what it travelled in the log" if rose else ""
    return Finding("EV302", "Marker in generations", verdict, f"{words}.", numbers)


def _order_finding(first: Floats, clusters: NDArray[np.int64] | None) -> Finding:
    share = float(first.mean())
    error, _ = clustered_error(first - share, clusters)
    moved = abs(share - 0.5) > max(3 * error, 0.02)
    words = f"The text shown first gets {share:.1%} of the verdicts"
    words += (
        ": order moves this judge. Win rates count both orders, but much of what it says is order."
        if moved
        else "."
    )
    verdict = Verdict.WARN if moved else Verdict.PASS
    return Finding("EV301", "Order of the texts", verdict, words, {"first": share, "stderr": error})


def _check_sides(
    candidate: Sequence[str], baseline: Sequence[str], prompts: Sequence[str] | None
) -> int:
    n = len(candidate)
    if n == 0 or len(baseline) != n or (prompts is not None and len(prompts) != n):
        raise InputError(
            f"Both policies must answer the same prompts: {n} and {len(baseline)} texts"
            + (f" for {len(prompts)} prompts." if prompts is not None else ".")
        )
    return n


def _codes(labels: Sequence[object] | None) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    known = {label: code for code, label in enumerate(dict.fromkeys(labels))}
    return np.array([known[label] for label in labels])
