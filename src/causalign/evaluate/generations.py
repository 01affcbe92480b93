"""Two policies' texts for the same prompts: who wins, what they say more often, how they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

from causalign.errors import InputError
from causalign.evaluate.judges import Judge, Score
from causalign.results import Finding, Verdict
from causalign.stats.proportions import (
    SharesCompared,
    clustered_shares,
    paired_shares,
    unpaired_shares,
)
from causalign.stats.ratio_of_means import clustered_error, influence_spread

__all__ = [
    "Compared",
    "MarkerShares",
    "WinRate",
    "marker_shares",
    "mean_reward_difference",
    "paired_means",
    "win_rate",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Compared:
    """Hold the means of two policies and their paired difference, first minus second."""

    first: float
    second: float
    difference: float
    stderr: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class WinRate:
    """Hold how often a judge prefers the candidate, each pair asked in both orders.

    ``first_place`` is the share of verdicts for the text shown first, 0.5 for a judge whom order
    does not move; ``consistent`` the share of pairs with the same verdict in both orders.
    """

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

    def summary(self) -> str:
        """Return the win rate and the findings."""
        told = (
            f"The candidate wins {self.estimate:.1%} of {self.pairs:,} pairs, 95% interval "
            f"{self.lower:.1%} to {self.upper:.1%}."
        )
        return "\n".join([told, *(f.line() for f in self.findings)])


def win_rate(
    judge: Judge,
    candidate: Sequence[str],
    baseline: Sequence[str],
    *,
    prompts: Sequence[str] | None = None,
    clusters: Sequence[object] | None = None,
) -> WinRate:
    """Ask the judge about every pair in both orders; a win is the mean of both verdicts.

    ``candidate`` and ``baseline`` hold n texts for the same n prompts. A judge that always prefers
    the first text gives each pair one half, instead of the win to whoever is shown first.
    ``clusters`` default to the prompts, so that several texts of a prompt count as one.

    Assumption: the judge took no part in training either policy. Raises ``InputError`` for sides
    of different lengths and verdicts that are no preferences.
    """
    n = _paired(candidate, baseline, prompts)
    shown, swapped = (
        np.asarray(judge(prompts, list(a), list(b)), dtype=np.float64)
        for a, b in ((candidate, baseline), (baseline, candidate))
    )
    for verdicts in (shown, swapped):
        if verdicts.shape != (n,) or not ((verdicts >= 0) & (verdicts <= 1)).all():
            raise InputError(f"A judge must return {n} preferences between 0 and 1.")
    wins = (shown + 1.0 - swapped) / 2
    own = clusters if clusters is not None else prompts
    found = influence_spread(float(wins.mean()), (wins - wins.mean(), np.empty(0)), _codes(own))
    first = (shown + swapped) / 2
    finding = _order(first, _codes(own))
    consistent = float((np.sign(shown - 0.5) == np.sign(0.5 - swapped)).mean())
    low, high = max(found.lower, 0.0), min(found.upper, 1.0)
    return WinRate(
        float(wins.mean()), found.stderr, low, high, n, float(first.mean()), consistent, (finding,)
    )


def mean_reward_difference(
    score: Score,
    candidate: Sequence[str],
    baseline: Sequence[str],
    *,
    prompts: Sequence[str] | None = None,
    clusters: Sequence[object] | None = None,
) -> Compared:
    """Return mean reward of candidate and baseline, and their difference paired by prompt.

    ``score(prompts, texts) -> (n,)`` is a reward that training never saw: the one that a policy was
    tuned on rates it too well. Assumption and errors are those of :func:`win_rate`.
    """
    n = _paired(candidate, baseline, prompts)
    sides = [np.asarray(score(prompts, list(t)), dtype=np.float64) for t in (candidate, baseline)]
    for side in sides:
        if side.shape != (n,) or not np.isfinite(side).all():
            raise InputError(f"The reward must return one finite score for each of {n} texts.")
    own = clusters if clusters is not None else prompts
    return paired_means(sides[0], sides[1], _codes(own))


def paired_means(first: Floats, second: Floats, clusters: NDArray | None) -> Compared:
    """Return both means and the interval of the mean difference, all (n,) row by row."""
    change = first - second
    difference = float(change.mean())
    found = influence_spread(difference, (change - difference, np.empty(0)), clusters)
    return Compared(
        float(first.mean()),
        float(second.mean()),
        difference,
        found.stderr,
        found.lower,
        found.upper,
    )


@dataclass(frozen=True, slots=True)
class MarkerShares:
    """Hold the share of texts with each marker under two policies, tested and adjusted.

    ``adjusted`` are Benjamini-Hochberg p-values over the markers.
    """

    markers: tuple[str, ...]
    shares: tuple[SharesCompared, ...]
    adjusted: tuple[float, ...]
    findings: tuple[Finding, ...]

    def table(self) -> pa.Table:
        """Return one row for each marker."""
        columns: Mapping[str, list[object]] = {
            "marker": list(self.markers),
            "candidate": [s.first for s in self.shares],
            "baseline": [s.second for s in self.shares],
            "difference": [s.difference for s in self.shares],
            "lower": [s.lower for s in self.shares],
            "upper": [s.upper for s in self.shares],
            "p": [s.p_value for s in self.shares],
            "p adjusted": list(self.adjusted),
        }
        return pa.table(dict(columns))

    def summary(self) -> str:
        """Return the findings, one line for each marker."""
        return "\n".join(f.line() for f in self.findings)


def marker_shares(
    candidate: Sequence[str],
    baseline: Sequence[str],
    markers: Sequence[str],
    *,
    paired: bool = True,
    clusters: Sequence[object] | None = None,
    level: float = 0.05,
) -> MarkerShares:
    """Compare how many texts of either policy hold each marker, whatever the case of letters.

    ``paired``: text i of both answers prompt i (McNemar's exact test); else Fisher's exact test.
    With ``clusters`` ``(n,)``, such as prompts that were answered several times, pairs are compared
    by their mean difference and its clustered error. Assumption: prompts (clusters) are
    independent; without clusters, one text of each policy for each prompt. Raises ``InputError``
    for paired sides of different lengths, or no marker.
    """
    if not markers or any(not m.strip() for m in markers):
        raise InputError("Give at least one marker, a word or phrase that is not blank.")
    compare = paired_shares if paired else unpaired_shares
    codes = _codes(clusters)
    if codes is not None:
        compare = partial(clustered_shares, clusters=codes)
    sides = [[t.casefold() for t in texts] for texts in (candidate, baseline)]
    found = []
    for marker in markers:
        wanted = marker.casefold()
        first, second = ([float(wanted in t) for t in side] for side in sides)
        found.append(compare(first, second))
    adjusted = stats.false_discovery_control([s.p_value for s in found])
    findings = tuple(
        _marker_finding(m, s, float(p), level)
        for m, s, p in zip(markers, found, adjusted, strict=True)
    )
    return MarkerShares(tuple(markers), tuple(found), tuple(float(p) for p in adjusted), findings)


def _marker_finding(marker: str, found: SharesCompared, p: float, level: float) -> Finding:
    differs = p <= level
    told = (
        f"“{marker}” is in {found.first:.1%} of the candidate's texts and {found.second:.1%} of "
        f"the baseline's (p = {p:.2g}, adjusted for all markers)"
    )
    told += ": tuning changed how often it is written. Ask whether it earns anything." * differs
    numbers: dict[str, float | str] = {"difference": found.difference, "p_adjusted": p}
    verdict = Verdict.WARN if differs else Verdict.PASS
    return Finding("EV302", "Marker in generations", verdict, told.rstrip(".") + ".", numbers)


def _order(first: Floats, clusters: NDArray | None) -> Finding:
    share = float(first.mean())
    error, _ = clustered_error(first - share, clusters)
    moved = abs(share - 0.5) > max(3 * error, 0.02)
    told = f"The text shown first gets {share:.1%} of the verdicts"
    told += (
        ": order moves this judge. Win rates count both orders, but much of what it says is order."
        if moved
        else "."
    )
    verdict = Verdict.WARN if moved else Verdict.PASS
    return Finding("EV301", "Order of the texts", verdict, told, {"first": share, "stderr": error})


def _paired(
    candidate: Sequence[str], baseline: Sequence[str], prompts: Sequence[str] | None
) -> int:
    n = len(candidate)
    if n == 0 or len(baseline) != n or (prompts is not None and len(prompts) != n):
        raise InputError(
            f"Both policies must answer the same prompts: {n} and {len(baseline)} texts"
            + (f" for {len(prompts)} prompts." if prompts is not None else ".")
        )
    return n


def _codes(labels: Sequence[object] | None) -> NDArray | None:
    if labels is None:
        return None
    known = {label: code for code, label in enumerate(dict.fromkeys(labels))}
    return np.array([known[label] for label in labels])
