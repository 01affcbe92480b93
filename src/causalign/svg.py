"""Draw with matplotlib as SVG text that takes ink and letters from the page around it.

Words come from logs: :func:`printable` takes out of them what would break a page. The
same drawing gives the same bytes. Matplotlib is imported when something is drawn: it takes as long
to import, and as much memory, as all the rest.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from causalign.errors import needs_extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INSTALL = "`pip install 'causalign[figures]'`"

# Control characters but white space, lone surrogates, bidirectional overrides. Other format
# characters stay: emoji and scripts need the joiners.
HARMFUL = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff"
    r"\u202a-\u202e\u2066-\u2069]"
)
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


def printable(text: object, limit: int | None = None) -> str:
    """Return the text on one line, without characters that break a page or reorder its words.

    Control characters, lone surrogates and bidirectional overrides become ``�``, white space
    becomes single blanks, and what exceeds ``limit`` characters is cut with an ellipsis.
    """
    whole = str(text)
    # A cell of a megabyte is cut before it is cleaned: what is cut away needs no cleaning.
    head = whole if limit is None else whole[: 4 * limit + 64]
    line = " ".join(HARMFUL.sub("�", head.replace("\ufeff", "")).split())
    if limit is not None and (len(line) > limit or len(head) < len(whole)):
        line = line[: limit - 1].rstrip() + "…"
    return line


@contextmanager
def open_canvas(width: float, height: float) -> Iterator[tuple[Canvas, Axes]]:
    """Give a canvas, sizes in inches, and its Axes, styled for a page and not for the user."""
    with needs_extra("A figure", INSTALL):
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(), warnings.catch_warnings():
        # The reader's own fonts draw the text, so a glyph that is missing here says nothing.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        canvas = Canvas(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(canvas)
        axes = canvas.add_subplot()
        axes.patch.set_visible(False)
        yield canvas, axes


def to_svg(canvas: Canvas) -> str:
    """Return the bare ``<svg>`` element that the canvas holds, in the colours of its page."""
    buffer = io.StringIO()
    empty = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    canvas.savefig(buffer, format="svg", transparent=True, metadata=empty)
    return _take_page_colours(buffer.getvalue())


def _take_page_colours(svg: str) -> str:
    """Take ink and letters from the page around the picture."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    # A style element would reach beyond this picture once it stands inside a page.
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    root = f'<svg font-family="{FONT}" stroke-linejoin="round" '
    return root + re.sub(r"<[^>]*>", _restyle, svg.removeprefix("<svg ").strip() + "\n")


def _restyle(tag: re.Match[str]) -> str:
    plain = tag[0].replace(INK, "currentColor")
    plain = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", plain)
    return re.sub(r"font-family: '[^;\"]*; ?", "", plain)
