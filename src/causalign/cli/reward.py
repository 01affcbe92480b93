"""``causalign reward``: fit a reward model on the outcome of a log, and score logs with it."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from causalign import artifacts
from causalign.cli import options as given
from causalign.cli.output import console, show_findings, show_section
from causalign.cli.reward_fitting import METHODS, Chosen, check_needs, choose, fitted
from causalign.logs import Logs
from causalign.results import Section, Verdict, worst
from causalign.reward import score_logs
from causalign.reward.scoring import Engine

_PLAINLY = {
    "ridge": "a straight line from vector to outcome; the place to start. Needs nothing more; "
    "`--set choose=ranking` also reads `--confounder`.",
    "pairwise": "which of two competing texts wins, linear; for experiments. Needs `--group`.",
    "perceptron": "like ridge, but any curve: a small network. Networks need torch.",
    "logistic": "a network for outcomes between 0 and 1: bought or not, a share.",
    "multi-class": "a network for outcomes that are classes, scored by their expected value.",
    "ordinal": "a network for levels, such as one to five stars.",
    "confounder-in-layer": "a network that also reads the confounder and then holds it at its "
    "mean; a baseline for `causalign deconfound`. Needs `--confounder`.",
    "confounder-in-text": "ridge on texts with the confounder written in front; a baseline. "
    "Needs `--confounder`, a number.",
    "odin": "a network with one head for the text and one for the confounder; a baseline. Needs "
    "one `--confounder` and, unless `--set loss=squared-error`, `--group`.",
    "base": "one network told by which objective a row was judged. Needs `--objective` and, unless "
    "`--set loss=squared-error`, `--group`.",
    "multihead": "one reward for each objective, on shared layers. Needs what base needs.",
    "adversarial": "multihead whose shared layers must not tell the objective. Needs what base "
    "needs.",
    "language-model": "tune a language model itself (LoRA): hours, not seconds; `--encoder` is not "
    "used. With `--set loss=bradley-terry` on pairs, which needs `--group`.",
}
_METHODS = "\n".join(f"- `{name}`: {_PLAINLY[name]}" for name in _PLAINLY)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=f"""Fit a reward model, which says what outcome a text is expected to earn, and use it.

A reward model turns a text into a vector (the encoder) and the vector into a number (the head).
`fit` learns the head from a log, `score` gives every row of a log its reward.

Methods of `fit`; each needs `--completion` and `--outcome`:

{_METHODS}

Settings of a method are given with `--set`: `width=64`, `training.epochs=20` or `seed=1` for a
network, `choose=one-standard-error` for ridge, `training.learning_rate=1e-4` for language-model.

Examples:

- `causalign reward fit adjusted.parquet --completion mail --outcome minutes_adjusted --out
  runs/reward`
- `causalign reward fit tests.csv --completion headline --outcome clicks --group test --method
  pairwise --out runs/pairs`
- `causalign reward score runs/reward/model mails/ --completion mail --out runs/scored`

In Python: `causalign.reward.RewardModel.load("runs/reward/model")(None, ["a text"])`.
""",
)


Out = Annotated[Path, typer.Option("--out", help="Folder for the model and its section.")]
Method = Annotated[
    str, typer.Option("--method", help=f"One of: {', '.join(METHODS)}. See `reward --help`.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Setting of the method, e.g. training.epochs=20 (repeatable)."),
]
Prompt = Annotated[str | None, typer.Option("--prompt", help="Column with what the text answers.")]
Objective = Annotated[
    str | None, typer.Option("--objective", help="Column with what a row was judged by.")
]
Weight = Annotated[str | None, typer.Option("--weight", help="Column with the row's weight.")]


@app.command()
def fit(
    logs: given.LogsPath,
    completion: given.Completion,
    outcome: given.Outcome,
    out: Out,
    method: Method = "ridge",
    settings: Set = None,
    prompt: Prompt = None,
    trials: given.Trials = None,
    confounder: given.Confounders = None,
    categorical: given.Categorical = None,
    objective: Objective = None,
    weight: Weight = None,
    group: given.Group = None,
    cluster: given.Cluster = None,
    scale: given.ScaleOption = "identity",
    drop_incomplete: given.DropIncomplete = False,
    encoder: given.Encoder = "minilm",
    strict: given.Strict = False,
) -> None:
    """Fit a reward on texts and their outcomes; `causalign reward --help` tells the methods.

    A method for outcomes predicts the outcome column as it is: deconfound first, and name the
    adjusted column here, if the log is confounded. Methods for pairs compare the rows of each
    `--group`. What is chosen by validation is chosen on rows of this log that do not teach.

    Example: `causalign reward fit runs/adjusted/logs.parquet --completion mail
    --outcome minutes_adjusted --out runs/reward`
    """
    chosen = choose(method, settings or ())
    roles: dict[str, Any] = {
        "completion": completion,
        "prompt": prompt,
        "outcome": outcome,
        "trials": trials,
        "confounders": confounder,
        "categorical": categorical,
        "objective": objective,
        "weight": weight,
        "group": group,
        "cluster": cluster,
    }
    check_needs(chosen, roles, encoder)
    _open(out)
    read = given.read_logs(logs, **roles, scale=scale, drop_incomplete=drop_incomplete)
    section = _fit_into(out, chosen, read, encoder)
    if strict and worst(section.findings) is Verdict.FAIL:
        raise typer.Exit(1)


def _open(out: Path) -> None:
    """Refuse a folder that cannot be written, before the work."""
    artifacts.open_run(out.parent)
    artifacts.require_free(out)


def _fit_into(out: Path, chosen: Chosen, read: Logs, encoder: str) -> Section:
    """Fit, show the section, and keep it with its models in the folder."""
    work = out.with_name(f"{out.name}.training")
    found = fitted(chosen, read, encoder, work)
    show_section(found.section)
    given.keep(
        found.section, out, {"method": chosen, "encoder": encoder, "roles": read.roles}, found.save
    )
    shutil.rmtree(work, ignore_errors=True)
    for place in found.models:
        console.print(f"reward model: {out / place}", markup=False, soft_wrap=True)
    return found.section


@app.command()
def score(
    model: Annotated[Path, typer.Argument(help="Folder of a reward model.")],
    logs: Annotated[
        Path, typer.Argument(metavar="LOGS", help="A Parquet file, or a folder of them.")
    ],
    completion: given.Completion,
    out: Annotated[Path, typer.Option("--out", help="Folder for the scored parts.")],
    prompt: Prompt = None,
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
