"""The options that several verbs share, and what every verb does at its ends: read logs, keep."""

from __future__ import annotations

import glob
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, cast

import typer

import causalign as ca
from causalign.cli.output import give, manner, note, say, say_path, show_section


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

# Parameters that name what is read: what it holds counts, not where it lies.
READ = (
    "data",
    "encoder",
    "experiments",
    "files",
    "judge",
    "logs",
    "models",
    "pairs",
    "reward_model",
    "samples",
)
# What may hold a password, and is not stored.
SECRET = ("judge_command",)

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


def require_writable(out: Path | None, *inputs: str | Path | None) -> None:
    """Refuse an output folder that cannot be written or holds the inputs, before the work."""
    if out is not None:
        ca.artifacts.require_writable(out)
        ca.artifacts.require_apart(out, *inputs)
        ca.artifacts.require_free(out)


def produce(
    context: typer.Context,
    work: Callable[[Path], tuple[ca.results.Section, Callable[[Path], object] | None]],
    out: Path | None = None,
    *,
    strict: bool = False,
    shown: Callable[[ca.results.Section], ca.results.Section] = lambda section: section,
    closing: Callable[[], Mapping[str, Sequence[Path]]] = dict,
) -> ca.results.Section:
    """Do the work of a verb, keep it in the folder that was asked for, and show it.

    A folder that holds the same work already is read instead; one that holds other work is refused
    before anything costly runs. ``work`` gets a place of its own for what a killed command goes on
    from, and gives the section and what writes everything else. ``shown`` makes of a section what
    the terminal has room for, ``closing`` tells where things lie, by what they are. Exits with 1
    if ``strict`` asks so. Of several processes the main one reads and writes.
    """
    once = ca.lm.run_once
    if out is None:
        section = work(Path())[0]
    else:
        key = _fingerprint(context)
        place = out.parent / f".{out.name}.training-{key}"
        if once(lambda: _holds(out, key)):
            section = once(lambda: ca.artifacts.read_stage(out))
            once(lambda: note("done before"))
        else:
            section, payload = work(place)
            once(lambda: _write(context, out, section, key, payload))
        once(lambda: shutil.rmtree(place, ignore_errors=True))
    once(lambda: _show(section, shown(section), closing()))
    if strict and ca.results.worst(section.findings) is ca.results.Verdict.FAIL:
        raise typer.Exit(1)
    return section


def _holds(out: Path, key: str) -> bool:
    ca.files.remove_partial(out.parent, out.name)
    return ca.artifacts.is_done(out, key, replace=False)


def _write(
    context: typer.Context,
    out: Path,
    section: ca.results.Section,
    key: str,
    payload: Callable[[Path], object] | None,
) -> None:
    ca.artifacts.require_free(out)
    ca.artifacts.is_done(out, key, replace=False)  # another command may have written meanwhile
    asked = {n: _show_source(v) for n, v in _parameters(context).items() if n not in SECRET}
    ca.artifacts.write_stage(out, section, key=key, settings=asked, payload=payload)


def _show(
    section: ca.results.Section,
    shown: ca.results.Section,
    closing: Mapping[str, Sequence[Path]],
) -> None:
    show_section(section, shown)
    for name, paths in closing.items():
        say_path(name, *paths)


def _parameters(context: typer.Context) -> dict[str, object]:
    """Return the arguments and options that decide what comes out, as they were given."""
    return {n: v for n, v in context.params.items() if n not in ("out", "strict", "to", "table")}


def _show_source(value: object) -> object:
    """Return a value as it may be stored: addresses without what may be secret in them."""
    if isinstance(value, ca.config.FilledPath):
        return value.written
    return ca.errors.hide_secrets(value) if isinstance(value, str) else value


def _fingerprint(context: typer.Context) -> str:
    """Return a hash of the verb, its options, and what the files and models that it names hold."""
    given = {name: _identify(value, name in READ) for name, value in _parameters(context).items()}
    given.pop("query", None)  # what it returned counts
    if "encoder" in given and given["encoder"] is None:
        given["encoder"] = ca.lm.default_encoder()  # which depends on what is installed
    version = ca.artifacts.versions()["causalign"]
    return ca.artifacts.fingerprint(context.command_path.split()[1:], given, version)


def _identify(value: object, is_read: bool) -> object:
    """Return the hash of the content in the place of a path that is read."""
    if isinstance(value, list | tuple):
        return [_identify(one, is_read) for one in value]
    if isinstance(value, str) and value.startswith(("model=", "adapter=")):
        name, _, path = value.partition("=")
        return [name, _identify(path, is_read=True)]
    if not is_read or not isinstance(value, str | Path):
        return value
    if isinstance(value, str) and len(blocks := ca.lm.split_blocks(value)) > 1:
        return [_identify(block, is_read) for block in blocks]
    if isinstance(value, str) and "://" in value:
        return ca.artifacts.hash_table(ca.logs.read_table(value))
    place = Path(value).expanduser()
    if place.exists():
        return ca.files.hash_content(place)
    matching = [Path(name) for name in sorted(glob.glob(str(value), recursive=True))]
    return [(path.name, ca.files.hash_content(path)) for path in matching] or str(value)
