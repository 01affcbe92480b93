"""``causalign doctor``: is everything there that the work needs, and how are logs read?"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.output import say, show_findings, show_table

GIGABYTE = 1 << 30
MEGABYTE = 1 << 20
NEEDED_DISK = 2


LogsOption = Annotated[
    str | None,
    typer.Option("--logs", metavar="LOGS", help="Say how each column of these logs is read."),
]


def command(
    context: typer.Context,
    logs: LogsOption = None,
    query: given.Query = None,
    completion: Annotated[str | None, typer.Option("--completion", help="Column: text.")] = None,
    outcome: Annotated[str | None, typer.Option("--outcome", help="Column: outcome.")] = None,
    prompt: given.Prompt = None,
    trials: given.Trials = None,
    confounder: given.Confounders = None,
    instrument: given.Instruments = None,
    categorical: given.Categorical = None,
    group: given.Group = None,
    cluster: given.Cluster = None,
    time: given.Time = None,
    weight: given.Weight = None,
    objective: given.Objective = None,
    propensity: given.Propensity = None,
) -> None:
    """Check Python, packages, the embedded models, the cache and the disk; or the columns of logs.

    With `--logs`, each column's kind, how it was read, examples, missing and odd cells; a column
    without a role is read as the confounder that it may become.

    Example: `causalign doctor`, or `causalign doctor --logs mails.csv --confounder price`
    """
    if logs is not None:
        roles: dict[str, Sequence[str] | str | None] = {
            "completion": completion,
            "outcome": outcome,
            "trials": trials,
            "prompt": prompt,
            "confounders": confounder,
            "instruments": instrument,
            "propensity": propensity,
            "group": group,
            "cluster": cluster,
            "time": time,
            "weight": weight,
            "objective": objective,
            "categorical": categorical,
        }
        _show_columns(given.fetch(context, logs, query), roles)
        return
    findings = (
        _packages(),
        _encoder(),
        _larger_encoder(),
        _language_model(),
        _cache(),
        _disk(),
        _cores(),
    )
    show_findings(findings)
    if any(f.verdict is ca.results.Verdict.FAIL for f in findings):
        raise typer.Exit(1)


def _show_columns(logs: str, roles: Mapping[str, Sequence[str] | str | None]) -> None:
    """Print how each column is read; exit with 1 when one cannot be used in its role."""
    played: dict[str, list[str]] = {}
    for role, names in roles.items():
        for name in [names] if isinstance(names, str) else names or ():
            played.setdefault(name, []).append(role)
    table = ca.logs.read_table(logs)
    shown_as = logs.written if isinstance(logs, ca.config.FilledPath) else logs
    readings = ca.logs.describe_columns(table, played)
    shown = ca.logs.tabulate_readings(readings).drop_columns(["how it is read", "different"])
    show_table(f"{table.num_rows} rows of {shown_as}", shown)
    for reading in readings:  # below the table, where there is room for words
        if reading.refusal or reading.how:
            say(f"{reading.name}: {reading.refusal or reading.how}")
    if any(r.refusal for r in readings if r.role):
        raise typer.Exit(1)


def _packages() -> ca.results.Finding:
    message = ", ".join(f"{name} {number}" for name, number in ca.artifacts.versions().items())
    return ca.results.Finding("DR101", "Versions", ca.results.Verdict.PASS, message)


def _encoder() -> ca.results.Finding:
    try:
        encoder = ca.lm.load_encoder("minilm")
        vector = ca.lm.embed(["one sentence to try it"], encoder, cache=None).vectors
    except ca.errors.CausalignError as error:
        return ca.results.Finding("DR102", "Text encoder", ca.results.Verdict.WARN, str(error))
    message = f"{encoder.name} gives vectors of {vector.shape[1]} numbers."
    return ca.results.Finding("DR102", "Text encoder", ca.results.Verdict.PASS, message)


def _larger_encoder() -> ca.results.Finding:
    title = "Larger text encoder"
    try:
        folder = ca.lm.mpnet_folder()
    except ca.errors.ExtraNotInstalled as missing:  # nothing needs it
        return ca.results.Finding("DR107", title, ca.results.Verdict.NOT_APPLICABLE, str(missing))
    except ca.errors.CausalignError as damage:
        return ca.results.Finding("DR107", title, ca.results.Verdict.WARN, str(damage))
    return ca.results.Finding(
        "DR107", title, ca.results.Verdict.PASS, f"mpnet is there, whole: {folder}."
    )


def _language_model() -> ca.results.Finding:
    title = "Language model"
    try:
        size = ca.lm.gguf_file().stat().st_size
    except ca.errors.CausalignError as error:
        return ca.results.Finding("DR106", title, ca.results.Verdict.WARN, str(error))
    missing = [name for name in ("torch", "transformers", "gguf") if find_spec(name) is None]
    if missing:
        message = f"smollm2 needs {', '.join(missing)}: `pip install 'causalign[lm]'`."
        return ca.results.Finding("DR106", title, ca.results.Verdict.WARN, message)
    message = (
        f"smollm2 is there ({size / MEGABYTE:.0f} MB); its first use writes 540 MB to the cache."
    )
    return ca.results.Finding("DR106", title, ca.results.Verdict.PASS, message)


def _cache() -> ca.results.Finding:
    folder = ca.lm.default_cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    return ca.results.Finding(
        "DR103",
        "Cache",
        ca.results.Verdict.PASS if writable else ca.results.Verdict.FAIL,
        f"{folder} is {'writable' if writable else 'not writable: set CAUSALIGN_CACHE'}.",
    )


def _disk() -> ca.results.Finding:
    free = shutil.disk_usage(".").free / GIGABYTE
    return ca.results.Finding(
        "DR104",
        "Disk",
        ca.results.Verdict.PASS if free > NEEDED_DISK else ca.results.Verdict.WARN,
        f"{free:.0f} GB free here; a run needs up to {NEEDED_DISK}.",
    )


def _cores() -> ca.results.Finding:
    return ca.results.Finding(
        "DR105", "Processor", ca.results.Verdict.PASS, f"{os.cpu_count()} cores."
    )
