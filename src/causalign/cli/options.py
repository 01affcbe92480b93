"""The options that several verbs share, and what every verb does at its ends: read logs, keep."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

import causalign as ca
from causalign.cli.output import say, show_section

LogsPath = Annotated[
    str, typer.Argument(metavar="LOGS", help="csv, tsv, jsonl or parquet; a folder or a glob.")
]
Completion = Annotated[str, typer.Option("--completion", help="Column that holds the text.")]
Outcome = Annotated[str, typer.Option("--outcome", help="Column with what happened after it.")]
Prompt = Annotated[str | None, typer.Option("--prompt", help="Column with what the text answers.")]
Trials = Annotated[
    str | None, typer.Option("--trials", help="Column with the trials the outcome counts.")
]
Confounders = Annotated[
    list[str] | None, typer.Option("--confounder", help="Column with a confounder (repeatable).")
]
Instruments = Annotated[
    list[str] | None, typer.Option("--instrument", help="Column with an instrument (repeatable).")
]
Categorical = Annotated[
    list[str] | None,
    typer.Option("--categorical", help="Column whose numbers are names (repeatable)."),
]
Group = Annotated[
    str | None, typer.Option("--group", help="Column of texts that compete: a test, a question.")
]
Cluster = Annotated[
    list[str] | None,
    typer.Option("--cluster", help="Column of rows that are not independent (once or twice)."),
]
Time = Annotated[
    str | None, typer.Option("--time", help="Column with the time at which the text was shown.")
]
Weight = Annotated[str | None, typer.Option("--weight", help="Column with the row's weight.")]
Objective = Annotated[
    str | None, typer.Option("--objective", help="Column with what a row was judged by.")
]
Propensity = Annotated[
    str | None, typer.Option("--propensity", help="Column with the (log-)probability of the text.")
]
Formula = Annotated[
    str | None,
    typer.Option("--formula", help='What h is made of: "spline(price, 5) + season * region".'),
]
InstrumentFormula = Annotated[
    str | None, typer.Option("--instrument-formula", help='Of instruments: "spline(cost, 6)".')
]
ScaleOption = Annotated[
    str, typer.Option("--scale", help="Scale on which effects add up: identity, log, logit.")
]
DropIncomplete = Annotated[
    bool, typer.Option("--drop-incomplete", help="Leave out rows that miss a value.")
]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="Text encoder: minilm (the default), smollm2, smollm2:mean, tfidf, hashing, a local "
        "model folder, or owner/name on a hub.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Setting of the method, e.g. training.steps=100 (repeatable)."),
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder to write the result to.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 when a finding failed.")]

# Options whose name is not that of the role.
OPTIONS = {"confounders": "--confounder", "instruments": "--instrument"}


def name_option(role: str) -> str:
    """Return how a column gets a role on the command line."""
    return f"{OPTIONS.get(role, f'--{role}')} COLUMN"


def declare_roles(
    completion: str | None,
    outcome: str | None,
    *,
    confounders: Sequence[str] | None = None,
    instruments: Sequence[str] | None = None,
    categorical: Sequence[str] | None = None,
    cluster: Sequence[str] | None = None,
    **columns: str | None,
) -> ca.Roles:
    """Return the roles that the options name; raise ``SettingsError`` without text or outcome."""
    for role, column in (("completion", completion), ("outcome", outcome)):
        if column is None:
            raise ca.errors.SettingsError(
                f"Name the column that holds the {role}: {name_option(role)}."
            )
    return ca.Roles(
        str(completion),
        str(outcome),
        confounders=tuple(confounders or ()),
        instruments=tuple(instruments or ()),
        categorical=tuple(categorical or ()),
        cluster=tuple(cluster) if cluster else None,
        features=(),
        **columns,
    )


def read_logs(
    path: str, roles: ca.Roles, *, scale: str = "identity", drop_incomplete: bool = False
) -> ca.Logs:
    """Read logs with the outcome on the scale that was asked for."""
    logs = ca.Logs.read(path, roles, drop_incomplete=drop_incomplete)
    return ca.logs.rescale(logs, cast("ca.logs.Scale", scale))  # an unknown one is refused there


def read_pairs(path: str) -> ca.Pairs:
    """Read pairs, and say what was assumed of them."""
    pairs = ca.Pairs.read(path)
    if pairs.notes:
        say(f"pairs: {'; '.join(pairs.notes)}", style="dim")
    return pairs


def shows_progress() -> bool:
    """Return whether somebody watches who would like a progress bar."""
    return sys.stderr.isatty()


def require_writable(out: Path) -> None:
    """Refuse an output folder that cannot be written, before the work."""
    ca.artifacts.open_run(out.parent)
    ca.artifacts.require_free(out)


def finish(
    section: ca.results.Section,
    out: Path | None,
    settings: object,
    payload: Callable[[Path], object] | None = None,
    *,
    strict: bool = False,
    shown: ca.results.Section | None = None,
    closing: Sequence[str] = (),
) -> None:
    """Show a stage, keep it in the folder that was asked for, exit with 1 if ``strict`` asks so.

    ``shown`` is shown in the place of the section that is kept, ``closing`` are the last lines.
    """
    show_section(shown or section)
    if out is not None:
        require_writable(out)
        key = ca.artifacts.fingerprint(section.stage, settings)
        ca.artifacts.is_done(out, key, replace=False)
        ca.artifacts.write_stage(out, section, key=key, settings=settings, payload=payload)
    for line in closing:
        say(line)
    if strict and ca.results.worst(section.findings) is ca.results.Verdict.FAIL:
        raise typer.Exit(1)
