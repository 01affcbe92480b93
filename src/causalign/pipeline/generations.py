"""Compare what policies write before and after tuning: side by side, markers, reward, length."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from causalign import figures
from causalign.checks.confounding import gain_of_deconfounding, no_judge
from causalign.checks.limits import cost_of_gain, guardrails_not_judged
from causalign.evaluate import (
    MarkerShares,
    MeanDifference,
    marker_shares,
    mean_reward_difference,
    measure_diversity,
)
from causalign.evaluate.marker_payments import marker_worth
from causalign.figures import Drawing
from causalign.logs import Logs
from causalign.logs.outcome_model import OutcomeModel, predict_outcome
from causalign.policy.best_texts import BestTexts
from causalign.policy.findings import sampled_texts
from causalign.policy.fit import PolicyFit
from causalign.results import Finding, Section
from causalign.stats.proportions import share_interval

POLICIES = ("before", "naive", "deconfounded")
SHOWN = 12
# Into so many logged texts a marker is written to ask what the judge pays for it.
TEXTS_RATED = 500

Prompts = Sequence[str] | None


@dataclass(frozen=True, slots=True)
class HeldOutJudge:
    """A reward that training never saw, what to call it, and what a difference of one is.

    ``guardrails`` say what texts do to further outcomes.
    """

    name: str
    units: str
    score: OutcomeModel
    guardrails: Mapping[str, OutcomeModel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Generated:
    """The texts of one policy; ``cut`` of them, if known, did not end within their budget."""

    texts: tuple[str, ...]
    cut: int | None


@dataclass(frozen=True, slots=True)
class ChosenTexts:
    """Texts that were chosen among candidates, by the name of the reward that chose."""

    chosen: Mapping[str, BestTexts]

    def generated(self, *, beside: bool) -> dict[str, Generated]:
        """Return what is compared: the choices, and without a tuned policy the writer's texts.

        A prompt all of whose candidates were refused keeps the writer's first.
        """
        some = next(iter(self.chosen.values()))
        first: dict[int, str] = {}
        for row in some.candidates.select(["number", "text"]).to_pylist():
            first.setdefault(row["number"], row["text"])
        written = [first.get(number, "") for number in range(some.prompts)]
        named = {} if beside else {POLICIES[0]: Generated(tuple(written), None)}
        for name, best in self.chosen.items():
            texts = [text or other for text, other in zip(best.texts(), written, strict=True)]
            shown = f"{name}, best of {best.method.n}" if beside else name
            named[shown] = Generated(tuple(texts), None)
        return named

    def tabulate_worth(self) -> dict[str, pa.Table]:
        """Return what each choice is worth by what did not make it, where that is known."""
        parts = [
            best.tabulate_worth().add_column(0, "reward", [[name] * len(best.worth)])
            for name, best in self.chosen.items()
            if best.worth and best.units != "log-odds"
        ]
        return {"what choosing is worth": pa.concat_tables(parts)} if parts else {}

    def draw_frontiers(self) -> list[Drawing]:
        """Return what each guardrail buys, by the reward that chose."""
        return [
            replace(
                drawing,
                name=f"{drawing.name}-{name}",
                caption=f"{name.capitalize()} reward. {drawing.caption}",
            )
            for name, best in self.chosen.items()
            for drawing in best.drawings()
        ]


@dataclass(frozen=True, slots=True)
class Compared:
    """What wrote the texts: tuned policies, choices or both, and the method that tuned."""

    fits: Mapping[str, PolicyFit]
    choices: ChosenTexts
    method: str | None

    @property
    def assumption(self) -> str:
        """On what the texts rest."""
        if self.method is not None:
            return self.fits["deconfounded"].assumption
        return self.choices.chosen["deconfounded"].section().assumption

    def describe(self) -> dict[str, str]:
        """Return the method and what it started from."""
        if self.method is None:
            return {"method": "best-of", "base": "the writer", "start": "the model as it is"}
        start = "fine-tuned on the logged texts" if "start" in self.fits else "the model as it is"
        base = self.fits["deconfounded"].base
        return {"method": self.method, "base": base, "start": start}


def compare_policies(
    compared: Compared,
    generated: Mapping[str, Generated],
    prompts: Prompts,
    markers: Sequence[str],
    judge: HeldOutJudge | None,
    logged: Logs,
) -> Section:
    """Return the section of the stage; text i of every policy answers prompt i, with one seed.

    ``logged`` are the rows that the policies were tuned on, to whose markers theirs are compared.
    """
    texts = {name: written.texts for name, written in generated.items()}
    pair = texts["deconfounded"], texts["naive"]
    gain = None
    if judge is not None:
        gain = mean_reward_difference(judge.score, *pair, prompts=prompts)
    tables = {"texts side by side": _show_side_by_side(texts, prompts)}
    pictures: list[Drawing] = []
    shares = None
    if markers:
        shares = marker_shares(*pair, markers)
        counts = _count_markers(texts, markers)
        tables |= {
            "share of texts with a marker": counts,
            "deconfounded against naive": _name_policies(shares.table()),
        }
        pictures.append(_draw_shares(counts, markers, len(texts["naive"])))
    tables["what each policy writes"] = _describe_policies(texts, prompts, judge)
    tables |= compared.choices.tabulate_worth()
    numbers: dict[str, float | str | None] = {"texts of each policy": len(texts["naive"])}
    if gain is not None:
        reward = "reward gained by deconfounding"
        numbers |= {reward: gain.difference, "lower": gain.lower, "upper": gain.upper}
    return Section(
        stage="policy",
        question="What does the model write once it is tuned, naively and deconfounded?",
        answer=_answer(texts, shares, gain, judge),
        assumption=compared.assumption,
        numbers=numbers,
        tables=tables,
        figures=figures.draw_figures(
            *pictures, *_draw_trainings(compared.fits), *compared.choices.draw_frontiers()
        ),
        findings=(
            *_findings(compared, generated, texts, markers, gain, judge, logged),
            *_judge_guardrails(texts, prompts, judge, logged.roles.guardrails),
        ),
        details={
            **compared.describe(),
            "judge": "none" if judge is None else judge.name,
            "units": "" if judge is None else judge.units,
        },
    )


def _show_side_by_side(texts: Mapping[str, Sequence[str]], prompts: Prompts) -> pa.Table:
    columns = {} if prompts is None else {"prompt": prompts[:SHOWN]}
    return pa.table(columns | {name: _join_lines(t[:SHOWN]) for name, t in texts.items()})


def _join_lines(texts: Sequence[str]) -> list[str]:
    return [" ".join(text.split()) or "(empty)" for text in texts]


def _count_markers(texts: Mapping[str, Sequence[str]], markers: Sequence[str]) -> pa.Table:
    """Return the share of each policy's texts that hold each marker, with Wilson's interval."""
    rows = []
    for marker in markers:
        for name, written in texts.items():
            hits = sum(marker.casefold() in text.casefold() for text in written)
            lower, upper = share_interval(hits, len(written))
            share = hits / len(written)
            row = {"marker": marker, "policy": name, "share": share, "lower": lower, "upper": upper}
            rows.append(row)
    return pa.Table.from_pylist(rows)


def _name_policies(table: pa.Table) -> pa.Table:
    own = {"candidate": "deconfounded", "baseline": "naive"}
    return table.rename_columns([own.get(name, name) for name in table.column_names])


def _draw_shares(counts: pa.Table, markers: Sequence[str], texts: int) -> Drawing:
    rows = counts.to_pylist()
    names = list(dict.fromkeys(row["policy"] for row in rows))
    by = {name: [row for row in rows if row["policy"] == name] for name in names}
    shares = {name: [row["share"] for row in own] for name, own in by.items()}
    spread = {
        name: [[r["share"] - r["lower"] for r in own], [r["upper"] - r["share"] for r in own]]
        for name, own in by.items()
    }
    words = [
        f"{marker}: " + ", ".join(f"{name} {shares[name][i]:.0%}" for name in names)
        for i, marker in enumerate(markers)
    ]
    return figures.bars(
        "marker-shares",
        list(markers),
        shares,
        xlabel="share of texts",
        ylabel="marker",
        caption=f"Share of {texts:,} texts that hold a marker, with 95% intervals.",
        alt="; ".join(words),
        errors=spread,
    )


def _describe_policies(
    texts: Mapping[str, Sequence[str]], prompts: Prompts, judge: HeldOutJudge | None
) -> pa.Table:
    """Return one row for each policy: its reward, length and diversity."""
    table = pa.table({"policy": list(texts)})
    if judge is not None:
        scores = np.stack([judge.score(list(written), prompts) for written in texts.values()])
        errors = scores.std(axis=1, ddof=1) / np.sqrt(scores.shape[1])
        table = table.append_column("reward", pa.array(scores.mean(axis=1)))
        table = table.append_column("standard error", pa.array(errors))
        for name, score in judge.guardrails.items():
            means = [predict_outcome(score, written, prompts).mean() for written in texts.values()]
            table = table.append_column(name, pa.array(means))
    if all(any(re.search(r"\w", text) for text in written) for written in texts.values()):
        measured = measure_diversity(texts)
        for name in measured.column_names[1:]:
            table = table.append_column(name, measured[name])
    return table


def _draw_trainings(fits: Mapping[str, PolicyFit]) -> list[Drawing | None]:
    return [_draw_training(name, fits[name]) for name in POLICIES[1:] if name in fits]


def _draw_training(name: str, fit: PolicyFit) -> Drawing | None:
    drawing = fit.drawing()
    if drawing is None:
        return None
    caption = f"Tuned from the {name} outcome. {drawing.caption}"
    return replace(drawing, name=f"training-{name}", caption=caption)


def _answer(
    texts: Mapping[str, Sequence[str]],
    shares: MarkerShares | None,
    gain: MeanDifference | None,
    judge: HeldOutJudge | None,
) -> str:
    count = f"Of {len(texts['naive']):,} texts of each policy"
    parts = []
    for marker, share in [*zip(shares.markers, shares.shares, strict=True)][:3] if shares else ():
        before = np.mean([marker.casefold() in text.casefold() for text in texts["before"]])
        parts.append(
            f"“{marker}” is in {share.second:.0%} when tuned on the outcome as logged, in "
            f"{share.first:.0%} when tuned on the deconfounded one, and was in {before:.0%} before"
        )
    rated = ""
    if gain is not None and judge is not None:
        rated = (
            f"{judge.name} rates texts of the deconfounded policy {gain.difference:+.2g} "
            f"{judge.units} against the naive one (95% interval {gain.lower:.2g} to "
            f"{gain.upper:.2g})."
        )
        rated = rated[:1].upper() + rated[1:]
    if not parts:
        return rated or f"{count} a dozen are shown side by side."
    return f"{count} {'; '.join(parts)}. {rated}".strip()


def _findings(
    compared: Compared,
    generated: Mapping[str, Generated],
    texts: Mapping[str, Sequence[str]],
    markers: Sequence[str],
    gain: MeanDifference | None,
    judge: HeldOutJudge | None,
    logged: Logs,
) -> tuple[Finding, ...]:
    """Return what was found about the comparison, about each training, and about the texts.

    A marker that the log holds as often is imitation; one that a policy writes far more often is
    success where the judge pays for it, and a warning where it does not.
    """
    findings = [no_judge()]
    if gain is not None and judge is not None:
        findings = [gain_of_deconfounding(gain.difference, gain.lower, gain.upper, judge.name)]
    if markers:
        worth, own = None, logged.completions
        if judge is not None:
            some = logged.take(np.arange(min(len(logged), TEXTS_RATED)), "those rated")
            worth = marker_worth(judge.score, some.completions, markers, some.prompts)
        for name in [*texts][1:]:
            moved = marker_shares(texts[name], own, markers, paired=False, worth=worth)
            findings += [_title_with(f, f"{name}, against the log") for f in moved.findings]
    for name, written in generated.items():
        empty = sum(not text.strip() for text in written.texts)
        if written.cut is not None:  # what was chosen among candidates is told by WR101 and WR102
            sampled = sampled_texts(empty, written.cut, len(written.texts))
            findings.append(_title_with(sampled, name))
    made = [
        *compared.fits.items(),
        *((f"best of, {n}", b) for n, b in compared.choices.chosen.items()),
    ]
    return (*findings, *(_title_with(f, name) for name, one in made for f in one.findings))


def _judge_guardrails(
    texts: Mapping[str, Sequence[str]],
    prompts: Prompts,
    judge: HeldOutJudge | None,
    guardrails: Sequence[str],
) -> list[Finding]:
    """Return for each policy and guardrail what it costs against what was written before."""
    if judge is None or not judge.guardrails:
        return [guardrails_not_judged(guardrails)] if guardrails else []
    before, *names = texts
    findings = []
    for name in names:
        pair = texts[name], texts[before]
        gain = mean_reward_difference(judge.score, *pair, prompts=prompts)
        for guardrail, score in judge.guardrails.items():
            rise = mean_reward_difference(score, *pair, prompts=prompts)
            ends = [(one.difference, one.lower, one.upper) for one in (gain, rise)]
            findings.append(_title_with(cost_of_gain(guardrail, *ends), name))
    return findings


def _title_with(finding: Finding, policy_name: str) -> Finding:
    return replace(finding, title=f"{finding.title} ({policy_name})")
