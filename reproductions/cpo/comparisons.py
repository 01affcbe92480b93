"""What many tunings say of their arms: a record with a row for each, and every comparison.

Reference: arXiv 2402.14979.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

__all__ = ["Tuning", "arms_at", "compared", "draws_of", "read_record", "shown", "summarised"]

Settings = dict[str, Any]
FREE = ("fine-tuning", "CPO")  # what no outcome model touches
WITH_MODEL = ("OO-RLHF", "DR-CPO")
RESAMPLES = 2000
ENDS = ("found", "low", "high")
SEEN = 2.8  # standard errors: 80 % power at 5 %
AT = {"as tuned": "", "at the same divergence": " at the same divergence"}  # ends of columns


class Tuning(NamedTuple):
    """Name one tuning: which half of the texts, which draw of outcomes, and the arm."""

    split: int
    draw: int
    arm: str


def arms_at(strength: float) -> dict[str, str]:
    """Return the name that each arm of this strength has in a table, and in the record."""
    names = {name: name for name in FREE}
    return names | {method: f"{method} {strength}" for method in WITH_MODEL}


def draws_of(chosen: Settings) -> range:
    """Return the draws; the first one was the pilot's, whose settings these are."""
    return range(1, 1 + int(chosen["draws"]))


def summarised(lines: Mapping[Tuning, dict[str, Any]]) -> pd.DataFrame:
    """Return a row for each tuning: the mean over its texts, its error, wins against OO-RLHF."""
    rows = []
    for tuning, line in lines.items():
        row = tuning._asdict()
        rival = lines.get(tuning._replace(arm=tuning.arm.replace("DR-CPO", "OO-RLHF")), line)
        for end in AT.values():
            if f"worth{end}" in line:
                worth = np.asarray(line[f"worth{end}"])
                row[f"worth{end}"] = worth.mean()
                row[f"error{end}"] = np.sqrt(worth.var() / len(worth))
            if rival is not line:
                won = _wins(worth, np.asarray(rival[f"worth{end}"]))
                row[f"wins{end}"], row[f"error of wins{end}"] = won
        row |= {key: value for key, value in line.items() if not isinstance(value, list)}
        rows.append(row)
    return pd.DataFrame(rows).set_index(list(Tuning._fields))


def read_record(path: Path) -> pd.DataFrame:
    """Return what :func:`summarised` returned and ``to_csv`` wrote."""
    return pd.read_csv(path, index_col=list(Tuning._fields))


def compared(record: pd.DataFrame, chosen: Settings) -> dict[str, Any]:
    """Return values above f₀ and win rates for each β, intervals over tunings and texts."""
    found: dict[str, Any] = {}
    for judged, end in AT.items():
        table = found[judged] = {}
        for strength in chosen["strengths"]:
            units = [
                (split, draw)
                for split in range(chosen["splits"])
                for draw in draws_of(chosen)
                if all((split, draw, arm) in record.index for arm in arms_at(strength).values())
            ]
            if units:
                table[str(strength)] = _row(record, units, strength, end)
    return found


def shown(table: dict[str, Any]) -> str:
    """Return a table as Markdown; ``seen`` is what four of five such studies would tell from 0."""
    arms = (*FREE, *WITH_MODEL)
    heads = ("β", "tunings", *arms, "DR-CPO − OO-RLHF", "seen", "DR-CPO wins against OO-RLHF")
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for strength, row in table.items():
        gap, wins = row["DR-CPO - OO-RLHF"], row["DR-CPO wins against OO-RLHF"]
        seen = (
            "–" if gap["spread"] is None else f"{SEEN * gap['spread'] / row['tunings'] ** 0.5:.2f}"
        )
        cells = [strength, str(row["tunings"])]
        cells += [f"{_interval(row[arm])}, {row['nats'][arm]:.1f} nats" for arm in arms]
        cells += [_interval(gap), seen]
        cells += ["{:.0f} % ({:.0f} to {:.0f})".format(*(100 * wins[k] for k in ENDS))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(found: dict[str, float]) -> str:
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*(found[key] for key in ENDS))


def _row(
    record: pd.DataFrame, units: list[tuple[int, int]], strength: float, end: str
) -> dict[str, Any]:
    of_arm = {
        short: record.loc[[(*unit, arm) for unit in units]]
        for short, arm in arms_at(strength).items()
    }
    worth = {short: _values(rows, "worth", end) for short, rows in of_arm.items()}
    start = _values(record.loc[[(split, 0, "f0") for split, _ in units]], "worth", "")
    random = np.random.default_rng(int(abs(strength)))
    row: dict[str, Any] = {"tunings": len(units)}
    row["nats"] = {s: round(float(rows[f"nats{end}"].mean()), 2) for s, rows in of_arm.items()}
    row["effective rows"] = {
        s: round(float(rows["effective rows"].mean()), 1) for s, rows in of_arm.items()
    }
    # Hong Kong's first tunings did not record it.
    stopped = {s: rows["stopped"] for s, rows in of_arm.items()}
    row["stopped"] = {s: None if one.isna().any() else int(one.sum()) for s, one in stopped.items()}
    for short in of_arm:
        row[short] = _difference(worth[short], start, units, random, one_each_split=True)
    for other in ("OO-RLHF", "CPO", "fine-tuning"):
        row[f"DR-CPO - {other}"] = _difference(worth["DR-CPO"], worth[other], units, random)
    won, noise = _values(of_arm["DR-CPO"], "wins", end, error="error of wins")
    row["DR-CPO wins against OO-RLHF"] = _resampled(won, noise, units, random, digits=3)
    return row


def _values(
    rows: pd.DataFrame, what: str, end: str, error: str = "error"
) -> tuple[np.ndarray, np.ndarray]:
    """Return a number of each tuning and its error over texts, both (u,)."""
    return rows[what + end].to_numpy(), rows[error + end].to_numpy()


def _wins(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return how often a text of the first is judged better, a tie as half, and its error."""
    gap = np.subtract.outer(first, second)
    won = (gap > 0) + 0.5 * (gap == 0)
    variance = won.mean(axis=1).var() / len(first) + won.mean(axis=0).var() / len(second)
    return float(won.mean()), float(np.sqrt(variance))


def _difference(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    units: list[tuple[int, int]],
    random: np.random.Generator,
    *,
    one_each_split: bool = False,
) -> dict[str, Any]:
    """Return the mean difference of what texts are worth; means and errors are (u,).

    ``one_each_split``: the second are the same texts in all tunings of a split, those of f₀.
    """
    (mean, error), (other, error_of_other) = first, second
    own = error if one_each_split else np.hypot(error, error_of_other)
    shared = error_of_other if one_each_split else None
    return _resampled(mean - other, own, units, random, digits=2, shared=shared)


def _resampled(
    gaps: np.ndarray,
    noise: np.ndarray,
    units: list[tuple[int, int]],
    random: np.random.Generator,
    digits: int,
    shared: np.ndarray | None = None,
) -> dict[str, Any]:
    """Return the mean over tunings (u,), resampled by splits, tunings within them, and texts.

    ``noise`` is the standard error over the texts of each tuning, ``shared`` that over texts which
    all tunings of a split have in common. ``spread``, the standard deviation over tunings, tells
    what could have been seen; ``splits`` are the means of each, since few of them tell little of
    how splits differ.
    """
    split = np.array([each for each, _ in units])
    rows_of = {kind: np.flatnonzero(split == kind) for kind in np.unique(split)}
    common = np.zeros(len(gaps)) if shared is None else shared
    means = []
    for _ in range(RESAMPLES):
        drawn = []
        for kind in random.choice(list(rows_of), len(rows_of)):
            rows = random.choice(rows_of[kind], len(rows_of[kind]))
            texts = noise[rows] * random.standard_normal(len(rows))
            drawn.append(gaps[rows] + texts + common[rows] * random.standard_normal())
        means.append(np.concatenate(drawn).mean())
    low, high = np.quantile(means, (0.025, 0.975))
    found: dict[str, Any] = {
        name: round(float(value), digits)
        for name, value in (("found", gaps.mean()), ("low", low), ("high", high))
    }
    found["splits"] = [round(float(gaps[rows].mean()), digits) for rows in rows_of.values()]
    return found | {"spread": round(float(gaps.std(ddof=1)), digits) if len(gaps) > 1 else None}
