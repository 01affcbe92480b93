"""``causalign reward``: fit a reward model on the outcome of a log."""

from pathlib import Path
from typing import Annotated

import typer

from causalign.cli import options as given
from causalign.cli.output import console, show_section
from causalign.results import Verdict, worst
from causalign.reward import RewardModel, RidgeReward


def command(
    logs: given.LogsPath,
    completion: given.Completion,
    outcome: given.Outcome,
    out: Annotated[Path, typer.Option("--out", help="Folder for the model and its section.")],
    trials: given.Trials = None,
    group: given.Group = None,
    cluster: given.Cluster = None,
    scale: given.ScaleOption = "identity",
    drop_incomplete: given.DropIncomplete = False,
    encoder: given.Encoder = "minilm",
    strict: given.Strict = False,
) -> None:
    """Fit a ridge head on frozen text embeddings; the penalty by cross-validation.

    The reward predicts the outcome column as it is: deconfound first, and name the adjusted column
    here, if the log is confounded. Load the model with `causalign.reward.RewardModel.load`.

    Example: `causalign reward runs/adjusted/logs.parquet --completion mail
    --outcome minutes_adjusted --out runs/reward`
    """
    read = given.read_logs(
        logs,
        completion=completion,
        outcome=outcome,
        trials=trials,
        group=group,
        cluster=cluster,
        scale=scale,
        drop_incomplete=drop_incomplete,
    )
    groups = read.codes_of(completion) if read.clusters is None else read.clusters
    fit = RidgeReward().fit(given.vectors(read.completions, encoder), read.outcome, groups=groups)
    section = fit.section("reward")
    show_section(section)
    model = RewardModel(encoder, fit.head)
    given.keep(
        section,
        out,
        {"encoder": encoder, "roles": read.roles},
        lambda folder: model.save(folder / "model"),
    )
    console.print(f"reward model: {out / 'model'}", markup=False, soft_wrap=True)
    if strict and worst(section.findings) is Verdict.FAIL:
        raise typer.Exit(1)
