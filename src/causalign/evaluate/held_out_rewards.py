"""Rewards before and after deconfounding, on pairs and texts that no fit has seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from causalign import figures
from causalign.evaluate.choosing import SHOWN, TABLE, Choices, choose_between
from causalign.evaluate.dependence import Dependence, measure_dependence
from causalign.evaluate.judges import Score
from causalign.evaluate.marker_payments import MarkerPayments, measure_marker_payments
from causalign.evaluate.ranking import Ranking, rank
from causalign.logs import Logs, Pairs
from causalign.logs.outcome_model import predict_outcome
from causalign.results import Finding, Result, Section, Verdict

Numbers = Mapping[str, float | str | None]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HeldOut(Result):
    """What held-out data say about several rewards; parts without data are None.

    Attributes
    ----------
    ranking : Ranking or None
        How well each ranks held-out pairs.
    dependence : Dependence or None
        How each correlates with what confounders did to the outcome.
    markers : MarkerPayments or None
        What each pays for a marker.
    choices : Choices or None
        What choosing between two texts by each earns.
    favourites : pyarrow.Table or None
        The texts that each rates highest, where no pairs show where they differ.
    baseline, candidate : str
        Names of the rewards compared in the answer.
    benchmark : str
        Name of one fitted on experimental pairs, when there is one.
    """

    ranking: Ranking | None
    dependence: Dependence | None
    markers: MarkerPayments | None
    choices: Choices | None = None
    favourites: pa.Table | None = None
    baseline: str = "naive"
    candidate: str = "deconfounded"
    benchmark: str = "experimental"

    @property
    def findings(self) -> tuple[Finding, ...]:
        """EV101 (are there held-out pairs?) or EV102 (does the candidate rank better?)."""
        return (self._finding(),)

    def _finding(self) -> Finding:
        if self.ranking is None:
            words = (
                "There are no held-out pairs, so nobody can say which reward ranks better. Name a "
                "group whose texts compete, or give a file of experimental pairs."
            )
            return Finding("EV101", "Held-out pairs", Verdict.NOT_APPLICABLE, words)
        title = "Gain in ranking"
        if self.candidate == self.baseline:
            words = "There is one reward, and no other to compare it with."
            return Finding("EV102", title, Verdict.NOT_APPLICABLE, words)
        gain = self.ranking.difference(self.candidate, self.baseline)
        verdict, words = Verdict.WARN, "is not distinguishable from"
        if gain.lower > 0:
            verdict, words = Verdict.PASS, "ranks held-out pairs better than"
        elif gain.upper < 0:
            verdict, words = Verdict.FAIL, "ranks held-out pairs worse than"
        explanation = (
            f"The {self.candidate} reward {words} the {self.baseline} one: AUC difference "
            f"{gain.estimate:+.3f}, 95 % interval {gain.lower:+.3f} to {gain.upper:+.3f}."
        )
        numbers = {"difference": gain.estimate, "lower": gain.lower, "upper": gain.upper}
        return Finding("EV102", title, verdict, explanation, numbers)

    def table(self) -> pa.Table:
        """Return the ranking of every reward, or the dependence when there are no pairs."""
        if self.ranking is not None:
            return self.ranking.table()
        return self.dependence.table() if self.dependence is not None else pa.table({})

    def numbers(self) -> Numbers:
        """Return the headline figures under stable names."""
        if self.ranking is None:
            return {}
        gain = self.ranking.difference(self.candidate, self.baseline).estimate
        numbers: dict[str, float | str | None] = {
            **{f"auc {name}": self.ranking.auc_of(name).estimate for name in self.ranking.rewards},
            "auc gain": gain,
            "gap closed": self.gap_closed(),
            "held-out pairs": self.ranking.pairs,
        }
        if self.choices is not None:
            earned = self.choices.difference(self.candidate, self.baseline)
            numbers |= {
                "earned by choosing": earned.estimate,
                "earned lower": earned.lower,
                "earned upper": earned.upper,
                "earned unit": self.choices.unit,
            }
        return numbers

    def gap_closed(self) -> float | None:
        """Return (candidate − baseline) / (benchmark − baseline) in AUC.

        None without a benchmark, and where the interval of its lead holds zero: there is no gap.
        """
        if self.ranking is None or self.benchmark not in self.ranking.rewards:
            return None
        gap = self.ranking.difference(self.benchmark, self.baseline)
        gain = self.ranking.difference(self.candidate, self.baseline).estimate
        return gain / gap.estimate if gap.lower > 0 else None

    def answer(self) -> str:
        """Return how baseline, candidate and benchmark rank, and what they pay for markers."""
        sentences = []
        if self.ranking is not None:
            first, second = (self.ranking.auc_of(n) for n in (self.baseline, self.candidate))
            words = (
                f"On {self.ranking.pairs:,} held-out pairs the {self.baseline} reward has AUC "
                f"{first.estimate:.3f}"
            )
            if self.candidate != self.baseline:
                words += f", the {self.candidate} one {second.estimate:.3f}"
            if self.benchmark in self.ranking.rewards:
                best = self.ranking.auc_of(self.benchmark).estimate
                words += f", one fitted on other such pairs {best:.3f}"
                closed = self.gap_closed()
                if closed is not None:
                    words += f" ({closed:.0%} of the gap closed)"
            sentences.append(f"{words}.")
        if self.markers is not None:
            for marker in dict.fromkeys(self.markers.marker):
                before, after = (
                    self.markers.of(marker, n) for n in (self.baseline, self.candidate)
                )
                unit = self.markers.units[0]
                paid = "" if unit.startswith("units of") else f" ({unit})"
                sentences.append(
                    f"For “{marker}” the {self.baseline} reward pays {before:+.2f}, "
                    f"the {self.candidate} one {after:+.2f}{paid}."
                )
        return " ".join(sentences) or "No pairs of texts judge the rewards."

    def drawing(self) -> figures.Drawing | None:
        """Return the ranking, else the correlations, else what is paid for markers."""
        parts = (self.ranking, self.dependence, self.markers)
        return next((part.drawing() for part in parts if part is not None), None)

    def section(self) -> Section:
        """Return the evaluation as a section of a report."""
        parts: Mapping[str, Ranking | Dependence | MarkerPayments | Choices | None] = {
            "ranking of held-out pairs": self.ranking,
            TABLE: self.choices,
            "correlation on held-out rows": self.dependence,
            "what each reward pays for a marker": self.markers,
        }
        drawn = (self.ranking, self.choices, self.markers)
        drawings = [part.drawing() for part in drawn if part is not None]
        tables = {name: part.table() for name, part in parts.items() if part is not None}
        if self.choices is not None and self.candidate != self.baseline:
            differ = self.choices.disagreements(self.baseline, self.candidate)
            tables["texts on which the rewards differ"] = differ
        elif self.favourites is not None:
            tables["texts that each reward rates highest"] = self.favourites
        return Section(
            stage="evaluate",
            question="Which reward is right about texts it has not seen?",
            answer=self.answer(),
            assumption=(
                "Held-out pairs compare texts whose confounders were equal (the same test, the "
                "same day), so only the text explains who won. Intervals treat groups of pairs as "
                "independent, not pairs."
            ),
            numbers=self.numbers(),
            tables=tables,
            figures=figures.draw_figures(*drawings),
            findings=self.findings,
        )


def held_out(
    models: Mapping[str, Score],
    *,
    pairs: Pairs | None = None,
    choices: Pairs | None = None,
    unit: str = "units of the outcome",
    logs: Logs | None = None,
    train: Logs | None = None,
    truth: str | None = None,
    markers: Sequence[str] = (),
) -> HeldOut:
    """Judge rewards by pairs and rows that took no part in fitting any of them.

    Parameters
    ----------
    models : mapping of str to callable
        ``reward(completions, prompts) -> (n,)`` by name: the baseline first, then the candidate;
        one that is named ``experimental`` is the benchmark.
    pairs : Pairs, optional
        Held-out comparisons, for the ranking.
    choices : Pairs, optional
        Held-out comparisons that were not selected by their margins, for what choosing earns.
    unit : str
        What one of the margins of ``choices`` is.
    logs : Logs, optional
        Held-out rows, for the correlations and the markers.
    train : Logs, optional
        The training rows, which say what the outcome was at each value of a confounder.
    truth : str, optional
        Column of ``logs`` with the true effect, of simulated logs.
    markers : sequence of str
        Words or phrases to write into the texts of ``logs``.

    Returns
    -------
    HeldOut

    Raises
    ------
    InputError
        When a reward returns no finite score for a text.
    """
    names = list(models)
    confounded = train is not None and bool(train.roles.confounders)
    return HeldOut(
        None if pairs is None else rank(models, pairs),
        measure_dependence(models, logs, train=train, truth=truth)
        if logs is not None and (confounded or truth is not None)
        else None,
        measure_marker_payments(
            models, logs.completions, markers, logs.prompts, outcome=logs.roles.outcome
        )
        if logs is not None and markers
        else None,
        None if choices is None else choose_between(models, choices, unit=unit),
        None if logs is None else _rate_highest(models, logs),
        baseline=names[0],
        candidate=names[min(1, len(names) - 1)],
    )


def _rate_highest(models: Mapping[str, Score], logs: Logs) -> pa.Table:
    """Return the texts that each reward rates highest, a column for each."""
    favourites, completions = {}, logs.completions
    for name, model in models.items():
        best = np.argsort(-predict_outcome(model, completions, logs.prompts), kind="stable")
        texts = dict.fromkeys(completions[row] for row in best[: 20 * SHOWN])
        favourites[name] = list(texts)[:SHOWN]
    rows = min(map(len, favourites.values()))
    return pa.table({name: texts[:rows] for name, texts in favourites.items()})
