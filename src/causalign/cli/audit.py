"""``causalign audit``: what can these logs support?"""

import sys
from dataclasses import replace
from typing import Annotated

import typer

from causalign.audit import audit, audit_markers, with_markers
from causalign.cli import options as given
from causalign.cli.output import show_section
from causalign.results import Section, Verdict, worst

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
        scale=scale,
        drop_incomplete=drop_incomplete,
    )
    features = given.vectors(read.completions, encoder)
    section = audit(read, text_features=features).section()
    if markers and confounder:
        found = audit_markers(
            read,
            text_features=features,
            attributes=attribute or (),
            sentiment=sentiment,
            progress=sys.stderr.isatty(),
        )
        section = with_markers(section, found)
    show_section(_terse(section))
    settings = {"encoder": encoder, "roles": read.roles, "markers": markers}
    given.keep(section, out, {**settings, "attributes": attribute, "sentiment": sentiment})
    if strict and worst(section.findings) is Verdict.FAIL:
        raise typer.Exit(1)


def _terse(section: Section) -> Section:
    if "markers" not in section.tables:
        return section
    shown = section.tables["markers"].select(TERSE)
    return replace(section, tables={**section.tables, "markers": shown})
