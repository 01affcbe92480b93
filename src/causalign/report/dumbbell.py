"""Effects of markers as logged and deconfounded, a row each, for a chart that is drawn by the page.

The page draws it, in its own letters and colours, so that it needs no plotting library and its
words keep their size on a phone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from causalign.figures import printable
from causalign.report import wording
from causalign.report.stage_results import Row, to_float

MARKERS_DRAWN = 6
NAME_LENGTH = 32
MARGIN = 4.0  # percent left free at either end


@dataclass(frozen=True, slots=True)
class Span:
    """An effect and its interval, in words and as places in percent of the width."""

    words: str
    place: str
    lower: str
    width: str


@dataclass(frozen=True, slots=True)
class MarkerLine:
    """One marker: its name, its effect as logged and deconfounded."""

    name: str
    logged: Span
    deconfounded: Span
    start: str
    width: str


@dataclass(frozen=True, slots=True)
class Dumbbell:
    """The chart: its lines, where zero stands, what an effect is, and the same in one sentence."""

    lines: tuple[MarkerLine, ...]
    zero: str
    unit: str
    alt: str


def is_first(row: Row) -> bool:
    """Return whether a marker is spurious, and not one of many that occur in the same texts."""
    return bool(row["spurious"] and row.get("leading", True))


def name_marker(row: Row) -> str:
    """Return a marker as a reader sees it: words in quotation marks, counts with their unit."""
    name = printable(row["marker"], NAME_LENGTH)
    if row["unit"] == "presence":
        return f"“{name}”"
    return f"{name} (one standard deviation)"


def connect_effects(rows: Sequence[Row], unit: str) -> Dumbbell | None:
    """Return the chart of the markers that travel with a confounder; None where none does.

    Parameters
    ----------
    rows : sequence of mappings
        Of the table of an audit of markers.
    unit : str
        What an effect of one is.
    """
    shown = [row for row in rows if is_first(row)][:MARKERS_DRAWN]
    if not shown:
        return None
    ends = [
        [to_float(row[f"{side}{end}"]) for end in ("", " lower", " upper")]
        for row in shown
        for side in ("naive", "deconfounded")
    ]
    known = [value for values in ends for value in values if math.isfinite(value)]
    low, high = min([0.0, *known]), max([0.0, *known])
    reach = (high - low) or 1.0

    def place(value: float) -> float:
        return MARGIN + (100 - 2 * MARGIN) * (min(max(value, low), high) - low) / reach

    lines = []
    for at, row in enumerate(shown):
        pair = ends[2 * at : 2 * at + 2]
        half = max((upper - lower) / 2 for _, lower, upper in pair)
        logged, after = (_span(values, half, place) for values in pair)
        one, other = sorted(place(values[0]) for values in pair)
        lines.append(
            MarkerLine(name_marker(row), logged, after, _percent(one), _percent(other - one))
        )
    alt = "; ".join(
        f"{line.name}: {line.logged.words}, then {line.deconfounded.words}" for line in lines
    )
    return Dumbbell(tuple(lines), _percent(place(0.0)), printable(unit, 60), alt)


def _span(values: Sequence[float], half: float, place: Callable[[float], float]) -> Span:
    """Return an effect, written as precisely as half of the wider interval allows."""
    estimate, lower, upper = values
    ends = [place(end) if math.isfinite(end) else place(estimate) for end in (lower, upper)]
    words = wording.with_interval(estimate, estimate - half, estimate + half)[0]
    return Span(words, _percent(place(estimate)), _percent(ends[0]), _percent(ends[1] - ends[0]))


def _percent(value: float) -> str:
    return f"{value:.2f}%"
