"""Several policies against a baseline: wins, reward, markers, length and diversity at once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from causalign import figures
from causalign.errors import InputError
from causalign.evaluate.diversity import measure_diversity
from causalign.evaluate.judges import Judge, RewardJudge, Score
from causalign.evaluate.marker_payments import marker_worth
from causalign.evaluate.policy_texts import (
    MarkerShares,
    MeanDifference,
    WinRate,
    marker_shares,
    mean_reward_difference,
    win_rate,
)
from causalign.logs.outcome_model import predict_outcome
from causalign.results import Finding, Result, Section, Verdict

# A mean length that changed by more than this share is shown beside a win rate.
MUCH_LONGER = 0.2


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AgainstBaseline(Result):
    """What each candidate policy changed against the baseline, by name of the candidate.

    Attributes
    ----------
    baseline : str
        Name of the baseline.
    texts : int
        How many texts each policy wrote.
    wins : mapping of str to WinRate
        How often a judge prefers each candidate; empty without a judge.
    rewards : mapping of str to MeanDifference
        Differences of mean reward; empty without a score.
    words : mapping of str to MeanDifference
        Differences of length in words.
    markers : mapping of str to MarkerShares
        Differences of the shares of markers; empty without markers.
    diversity : pyarrow.Table
        Length and diversity of every policy.
    """

    baseline: str
    texts: int
    wins: Mapping[str, WinRate]
    rewards: Mapping[str, MeanDifference]
    words: Mapping[str, MeanDifference]
    markers: Mapping[str, MarkerShares]
    diversity: pa.Table

    @property
    def candidates(self) -> tuple[str, ...]:
        """The names of the policies that are compared with the baseline."""
        return tuple(self.words)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """EV301 (order), EV302 (markers) and EV303 (length) for each candidate."""
        findings: list[Finding] = []
        for name in self.candidates:
            own = [_length_finding(self.words[name])]
            own += self.wins[name].findings if name in self.wins else ()
            own += self.markers[name].findings if name in self.markers else ()
            findings += [replace(f, title=f"{f.title} ({name})") for f in own]
        return tuple(findings)

    def table(self) -> pa.Table:
        """Return one row for each candidate and quantity: wins, mean reward, words."""
        columns = ("policy", "quantity", "candidate", "baseline", "estimate", "lower", "upper")
        return pa.table(dict(zip(columns, zip(*self._rows(), strict=True), strict=True)))

    def _rows(self) -> Iterator[tuple[str | float | None, ...]]:
        for name in self.candidates:
            if name in self.wins:
                won = self.wins[name]
                # 0.5 is what two equal policies win; there is no rate of the baseline alone.
                yield name, "win rate", None, None, won.estimate, won.lower, won.upper
            for label, means in (("mean reward", self.rewards), ("words", self.words)):
                if name in means:
                    c = means[name]
                    yield name, label, c.first, c.second, c.difference, c.lower, c.upper

    def answer(self) -> str:
        """Return who wins, by how much, in a sentence for each candidate."""
        sentences = [self._sentence(name) for name in self.candidates]
        return f"Of {self.texts:,} texts each: " + " ".join(sentences)

    def _sentence(self, name: str) -> str:
        parts = []
        if name in self.wins:
            won = self.wins[name]
            parts.append(
                f"wins {won.estimate:.1%} against {self.baseline} "
                f"({won.lower:.1%} to {won.upper:.1%})"
            )
        if name in self.rewards:
            gain = self.rewards[name]
            parts.append(
                f"earns {gain.difference:+.3g} of mean reward ({gain.lower:+.3g} to "
                f"{gain.upper:+.3g})"
            )
        words = self.words[name]
        parts.append(f"writes {words.first:.0f} words where {self.baseline} writes "
                     f"{words.second:.0f}")  # fmt: skip
        return f"{name} {', '.join(parts)}."

    def section(self) -> Section:
        """Return the comparison as a section of a report."""
        tables = {"against the baseline": self.table()}
        if self.wins:
            tables["win rates"] = _stack({n: w.table() for n, w in self.wins.items()})
        if self.markers:
            tables["markers"] = _stack({n: m.table() for n, m in self.markers.items()})
        tables["length and diversity"] = self.diversity
        numbers: dict[str, float | str | None] = {"texts": self.texts, "baseline": self.baseline}
        numbers |= {f"win rate {n}": w.estimate for n, w in self.wins.items()}
        numbers |= {f"reward gain {n}": c.difference for n, c in self.rewards.items()}
        return Section(
            stage="evaluate",
            question="Which policy writes better texts for the same prompts?",
            answer=self.answer(),
            assumption="The judge took no part in training any of the policies. Prompts are "
            "independent; several texts of a prompt count as one.",
            numbers=numbers,
            tables=tables,
            figures=figures.draw_figures(*self._drawings()),
            findings=self.findings,
        )

    def drawing(self) -> figures.Drawing:
        """Return the win rates, else the differences of mean reward, else those of length."""
        words = self._draw("words", self.words, "difference", "difference of words", 0.0)
        return next(iter((*self._drawings(), words)))

    def _drawings(self) -> Iterator[figures.Drawing]:
        if self.wins:
            yield self._draw("win-rates", self.wins, "estimate", "share of pairs won", 0.5)
        if self.rewards:
            label = "difference of mean reward"
            yield self._draw("mean-reward", self.rewards, "difference", label, 0.0)

    def _draw(
        self,
        stem: str,
        results: Mapping[str, WinRate] | Mapping[str, MeanDifference],
        field: str,
        label: str,
        reference: float,
    ) -> figures.Drawing:
        names = [figures.printable(n, 40) for n in results]
        values = [getattr(v, field) for v in results.values()]
        return figures.forest(
            stem,
            names,
            values,
            [v.lower for v in results.values()],
            [v.upper for v in results.values()],
            xlabel=label,
            caption=f"Each policy against {figures.printable(self.baseline, 40)}, with 95 % "
            "intervals.",
            alt="; ".join(f"{n}: {v:.3g}" for n, v in zip(names, values, strict=True)),
            reference=reference,
        )


def compare_with_baseline(
    generations: Mapping[str, Sequence[str]],
    *,
    prompts: Sequence[str] | None = None,
    judge: Judge | None = None,
    score: Score | None = None,
    markers: Sequence[str] = (),
) -> AgainstBaseline:
    """Compare policies with the first of them: text i of each answers prompt i.

    Assumption: judge and score took no part in training.

    Parameters
    ----------
    generations : mapping of str to sequence of n str
        The texts of each policy, the baseline first.
    prompts : sequence of n str, optional
        What was asked. Shares of markers are tested by McNemar's test, with prompts that repeat
        by their clustered difference, and without prompts by Fisher's.
    judge : Judge, optional
        Decides wins, each pair asked in both orders; by default the higher ``score``.
    score : callable, optional
        ``score(completions, prompts) -> (n,)``, for the difference of mean reward.
    markers : sequence of str
        Words or phrases to count.

    Returns
    -------
    AgainstBaseline

    Raises
    ------
    InputError
        For fewer than two policies, sides of different lengths, or a policy that wrote no word.
    """
    if len(generations) < 2:
        raise InputError(f"A comparison needs at least two policies; found {len(generations)}.")
    (baseline, before), *others = generations.items()
    rating = None if score is None else _remember(score)
    decider = RewardJudge(rating) if judge is None and rating is not None else judge
    worth = None
    if rating is not None and markers:
        worth = marker_worth(rating, before, markers, prompts)
    wins, rewards, shares, words = {}, {}, {}, {}
    for name, texts in others:
        pair = texts, before
        words[name] = mean_reward_difference(_words, *pair, prompts=prompts)
        if decider is not None:
            wins[name] = win_rate(decider, *pair, prompts=prompts)
        if rating is not None:
            rewards[name] = mean_reward_difference(rating, *pair, prompts=prompts)
        if markers:
            repeated = prompts is not None and len(set(prompts)) < len(prompts)
            shares[name] = marker_shares(
                *pair,
                markers,
                paired=prompts is not None,
                clusters=prompts if repeated else None,
                worth=worth,
            )
    return AgainstBaseline(
        baseline, len(before), wins, rewards, words, shares, measure_diversity(generations)
    )


def _remember(score: Score) -> Score:
    """Return the same score, asked once for the same texts: both orders need no second look."""
    known: dict[tuple[str, ...], NDArray[np.float64]] = {}

    def ask(texts: Sequence[str], prompts: Sequence[str] | None) -> NDArray[np.float64]:
        key = tuple(texts)
        if key not in known:
            known[key] = predict_outcome(score, texts, prompts)
        return known[key]

    return ask


def _words(texts: Sequence[str], _prompts: Sequence[str] | None) -> NDArray[np.float64]:
    return np.array([len(re.findall(r"\w+", text)) for text in texts], dtype=np.float64)


def _length_finding(words: MeanDifference) -> Finding:
    """EV303: did the length of the texts change, which judges reward by itself?"""
    title = "Length of generations"
    share = words.difference / words.second if words.second else float("inf")
    changed = abs(share) > MUCH_LONGER and not words.lower <= 0 <= words.upper
    numbers: dict[str, float | str] = {"difference": words.difference, "share": share}
    explanation = (
        f"{words.first:.1f} words on average against {words.second:.1f} of the baseline "
        f"({words.lower:+.1f} to {words.upper:+.1f})"
    )
    if changed:
        explanation += ": judges often like length by itself. Compare texts of equal length too"
    verdict = Verdict.WARN if changed else Verdict.PASS
    return Finding("EV303", title, verdict, f"{explanation}.", numbers)


def _stack(tables: Mapping[str, pa.Table]) -> pa.Table:
    """Stack tables, with the policy of each in front."""
    return pa.concat_tables(
        [t.add_column(0, "policy", pa.array([n] * t.num_rows)) for n, t in tables.items()]
    )
