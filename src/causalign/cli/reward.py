"""``causalign reward``: fit a reward model on the outcome of a log, and score logs with it."""

import sys
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import typer

from causalign import config, lm
from causalign.cli import options as given
from causalign.cli.output import console, show_findings, show_section
from causalign.errors import InputError
from causalign.logs import Logs
from causalign.results import Section, Verdict, worst
from causalign.reward import (
    RewardFit,
    RewardModel,
    methods,
    pointwise_methods,
    reward_texts,
    score_logs,
    truncated_texts,
)
from causalign.reward.scoring import Engine

_PLAINLY = {
    "ridge": "predict the outcome of a text from its vector; for logs with one outcome a row.",
    "pairwise": "predict which of two competing texts wins; for experiments, with `--group`.",
}
_METHODS = "\n".join(
    f"- `{name}`: {_PLAINLY.get(name) or str(cls.__doc__).splitlines()[0]}"
    for name, cls in methods.items()
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=f"""Fit a reward model, which says what outcome a text is expected to earn, and use it.

A reward model turns a text into a vector (the encoder) and the vector into a number (the head).
`fit` learns the head from a log, `score` gives every row of a log its reward.

Methods of `fit`:

{_METHODS}

Examples:

- `causalign reward fit adjusted.parquet --completion mail --outcome minutes_adjusted --out
  runs/reward`
- `causalign reward score runs/reward/model mails/ --completion mail --out runs/scored`

In Python: `causalign.reward.RewardModel.load("runs/reward/model")(None, ["a text"])`.
""",
)


@app.command()
def fit(
    logs: given.LogsPath,
    completion: given.Completion,
    outcome: given.Outcome,
    out: Annotated[Path, typer.Option("--out", help="Folder for the model and its section.")],
    method: Annotated[
        str, typer.Option("--method", help=f"One of: {', '.join(methods)}. See above.")
    ] = "ridge",
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="Column with what the text answers.")
    ] = None,
    trials: given.Trials = None,
    group: given.Group = None,
    cluster: given.Cluster = None,
    scale: given.ScaleOption = "identity",
    drop_incomplete: given.DropIncomplete = False,
    encoder: given.Encoder = "minilm",
    strict: given.Strict = False,
) -> None:
    """Fit a head on frozen vectors of the texts; the penalty is chosen by cross-validation.

    A method for outcomes predicts the outcome column as it is: deconfound first, and name the
    adjusted column here, if the log is confounded. `pairwise` compares the rows of each `--group`.

    Example: `causalign reward fit runs/adjusted/logs.parquet --completion mail
    --outcome minutes_adjusted --out runs/reward`
    """
    read = given.read_logs(
        logs,
        completion=completion,
        prompt=prompt,
        outcome=outcome,
        trials=trials,
        group=group,
        cluster=cluster,
        scale=scale,
        drop_incomplete=drop_incomplete,
    )
    model, section = _fitted(read, method, encoder)
    show_section(section)
    given.keep(
        section,
        out,
        {"method": method, "encoder": model.encoder_name, "roles": read.roles},
        lambda folder: model.save(folder / "model"),
    )
    console.print(f"reward model: {out / 'model'}", markup=False, soft_wrap=True)
    if strict and worst(section.findings) is Verdict.FAIL:
        raise typer.Exit(1)


@app.command()
def score(
    model: Annotated[Path, typer.Argument(help="Folder of a reward model.")],
    logs: Annotated[
        Path, typer.Argument(metavar="LOGS", help="A Parquet file, or a folder of them.")
    ],
    completion: given.Completion,
    out: Annotated[Path, typer.Option("--out", help="Folder for the scored parts.")],
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="Column with what the text answers.")
    ] = None,
    column: Annotated[
        str, typer.Option("--column", help="Name of the column of rewards.")
    ] = "reward",
    engine: Annotated[
        str, typer.Option("--engine", help="batches: this process; ray: Ray's workers.")
    ] = "batches",
) -> None:
    """Add a column of rewards to logs of any size; a run that was killed continues.

    Example: `causalign reward score runs/reward/model mails/ --completion mail
    --out runs/scored`
    """
    scored = score_logs(
        model,
        logs,
        out,
        completion=completion,
        prompt=prompt,
        column=column,
        engine=cast(Engine, engine),  # an unknown one is refused there
        progress=sys.stderr.isatty(),
    )
    show_findings(scored.findings)
    without = f"; {scored.without_text:,} have no text and no reward" * bool(scored.without_text)
    console.print(
        f"scored {scored.rows:,} rows in {scored.parts:,} parts: {scored.folder}{without}",
        markup=False,
        soft_wrap=True,
    )


def _fitted(read: Logs, method: str, encoder: str) -> tuple[RewardModel, Section]:
    texts = reward_texts(read.prompts, read.completions)
    loaded = lm.load_encoder(encoder, training_texts=texts)
    found = given.embedded(texts, loaded)
    fit = _fit(read, method, found.vectors.astype(np.float64)).with_findings(truncated_texts(found))
    reads_prompt = read.prompts is not None
    model = RewardModel(loaded.name, fit.head, fit.units, reads_prompt=reads_prompt, encoder=loaded)
    return model, fit.section("reward")


def _fit(read: Logs, method: str, features: np.ndarray) -> RewardFit:
    fitter = config.choose(methods, {"method": method}, "method")
    if method in pointwise_methods:
        groups = read.codes_of(read.roles.completion) if read.clusters is None else read.clusters
        return fitter.fit(features, read.outcome, groups=groups, weights=read.weights)
    pairs = read.pairs()
    if pairs.rows is None or len(pairs) == 0:
        raise InputError("No two rows of a group differ in text and outcome, so there is no pair.")
    chosen, rejected = (features[pairs.rows[:, side]] for side in (0, 1))
    return fitter.fit(chosen, rejected, groups=pairs.group, weights=pairs.weight)
