"""``causalign audit``: what can these logs support?"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from causalign.audit import WIDEST, audit, audit_markers, with_markers
from causalign.cli import options as given
from causalign.cli.output import show_section
from causalign.logs import Logs
from causalign.results import Section, Verdict, worst
from causalign.stats.marker_effects import leading_components

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
    logs: given.LogsPath,
    completion: given.Completion,
    outcome: given.Outcome,
    confounder: given.Confounders = None,
    trials: given.Trials = None,
    categorical: given.Categorical = None,
    group: given.Group = None,
    cluster: given.Cluster = None,
    time: given.Time = None,
    scale: given.ScaleOption = "identity",
    drop_incomplete: given.DropIncomplete = False,
    encoder: given.Encoder = "minilm",
    markers: Markers = True,
    attribute: Attributes = None,
    sentiment: Sentiment = False,
    out: given.Out = None,
    strict: given.Strict = False,
) -> None:
    """Ask of a log what travels with its texts and whether that moves the outcome.

    Example: `causalign audit mails.csv --completion mail --outcome minutes --confounder weekday`
    """
    read = given.read_logs(
        logs,
        completion=completion,
        outcome=outcome,
        trials=trials,
        confounders=confounder,
        categorical=categorical,
        group=group,
        cluster=cluster,
        time=time,
        scale=scale,
        drop_incomplete=drop_incomplete,
    )
    section = _audited(read, encoder, markers, attribute or (), sentiment)
    show_section(_terse(section))
    settings = {"encoder": encoder, "roles": read.roles, "markers": markers}
    given.keep(section, out, {**settings, "attributes": attribute, "sentiment": sentiment})
    if strict and worst(section.findings) is Verdict.FAIL:
        raise typer.Exit(1)


def _audited(
    logs: Logs, encoder: str, markers: bool, attributes: Sequence[str], sentiment: bool
) -> Section:
    # Reduced once for both parts of the audit, which read no more than so many columns.
    features = leading_components(given.vectors(logs.completions, encoder), WIDEST)
    section = audit(logs, text_features=features).section()
    if not (markers and logs.roles.confounders):
        return section
    found = audit_markers(
        logs,
        text_features=features,
        attributes=attributes,
        sentiment=sentiment,
        progress=sys.stderr.isatty(),
    )
    return with_markers(section, found)


def _terse(section: Section) -> Section:
    shown = {
        name: table.select(TERSE) if "marker" in table.column_names else table
        for name, table in section.tables.items()
    }
    return replace(section, tables=shown)
