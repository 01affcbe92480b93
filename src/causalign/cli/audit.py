"""``causalign audit``: what can these logs support?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.produce import produce, require_writable

# What a terminal has room for; the folder of the stage and the report hold all columns.
TERSE = ["marker", "texts", "naive", "deconfounded", "distance lower", "distance upper", "q"]

Markers = Annotated[
    bool,
    typer.Option(
        "--markers/--no-markers",
        help="Test words, phrases, signs and lengths; needs a confounder.",
    ),
]
Attributes = Annotated[
    list[str] | None,
    typer.Option("--attribute", help="Column to test as a marker too (repeatable)."),
]
Sentiment = Annotated[
    bool, typer.Option("--sentiment", help="Test sentiment too (the extra of that name).")
]


def command(
    context: typer.Context,
    logs: given.LogsPath,
    completion: given.Completion,
    outcome: given.Outcome,
    confounder: given.Confounders = None,
    trials: given.Trials = None,
    categorical: given.Categorical = None,
    group: given.Group = None,
    cluster: given.Cluster = None,
    audience: given.Audience = None,
    time: given.Time = None,
    scale: given.ScaleOption = "identity",
    drop_incomplete: given.DropIncomplete = False,
    engine: given.Engine = None,
    encoder: given.Encoder = None,
    markers: Markers = True,
    attribute: Attributes = None,
    sentiment: Sentiment = False,
    query: given.Query = None,
    out: given.Out = None,
    strict: given.Strict = False,
) -> None:
    """Ask of a log what travels with its texts and whether that moves the outcome.

    Example: `causalign audit mails.csv --completion mail --outcome minutes --confounder weekday`;
    `causalign audit postgresql://db/shop --query "select * from mails" --completion mail --outcome
    minutes`
    """
    roles = given.declare_roles(
        completion,
        outcome,
        trials=trials,
        confounders=confounder,
        categorical=categorical,
        group=group,
        cluster=cluster,
        audience=audience,
        time=time,
    )
    require_writable(out, logs)
    logs = given.fetch(context, logs, query)

    def work(place: Path) -> tuple[ca.results.Section, None]:
        del place  # an audit is not continued
        section = ca.audit.audit_with_markers(
            given.scan_or_read(logs, roles, engine, scale, drop_incomplete),
            encoder,
            markers=markers,
            attributes=attribute or (),
            sentiment=sentiment,
            progress=given.shows_progress(),
        )
        return section, None

    produce(context, work, out, strict=strict, shown=_keep_terse_columns)


def _keep_terse_columns(section: ca.results.Section) -> ca.results.Section:
    tables = {
        name: table.select(TERSE) if "marker" in table.column_names else table
        for name, table in section.tables.items()
    }
    return replace(section, tables=tables)
