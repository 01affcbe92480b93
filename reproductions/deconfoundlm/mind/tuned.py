"""What many tunings wrote: tone and teams, intervals over tunings and their texts together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from news import DIVISIONS, divisions_named, sentiment
from rewards import IV, PUBLISHED
from tunings import Key, Rows

__all__ = ["shown", "summary"]

DRAWS = 2000
KINDS = {"same steps": "", "same divergence": ", equal"}
PAIRS = ((IV, "observed"), (IV, "only sentiment"), ("observed", "only sentiment"))
# An effect of so many standard errors is seen in four of five studies: 1.96 + .84.
SEEN = 2.8


@dataclass(frozen=True)
class Judged:
    """Hold what each text of each tuning of one reward scores, seed by seed: measure to (n,)."""

    measures: dict[int, dict[str, np.ndarray]]
    rows: dict[int, dict[str, Any]]

    @classmethod
    def of(cls, rows: Rows, ending: str) -> dict[tuple[str, str, str], "Judged"]:
        """Judge the texts of all rewards, with the ending of their column."""
        grouped: dict[tuple[str, str, str], dict[int, dict[str, Any]]] = {}
        for (heads, scenario, reward, seed), row in sorted(rows.items(), key=_place):
            grouped.setdefault((heads, scenario, reward), {})[seed] = row
        return {
            key: cls({seed: _measure(row["texts" + ending]) for seed, row in found.items()}, found)
            for key, found in grouped.items()
        }


def _place(item: tuple[Key, dict[str, Any]]) -> tuple[bool, str, int, int]:
    """Return where a tuning stands in the table: regressions first, rewards as published."""
    heads, scenario, reward, seed = item[0]
    return heads != "ridge", scenario, PUBLISHED.index(reward), seed


def summary(rows: Rows, start: list[str], wanted: int) -> dict[str, Any]:
    """Return for each kind of heads, scenario and reward what its tunings wrote.

    ``wanted`` is how many tunings of each were asked for; ``start`` what the untuned policy wrote.
    """
    found: dict[str, Any] = {"SFT": _start(start), "tunings asked for, each": wanted}
    for kind, ending in KINDS.items():
        judged = Judged.of(rows, ending)
        cells = found[kind] = {}
        for key, tunings in judged.items():
            cells.setdefault(" / ".join(key[:2]), {})[key[2]] = _cell(tunings, ending)
        found[kind + ", differences"] = {
            f"{heads} / {scenario}: {first} less {second}": _difference(a, b)
            for heads, scenario in sorted({key[:2] for key in judged if key[1] != "both"})
            for first, second in PAIRS
            if (a := _find(judged, heads, scenario, first)) is not None
            and (b := _find(judged, heads, scenario, second)) is not None
        }
    return found


def _find(
    judged: dict[tuple[str, str, str], Judged], heads: str, scenario: str, reward: str
) -> Judged | None:
    return judged.get((heads, scenario, reward)) or judged.get((heads, "both", reward))


def _measure(texts: list[str]) -> dict[str, np.ndarray]:
    named = divisions_named(texts)
    values = {"sentiment": sentiment(texts)} | {d: named[d].astype(float) for d in DIVISIONS}
    values["some team"] = np.any(list(named.values()), axis=0).astype(float)
    return values | {"words": np.array([len(text.split()) for text in texts], dtype=float)}


def _start(texts: list[str]) -> dict[str, Any]:
    measures = {0: _measure(texts)}
    return {name: _interval(_resample(measures, name, [0])) for name in measures[0]}


def _cell(tunings: Judged, ending: str) -> dict[str, Any]:
    """Return the measures of one reward, and the spread of its tunings."""
    seeds = sorted(tunings.measures)
    found: dict[str, Any] = {"tunings": len(seeds)}
    for name in tunings.measures[seeds[0]]:
        found[name] = _interval(_resample(tunings.measures, name, seeds))
    rows = [tunings.rows[seed] for seed in seeds]
    texts = [row["texts" + ending] for row in rows]
    found["distinct"] = round(float(np.mean([len(set(t)) / len(t) for t in texts])), 3)
    for name in ("nats", "own reward"):
        values = [row[name + ending] for row in rows]
        found[name] = {
            "mean": round(float(np.mean(values)), 3),
            "least": round(min(values), 3),
            "most": round(max(values), 3),
        }
    means = [float(tunings.measures[seed]["sentiment"].mean()) for seed in seeds]
    return found | {"sentiment of each tuning": [round(mean, 3) for mean in means]}


def _difference(first: Judged, second: Judged) -> dict[str, Any]:
    """Return first less second over the seeds that both have; a seed's tunings are drawn together.

    ``seen`` is the effect that this design would have told from none in four of five studies; one
    tuning of each does not tell it.
    """
    seeds = sorted(set(first.measures) & set(second.measures))
    found: dict[str, Any] = {"tunings of each": len(seeds)}
    for name in ("sentiment", *DIVISIONS, "some team") if seeds else ():
        drawn = _resample(first.measures, name, seeds) - _resample(second.measures, name, seeds)
        found[name] = _interval(drawn)
        if len(seeds) > 1:
            found[name]["seen"] = round(SEEN * float(np.std(drawn[1:], ddof=1)), 4)
    return found


def _resample(
    measures: dict[int, dict[str, np.ndarray]], name: str, seeds: list[int]
) -> np.ndarray:
    """Return the mean, then its bootstrap draws: tunings with replacement, then texts of each.

    The same seeds draw the same tunings and texts, so that differences of rewards are paired.
    """
    values = np.stack([measures[seed][name] for seed in seeds])
    chosen = np.random.default_rng(len(seeds)).integers(len(seeds), size=(DRAWS, len(seeds)))
    random = np.random.default_rng(1)
    means = np.zeros(DRAWS)
    for drawn in chosen.T:
        texts = random.integers(values.shape[1], size=(DRAWS, values.shape[1]))
        means += values[drawn[:, None], texts].mean(axis=1)
    return np.concatenate([[values.mean()], means / len(seeds)])


def _interval(drawn: np.ndarray) -> dict[str, float]:
    low, high = np.percentile(drawn[1:], [2.5, 97.5])
    return {
        "mean": round(float(drawn[0]), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def shown(found: dict[str, Any]) -> str:
    """Return both tables, and the differences, as lines of Markdown."""
    lines = []
    for kind in KINDS:
        lines += [
            f"*{kind[0].upper()}{kind[1:]}*",
            "",
            f"| | tunings | sentiment | {' | '.join(DIVISIONS)} | words | distinct | nats |",
            f"| --- {'| --- ' * (len(DIVISIONS) + 5)}|",
            f"| SFT | – | {_text(found['SFT'], '– | –')} |",
        ]
        for table, cells in found[kind].items():
            for reward, cell in cells.items():
                distinct = f"{cell['distinct']:.2f} | {cell['nats']['mean']:.1f}"
                count = f"{cell['tunings']} of {found['tunings asked for, each']}"
                lines.append(f"| {table}: {reward} | {count} | {_text(cell, distinct)} |")
        lines.append("")
        for name, cell in found[kind + ", differences"].items():
            if "sentiment" in cell:
                tone, team = cell["sentiment"], cell["some team"]
                seen = f", seen {tone['seen']:.3f}" if "seen" in tone else ""
                lines.append(
                    f"- {name}: sentiment {_plain(tone, _score)}{seen}; some team "
                    f"{_plain(team, _percent)}; tunings of each: {cell['tunings of each']}"
                )
        lines.append("")
    return "\n".join(lines[:-1])


def _text(cell: dict[str, Any], last: str) -> str:
    shares = " | ".join(_plain(cell[division], _percent) for division in DIVISIONS)
    return f"{_plain(cell['sentiment'], _score)} | {shares} | {cell['words']['mean']:.1f} | {last}"


def _score(value: float) -> str:
    return f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _plain(cell: dict[str, float], write: Callable[[float], str]) -> str:
    return f"{write(cell['mean'])} ({write(cell['low'])} to {write(cell['high'])})"
