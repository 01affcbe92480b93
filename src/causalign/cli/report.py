"""``causalign report``: write a run's report again from what its stages stored."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli.output import give_run, say_path


def command(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Write report.html and report.md of a run folder.

    Example: `causalign report runs/upworthy --open`
    """
    done = ca.pipeline.rebuild_report(folder)
    give_run(done)
    say_path("report", done.report)
    if open_page:
        typer.launch(str(done.report))
