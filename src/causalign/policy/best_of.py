"""Choose the best of n candidates by a reward's lower bound, inside what its log covers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from causalign.checks.candidates import (
    OfferedTexts,
    choice_findings,
    count_reasons,
    find_nearest_logged,
    gather_candidates,
    refuse_outside,
)
from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.files import write_whole
from causalign.lm.writers import Prompts, Writer, ask_writer
from causalign.logs import Logs
from causalign.logs.outcome_model import AssessesTexts, AssessingReward, Assessment
from causalign.results import Finding, Result, Section
from causalign.settings import require_number
from causalign.stats.best_of import (
    ChoiceWorth,
    Valuation,
    choose_best,
    divergence_bound,
    worth_of_choice,
)

Floats = NDArray[np.float64]
# What the choice is worth, and the gain; or nothing, and why.
_Valued = tuple[tuple[ChoiceWorth, ...], str]

_ASSUMPTION = (
    "The reward is the effect of the text: its log was deconfounded, or texts were randomised. "
    "Inside the support it is linear in the features, as it was fitted."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOf:
    """Choose ``argmax r(T) - κ √(φ'Vφ)`` among n candidates inside the support of the log.

    Nothing is trained. A candidate outside the support (its leverage above the 99th percentile of
    the log's own) is refused, whatever the reward says of it, as are texts that are empty or were
    offered before; every refusal has its reason, and a prompt all of whose candidates are refused
    gets no text.

    Parameters
    ----------
    n : int
        OfferedTexts for each prompt. The law of the chosen texts is at most ``log n - (n - 1)/n``
        nats from that of the writer.
    caution : float
        κ: how many standard errors of the reward are taken off. 0 chooses by the reward alone, and
        is the only choice for a reward that tells no standard error.
    seed : int
        Of the writer's draws, and of the cut of the log into halves.

    Raises
    ------
    SettingsError
        For settings out of range.

    References
    ----------
    Gao, Schulman and Hilton, arXiv 2210.10760, for best of n and how a proxy is over-optimised;
    Beirami et al., arXiv 2401.01879, for its divergence.
    """

    n: int = 16
    caution: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        require_number("n", self.n, least=1, whole=True)
        require_number("caution", self.caution, least=0)
        require_number("seed", self.seed, least=0, whole=True)

    def check(self, reward: AssessingReward, prompts: Prompts) -> None:
        """Raise before a writer is asked where the reward cannot choose.

        Parameters
        ----------
        reward, prompts
            As in :meth:`write`.

        Raises
        ------
        SettingsError
            If caution is asked for and the reward tells no standard error.
        InputError
            If the reward reads prompts and there are none.
        """
        if self.caution > 0 and not reward.has_covariance:
            raise SettingsError(
                f"caution={self.caution:g} takes standard errors off, and this reward tells none. "
                "Set caution to 0, or fit 'ridge', 'within-tests', 'pairwise' or 'pooled'."
            )
        if reward.reads_prompt and any(prompt is None for prompt in prompts):
            raise InputError("This reward reads prompts; give a file of prompts.")

    def write(
        self,
        writer: Writer,
        reward: AssessingReward,
        prompts: Prompts,
        *,
        logs: Logs | None = None,
        folder: str | Path | None = None,
        progress: bool = False,
    ) -> "BestTexts":
        """Ask a writer for candidates, and choose.

        Parameters
        ----------
        writer : Writer
        reward : RewardModel
        prompts : sequence of str or None
            What is answered; ``[None] * k`` asks for k texts without prompts.
        logs : Logs, optional
            Those that the reward was fitted on: they tell the nearest logged texts, and what the
            choice is worth.
        folder : path, optional
            Where answers are kept, so that a killed call asks for none twice.
        progress : bool
        """
        self.check(reward, prompts)
        offers = ask_writer(writer, prompts, self.n, self.seed, folder, progress=progress)
        return self.choose(offers, reward, prompts, logs=logs)

    def choose(
        self,
        offers: Sequence[Sequence[str]],
        reward: AssessingReward,
        prompts: Prompts,
        *,
        logs: Logs | None = None,
    ) -> "BestTexts":
        """Choose among candidates that were written elsewhere.

        Parameters
        ----------
        offers : sequence of sequences of str
            The candidates for each prompt.
        reward, prompts, logs
            As in :meth:`write`.

        Returns
        -------
        BestTexts
        """
        self.check(reward, prompts)
        formed = gather_candidates(prompts, offers)
        read = formed.kept
        assessed = _assess(reward, formed, read)
        candidates = refuse_outside(formed, assessed)
        nearest: list[str | None] = [None] * len(candidates.texts)
        if logs is not None:
            nearest = find_nearest_logged(candidates, reward, logs)
        score, eligible = self._score(assessed), np.isin(read, candidates.kept)
        chosen = np.zeros(0, dtype=int)
        worth: _Valued = (), "no candidate may be chosen"
        if eligible.any():
            code = np.unique(candidates.place[read[eligible]], return_inverse=True)[1].ravel()
            whole = Valuation(score[eligible], assessed.reward[eligible])
            chosen = read[eligible][choose_best(whole.score, code)]
            worth = self._value(reward, candidates, code, whole, logs)
        return BestTexts(
            self,
            _tabulate(candidates, read, assessed, score, chosen, nearest),
            len(candidates.prompts),
            reward.units,
            *worth,
            count_reasons(candidates),
            choice_findings(
                candidates, assessed, reward.has_covariance, self.n, self.caution, worth[0]
            ),
        )

    def _score(self, assessed: Assessment) -> Floats:
        """Return what is chosen by: the reward less so many of its standard errors."""
        if self.caution == 0 or assessed.standard_error is None:
            return assessed.reward
        return np.asarray(assessed.reward - self.caution * assessed.standard_error)

    def _value(
        self,
        reward: AssessingReward,
        candidates: OfferedTexts,
        code: NDArray[np.int64],
        whole: Valuation,
        logs: Logs | None,
    ) -> _Valued:
        """Value what is chosen without a part of the log by that part."""
        if logs is None:
            return (), "no log was given whose parts could value the choice"
        if len(code) == code.max() + 1:
            return (), "no prompt had two candidates to choose from"
        rows = candidates.kept
        try:
            fits = reward.fit_apart(logs, self.seed)
        except (SettingsError, InputError, NotIdentified) as reason:
            return (), f"a part of the log makes no reward: {reason}".rstrip(".")
        ways = []
        for chooser, judge in fits:
            score = self._score(_assess(chooser, candidates, rows))
            valued = _assess(judge, candidates, rows)
            ways.append(Valuation(score, valued.reward, valued.factor))
        return worth_of_choice(code, whole, ways), ""


def _assess(reward: AssessesTexts, candidates: OfferedTexts, rows: NDArray[np.int64]) -> Assessment:
    texts = [candidates.texts[row] for row in rows]
    return reward.assess(texts, candidates.prompts_of(rows) if len(rows) else None)


def _tabulate(
    candidates: OfferedTexts,
    read: NDArray[np.int64],
    assessed: Assessment,
    score: Floats,
    chosen: NDArray[np.int64],
    nearest: Sequence[str | None],
) -> pa.Table:
    """Return one row for each candidate; what was not read has no numbers."""
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
            "verdict": pa.array(verdicts, pa.string()),
            "nearest logged text": pa.array(nearest, pa.string()),
        }
    )


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class BestTexts(Result):
    """The chosen texts, all candidates with what was assessed of them, and what choosing is worth.

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
    why_not : str
        Why it is unknown.
    refused : mapping from str to int
        How many candidates were refused, by reason.
    """

    method: BestOf
    candidates: pa.Table
    prompts: int
    units: str
    worth: tuple[ChoiceWorth, ...]
    why_not: str
    refused: dict[str, int]
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
                shown = ("number", "prompt", "text", "reward", "standard error", "leverage")
                one = {name: row[name] for name in shown} | {"verdict": row["verdict"]}
                near = row["nearest logged text"]
                rows[number] = one | {"nearest logged text": None if is_chosen else near}
                if not is_chosen:
                    rows[number] |= {"text": None}
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

    def section(self) -> Section:
        """Return the choice as a section of a run folder and of the report."""
        tables = {"chosen texts": self.table(), "candidates": self.candidates}
        numbers: dict[str, float | str | None] = {
            "prompts": float(self.prompts),
            "candidates": float(self.candidates.num_rows),
            "caution": self.method.caution,
            "largest divergence from the writer": divergence_bound(self.method.n),
        }
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
            findings=self.findings,
            details={"units": self.units, "refused": self.refused},
        )

    def tabulate_worth(self) -> pa.Table:
        """Return a row for the chosen texts and one for the gain over a random candidate.

        A reward of comparisons has no level, so that only the gain means something.
        """
        rows = [*zip(("a chosen text", "gain over a random candidate"), self.worth, strict=True)]
        rows = rows[1:] if self.units == "log-odds" else rows
        return pa.table(
            {
                "what": [name for name, _ in rows],
                "by the reward that chose": [worth.naive for _, worth in rows],
                "by the part that did not choose": [worth.estimate for _, worth in rows],
                "standard error": [worth.stderr for _, worth in rows],
                "lower": [worth.lower for _, worth in rows],
                "upper": [worth.upper for _, worth in rows],
            }
        )


def _is_nearer(row: dict[str, object], known: dict[str, object]) -> bool:
    """Return whether a refused candidate lies nearer to the log than another."""
    mine, other = row["leverage"], known["leverage"]
    return isinstance(mine, float) and (not isinstance(other, float) or mine < other)
