"""Several policies against a baseline: wins, reward, markers, length and diversity at once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from causalign import figures
from causalign.errors import InputError
from causalign.evaluate.diversity import diversity
from causalign.evaluate.generations import (
    Compared,
    MarkerShares,
    WinRate,
    marker_shares,
    mean_reward_difference,
    win_rate,
)
from causalign.evaluate.judges import Judge, RewardJudge, Score
from causalign.results import Figure, Finding, Section, Verdict

__all__ = ["AgainstBaseline", "against_baseline"]

# A mean length that changed by more than this share is told beside a win rate.
MUCH_LONGER = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class AgainstBaseline:
    """Hold what each candidate changed against the baseline, by name of the candidate.

    ``wins`` and ``rewards`` are empty without a judge, ``markers`` without markers; ``words``
    compares lengths in words.
    """

    baseline: str
    texts: int
    wins: Mapping[str, WinRate]
    rewards: Mapping[str, Compared]
    words: Mapping[str, Compared]
    markers: Mapping[str, MarkerShares]
    diversity: pa.Table

    @property
    def candidates(self) -> tuple[str, ...]:
        """Return the names of the policies that are compared with the baseline."""
        return tuple(self.words)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return EV301 (order), EV302 (markers) and EV303 (length) for each candidate."""
        found: list[Finding] = []
        for name in self.candidates:
            own = [_longer(self.words[name])]
            own += self.wins[name].findings if name in self.wins else ()
            own += self.markers[name].findings if name in self.markers else ()
            found += [replace(f, title=f"{f.title} ({name})") for f in own]
        return tuple(found)

    def table(self) -> pa.Table:
        """Return one row for each candidate and quantity: wins, mean reward, words."""
        return pa.Table.from_pylist(list(self._rows()))

    def _rows(self) -> Iterator[dict[str, object]]:
        for name in self.candidates:
            if name in self.wins:
                won = self.wins[name]
                # 0.5 is what two equal policies win; there is no rate of the baseline alone.
                yield _row(name, "win rate", None, None, won.estimate, won.lower, won.upper)
            for label, found in (("mean reward", self.rewards), ("words", self.words)):
                if name in found:
                    c = found[name]
                    yield _row(name, label, c.first, c.second, c.difference, c.lower, c.upper)

    def summary(self) -> str:
        """Return the answer and the findings that did not pass."""
        grave = [f.line() for f in self.findings if f.verdict is not Verdict.PASS]
        return "\n".join([self.answer(), *grave])

    def answer(self) -> str:
        """Return who wins, by how much, in a sentence for each candidate."""
        told = [self._told(name) for name in self.candidates]
        return f"Of {self.texts:,} texts each: " + " ".join(told)

    def _told(self, name: str) -> str:
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
            tables["win rates"] = _named({n: w.table() for n, w in self.wins.items()})
        if self.markers:
            tables["markers"] = _named({n: m.table() for n, m in self.markers.items()})
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
            figures=tuple(self._figures()),
            findings=self.findings,
        )

    def _figures(self) -> Iterator[Figure]:
        drawn = (
            ("win-rates", self.wins, "estimate", "share of pairs won", 0.5),
            ("mean-reward", self.rewards, "difference", "difference of mean reward", 0.0),
        )
        for stem, found, field, label, reference in drawn:
            if found:
                shown = [figures.printable(n, 40) for n in found]
                values = [getattr(v, field) for v in found.values()]
                yield figures.forest(
                    stem,
                    shown,
                    np.array(values),
                    np.array([v.lower for v in found.values()]),
                    np.array([v.upper for v in found.values()]),
                    xlabel=label,
                    caption=f"Each policy against {figures.printable(self.baseline, 40)}, with "
                    "95 % intervals.",
                    alt="; ".join(f"{n}: {v:.3g}" for n, v in zip(shown, values, strict=True)),
                    reference=reference,
                )


def against_baseline(
    generations: Mapping[str, Sequence[str]],
    *,
    prompts: Sequence[str] | None = None,
    judge: Judge | None = None,
    score: Score | None = None,
    markers: Sequence[str] = (),
) -> AgainstBaseline:
    """Compare policies with the first of them: text i of each answers prompt i.

    ``judge`` decides wins, each pair asked in both orders; by default the higher ``score``, which
    also gives the difference of mean reward. Shares of ``markers`` are tested by McNemar's test,
    with prompts that repeat by their clustered difference, and without prompts by Fisher's.

    Assumption: judge and score took no part in training. Raises ``InputError`` for fewer than two
    policies, sides of different lengths, or a policy that wrote no word.
    """
    if len(generations) < 2:
        raise InputError(f"A comparison needs at least two policies; found {len(generations)}.")
    (baseline, before), *others = generations.items()
    asked = None if score is None else _remembered(score)
    decides = RewardJudge(asked) if judge is None and asked is not None else judge
    wins, rewards, shares, words = {}, {}, {}, {}
    for name, texts in others:
        pair = texts, before
        words[name] = mean_reward_difference(_words, *pair, prompts=prompts)
        if decides is not None:
            wins[name] = win_rate(decides, *pair, prompts=prompts)
        if asked is not None:
            rewards[name] = mean_reward_difference(asked, *pair, prompts=prompts)
        if markers:
            repeated = prompts is not None and len(set(prompts)) < len(prompts)
            shares[name] = marker_shares(
                *pair, markers, paired=prompts is not None, clusters=prompts if repeated else None
            )
    return AgainstBaseline(
        baseline, len(before), wins, rewards, words, shares, diversity(generations)
    )


def _remembered(score: Score) -> Score:
    """Return the same score, asked once for the same texts: both orders need no second look."""
    known: dict[tuple[str, ...], np.ndarray] = {}

    def asked(prompts: Sequence[str] | None, texts: Sequence[str]) -> np.ndarray:
        key = tuple(texts)
        if key not in known:
            known[key] = np.asarray(score(prompts, list(texts)), dtype=np.float64)
        return known[key]

    return asked


def _words(_prompts: Sequence[str] | None, texts: Sequence[str]) -> np.ndarray:
    return np.array([len(re.findall(r"\w+", text)) for text in texts], dtype=np.float64)


def _longer(words: Compared) -> Finding:
    """EV303: did the length of the texts change, which judges reward by itself?"""
    title = "Length of generations"
    share = words.difference / words.second if words.second else float("inf")
    changed = abs(share) > MUCH_LONGER and not words.lower <= 0 <= words.upper
    numbers: dict[str, float | str] = {"difference": words.difference, "share": share}
    told = (
        f"{words.first:.1f} words on average against {words.second:.1f} of the baseline "
        f"({words.lower:+.1f} to {words.upper:+.1f})"
    )
    if changed:
        told += ": judges often like length by itself. Compare texts of equal length too"
    verdict = Verdict.WARN if changed else Verdict.PASS
    return Finding("EV303", title, verdict, f"{told}.", numbers)


def _row(
    name: str,
    quantity: str,
    first: float | None,
    second: float | None,
    estimate: float,
    lower: float,
    upper: float,
) -> dict[str, object]:
    return {
        "policy": name,
        "quantity": quantity,
        "candidate": first,
        "baseline": second,
        "estimate": estimate,
        "lower": lower,
        "upper": upper,
    }


def _named(tables: Mapping[str, pa.Table]) -> pa.Table:
    """Stack tables, with the policy of each in front."""
    return pa.concat_tables(
        [t.add_column(0, "policy", pa.array([n] * t.num_rows)) for n, t in tables.items()]
    )
