"""Lay sections out as a page: plain words and strings first, then HTML and Markdown from them.

Both forms are made from the same `Page`, so they cannot disagree. Every string in a `Page` is
already printable; escaping is done by the templates, for HTML by Jinja's autoescape and for
Markdown by a finaliser that every expression passes.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TypeVar

import jinja2
import pyarrow as pa
from markdown_it import MarkdownIt
from markupsafe import Markup

from causalign.checks.finding_pages import codes, explain
from causalign.figures import can_draw, printable
from causalign.report import wording
from causalign.report.opening import Opening
from causalign.report.pictures import admit
from causalign.results import Figure, Finding, Section, Verdict, file_stem
from causalign.svg import INSTALL

MAX_ROWS = 20
MAX_COLUMNS = 12
SETTINGS_LENGTH = 6000

# What is called usable must have been judged: rewards on held-out pairs, policies by what they
# write or would have earned. Checks of the log and of fits alone judge nothing.
NOT_JUDGED = "Not judged: no check asked whether the result is right"
HEADLINES = {
    Verdict.FAIL: "Do not rely on this yet",
    Verdict.WARN: "Usable, with reservations",
    Verdict.PASS: "Held up on data that no fit has seen",
    Verdict.NOT_APPLICABLE: "No check applied",
}
COUNTED = {
    Verdict.FAIL: ("check failed", "checks failed"),
    Verdict.WARN: ("warning", "warnings"),
    Verdict.PASS: ("passed", "passed"),
    Verdict.NOT_APPLICABLE: ("did not apply", "did not apply"),
}
ORDER = list(COUNTED)
MARKS = {Verdict.FAIL: "✕", Verdict.WARN: "!", Verdict.PASS: "✓", Verdict.NOT_APPLICABLE: "–"}
NAMES = {Verdict.NOT_APPLICABLE: "none"}
# Who reads on asks first what the rewards and policies are worth, last how they were fitted.
READING = ("evaluate", "policy", "audit", "deconfound", "reward")

Shown = TypeVar("Shown")
Numbers = tuple[tuple[str, str], ...]  # words and formatted values


@dataclass(frozen=True, slots=True)
class Note:
    """Show one finding."""

    anchor: str
    verdict: Verdict
    code: str
    title: str
    explanation: tuple[str, ...]
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Picture:
    """Show one figure: its SVG, or why it cannot be shown."""

    caption: str
    alt: str
    svg: Markup | None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """Show one table, cut to what a reader can take in: rows of (text, value to sort by)."""

    name: str
    head: tuple[tuple[str, bool], ...] = ()
    rows: tuple[tuple[tuple[str, str], ...], ...] = ()
    note: str = ""
    failure: str = ""

    @property
    def prose(self) -> bool:
        """Return whether all cells are words, which a narrow screen shows one below another."""
        return len(self.head) > 1 and not any(numeric for _, numeric in self.head)


@dataclass(frozen=True, slots=True)
class ReportPart:
    """Show one section, or why it cannot be shown."""

    anchor: str
    stage: str
    question: str
    answer: tuple[str, ...] = ()
    assumption: tuple[str, ...] = ()
    numbers: Numbers = ()
    pictures: tuple[Picture, ...] = ()
    grids: tuple[Grid, ...] = ()
    command: str = ""
    settings: str = ""
    failure: str = ""

    def failures(self) -> list[str]:
        """Return what of this section cannot be shown."""
        parts = [
            self.failure,
            *(p.failure for p in self.pictures),
            *(g.failure for g in self.grids),
        ]
        return [failure for failure in parts if failure]


@dataclass(frozen=True, slots=True)
class Meaning:
    """The page of one code: its title, and what it says."""

    code: str
    title: str
    html: Markup


@dataclass(frozen=True, slots=True)
class Page:
    """Hold everything that both forms of the report say; ``notes`` are the gravest first."""

    title: str
    verdict: Verdict
    headline: str
    opening: Opening
    counts: str
    notes: tuple[Note, ...]
    parts: tuple[ReportPart, ...]
    provenance: tuple[tuple[str, str], ...]
    command: str
    glossary: tuple[Meaning, ...]

    @property
    def unshown(self) -> list[str]:
        """Return what of the report cannot be shown."""
        failures = [failure for part in self.parts for failure in part.failures()]
        return [*filter(None, [self.opening.failure]), *failures]

    @property
    def lacks_figures(self) -> bool:
        """Return whether there are no pictures because nothing draws them."""
        return not can_draw() and not any(part.pictures for part in self.parts)

    @property
    def open_notes(self) -> list[Note]:
        """Return the failures and warnings, gravest first."""
        return [note for note in self.notes if note.verdict in (Verdict.FAIL, Verdict.WARN)]

    @property
    def closed_notes(self) -> dict[str, list[Note]]:
        """Return what passed and what did not apply, each code once, by how their line begins."""
        kinds = {"Passed": Verdict.PASS, "Did not apply": Verdict.NOT_APPLICABLE}
        named = {w: {n.code: n for n in self.notes if n.verdict is k} for w, k in kinds.items()}
        return {words: list(notes.values()) for words, notes in named.items() if notes}


def lay_out(
    title: str,
    verdict: Verdict,
    opening: Opening,
    sections: Sequence[Section],
    provenance: Mapping[str, object],
) -> Page:
    """Return the page; what cannot be laid out becomes a failure in its place."""
    order = sorted(sections, key=_reading_place)
    parts = tuple(_part_or_failure(place, section) for place, section in enumerate(order, 1))
    findings = [finding for section in order for finding in section.findings]
    findings.sort(key=lambda finding: ORDER.index(finding.verdict))
    notes = tuple(_note(f"finding-{place}", one) for place, one in enumerate(findings, 1))
    counts = {kind: sum(note.verdict is kind for note in notes) for kind in ORDER}
    counted = [f"{count} {COUNTED[kind][count != 1]}" for kind, count in counts.items() if count]
    applied = sum(counts.values()) - counts[Verdict.NOT_APPLICABLE]
    is_open = verdict is Verdict.NOT_APPLICABLE and applied
    rest = dict(provenance)
    command = printable(rest.pop("command", ""), 600)
    return Page(
        printable(title, 200),
        verdict,
        NOT_JUDGED if is_open else HEADLINES[verdict],
        opening,
        f"{wording.join_words(counted)}." if counted else "No check was made.",
        notes,
        parts,
        tuple((wording.label(str(name)), wording.cell(value, 400)) for name, value in rest.items()),
        command,
        meanings(note.code for note in notes),
    )


def _reading_place(section: Section) -> int:
    stage = getattr(section, "stage", "")
    return READING.index(stage) if stage in READING else len(READING)


def meanings(wanted: Iterable[str]) -> tuple[Meaning, ...]:
    """Return the pages of these codes, each once and in order; a code without a page has none.

    Pages come with the library, not from a log; HTML in them is shown as text all the same.
    """
    known = set(wanted)
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    pages = []
    for code in filter(known.__contains__, codes()):
        head, _, linked = explain(code, linked=known).partition("\n")
        title = head.removeprefix(f"# {code}: ")
        # The library's own words, rendered without raw HTML: safe to be taken as they are.
        pages.append(Meaning(code, title, Markup(reader.render(linked))))
    return tuple(pages)


def html(content: Page, template: str = "report") -> str:
    """Return the page, or that of what its checks mean, as one document that loads nothing."""
    style, script = _source("report.css"), _source("sort.js")
    return (
        _environment("html")
        .get_template(f"{template}.html.j2")
        .render(
            page=content,
            style=Markup(style),
            script=Markup(script),
            hashes={"style": _hash(style), "script": _hash(script)},
        )
    )


def markdown(content: Page) -> str:
    """Return the page as GitHub-flavoured Markdown."""
    text = _environment("markdown").get_template("report.md.j2").render(page=content)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _part_or_failure(place: int, section: Section) -> ReportPart:
    stage = wording.label(str(getattr(section, "stage", "section")))
    slug = re.sub(r"[^a-z0-9]+", "-", stage.lower()).strip("-")[:40] or "section"
    anchor = f"part-{place}-{slug}"
    question = printable(getattr(section, "question", stage), 300) or stage
    return attempt(
        lambda: _part(anchor, stage, question, section),
        lambda failure: ReportPart(anchor, stage, question, failure=failure),
    )


def attempt(show: Callable[[], Shown], otherwise: Callable[[str], Shown]) -> Shown:
    """Return what can be shown, or what is shown otherwise, told what went wrong."""
    try:
        return show()
    # One broken part must not hide the others, and must itself be seen: whatever went wrong.
    except Exception as error:
        return otherwise(f"{type(error).__name__}: {printable(error, 500)}")


def _part(anchor: str, stage: str, question: str, section: Section) -> ReportPart:
    details = dict(section.details)
    command = printable(details.pop("command", ""), 600)
    return ReportPart(
        anchor,
        stage,
        question,
        wording.paragraphs(section.answer),
        wording.paragraphs(section.assumption),
        _numbers(section.numbers),
        tuple(
            _picture(f"{anchor}-figure-{place}", figure)
            for place, figure in enumerate(section.figures, 1)
        ),
        tuple(_grid_or_failure(name, table) for name, table in section.tables.items()),
        command,
        _settings(details),
    )


def _numbers(numbers: Mapping[str, object]) -> Numbers:
    return tuple((wording.label(name), wording.cell(value, 80)) for name, value in numbers.items())


def _note(anchor: str, finding: Finding) -> Note:
    return Note(
        anchor,
        finding.verdict,
        printable(finding.code, 20),
        printable(finding.title, 200),
        wording.paragraphs(finding.explanation),
        _numbers(finding.numbers),
    )


def _picture(prefix: str, figure: Figure) -> Picture:
    caption, alt = printable(figure.caption, 800), printable(figure.alt, 1500)
    return attempt(
        lambda: Picture(caption, alt, Markup(admit(figure.svg, prefix, alt))),
        lambda failure: Picture(caption, alt, None, failure),
    )


def _grid_or_failure(name: str, table: pa.Table) -> Grid:
    words = wording.label(str(name))
    return attempt(lambda: _grid(str(name), words, table), lambda why: Grid(words, failure=why))


def _grid(file_name: str, words: str, table: pa.Table) -> Grid:
    shown = table.select(table.column_names[:MAX_COLUMNS]).slice(0, MAX_ROWS)
    columns = [column.to_pylist() for column in shown.columns]
    numeric = [_is_number(column.type) for column in shown.columns]
    texts = [wording.column(column) for column in columns]
    keys = [
        [repr(value) if number and value is not None else "" for value in column]
        for column, number in zip(columns, numeric, strict=True)
    ]
    cells = [list(zip(text, key, strict=True)) for text, key in zip(texts, keys, strict=True)]
    head = tuple(zip(map(wording.label, shown.column_names), numeric, strict=True))
    rows = tuple(tuple(row) for row in zip(*cells, strict=True))
    return Grid(words, head, rows, _rest(file_name, table, shown))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _rest(file_name: str, table: pa.Table, shown: pa.Table) -> str:
    cut = []
    if shown.num_rows < table.num_rows:
        cut.append(f"{shown.num_rows} of {wording.number(table.num_rows)} rows")
    if shown.num_columns < table.num_columns:
        cut.append(f"{shown.num_columns} of {wording.number(table.num_columns)} columns")
    where = f"{file_stem(file_name)}.csv"
    return f"The first {wording.join_words(cut)}; the whole table is in {where}." if cut else ""


def _settings(details: Mapping[str, object]) -> str:
    if not details:
        return ""
    text = json.dumps(details, indent=2, default=str, ensure_ascii=False)
    whole = "\n".join(_indent(line) for line in text.splitlines())
    if len(whole) <= SETTINGS_LENGTH:
        return whole
    return whole[:SETTINGS_LENGTH].rpartition("\n")[0] + "\n…  (the rest is in result.json)"


def _indent(line: str) -> str:
    return " " * (len(line) - len(line.lstrip(" "))) + printable(line, 200)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _escape_markdown(value: object) -> Markup:
    return value if isinstance(value, Markup) else Markup(wording.markdown(str(value)))


def _verbatim(text: str) -> Markup:
    # Indented code, because no text inside it can end it, as backticks end a fence.
    return Markup("\n".join(f"    {line}" for line in text.splitlines()))


def _source(name: str) -> str:
    return files("causalign.report").joinpath("templates", name).read_text("utf-8")


@cache
def _environment(form: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("causalign.report", "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        finalize=None if form == "html" else _escape_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["verbatim"] = _verbatim
    environment.globals.update(marks=MARKS, names=NAMES, Verdict=Verdict, drawing=INSTALL)
    return environment
