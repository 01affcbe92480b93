"""``causalign data``: list the public originals of the data, and fetch them from publishers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn

from causalign import data
from causalign.cli.output import console, say

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
    for source in data.sources.values():
        say(source.name, style="bold")
        say(f"{source.title}; licence: {source.licence}; read by {', '.join(source.read_by)}")
        say(f"{source.publisher}: {source.page}")
        say(f"to get by hand: {source.by_hand}\n" if source.by_hand else "")


@app.command()
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name: see `causalign data list`.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder; default: originals/NAME.")
    ] = None,
) -> None:
    """Fetch a public original from its publisher and verify it by the publisher's checksums.

    Nothing is unpacked. `SOURCE.json` beside the files says where they came from. The same command
    again fetches what is missing, and nothing when all is there.

    Example: `causalign data get upworthy --out originals/upworthy`
    """
    source = data.source(name)
    folder = out or Path("originals") / source.name
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def announce(files: Sequence[data.RemoteFile]) -> None:
            for file in files:
                size = "of unknown size" if file.size is None else decimal(file.size)
                say(f"{file.name}: {size} from {source.publisher}")
                tasks[file.name] = bars.add_task(file.name, total=file.size)

        def advance(file: data.RemoteFile, count: int) -> None:
            bars.advance(tasks[file.name], count)

        found = data.fetch(source, folder, announce=announce, advance=advance)
    say(f"{len(found.files)} files in {folder}, verified; {len(found.downloaded)} downloaded.")
    say(f"Licence: {source.licence}. Cite: {source.citation}")
    if source.note:
        say(f"Note: {source.note}")
