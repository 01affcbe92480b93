"""How pictures look: four kinds of plot, drawn as SVG text that reads on light and dark pages.

Every function returns a :class:`causalign.results.Figure`. The same numbers give the same bytes.
Words come from logs and are therefore made printable, never read as mathematics and never as
markup. Text and axes take the colour of the page around them (``currentColor``), the series take
colours that colour-blind readers can tell apart and that keep a contrast of 3:1 on white and on
near-black; line styles and marker shapes repeat what the colours say. Matplotlib is imported when
something is drawn: it takes as long to import, and as much memory, as all the rest.
"""

from __future__ import annotations

import io
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError
from causalign.results import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Canvas

__all__ = ["bars", "curve", "forest", "printable", "scatter"]

COLOURS = ("#2f7ebc", "#d55e00", "#009e73", "#b8659a", "#8a8a8a", "#a07d1c")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 3)))
MARKERS = ("o", "s", "D", "^", "v", "P")

WIDTH = 5.4  # inches; drawn narrow so that the words stay legible on a phone
MAX_ROWS = 40
MAX_POINTS = 1500
BINS = 32
LABEL_LENGTH = 38

# A colour that no series uses: replaced by `currentColor` once the picture is text.
INK = "#010203"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "causalign",
    "text.parse_math": False,
    "text.usetex": False,
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.formatter.useoffset": False,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "ytick.major.pad": 7.0,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.borderaxespad": 0.0,
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

Floats = NDArray[np.float64]


def printable(text: object, limit: int | None = None) -> str:
    """Return the text on one line, without characters that break a page or reorder its words.

    Control characters, lone surrogates and bidirectional overrides become ``�``, white space
    becomes single blanks, and what exceeds ``limit`` characters is cut with an ellipsis.
    """
    whole = str(text)
    # A cell of a megabyte is cut before it is cleaned: what is cut away needs no cleaning.
    head = whole if limit is None else whole[: 4 * limit + 64]
    line = " ".join(
        "".join(_visible(character) for character in head if character != "\ufeff").split()
    )
    if limit is not None and (len(line) > limit or len(head) < len(whole)):
        line = line[: limit - 1].rstrip() + "…"
    return line


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
) -> Figure:
    """Draw one row for each label: the estimate as a dot, its interval as a line, all (n,).

    A bound that is not finite is drawn as an arrow to the edge, an estimate that is not finite as
    "not estimated". At most 40 rows are drawn, the first ones, and the caption says so.
    """
    total = len(labels)
    rows = min(total, MAX_ROWS)
    middle = _array(estimates, total, "estimates")[:rows]
    low = _array(lowers, total, "lowers")[:rows]
    high = _array(uppers, total, "uppers")[:rows]
    with _canvas(0.75 + 0.3 * max(rows, 2)) as (canvas, axes):
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
        return _finish(canvas, name, _shown(caption, rows, total), alt)


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
) -> Figure:
    """Draw each series (n,) against x (n,); ``bands`` holds (lower, upper) for some of them."""
    across = np.asarray(x, dtype=np.float64).ravel()
    with _canvas(3.1) as (canvas, axes):
        for index, (label, values) in enumerate(series.items()):
            colour, line = COLOURS[index % len(COLOURS)], LINES[index % len(LINES)]
            heights = _array(values, len(across), label)
            if bands and label in bands:
                what = f"band of {label}"
                lower, upper = (_array(edge, len(across), what) for edge in bands[label])
                axes.fill_between(across, lower, upper, color=colour, alpha=0.2, linewidth=0)
            axes.plot(across, heights, color=colour, linestyle=line, label=printable(label, 40))
        if mark_x is not None:
            axes.axvline(mark_x, color=INK, alpha=0.45, linewidth=1.0, linestyle=(0, (4, 3)))
        if log_x:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter("")
        _plain_axes(axes, xlabel, ylabel, log_x=log_x)
        _legend(axes, len(series))
        return _finish(canvas, name, caption, alt)


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
) -> Figure:
    """Draw horizontal bars, grouped by label, one colour for each series (n,).

    ``errors`` holds half-widths (n,), or distances below and above (2, n), for some series;
    ``xlabel`` names the quantity, ``ylabel`` what the labels are.
    """
    total = len(labels)
    rows, groups = min(total, MAX_ROWS), max(len(series), 1)
    thick = 0.76 / groups
    with _canvas(0.75 + max(rows, 2) * (0.16 + 0.17 * groups)) as (canvas, axes):
        axes.axvline(0.0, color=INK, alpha=0.45, linewidth=1.0)
        for index, (label, values) in enumerate(series.items()):
            colour = COLOURS[index % len(COLOURS)]
            places = np.arange(rows) + (index - (groups - 1) / 2) * thick
            widths = _array(values, total, label)[:rows]
            axes.barh(places, widths, height=thick * 0.9, color=colour, label=printable(label, 40))
            if errors and label in errors:
                spread = _spread(errors[label], total, label)[:, :rows]
                axes.errorbar(
                    widths, places, xerr=spread, fmt="none", ecolor=INK, elinewidth=1.0, capsize=0
                )
        _rows(axes, labels[:rows], xlabel, ylabel)
        _legend(axes, len(series))
        return _finish(canvas, name, _shown(caption, rows, total), alt)


def scatter(
    name: str,
    x: ArrayLike,
    y: ArrayLike,
    *,
    xlabel: str,
    ylabel: str,
    caption: str,
    alt: str,
) -> Figure:
    """Draw points (n,) against (n,); beyond 1,500 points, discs whose area counts the points."""
    across = np.asarray(x, dtype=np.float64).ravel()
    along = _array(y, len(across), "y")
    kept = np.isfinite(across) & np.isfinite(along)
    across, along = across[kept], along[kept]
    with _canvas(3.4) as (canvas, axes):
        if len(across) <= MAX_POINTS:
            axes.plot(across, along, "o", color=COLOURS[0], alpha=0.55, markersize=4, mew=0)
        else:
            _discs(axes, across, along)
            caption = f"{caption} The area of a disc counts the points in its bin."
        if not kept.all():
            caption = (
                f"{caption} {int((~kept).sum()):,} points without a finite value are left out."
            )
        _plain_axes(axes, xlabel, ylabel, log_x=False)
        return _finish(canvas, name, caption, alt)


def _visible(character: str) -> str:
    if character in "\t\n\r\v\f\x85\u2028\u2029":
        return " "
    # Cf holds the bidirectional overrides, but also the joiners that emoji and scripts need.
    category = unicodedata.category(character)
    harmful = category in ("Cc", "Cs") or character in "\ufffe\uffff"
    reorders = "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069"
    return "�" if harmful or reorders else character


def _array(values: ArrayLike, length: int, what: str) -> Floats:
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
    return np.stack([_array(side, length, f"errors of {what}") for side in sides])  # (2, n)


def _span(arrays: Sequence[Floats], reference: float | None) -> tuple[float, float]:
    values = np.concatenate([*arrays, [] if reference is None else [reference]])
    values = values[np.isfinite(values)]
    if not len(values):
        return -1.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 1.0
    return low - margin, high + margin


@contextmanager
def _canvas(height: float) -> Iterator[tuple[Canvas, Axes]]:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(), warnings.catch_warnings():
        # The reader's own fonts draw the text, so a glyph that is missing here says nothing.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        canvas = Canvas(figsize=(WIDTH, height), layout="constrained")
        FigureCanvasSVG(canvas)
        axes = canvas.add_subplot()
        axes.patch.set_visible(False)
        yield canvas, axes


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


def _discs(axes: Axes, across: Floats, along: Floats) -> None:
    counts, x_edges, y_edges = np.histogram2d(across, along, bins=BINS)
    columns, lines = np.nonzero(counts)
    share = np.sqrt(counts[columns, lines] / counts.max())
    sizes = np.ceil(share * 8)  # eight sizes: one drawing instruction for each
    x_middle, y_middle = (x_edges[:-1] + x_edges[1:]) / 2, (y_edges[:-1] + y_edges[1:]) / 2
    for size in np.unique(sizes):
        chosen = sizes == size
        axes.plot(
            x_middle[columns[chosen]],
            y_middle[lines[chosen]],
            "o",
            color=COLOURS[0],
            alpha=0.75,
            markersize=0.5 + size,
            mew=0,
        )


def _rows(axes: Axes, labels: Sequence[str], xlabel: str, ylabel: str = "") -> None:
    names = [printable(label, LABEL_LENGTH) for label in labels]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(printable(xlabel, 90))
    axes.set_ylabel(printable(ylabel, 60))
    _round_ticks(axes.xaxis)
    axes.grid(axis="x", color=INK, alpha=0.1, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)


def _plain_axes(axes: Axes, xlabel: str, ylabel: str, *, log_x: bool) -> None:
    if not log_x:
        _round_ticks(axes.xaxis)
    _round_ticks(axes.yaxis)
    axes.set_xlabel(printable(xlabel, 90))
    axes.set_ylabel(printable(ylabel, 60))
    axes.grid(axis="y", color=INK, alpha=0.1, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)


def _round_ticks(axis: Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _legend(axes: Axes, count: int) -> None:
    if count > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.02), ncols=min(count, 3))


def _shown(caption: str, rows: int, total: int) -> str:
    return caption if rows == total else f"{caption} The first {rows} of {total:,} are drawn."


def _finish(canvas: Canvas, name: str, caption: str, alt: str) -> Figure:
    buffer = io.StringIO()
    empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    canvas.savefig(buffer, format="svg", transparent=True, metadata=empty)
    return Figure(name, printable(caption), printable(alt), _page_coloured(buffer.getvalue()))


def _page_coloured(svg: str) -> str:
    """Return the bare ``<svg>`` element, its ink and its letters taken from the page around it."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    # A style element would reach beyond this picture once it stands inside a page.
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    root = f'<svg font-family="{FONT}" stroke-linejoin="round" '
    return root + re.sub(r"<[^>]*>", _restyled, svg.removeprefix("<svg ").strip() + "\n")


def _restyled(tag: re.Match[str]) -> str:
    plain = tag[0].replace(INK, "currentColor")
    plain = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", plain)
    return re.sub(r"font-family: '[^;\"]*; ?", "", plain)
