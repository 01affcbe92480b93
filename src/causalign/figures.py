"""How pictures look: three kinds of plot, drawn as SVG text that reads on light and dark pages.

Every function returns a :class:`Drawing`: drawn on Axes of the reader's own, or as a
:class:`causalign.results.Figure` of SVG text. The same numbers give the same bytes.
Words come from logs and are therefore made printable, never read as mathematics and never as
markup. Text and axes take the colour of the page around them (``currentColor``), the series take
colours that colour-blind readers can tell apart and that keep a contrast of 3:1 on white and on
near-black; line styles repeat what the colours say.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError, needs_extra
from causalign.results import Figure, card, inline
from causalign.svg import INK, INSTALL, open_canvas, to_svg
from causalign.svg import printable as printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

COLOURS = ("#2f7ebc", "#d55e00", "#009e73", "#b8659a", "#8a8a8a", "#a07d1c")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))

WIDTH = 5.4  # inches; drawn narrow so that the words stay legible on a phone
MAX_ROWS = 40
LABEL_LENGTH = 38

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Drawing:
    """What is put on Axes, with the words for those who read or cannot see it.

    Parameters
    ----------
    name, caption, alt : str
        Name of the file, the line below the picture, and what is read aloud in its place.
    height : float
        Inches.
    draw : callable
        Draws on the Axes that it is given.
    """

    name: str
    caption: str
    alt: str
    height: float
    draw: Callable[[Axes], None]

    def on(self, axes: Axes | None = None) -> Axes:
        """Draw on the given matplotlib Axes, or on new ones; return them."""
        if axes is None:
            with needs_extra("A figure", INSTALL):
                import matplotlib.pyplot as plt

            _, axes = plt.subplots(figsize=(WIDTH, self.height), layout="constrained")
        self.draw(axes)
        return axes

    def figure(self) -> Figure:
        """Return the picture as SVG text."""
        with open_canvas(WIDTH, self.height) as (canvas, axes):
            self.draw(axes)
            return Figure(self.name, printable(self.caption), printable(self.alt), to_svg(canvas))

    def __repr__(self) -> str:
        return card(f"Drawing: {self.name}", (self.caption,))

    def _repr_html_(self) -> str | None:
        return "".join(map(inline, draw_figures(self))) or None


def can_draw() -> bool:
    """Return whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw_figures(*drawings: Drawing | None) -> tuple[Figure, ...]:
    """Return the pictures of a section; none where matplotlib is missing, which is said once."""
    if not can_draw():
        _tell_what_is_missing()
        return ()
    return tuple(drawing.figure() for drawing in drawings if drawing is not None)


@cache
def _tell_what_is_missing() -> None:
    logging.getLogger(__name__).warning("no figures are drawn: they need %s", INSTALL)


def forest(
    name: str,
    labels: Sequence[str],
    estimates: ArrayLike,
    lowers: ArrayLike,
    uppers: ArrayLike,
    *,
    xlabel: str,
    caption: str,
    alt: str,
    reference: float | None = 0.0,
) -> Drawing:
    """Draw one row for each label: the estimate as a dot, its interval as a line.

    A bound that is not finite is drawn as an arrow to the edge, an estimate that is not finite as
    "not estimated". At most 40 rows are drawn, the first ones, and the caption says so.

    Parameters
    ----------
    name, caption, alt : str
        As in `Drawing`.
    labels : sequence of n str
        What the rows are.
    estimates, lowers, uppers : (n,) floats
        Estimates and the ends of their intervals.
    xlabel : str
        What is estimated, with its unit.
    reference : float, optional
        Where a dashed line stands.

    Returns
    -------
    Drawing
    """
    total = len(labels)
    rows = min(total, MAX_ROWS)
    middle = _column(estimates, total, "estimates")[:rows]
    low = _column(lowers, total, "lowers")[:rows]
    high = _column(uppers, total, "uppers")[:rows]

    def draw(axes: Axes) -> None:
        left, right = _span([middle, low, high], reference)
        if reference is not None:
            axes.axvline(reference, color=INK, alpha=0.45, linewidth=1.0, linestyle=(0, (4, 3)))
        for row in range(rows):
            if np.isfinite(middle[row]):
                _interval(axes, row, (middle[row], low[row], high[row]), (left, right))
            else:
                middle_of_span = (left + right) / 2
                axes.text(middle_of_span, row, "not estimated", va="center", ha="center")
        axes.set_xlim(left, right)
        _rows(axes, labels[:rows], xlabel)

    return Drawing(name, _count_rows(caption, rows, total), alt, 0.75 + 0.3 * max(rows, 2), draw)


def curve(
    name: str,
    x: ArrayLike,
    series: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    ylabel: str,
    caption: str,
    alt: str,
    log_x: bool = False,
    bands: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    mark_x: float | None = None,
) -> Drawing:
    """Draw each series as a line against x.

    Parameters
    ----------
    name, caption, alt : str
        As in `Drawing`.
    x : (n,) floats
        Places on the horizontal axis.
    series : mapping of str to (n,) floats
        The lines.
    xlabel, ylabel : str
        What the axes show.
    log_x : bool
        Whether the horizontal axis is logarithmic.
    bands : mapping of str to (lower, upper), optional
        Edges (n,) of a shaded band around some of the series.
    mark_x : float, optional
        Where a dashed vertical line stands.

    Returns
    -------
    Drawing
    """
    across = np.asarray(x, dtype=np.float64).ravel()

    def draw(axes: Axes) -> None:
        for index, (label, values) in enumerate(series.items()):
            colour, line = COLOURS[index % len(COLOURS)], LINES[index % len(LINES)]
            heights = _column(values, len(across), label)
            if bands and label in bands:
                what = f"band of {label}"
                lower, upper = (_column(edge, len(across), what) for edge in bands[label])
                axes.fill_between(across, lower, upper, color=colour, alpha=0.2, linewidth=0)
            axes.plot(across, heights, color=colour, linestyle=line, label=printable(label, 40))
        if mark_x is not None:
            axes.axvline(mark_x, color=INK, alpha=0.45, linewidth=1.0, linestyle=(0, (4, 3)))
        if log_x:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter("")
        else:
            _round_ticks(axes.xaxis)
        _round_ticks(axes.yaxis)
        _finish(axes, xlabel, ylabel, grid="y")
        _legend(axes, len(series))

    return Drawing(name, caption, alt, 3.1, draw)


def bars(
    name: str,
    labels: Sequence[str],
    series: Mapping[str, ArrayLike],
    *,
    caption: str,
    alt: str,
    xlabel: str = "",
    ylabel: str = "",
    errors: Mapping[str, ArrayLike] | None = None,
) -> Drawing:
    """Draw horizontal bars, grouped by label, one colour for each series.

    Parameters
    ----------
    name, caption, alt : str
        As in `Drawing`.
    labels : sequence of n str
        What the groups are.
    series : mapping of str to (n,) floats
        The lengths of the bars.
    xlabel, ylabel : str
        The quantity, and what the labels are.
    errors : mapping of str to (n,) or (2, n) floats, optional
        Half-widths, or distances below and above, for some series.

    Returns
    -------
    Drawing
    """
    total = len(labels)
    rows, groups = min(total, MAX_ROWS), max(len(series), 1)
    thick = 0.76 / groups

    def draw(axes: Axes) -> None:
        axes.axvline(0.0, color=INK, alpha=0.45, linewidth=1.0)
        for index, (label, values) in enumerate(series.items()):
            colour = COLOURS[index % len(COLOURS)]
            places = np.arange(rows) + (index - (groups - 1) / 2) * thick
            widths = _column(values, total, label)[:rows]
            axes.barh(places, widths, height=thick * 0.9, color=colour, label=printable(label, 40))
            if errors and label in errors:
                spread = _spread(errors[label], total, label)[:, :rows]
                axes.errorbar(
                    widths, places, xerr=spread, fmt="none", ecolor=INK, elinewidth=1.0, capsize=0
                )
        _rows(axes, labels[:rows], xlabel, ylabel)
        _legend(axes, len(series))

    return Drawing(
        name,
        _count_rows(caption, rows, total),
        alt,
        0.75 + max(rows, 2) * (0.16 + 0.17 * groups),
        draw,
    )


def _column(values: ArrayLike, length: int, what: str) -> Floats:
    array = np.asarray(values, dtype=np.float64).ravel()
    if len(array) != length:
        raise InputError(
            f"A figure needs as many values of {what!r} as it has places: {length}, "
            f"but there are {len(array)}."
        )
    return array


def _spread(values: ArrayLike, length: int, what: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    sides = array if array.ndim == 2 and len(array) == 2 else np.stack([array, array])
    return np.stack([_column(side, length, f"errors of {what}") for side in sides])  # (2, n)


def _span(arrays: Sequence[Floats], reference: float | None) -> tuple[float, float]:
    values = np.concatenate([*arrays, [] if reference is None else [reference]])
    values = values[np.isfinite(values)]
    if not len(values):
        return -1.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
    return low - margin, high + margin


def _interval(
    axes: Axes, row: int, values: tuple[float, float, float], span: tuple[float, float]
) -> None:
    middle, *bounds = values
    ends = [bound if np.isfinite(bound) else edge for bound, edge in zip(bounds, span, strict=True)]
    colour = COLOURS[0]
    axes.plot(ends, [row, row], color=colour, linewidth=2.2, solid_capstyle="round")
    for bound, edge, arrow in zip(bounds, span, "<>", strict=True):
        if not np.isfinite(bound):
            axes.plot([edge], [row], arrow, color=colour, markersize=6, clip_on=False)
    axes.plot([middle], [row], "o", color=colour, markersize=6.5)


def _rows(axes: Axes, labels: Sequence[str], xlabel: str, ylabel: str = "") -> None:
    names = [printable(label, LABEL_LENGTH) for label in labels]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    _round_ticks(axes.xaxis)
    _finish(axes, xlabel, ylabel, grid="x")


def _finish(axes: Axes, xlabel: str, ylabel: str, *, grid: Literal["x", "y"]) -> None:
    axes.set_xlabel(printable(xlabel, 90))
    axes.set_ylabel(printable(ylabel, 60))
    axes.grid(axis=grid, color=INK, alpha=0.1, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)


def _round_ticks(axis: Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _legend(axes: Axes, count: int) -> None:
    if count > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.02), ncols=min(count, 3))


def _count_rows(caption: str, rows: int, total: int) -> str:
    return caption if rows == total else f"{caption} The first {rows} of {total:,} are drawn."
