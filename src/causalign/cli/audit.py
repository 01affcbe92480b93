"""``causalign audit``: what can these logs support?"""

import typer

from causalign.audit import audit
from causalign.cli import options as given
from causalign.cli.output import show_section
from causalign.results import Verdict, worst


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
    section = audit(read, text_features=given.vectors(read.completions, encoder)).section()
    show_section(section)
    given.keep(section, out, {"encoder": encoder, "roles": read.roles})
    if strict and worst(section.findings) is Verdict.FAIL:
        raise typer.Exit(1)
