"""``causalign run``: from a log to a report, as a recipe says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.output import give, give_run, note, say, say_path

ReportTo = Annotated[
    list[str] | None,
    typer.Option(
        "--report-to",
        metavar="TRACKER",
        help="Also log what came out to tensorboard, mlflow, wandb or trackio.",
    ),
]


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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all settings, and say what would be done.")
    ] = False,
    report_to: ReportTo = None,
    strict: given.Strict = False,
) -> None:
    """Run a recipe: audit, deconfound, fit rewards, judge them, write one report.

    With `policy` in the recipe a language model is tuned as well. A killed run continues where it
    stopped.

    Examples: `causalign run pipeline.yaml --set data.held_out=0.5`; `causalign run pipeline.yaml
    --dry-run`
    """
    note(f"reading {path}")  # before what takes its time to load
    recipe = ca.recipe.load(path, tuple(settings or ()))
    folder = out or Path("runs") / recipe.name
    if report_to:
        ca.tracking.check_trackers(report_to)
    if dry_run:
        _preview(recipe, folder, replace)
        return
    done = ca.pipeline.run(
        recipe, folder, replace=replace, say=note, progress=given.shows_progress()
    )
    give_run(done)
    note("")
    say(done.answer, "bold")
    for finding in done.failed_findings:
        say(finding.line(), "red")
    say_path("report", done.report)
    if report_to:
        place, page = done.folder / "tracking", done.report.parent
        ca.tracking.track(
            *done.sections, report_to=report_to, project=recipe.name, folder=place, page=page
        )
    if strict and done.failed_findings:
        raise typer.Exit(1)


def _preview(recipe: ca.recipe.Recipe, folder: Path, replace: bool) -> None:
    done_before = ca.pipeline.preview(recipe, folder, replace=replace, say=note)
    give(folder=folder, done_before=done_before)
    for stage, is_done in done_before.items():
        say(f"{stage}: {'done before' if is_done else 'to do'}")
    say(f"nothing was written; the run folder is {folder}")
