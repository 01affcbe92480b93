"""``causalign report``: write the report of a run, or of one stage, from what was stored."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli.output import give_run, note, say_path


def command(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="A run folder, or what a verb wrote to --out."),
    ],
    value_per_unit: Annotated[
        float | None,
        typer.Option("--value-per-unit", help="What one of the outcome is worth, in money."),
    ] = None,
    currency: Annotated[str, typer.Option("--currency", help="How that money is called.")] = "",
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Write report.html and report.md of a run, or of the folder that any verb wrote.

    Examples: `causalign report runs/upworthy --open`; `causalign report
    runs/upworthy --value-per-unit 0.35 --currency EUR`
    """
    if currency and value_per_unit is None:
        raise ca.errors.SettingsError("--currency names the money of --value-per-unit: give both.")
    money = None if value_per_unit is None else ca.report.Money(value_per_unit, currency)
    done = ca.pipeline.rebuild_report(folder, money)
    give_run(done)
    say_path("report", done.report)
    if open_page and not webbrowser.open(done.report.resolve().as_uri()):
        note("No browser could be opened: open the page yourself.")
