"""What the terminal shows: summaries, findings and errors, plain where there is no terminal."""

from __future__ import annotations

import logging
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
ROWS_SHOWN = 20
WIDE = 8
CELL_LENGTH = 160

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def complain(message: str) -> None:
    """Print an error as one line, or as few as it needs."""
    errors.print(f"[red]error:[/red] {_words(message)}", soft_wrap=True)


class Warnings(logging.Handler):
    """Print what the library logs as a warning: what went wrong without stopping the work."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        errors.print(f"[yellow]warning:[/yellow] {_words(record.getMessage())}", soft_wrap=True)


def say(message: str, style: str = "") -> None:
    """Print a message without reading markup in it."""
    console.print(f"[{style}]{_words(message)}[/]" if style else _words(message), soft_wrap=True)


def show_section(section: ca.results.Section) -> None:
    """Print the answer, the tables and the findings of a stage."""
    console.print(f"[bold]{_words(section.answer)}[/bold]", soft_wrap=True)
    for name, table in section.tables.items():
        console.print(_table(name, table))
    show_findings(section.findings)


def show_table(name: str, table: pa.Table) -> None:
    """Print a table, all its rows."""
    console.print(_table(name, table, rows=table.num_rows))


def show_findings(findings: tuple[ca.results.Finding, ...]) -> None:
    """Print one line for each finding, the gravest first."""
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


def show_markdown(text: str) -> None:
    """Print a page of Markdown."""
    console.print(Markdown(text))


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
