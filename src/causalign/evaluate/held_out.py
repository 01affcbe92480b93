"""Rewards before and after, judged on pairs and texts that no fit has seen."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from causalign import figures
from causalign.evaluate.dependence import Dependence
from causalign.evaluate.markers import MarkerEffects
from causalign.evaluate.ranking import Ranking
from causalign.results import Figure, Finding, Section, Verdict

__all__ = ["HeldOut"]

Numbers = Mapping[str, float | str | None]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Hold what held-out data say about several rewards; parts without data are None.

    ``baseline`` and ``candidate`` name the rewards compared in the answer, ``benchmark`` one
    fitted on experimental pairs, when there is one.
    """

    ranking: Ranking | None
    dependence: Dependence | None
    markers: MarkerEffects | None
    baseline: str = "naive"
    candidate: str = "deconfounded"
    benchmark: str = "experimental"

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return EV101 (is there a judge?) and EV102 (does the candidate rank better?)."""
        if self.ranking is None:
            return (
                Finding(
                    "EV101",
                    "Held-out pairs",
                    Verdict.NOT_APPLICABLE,
                    "There are no held-out pairs, so nobody can say which reward ranks better. "
                    "Name a group whose texts compete, or give a file of experimental pairs.",
                ),
            )
        gain = self.ranking.difference(self.candidate, self.baseline)
        verdict = (
            Verdict.PASS if gain.lower > 0 else Verdict.FAIL if gain.upper < 0 else Verdict.WARN
        )
        said = {
            Verdict.PASS: "ranks held-out pairs better than",
            Verdict.WARN: "cannot be told from",
            Verdict.FAIL: "ranks held-out pairs worse than",
        }[verdict]
        return (
            Finding(
                "EV102",
                "Gain in ranking",
                verdict,
                f"The {self.candidate} reward {said} the {self.baseline} one: AUC difference "
                f"{gain.estimate:+.3f}, 95 % interval {gain.lower:+.3f} to {gain.upper:+.3f}.",
                {"difference": gain.estimate, "lower": gain.lower, "upper": gain.upper},
            ),
        )

    def table(self) -> pa.Table:
        """Return the ranking of every reward, or the dependence when there are no pairs."""
        if self.ranking is not None:
            return self.ranking.table()
        return self.dependence.table() if self.dependence is not None else pa.table({})

    def numbers(self) -> Numbers:
        """Return the headline figures under stable names."""
        found: dict[str, float | str | None] = {}
        if self.ranking is not None:
            for name in self.ranking.rewards:
                found[f"auc {name}"] = self.ranking.auc_of(name).estimate
            found["auc gain"] = self.ranking.difference(self.candidate, self.baseline).estimate
            found["gap closed"] = self.gap_closed()
            found["held-out pairs"] = self.ranking.pairs
        return found

    def gap_closed(self) -> float | None:
        """Return (candidate − baseline) / (benchmark − baseline) in AUC.

        None without a benchmark, and where its lead is not told from zero: nothing is to be closed.
        """
        if self.ranking is None or self.benchmark not in self.ranking.rewards:
            return None
        gap = self.ranking.difference(self.benchmark, self.baseline)
        gain = self.ranking.difference(self.candidate, self.baseline).estimate
        return gain / gap.estimate if gap.lower > 0 else None

    def summary(self) -> str:
        """Return the answer and the findings."""
        return "\n".join([self._answer(), *(f.line() for f in self.findings)])

    def section(self) -> Section:
        """Return the evaluation as a section of a report."""
        parts = {
            "ranking of held-out pairs": self.ranking,
            "correlation on held-out rows": self.dependence,
            "what each reward pays for a marker": self.markers,
        }
        return Section(
            stage="evaluate",
            question="Which reward is right about texts it has not seen?",
            answer=self._answer(),
            assumption=(
                "Held-out pairs compare texts whose confounders were equal (the same test, the "
                "same day), so only the text explains who won. Intervals treat groups of pairs as "
                "independent, not pairs."
            ),
            numbers=self.numbers(),
            tables={name: part.table() for name, part in parts.items() if part is not None},
            figures=self._figures(),
            findings=self.findings,
        )

    def _answer(self) -> str:
        told = []
        if self.ranking is not None:
            first, second = (self.ranking.auc_of(n) for n in (self.baseline, self.candidate))
            told.append(
                f"On {self.ranking.pairs:,} held-out pairs the {self.baseline} reward has AUC "
                f"{first.estimate:.3f}, the {self.candidate} one {second.estimate:.3f}"
            )
            if self.benchmark in self.ranking.rewards:
                best = self.ranking.auc_of(self.benchmark).estimate
                told[-1] += f", one fitted on other such pairs {best:.3f}"
                closed = self.gap_closed()
                if closed is not None:
                    told[-1] += f" ({closed:.0%} of the gap closed)"
            told[-1] += "."
        if self.markers is not None:
            for marker in dict.fromkeys(self.markers.marker):
                before, after = (
                    self.markers.of(marker, n) for n in (self.baseline, self.candidate)
                )
                told.append(
                    f"For “{marker}” the {self.baseline} reward pays {before:+.2f}, "
                    f"the {self.candidate} one {after:+.2f}."
                )
        return " ".join(told) or "There was nothing held out to judge the rewards by."

    def _figures(self) -> tuple[Figure, ...]:
        drawn = []
        if self.ranking is not None:
            found = [self.ranking.auc_of(n) for n in self.ranking.rewards]
            drawn.append(
                figures.forest(
                    "ranking",
                    list(self.ranking.rewards),
                    np.array([e.estimate for e in found]),
                    np.array([e.lower for e in found]),
                    np.array([e.upper for e in found]),
                    xlabel="ROC AUC on held-out pairs",
                    caption="How well each reward ranks held-out pairs, with 95 % intervals.",
                    alt="; ".join(
                        f"{n}: AUC {e.estimate:.3f}"
                        for n, e in zip(self.ranking.rewards, found, strict=True)
                    ),
                    reference=0.5,
                )
            )
        if self.markers is not None:
            table = self.markers.table().to_pydict()
            labels = [f"{m} · {r}" for m, r in zip(table["marker"], table["reward"], strict=True)]
            drawn.append(
                figures.forest(
                    "markers",
                    labels,
                    table["effect"],
                    table["lower"],
                    table["upper"],
                    xlabel="change of the reward, in units of the outcome",
                    caption="What each reward pays when a marker is written into held-out texts.",
                    alt="; ".join(
                        f"{n}: {e:+.2f}" for n, e in zip(labels, table["effect"], strict=True)
                    ),
                )
            )
        return tuple(drawn)
