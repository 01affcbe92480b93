"""What every stage returns: a result that looks the same everywhere, and its section."""

import re
import reprlib
import textwrap
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from causalign.errors import SettingsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES_SHOWN = 8
WIDTH = 100
ROWS_SHOWN = 20
CELL_LENGTH = 120
_SHORT = reprlib.Repr()
_SHORT.maxother = _SHORT.maxstring = CELL_LENGTH


class Verdict(StrEnum):
    """How a check ended."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Finding:
    """Record the outcome of one check; it looks the same in terminal, summary and report.

    ``code`` is stable (``DA101``) and has a page ``checks/pages/<code>.md``; ``explanation`` says
    in plain words what was seen and what to do; ``numbers`` holds the figures behind it.
    """

    code: str
    title: str
    verdict: Verdict
    explanation: str
    numbers: Mapping[str, float | str] = field(default_factory=dict)

    def line(self) -> str:
        """Return the finding as one line of text."""
        return f"[{self.verdict.value}] {self.code} {self.title}: {self.explanation}"


@dataclass(frozen=True, slots=True, repr=False)
class Figure:
    """Hold one picture as SVG text with the words that replace it for those who cannot see it."""

    name: str
    caption: str
    alt: str
    svg: str

    def __repr__(self) -> str:
        return card(f"Figure: {self.name}", (self.caption,))

    def _repr_html_(self) -> str:
        # As an image it runs nothing, whoever touched the folder from which it was read.
        data = b64encode(self.svg.encode()).decode()
        image = f'<img alt="{escape(self.alt)}" src="data:image/svg+xml;base64,{data}"'
        return _with_caption(f'{image} style="background: #fff; padding: 4px"/>', self.caption)


@dataclass(frozen=True, slots=True, repr=False)
class Section:
    """Tell one stage to a reader: what was asked, what came out, on which assumption.

    ``numbers`` holds the headline figures under stable names; ``details`` anything else that is
    JSON (settings resolved during the stage). Sections are what run folders store and what the
    report is made of.
    """

    stage: str
    question: str
    answer: str
    assumption: str = ""
    numbers: Mapping[str, float | str | None] = field(default_factory=dict)
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    findings: tuple[Finding, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return card(f"Section: {self.stage}", (self.answer,), self.findings)

    def _repr_html_(self) -> str:
        pictures = "".join(figure._repr_html_() for figure in self.figures)
        lines = (self.question, self.answer)
        return html_card(f"Section: {self.stage}", lines, None, self.findings, pictures)


class Drawable(Protocol):
    """What can be put on matplotlib Axes: a `causalign.figures.Drawing`."""

    def on(self, axes: "Axes | None" = None) -> "Axes":
        """Draw on the given Axes, or on new ones; return them."""
        ...

    def _repr_html_(self) -> str | None: ...


class Result(ABC):
    """Show every result alike: in a terminal, in a notebook and in a report.

    A class gives ``findings``, ``answer``, ``table`` and ``section``; ``details`` when its summary
    has more to say, and ``drawing`` when there is something to see. Make dataclasses of results
    with ``repr=False``, so that the short one below is theirs.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def findings(self) -> tuple[Finding, ...]:
        """The findings attached to the result."""

    @abstractmethod
    def answer(self) -> str:
        """Return in a sentence or two what came out."""

    @abstractmethod
    def table(self) -> pa.Table:
        """Return the numbers, one row for each thing estimated; ``.to_pandas()`` makes a frame."""

    @abstractmethod
    def section(self) -> Section:
        """Return the result as a section of a run folder and of the report."""

    def details(self) -> Sequence[str]:
        """Return what the summary says below the answer, a line each."""
        return ()

    def drawing(self) -> Drawable | None:
        """Return the picture of the result, or None when there is nothing to draw."""
        return None

    def summary(self) -> str:
        """Return a text that a person can read: answer, details, findings that did not pass."""
        shown = (*_open_lines(self.findings), *_count(self.findings))
        return "\n".join([self.answer(), *self.details(), *shown])

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Draw the result on matplotlib Axes, new ones unless some are given, and return them.

        Raises `SettingsError` where there is nothing to draw.
        """
        drawing = self.drawing()
        if drawing is None:
            raise SettingsError(f"There is nothing to draw of this {type(self).__name__}.")
        return drawing.on(axes)

    def __repr__(self) -> str:
        return card(type(self).__name__, (self.answer(),), self.findings)

    def _repr_html_(self) -> str:
        lines, drawing = (self.answer(), *self.details()), self.drawing()
        picture = None if drawing is None else drawing._repr_html_()
        return html_card(type(self).__name__, lines, self.table(), self.findings, picture or "")


class Card:
    """Show a value in a terminal and in a notebook by its name and a line for each field.

    For dataclasses, made with ``repr=False``, that hold more than anybody reads.
    """

    __slots__ = ()

    def card_lines(self) -> Sequence[str]:
        """Return what is shown: each field that is not None, arrays and tables by their shape."""
        names = [one.name for one in fields(self) if one.repr]  # type: ignore[arg-type]
        held = {name: getattr(self, name) for name in names}
        return [f"{name}: {_shorten(value)}" for name, value in held.items() if value is not None]

    def __repr__(self) -> str:
        return card(type(self).__name__, self.card_lines())

    def _repr_html_(self) -> str:
        return html_card(type(self).__name__, self.card_lines())


def card(title: str, lines: Sequence[str], findings: tuple[Finding, ...] = ()) -> str:
    """Return at most 11 lines of 100 characters: a title, some lines, how many findings."""
    wrapped = [part for line in lines for part in textwrap.wrap(line, WIDTH - 2)]
    shown = wrapped[:LINES_SHOWN] + ["..."] * (len(wrapped) > LINES_SHOWN)
    return "\n".join([title, *(f"  {line}" for line in (*shown, *_count(findings)))])


def html_card(
    title: str,
    lines: Sequence[str],
    table: pa.Table | None = None,
    findings: tuple[Finding, ...] = (),
    picture: str = "",
) -> str:
    """Return what a notebook shows: lines, the head of a table, findings, all of it escaped.

    ``picture`` is HTML and stands below the lines as it is.
    """
    parts = [f"<strong>{escape(title)}</strong>", *(f"<div>{escape(line)}</div>" for line in lines)]
    parts += [picture, *([] if table is None else _html_table(table))]
    parts += [f"<div>{escape(line)}</div>" for line in (*_open_lines(findings), *_count(findings))]
    return f"<div>{''.join(parts)}</div>"


def inline(figure: Figure) -> str:
    """Return a figure that was drawn just now as HTML, in the colours of the page around it."""
    words = f'role="img" aria-label="{escape(figure.alt)}"'
    return _with_caption(f"<div {words}>{figure.svg}</div>", figure.caption)


def _with_caption(picture: str, caption: str) -> str:
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def _html_table(table: pa.Table) -> list[str]:
    heads = "".join(f"<th>{escape(name)}</th>" for name in table.column_names)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(_cell(value))}</td>' for value in row.values())}</tr>"
        for row in table.slice(0, ROWS_SHOWN).to_pylist()
    )
    parts = [f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"]
    if table.num_rows > ROWS_SHOWN:
        parts.append(f"<div>... and {table.num_rows - ROWS_SHOWN:,} more rows; see table()</div>")
    return parts


def _shorten(value: object) -> str:
    shape = getattr(value, "shape", None)
    if shape:
        return f"{type(value).__name__} of shape {shape}"
    return " ".join(_SHORT.repr(value).split())


def _open_lines(findings: tuple[Finding, ...]) -> list[str]:
    """Return a line for each finding that failed or warns."""
    return [f.line() for f in findings if f.verdict in (Verdict.FAIL, Verdict.WARN)]


def _count(findings: tuple[Finding, ...]) -> list[str]:
    """Return one line that counts the findings by verdict, or none where there are none."""
    counts = [(v.value, sum(f.verdict is v for f in findings)) for v in Verdict]
    listed = ", ".join(f"{count} {name}" for name, count in counts if count)
    return [f"findings: {listed}"] if listed else []


def _cell(value: object) -> str:
    text = write_number(value) if isinstance(value, float) else str(value)
    return text if len(text) <= CELL_LENGTH else f"{text[: CELL_LENGTH - 1]}…"


def write_number(value: float) -> str:
    """Return a number with four significant digits, and all of those before the decimal point."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def worst(findings: tuple[Finding, ...]) -> Verdict:
    """Return the gravest verdict among the findings (``pass`` when there are none)."""
    order = [Verdict.FAIL, Verdict.WARN, Verdict.PASS]
    return next((v for v in order if any(f.verdict is v for f in findings)), Verdict.PASS)


def file_stem(name: str) -> str:
    """Return the name under which a table or figure of a stage is stored: ``a b`` → ``a-b``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
