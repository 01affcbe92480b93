"""What best of n returns: the chosen texts, all candidates, and what choosing is worth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from causalign.checks.candidates import OfferedTexts
from causalign.figures import Drawing, curve, draw_figures
from causalign.files import write_whole
from causalign.logs.outcome_model import Assessment
from causalign.results import Finding, Result, Section
from causalign.stats.best_of import ChoiceWorth, Frontier, divergence_bound

Floats = NDArray[np.float64]

_ASSUMPTION = (
    "The reward is the effect of the text: its log was deconfounded, or texts were randomised. "
    "Inside the support it is linear in the features, as it was fitted."
)


class ChoosesTexts(Protocol):
    """The settings of a choice that its result tells."""

    @property
    def n(self) -> int: ...  # noqa: D102
    @property
    def caution(self) -> float: ...  # noqa: D102


def tabulate_candidates(
    candidates: OfferedTexts,
    read: NDArray[np.int64],
    assessed: Assessment,
    score: Floats,
    chosen: NDArray[np.int64],
    nearest: Sequence[str | None],
) -> pa.Table:
    """Return one row for each candidate; what was not read has no numbers.

    ``read (k,)`` are the candidates that were ``assessed``, with their ``score``.
    """
    count = len(candidates.texts)

    def spread(values: Floats | None) -> pa.Array:
        whole = np.full(count, np.nan)
        if values is not None:
            whole[read] = values
        return pa.array(whole, mask=np.isnan(whole))

    picked = set(chosen.tolist())
    verdicts = [
        f"refused: {why}" if why else "chosen" if row in picked else "kept"
        for row, why in enumerate(candidates.reasons)
    ]
    asked = [candidates.prompts[place] for place in candidates.place]
    return pa.table(
        {
            "number": pa.array(candidates.place),
            "prompt": pa.array(asked, pa.string()),
            "text": pa.array(candidates.texts, pa.string()),
            "reward": spread(assessed.reward),
            "standard error": spread(assessed.standard_error),
            "score": spread(score),
            "leverage": spread(assessed.leverage),
            **{f"change of {n}": spread(one.reward) for n, one in assessed.guardrails.items()},
            "verdict": pa.array(verdicts, pa.string()),
            "nearest logged text": pa.array(nearest, pa.string()),
        }
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BestTexts(Result):
    """The chosen texts, all candidates with what the reward says of them, and their worth.

    Attributes
    ----------
    method : BestOf
    candidates : pyarrow.Table
        One row for each candidate: number (of the prompt), prompt, text, reward, standard error,
        score (what was chosen by), leverage, verdict, nearest logged text.
    prompts : int
        How many were asked.
    units : str
        Of the reward.
    worth : tuple of ChoiceWorth
        Of the chosen texts and of the gain over a candidate drawn at random; empty where unknown.
    changes : mapping from str to ChoiceWorth
        By how much the chosen texts move each guardrail from its mean in the log.
    why_not : str
        Why both are unknown.
    refused : mapping from str to int
        How many candidates were refused, by reason.
    frontiers : mapping from str to Frontier
        By guardrail: what candidates inside the support earn and cost at each price of it.
    """

    method: ChoosesTexts
    candidates: pa.Table
    prompts: int
    units: str
    worth: tuple[ChoiceWorth, ...]
    changes: Mapping[str, ChoiceWorth]
    why_not: str
    refused: dict[str, int]
    frontiers: Mapping[str, Frontier]
    findings: tuple[Finding, ...] = field(default=())

    def table(self) -> pa.Table:
        """Return one row for each prompt: the text, null where all candidates were refused.

        There ``nearest logged text`` says what the log holds that is most like what was offered.
        """
        rows: dict[int, dict[str, object]] = {}
        for row in self.candidates.to_pylist():
            number, is_chosen = row["number"], row["verdict"] == "chosen"
            known = rows.get(number)
            if is_chosen or known is None or (known["text"] is None and _is_nearer(row, known)):
                rows[number] = {name: value for name, value in row.items() if name != "score"}
                rows[number] |= {"nearest logged text" if is_chosen else "text": None}
        return pa.Table.from_pylist(
            [rows[number] for number in sorted(rows)],
            schema=self.candidates.drop_columns(["score"]).schema,
        )

    def texts(self) -> list[str | None]:
        """Return the chosen text of each prompt, None where all candidates were refused."""
        chosen: list[str | None] = [None] * self.prompts
        for row in self.candidates.to_pylist():
            if row["verdict"] == "chosen":
                chosen[row["number"]] = row["text"]
        return chosen

    def save(self, folder: str | Path) -> None:
        """Write the chosen texts into a folder, as ``texts.parquet``."""
        with write_whole(Path(folder) / "texts.parquet") as partial:
            pq.write_table(self.table(), partial)

    def answer(self) -> str:
        """Return how many texts were chosen, and what choosing is worth."""
        chosen = sum(text is not None for text in self.texts())
        offered = self.candidates.num_rows
        refused = ", ".join(f"{count:,} {why}" for why, count in self.refused.items())
        words = (
            f"Chose a text for {chosen:,} of {self.prompts:,} prompts from {offered:,} candidates"
        )
        words += f" (refused: {refused})." if refused else "."
        if self.method.n == 1:
            return f"{words} With n = 1 nothing was chosen: this is what the writer writes."
        if not self.worth:
            return f"{words} What the choice is worth is unknown: {self.why_not}."
        gain = self.worth[1]
        return (
            f"{words} A chosen text is worth {gain.estimate:+.3g} {self.units} against a candidate "
            f"drawn at random (95% interval {gain.lower:.3g} to {gain.upper:.3g}), by the part "
            f"of the log that did not choose it; the reward that chose says {gain.naive:+.3g}."
        )

    def details(self) -> Sequence[str]:
        """Return the assumption as a line of the summary."""
        return (f"Holds if: {_ASSUMPTION}",)

    def drawing(self) -> Drawing | None:
        """Return the frontier of the first guardrail; None without one."""
        return next(iter(self.drawings()), None)

    def drawings(self) -> list[Drawing]:
        """Return for each guardrail what the reward costs of it."""
        return [
            curve(
                f"frontier-{place}",
                edge.cost,
                {"chosen texts": edge.reward},
                xlabel=f"mean change of {name}",
                ylabel="mean reward",
                caption=f"What {name} buys: mean reward and mean change of {name} of the best of "
                f"{self.method.n} at rising prices, by the reward that chose.",
                alt=f"From a change of {edge.cost[0]:.3g} at a reward of {edge.reward[0]:.3g} to "
                f"one of {edge.cost[-1]:.3g} at {edge.reward[-1]:.3g}.",
                mark_x=float(self.changes[name].naive) if name in self.changes else None,
            )
            for place, (name, edge) in enumerate(self.frontiers.items())
        ]

    def section(self) -> Section:
        """Return the choice as a section of a run folder and of the report."""
        tables = {"chosen texts": self.table(), "candidates": self.candidates}
        numbers: dict[str, float | str | None] = {
            "prompts": float(self.prompts),
            "candidates": float(self.candidates.num_rows),
            "caution": self.method.caution,
            "largest divergence from the writer": divergence_bound(self.method.n),
        }
        if self.changes:
            tables["what the choice does to guardrails"] = _tabulate_worth(
                self.changes, "guardrail"
            )
        if self.worth:
            tables["what the choice is worth"] = self.tabulate_worth()
            gain = self.worth[1]
            numbers |= {"gain": gain.estimate, "lower": gain.lower, "upper": gain.upper}
            numbers |= {"gain by the reward that chose": gain.naive}
        return Section(
            stage="write",
            question="Which of the candidates are the better texts?",
            answer=self.answer(),
            assumption=_ASSUMPTION,
            numbers=numbers,
            tables=tables,
            figures=draw_figures(*self.drawings()),
            findings=self.findings,
            details={"units": self.units, "refused": self.refused},
        )

    def tabulate_worth(self) -> pa.Table:
        """Return a row for the chosen texts and one for the gain over a random candidate.

        A reward of comparisons has no level, so that only the gain means something.
        """
        rows = dict(zip(("a chosen text", "gain over a random candidate"), self.worth, strict=True))
        if self.units == "log-odds":
            rows.pop("a chosen text")
        return _tabulate_worth(rows, "what")


def _tabulate_worth(rows: Mapping[str, ChoiceWorth], first: str) -> pa.Table:
    return pa.table(
        {
            first: list(rows),
            "by the reward that chose": [worth.naive for worth in rows.values()],
            "by the part that did not choose": [worth.estimate for worth in rows.values()],
            "standard error": [worth.stderr for worth in rows.values()],
            "lower": [worth.lower for worth in rows.values()],
            "upper": [worth.upper for worth in rows.values()],
        }
    )


def _is_nearer(row: dict[str, object], known: dict[str, object]) -> bool:
    """Return whether a refused candidate lies nearer to the log than another."""
    mine, other = row["leverage"], known["leverage"]
    return isinstance(mine, float) and (not isinstance(other, float) or mine < other)
