"""What the terminal shows: summaries, findings and errors, plain where there is no terminal."""

import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from causalign.results import Finding, Section, Verdict

COLOURS = {
    Verdict.PASS: "green",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "red",
    Verdict.NOT_APPLICABLE: "dim",
}
MARKS = {Verdict.PASS: "✓", Verdict.WARN: "!", Verdict.FAIL: "✗", Verdict.NOT_APPLICABLE: "-"}
ROWS_SHOWN = 20

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def complain(message: str) -> None:
    """Print an error as one line, or as few as it needs."""
    errors.print(f"[red]error:[/red] {escape(message)}", soft_wrap=True)


def warn(message: str) -> None:
    """Print what went wrong without stopping the work."""
    errors.print(f"[yellow]warning:[/yellow] {escape(message)}", soft_wrap=True)


def show_section(section: Section) -> None:
    """Print the answer, the tables and the findings of a stage."""
    console.print(f"[bold]{escape(section.answer)}[/bold]", soft_wrap=True)
    for name, table in section.tables.items():
        console.print(_table(name, table))
    show_findings(section.findings)


def show_findings(findings: tuple[Finding, ...]) -> None:
    """Print one line for each finding, the gravest first."""
    order = [Verdict.FAIL, Verdict.WARN, Verdict.PASS, Verdict.NOT_APPLICABLE]
    for finding in sorted(findings, key=lambda f: order.index(f.verdict)):
        colour = COLOURS[finding.verdict]
        console.print(
            f"[{colour}]{MARKS[finding.verdict]} {finding.code}[/{colour}] "
            f"{escape(finding.title)}: {escape(finding.explanation)}",
            soft_wrap=True,
        )


def _table(name: str, table: pa.Table) -> Table:
    shown = Table(title=escape(name), title_justify="left", box=None, pad_edge=False)
    for column in table.column_names:
        is_number = pa.types.is_floating(table[column].type) or pa.types.is_integer(
            table[column].type
        )
        shown.add_column(escape(column), justify="right" if is_number else "left")
    for row in table.slice(0, ROWS_SHOWN).to_pylist():
        shown.add_row(*(_cell(value) for value in row.values()))
    if table.num_rows > ROWS_SHOWN:
        shown.caption = f"{table.num_rows - ROWS_SHOWN} more rows in the folder of the stage"
    return shown


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value)[:60])
