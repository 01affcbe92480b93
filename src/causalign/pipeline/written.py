"""Tell what policies wrote before and after tuning: side by side, their markers, reward, length."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from causalign import figures, policy
from causalign.checks.policies import gain_of_deconfounding, no_judge
from causalign.evaluate import (
    Compared,
    MarkerShares,
    diversity,
    marker_shares,
    mean_reward_difference,
)
from causalign.policy.findings import sampled_texts
from causalign.results import Figure, Finding, Section
from causalign.stats.proportions import share_interval

__all__ = ["POLICIES", "Judge", "Written", "told"]

POLICIES = ("before", "naive", "deconfounded")
SHOWN = 12

Prompts = Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Judge:
    """Hold a reward that training never saw, what to call it, and what a difference of one is."""

    name: str
    units: str
    score: Callable[[Prompts, Sequence[str]], Any]


@dataclass(frozen=True, slots=True)
class Written:
    """Hold the texts of one policy; ``cut`` of them did not end within their budget."""

    texts: tuple[str, ...]
    cut: int


def told(
    method: Any,
    fits: Mapping[str, policy.PolicyFit],
    written: Mapping[str, Written],
    prompts: Prompts,
    markers: Sequence[str],
    judge: Judge | None,
) -> Section:
    """Return the section of the stage; text i of every policy answers prompt i, with one seed."""
    texts = {name: written[name].texts for name in POLICIES}
    pair = texts["deconfounded"], texts["naive"]
    gain = None
    if judge is not None:
        gain = mean_reward_difference(judge.score, *pair, prompts=prompts)
    tables = {"texts side by side": _side_by_side(texts, prompts)}
    pictures: list[Figure] = []
    shares = None
    if markers:
        shares = marker_shares(*pair, markers)
        counted = _counted(texts, markers)
        tables |= {
            "share of texts with a marker": counted,
            "deconfounded against naive": _named(shares.table()),
        }
        pictures.append(_shares_figure(counted, markers, len(texts["naive"])))
    tables["what each policy writes"] = _described(texts, prompts, judge)
    numbers: dict[str, float | str | None] = {"texts of each policy": len(texts["naive"])}
    if gain is not None:
        reward = "reward gained by deconfounding"
        numbers |= {reward: gain.difference, "lower": gain.lower, "upper": gain.upper}
    return Section(
        stage="policy",
        question="What does the model write once it is tuned, naively and deconfounded?",
        answer=_answer(texts, shares, gain, judge),
        assumption=fits["deconfounded"].assumption,
        numbers=numbers,
        tables=tables,
        figures=(*pictures, *(f for name in POLICIES[1:] for f in _training(name, fits[name]))),
        findings=_findings(fits, written, texts, markers, gain, judge),
        details={
            "method": method.name,
            "base": fits["deconfounded"].base,
            "start": "fine-tuned on the logged texts" if "start" in fits else "the model as it is",
            "judge": "none" if judge is None else judge.name,
        },
    )


def _side_by_side(texts: Mapping[str, Sequence[str]], prompts: Prompts) -> pa.Table:
    columns = {} if prompts is None else {"prompt": prompts[:SHOWN]}
    return pa.table(columns | {name: _one_line(t[:SHOWN]) for name, t in texts.items()})


def _one_line(texts: Sequence[str]) -> list[str]:
    return [" ".join(text.split()) or "(empty)" for text in texts]


def _counted(texts: Mapping[str, Sequence[str]], markers: Sequence[str]) -> pa.Table:
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


def _named(table: pa.Table) -> pa.Table:
    own = {"candidate": "deconfounded", "baseline": "naive"}
    return table.rename_columns([own.get(name, name) for name in table.column_names])


def _shares_figure(counted: pa.Table, markers: Sequence[str], texts: int) -> Figure:
    rows = counted.to_pylist()
    by = {name: [row for row in rows if row["policy"] == name] for name in POLICIES}
    shares = {name: [row["share"] for row in own] for name, own in by.items()}
    spread = {
        name: [[r["share"] - r["lower"] for r in own], [r["upper"] - r["share"] for r in own]]
        for name, own in by.items()
    }
    said = [
        f"{marker}: " + ", ".join(f"{name} {shares[name][i]:.0%}" for name in POLICIES)
        for i, marker in enumerate(markers)
    ]
    return figures.bars(
        "marker-shares",
        list(markers),
        shares,
        xlabel="share of texts",
        ylabel="marker",
        caption=f"Share of {texts:,} texts that hold a marker, with 95% intervals.",
        alt="; ".join(said),
        errors=spread,
    )


def _described(
    texts: Mapping[str, Sequence[str]], prompts: Prompts, judge: Judge | None
) -> pa.Table:
    """Return one row for each policy: its reward, length and diversity."""
    found = pa.table({"policy": list(texts)})
    if judge is not None:
        scores = np.stack([judge.score(prompts, list(written)) for written in texts.values()])
        errors = scores.std(axis=1, ddof=1) / np.sqrt(scores.shape[1])
        found = found.append_column("reward", pa.array(scores.mean(axis=1)))
        found = found.append_column("standard error", pa.array(errors))
    if all(any(re.search(r"\w", text) for text in written) for written in texts.values()):
        measured = diversity(texts)
        for name in measured.column_names[1:]:
            found = found.append_column(name, measured[name])
    return found


def _training(name: str, fit: policy.PolicyFit) -> list[Figure]:
    if fit.curve.num_rows < 2:
        return []
    figure = fit.figure(f"training-{name}")
    return [replace(figure, caption=f"Tuned from the {name} outcome. {figure.caption}")]


def _answer(
    texts: Mapping[str, Sequence[str]],
    shares: MarkerShares | None,
    gain: Compared | None,
    judge: Judge | None,
) -> str:
    count = f"Of {len(texts['naive']):,} texts of each policy"
    parts = []
    for marker, found in [*zip(shares.markers, shares.shares, strict=True)][:3] if shares else ():
        before = np.mean([marker.casefold() in text.casefold() for text in texts["before"]])
        parts.append(
            f"“{marker}” is in {found.second:.0%} when tuned on the outcome as logged, in "
            f"{found.first:.0%} when tuned on the deconfounded one, and was in {before:.0%} before"
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
    fits: Mapping[str, policy.PolicyFit],
    written: Mapping[str, Written],
    texts: Mapping[str, Sequence[str]],
    markers: Sequence[str],
    gain: Compared | None,
    judge: Judge | None,
) -> tuple[Finding, ...]:
    """Return what was found about the comparison, about each training, and about the texts."""
    found = [no_judge()]
    if gain is not None and judge is not None:
        found = [gain_of_deconfounding(gain.difference, gain.lower, gain.upper, judge.name)]
    if markers:
        moved = marker_shares(texts["deconfounded"], texts["before"], markers).findings
        found += [_of(f, "deconfounded, against before tuning") for f in moved]
    for name in POLICIES:
        empty = sum(not text.strip() for text in texts[name])
        found.append(_of(sampled_texts(empty, written[name].cut, len(texts[name])), name))
    return (*found, *(_of(f, name) for name, fit in fits.items() for f in fit.findings))


def _of(finding: Finding, policy_name: str) -> Finding:
    return replace(finding, title=f"{finding.title} ({policy_name})")
