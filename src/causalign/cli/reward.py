"""``causalign reward``: fit a reward model on the outcome of a log."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from causalign import config
from causalign.cli import options as given
from causalign.cli.output import console, show_section
from causalign.errors import InputError
from causalign.logs import Logs
from causalign.results import Verdict, worst
from causalign.reward import RewardFit, RewardModel, methods


def command(
    logs: given.LogsPath,
    completion: given.Completion,
    outcome: given.Outcome,
    out: Annotated[Path, typer.Option("--out", help="Folder for the model and its section.")],
    method: Annotated[
        str, typer.Option("--method", help="ridge on outcomes, or pairwise within --group.")
    ] = "ridge",
    trials: given.Trials = None,
    group: given.Group = None,
    cluster: given.Cluster = None,
    scale: given.ScaleOption = "identity",
    drop_incomplete: given.DropIncomplete = False,
    encoder: given.Encoder = "minilm",
    strict: given.Strict = False,
) -> None:
    """Fit a head on frozen text embeddings; the penalty by cross-validation.

    A ridge predicts the outcome column as it is: deconfound first, and name the adjusted column
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
    fit = _fit(read, method, given.vectors(read.completions, encoder))
    section = fit.section("reward")
    show_section(section)
    model = RewardModel(encoder, fit.head, units=fit.units)
    given.keep(
        section,
        out,
        {"method": method, "encoder": encoder, "roles": read.roles},
        lambda folder: model.save(folder / "model"),
    )
    console.print(f"reward model: {out / 'model'}", markup=False, soft_wrap=True)
    if strict and worst(section.findings) is Verdict.FAIL:
        raise typer.Exit(1)


def _fit(read: Logs, method: str, features: np.ndarray) -> RewardFit:
    fitter = config.choose(methods, {"method": method}, "method")
    if method == "ridge":
        groups = read.codes_of(read.roles.completion) if read.clusters is None else read.clusters
        return fitter.fit(features, read.outcome, groups=groups, weights=read.weights)
    pairs = read.pairs()
    if pairs.rows is None or len(pairs) == 0:
        raise InputError("No two rows of a group differ in text and outcome, so there is no pair.")
    chosen, rejected = (features[pairs.rows[:, side]] for side in (0, 1))
    return fitter.fit(chosen, rejected, groups=pairs.group, weights=pairs.weight)
