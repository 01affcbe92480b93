"""The options that several verbs share, and how verbs read what they name."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

import causalign as ca
from causalign.cli.output import give, manner, note, say
from causalign.cli.produce import READ


def read_output(value: str | Path) -> Path:
    """Return the output folder of an option, the home folder filled in."""
    if "\0" in str(value):
        raise ca.errors.SettingsError("--out holds a NUL, which no name of a file may hold.")
    try:
        path = Path(value).expanduser()
    except RuntimeError as error:
        raise ca.errors.SettingsError(f"--out {value!r} cannot be filled in: {error}") from error
    # "." and ".." have no name beside which something could be written.
    return path if path.name not in ("", "..") else path.resolve()


LogsPath = Annotated[
    str,
    typer.Argument(
        metavar="LOGS",
        help="csv, tsv, jsonl or parquet; a folder or a glob; here or behind s3://, gs://, hf://, "
        "https://; - for standard input; with --query a database.",
    ),
]
Query = Annotated[
    str | None,
    typer.Option(
        "--query",
        metavar="SQL",
        help="What to select; LOGS is then postgresql://, sqlite:///FILE, duckdb:///FILE, "
        "snowflake:// or bigquery://.",
    ),
]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="URI", help="Database that gets the rows too, in --table."),
]
Table = Annotated[
    str | None,
    typer.Option("--table", metavar="NAME", help="New table for --to, or SCHEMA.NAME."),
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
Audience = Annotated[
    list[str] | None,
    typer.Option(
        "--audience", help="Column with what was known of the reader before (repeatable)."
    ),
]
Guardrails = Annotated[
    list[str] | None,
    typer.Option(
        "--guardrail", help="Column with a further outcome, which must not get worse (repeatable)."
    ),
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
Engine = Annotated[
    str | None,
    typer.Option(
        "--engine",
        help="Read Parquet of any size batch by batch: `batches` in this process, `ray` on Ray's "
        "workers. Without it all rows are in memory.",
    ),
]
DropIncomplete = Annotated[
    bool, typer.Option("--drop-incomplete", help="Leave out rows that miss a value.")
]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="Text encoder: minilm+style (the default; tfidf+style without the extra lm), minilm, "
        "mpnet, smollm2, tfidf, hashing, style, a local model folder, owner/name on a hub, or "
        "several: mpnet+style.",
    ),
]
Experiments = Annotated[
    str | None,
    typer.Option(
        "--experiments", metavar="FILE", help="Tests beside the log; `--group` names the column."
    ),
]
ExperimentsOutcome = Annotated[
    str | None,
    typer.Option("--experiments-outcome", help="Their outcome; that of the log unless given."),
]
ExperimentsTrials = Annotated[
    str | None, typer.Option("--experiments-trials", help="The trials their outcome counts.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Setting of the method, e.g. training.steps=100 (repeatable)."),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", help="Folder to write the result to.", metavar="FOLDER", parser=read_output
    ),
]
NeededOut = Annotated[
    Path,
    typer.Option(
        "--out", help="Folder to write the result to.", metavar="FOLDER", parser=read_output
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit with 1 when a finding failed.")]

# Options whose name is not that of the role.
OPTIONS = {
    "confounders": "--confounder",
    "instruments": "--instrument",
    "guardrails": "--guardrail",
}


def name_option(role: str) -> str:
    """Return how a column gets a role on the command line."""
    return f"{OPTIONS.get(role, f'--{role}')} COLUMN"


def declare_roles(
    completion: str | None,
    outcome: str | None,
    *,
    cluster: Sequence[str] | None = None,
    **columns: str | Sequence[str] | None,
) -> ca.Roles:
    """Return the roles that the options name; raise ``SettingsError`` without text or outcome."""
    for role, column in (("completion", completion), ("outcome", outcome)):
        if column is None:
            raise ca.errors.SettingsError(
                f"Name the column that holds the {role}: {name_option(role)}."
            )
    named = {role: column for role, column in columns.items() if column is not None}
    return ca.Roles(
        str(completion),
        str(outcome),
        cluster=tuple(cluster) if cluster else None,
        **named,  # type: ignore[arg-type]  # one column or several, as the role has it
    )


def fetch(context: typer.Context, source: str, query: str | None = None) -> str:
    """Return a path to what is read, on this machine until the command ends.

    Standard input (``-``), what lies behind an address, and what a query returns are read once, so
    that what is hashed is what is used.
    """
    stream = sys.stdin.buffer if source == "-" else source
    path = context.with_resource(ca.logs.open_locally(stream, query))
    fetched = [name for name, value in context.params.items() if name in READ and value == source]
    context.params.update(dict.fromkeys(fetched, path))
    return path


def require_target(to: str | None, table: str | None) -> None:
    """Refuse a database that cannot take a new table of this name, before the work."""
    if (to is None) != (table is None):
        raise ca.errors.SettingsError("--to URI and --table NAME go together: give both.")
    if to is not None and table is not None:
        ca.logs.require_new_table(to, table)


def write_back(to: str | None, table: str | None, write: Callable[[str, str], object]) -> None:
    """Write the rows of a result to a database, if one is named."""
    if to is not None and table is not None:
        write(to, table)
        say(f"table: {table}")
        give(table=table)


def scan_or_read(
    path: str, roles: ca.Roles, engine: str | None, scale: str, drop_incomplete: bool
) -> ca.Logs | ca.logs.LogScan:
    """Read logs into memory, or, with an engine, open them to be read batch by batch."""
    if engine is None:
        return read_logs(path, roles, scale=scale, drop_incomplete=drop_incomplete)
    if scale != "identity":
        raise ca.errors.SettingsError("With --engine the scale is identity: rescale a column.")
    how = cast("ca.logs.Engine", engine)  # an unknown one is refused there
    return ca.logs.scan_logs(path, roles, drop_incomplete=drop_incomplete, engine=how)


def read_logs(
    path: str, roles: ca.Roles, *, scale: str = "identity", drop_incomplete: bool = False
) -> ca.Logs:
    """Read logs with the outcome on the scale that was asked for."""
    logs = ca.Logs.read(path, roles, drop_incomplete=drop_incomplete)
    return ca.logs.rescale(logs, cast("ca.logs.Scale", scale))  # an unknown one is refused there


def read_experiments(
    path: str,
    log: ca.Roles,
    columns: tuple[str | None, str | None, str | None],
    drop_incomplete: bool,
) -> ca.Logs:
    """Read tests beside a log, whose text, prompt and, unless named, outcome they share.

    ``columns`` are those of their outcome, trials and group.
    """
    outcome, trials, group = columns
    roles = ca.Roles(log.completion, outcome or log.outcome, trials, log.prompt, group=group)
    return read_logs(path, roles, drop_incomplete=drop_incomplete)


def read_pairs(path: str) -> ca.Pairs:
    """Read pairs, and say what was assumed of them."""
    pairs = ca.Pairs.read(path)
    if pairs.notes:
        note(f"pairs: {'; '.join(pairs.notes)}")
    return pairs


def split_command(option: str, command: str) -> tuple[str, ...]:
    """Return a program and its arguments, as they stand on the command line of a shell."""
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise ca.errors.SettingsError(f"{option} cannot be read as words: {error}.") from error


def shows_progress() -> bool:
    """Return whether the work tells how far it has come: bars on a terminal, elsewhere lines."""
    return not manner.is_quiet
