"""``causalign report``: write a run's report again from what its stages stored."""

from pathlib import Path
from typing import Annotated

import typer

from causalign import pipeline
from causalign.cli.output import console


def command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Write report.html and report.md of a run folder.

    Example: `causalign report runs/upworthy --open`
    """
    done = pipeline.rebuild_report(folder)
    console.print(f"report: {done.report}", markup=False, soft_wrap=True)
    if open_page:
        typer.launch(str(done.report))
