"""What the terminal shows, or one JSON document of it; plain where there is no terminal."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

import causalign as ca

if TYPE_CHECKING:
    import pyarrow as pa

# By verdict, the gravest first.
COLOURS = {"fail": "red", "warn": "yellow", "pass": "green", "not applicable": "dim"}
MARKS = {"fail": "✗", "warn": "!", "pass": "✓", "not applicable": "-"}
LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}
LEVEL_COLOURS = {"debug": "dim", "info": "cyan", "warning": "yellow", "error": "red"}
ROWS_SHOWN = 20
WIDE = 8
CELL_LENGTH = 160

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


@dataclass
class Manner:
    """How a command speaks: in words or in JSON, and how much; what the document holds so far."""

    json: bool = False
    loudness: int = 0
    document: dict[str, object] = field(default_factory=dict)

    @property
    def is_quiet(self) -> bool:
        """Whether only results and errors are wanted."""
        return self.loudness < 0

    def begin(self) -> None:
        """Forget the command before."""
        self.json, self.loudness, self.document = False, 0, {}
        self.set_loudness(0)

    def set_loudness(self, loudness: int) -> None:
        """Say how much is wanted: -1, errors alone; 1 and 2, decisions and details too."""
        self.loudness = max(-1, min(2, loudness))
        logging.getLogger("causalign").setLevel(LEVELS[self.loudness])


manner = Manner()


class Messages(logging.Handler):
    """Print what the library logs on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        level = record.levelname.lower()
        colour = LEVEL_COLOURS.get(level, "red")
        words = _words(record.getMessage())
        errors.print(f"[{colour}]{level}:[/{colour}] {words}", soft_wrap=True)


def complain(message: str) -> None:
    """Print an error as one line, or as few as it needs."""
    errors.print(f"[red]error:[/red] {_words(message)}", soft_wrap=True)


def say(message: str, style: str = "") -> None:
    """Print a message without reading markup in it; beside a document, on standard error."""
    written = f"[{style}]{_words(message)}[/]" if style else _words(message)
    (errors if manner.json else console).print(written, soft_wrap=True)


def note(message: str) -> None:
    """Print how the work goes on, unless only results are wanted."""
    if not manner.is_quiet:
        say(message)


def give(**values: object) -> None:
    """Put values into the document."""
    manner.document |= values


def say_path(name: str, *paths: Path) -> None:
    """Print where something was written, or put it into the document."""
    if manner.json:
        written = [str(path) for path in paths]
        give(**{name.replace(" ", "_"): written[0] if len(written) == 1 else written})
        return
    for path in paths:
        say(f"{name}: {path}")


def print_document() -> None:
    """Print the document, where one was asked for; what is no number in JSON is null."""
    if manner.json:
        # Escapes alone, since a stream may have any encoding.
        print(json.dumps(_finite(ca.files.to_json(manner.document)), allow_nan=False, indent=2))


def record_section(section: ca.results.Section) -> dict[str, object]:
    """Return a section as the document holds it: tables as records, no pictures."""
    return {
        "stage": section.stage,
        "question": section.question,
        "answer": section.answer,
        "assumption": section.assumption,
        "numbers": section.numbers,
        "tables": {name: table.to_pylist() for name, table in section.tables.items()},
        "findings": section.findings,
        "details": section.details,
    }


def give_run(done: ca.pipeline.Run) -> None:
    """Put a run into the document: its answer and the sections of its stages."""
    give(answer=done.answer, folder=done.folder)
    give(stages=[record_section(section) for section in done.sections])


def show_section(
    section: ca.results.Section, shown: ca.results.Section | None = None, name: str = ""
) -> None:
    """Print the answer, the tables and the findings of a stage.

    ``shown`` is what of it a terminal has room for; the document holds it whole, under ``name``
    where a command has several.
    """
    if manner.json:
        whole = record_section(section)
        give(**({name: whole} if name else whole))
        return
    shown = shown or section
    console.print(f"[bold]{_words(shown.answer)}[/bold]", soft_wrap=True)
    for title, table in shown.tables.items():
        console.print(_table(title, table))
    show_findings(shown.findings)


def show_table(name: str, table: pa.Table) -> None:
    """Print a table, all its rows."""
    if manner.json:
        give(tables={name: table.to_pylist()})
    else:
        console.print(_table(name, table, rows=table.num_rows))


def show_findings(findings: tuple[ca.results.Finding, ...]) -> None:
    """Print one line for each finding, the gravest first."""
    if manner.json:
        give(findings=findings)
        return
    order = list(COLOURS)
    for finding in sorted(findings, key=lambda f: order.index(f.verdict)):
        colour = COLOURS[finding.verdict]
        console.print(
            f"[{colour}]{MARKS[finding.verdict]} {finding.code}[/{colour}] "
            f"{_words(finding.title)}: {_words(finding.explanation)}",
            soft_wrap=True,
        )
    open_codes = {f.code for f in findings if f.verdict in ("fail", "warn")}
    if open_codes:
        say(f"What to do: causalign explain {' '.join(sorted(open_codes))}", style="dim")


def show_pages(pages: dict[str, str]) -> None:
    """Print pages of Markdown by their names."""
    if manner.json:
        give(pages=pages)
        return
    for page in pages.values():
        console.print(Markdown(page))


def _finite(value: object) -> object:
    """Return JSON's values with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(name: str, table: pa.Table, rows: int = ROWS_SHOWN) -> Table:
    """Return a table for the terminal; one that is wider than long lies on its side."""
    shown = Table(title=_words(name), title_justify="left", box=None, pad_edge=False)
    if table.num_columns > WIDE and 0 < table.num_rows < table.num_columns / 2:
        names, *lines = ((n, *table[n].to_pylist()) for n in table.column_names)
        shown.add_column(_words(names[0]))
        for heading in names[1:]:
            shown.add_column(_words(heading), justify="right")
        for row in lines:
            shown.add_row(*map(_cell, row))
        return shown
    for column in table.column_names:
        kind = str(table.schema.field(column).type)
        is_number = kind.startswith(("int", "uint", "float", "double"))
        shown.add_column(_words(column), justify="right" if is_number else "left")
    for row in table.slice(0, rows).to_pylist():
        shown.add_row(*(_cell(value) for value in row.values()))
    if table.num_rows > rows:
        shown.caption = f"{table.num_rows - rows} more rows in the folder of the stage"
    return shown


def _cell(value: object) -> str:
    if isinstance(value, float):
        return ca.results.write_number(value)
    return _words(value, CELL_LENGTH)


def _words(value: object, limit: int | None = None) -> str:
    """Return words from logs so that they neither command the terminal nor read as its markup."""
    return escape("\n".join(ca.figures.printable(line, limit) for line in str(value).splitlines()))
