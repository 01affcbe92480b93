"""``causalign data``: list the public originals of the data, and fetch them from publishers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

import causalign as ca
from causalign.cli import options as given
from causalign.cli.output import console, give, manner, note, say

LISTED = ("name", "title", "publisher", "page", "licence", "citation", "read_by", "by_hand")

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""List and fetch the public originals of the data that reproductions and tutorials read.

Examples:

- `causalign data list`
- `causalign data get upworthy --out originals/upworthy`
""",
)


@app.command("list")
def show() -> None:
    """List the public originals: what each is, who publishes it, under which licence.

    Example: `causalign data list`
    """
    if manner.json:
        give(sources=[{n: getattr(s, n) for n in LISTED} for s in ca.data.SOURCES.values()])
        return
    for source in ca.data.SOURCES.values():
        say(source.name, style="bold")
        say(f"{source.title}; licence: {source.licence}; read by {', '.join(source.read_by)}")
        say(f"{source.publisher}: {source.page}")
        say(f"to get by hand: {source.by_hand}\n" if source.by_hand else "")


@app.command()
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name: see `causalign data list`.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Folder; default: originals/NAME.",
            metavar="FOLDER",
            parser=given.read_output,
        ),
    ] = None,
) -> None:
    """Fetch a public original from its publisher and verify it by the publisher's checksums.

    Nothing is unpacked. `SOURCE.json` beside the files says where they came from. The same command
    again fetches what is missing, and nothing when all is there.

    Example: `causalign data get upworthy --out originals/upworthy`
    """
    source = ca.data.find_source(name)
    folder = out or Path("originals") / source.name
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    with Progress(
        *columns, console=console, disable=manner.json or not console.is_terminal
    ) as bars:
        fetched = ca.data.fetch(
            source,
            folder,
            announce=lambda files: _announce(files, source.publisher),
            bar=lambda file: _Bar(bars, bars.add_task(file.name, total=file.size)),
        )
    give(name=source.name, folder=folder, files=fetched.files)
    give(downloaded=fetched.downloaded, licence=source.licence)
    give(citation=source.citation, note=source.note)
    say(f"{len(fetched.files)} files in {folder}, verified; {len(fetched.downloaded)} downloaded.")
    say(f"Licence: {source.licence}. Cite: {source.citation}")
    if source.note:
        say(f"Note: {source.note}")


def _announce(files: Sequence[ca.data.RemoteFile], publisher: str) -> None:
    for file in files:
        size = "of unknown size" if file.size is None else decimal(file.size)
        note(f"{file.name}: {size} from {publisher}")


@dataclass
class _Bar:
    """A bar of rich in the form that pooch knows."""

    bars: Progress
    task: TaskID
    total: int = 0

    def update(self, count: int) -> None:
        self.bars.advance(self.task, count)

    def reset(self) -> None:
        self.bars.reset(self.task)

    def close(self) -> None:
        self.bars.update(self.task, completed=self.total)
