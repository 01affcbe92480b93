"""``causalign run``: from a log to a report, as a recipe says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.output import say


def command(
    path: Annotated[Path, typer.Argument(metavar="RECIPE", help="The pipeline.yaml of a recipe.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Run folder [runs/NAME].", metavar="FOLDER", parser=given.read_output
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override, e.g. data.held_out=0.5.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Do stages again whose settings have changed.")
    ] = False,
    strict: given.Strict = False,
) -> None:
    """Run a recipe: audit, deconfound, fit rewards, judge them, write one report.

    With `policy` in the recipe a language model is tuned as well. A killed run continues where it
    stopped.

    Example: `causalign run recipes/upworthy/pipeline.yaml --set data.held_out=0.5`
    """
    recipe = ca.recipe.load(path, tuple(settings or ()))
    done = ca.pipeline.run(recipe, out or Path("runs") / recipe.name, replace=replace, say=say)
    say("")
    say(done.answer, "bold")
    for finding in done.failed_findings:
        say(finding.line(), "red")
    say(f"report: {done.report}")
    if strict and done.failed_findings:
        raise typer.Exit(1)
