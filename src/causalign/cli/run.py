"""``causalign run``: from a log to a report, as a recipe says."""

from pathlib import Path
from typing import Annotated

import typer

from causalign import pipeline, recipe
from causalign.cli.output import say
from causalign.results import Verdict


def command(
    path: Annotated[Path, typer.Argument(metavar="RECIPE", help="The pipeline.yaml of a recipe.")],
    out: Annotated[Path | None, typer.Option("--out", help="Run folder [runs/NAME].")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Override, e.g. data.held_out=0.5.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Do stages again whose settings have changed.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 on a failed finding.")
    ] = False,
) -> None:
    """Run a recipe: audit, deconfound, fit rewards, judge them, write one report.

    With `policy` in the recipe a language model is tuned as well. A killed run continues where it
    stopped.

    Example: `causalign run recipes/upworthy/pipeline.yaml --set data.held_out=0.5`
    """
    wanted = recipe.load(path, tuple(settings or ()))
    done = pipeline.run(
        wanted,
        out or Path("runs") / wanted.name,
        redo=replace,
        say=say,
    )
    say("")
    say(done.answer, "bold")
    grave = [f for s in done.sections for f in s.findings if f.verdict is Verdict.FAIL]
    for finding in grave:
        say(finding.line(), "red")
    say(f"report: {done.report}")
    if strict and grave:
        raise typer.Exit(1)
