"""``causalign reward``: fit a reward model on the outcome of a log, and score logs with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.output import give, say, show_findings
from causalign.cli.produce import produce, require_writable
from causalign.reward import CHOICES

_METHODS = "\n".join(f"- `{name}`: {CHOICES.about(name)}" for name in CHOICES)

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
- `causalign reward fit adjusted.parquet --completion headline --outcome clicks_adjusted --method
  pooled --experiments tests.csv --experiments-outcome clicks --experiments-trials shown --group
  test --out runs/both`
- `causalign reward score runs/reward/model mails/ --completion mail --out runs/scored`

In Python: `causalign.reward.RewardModel.load("runs/reward/model").predict(["a text"])`.
""",
)

Method = Annotated[
    str, typer.Option("--method", help=f"One of: {', '.join(CHOICES)}. See `reward --help`.")
]


@app.command()
def fit(
    context: typer.Context,
    logs: given.LogsPath,
    completion: given.Completion,
    outcome: given.Outcome,
    out: given.NeededOut,
    method: Method = "ridge",
    settings: given.Settings = None,
    prompt: given.Prompt = None,
    trials: given.Trials = None,
    confounder: given.Confounders = None,
    categorical: given.Categorical = None,
    guardrail: given.Guardrails = None,
    objective: given.Objective = None,
    audience: given.Audience = None,
    weight: given.Weight = None,
    group: given.Group = None,
    cluster: given.Cluster = None,
    scale: given.ScaleOption = "identity",
    drop_incomplete: given.DropIncomplete = False,
    engine: given.Engine = None,
    encoder: given.Encoder = None,
    experiments: given.Experiments = None,
    experiments_outcome: given.ExperimentsOutcome = None,
    experiments_trials: given.ExperimentsTrials = None,
    query: given.Query = None,
    strict: given.Strict = False,
) -> None:
    """Fit a reward on texts and their outcomes; `causalign reward --help` tells the methods.

    A method for outcomes predicts the outcome column as it is: deconfound first, and name the
    adjusted column (and `--weight`, if rows were weighted) here, if the log is confounded. Methods
    for pairs compare the rows of each `--group`. What is chosen by validation is chosen on rows of
    this log that are not trained on.

    Example: `causalign reward fit runs/adjusted/logs.parquet --completion mail
    --outcome minutes_adjusted --out runs/reward`
    """
    chosen = _choose(method, settings, encoder, experiments, group)
    columns = {"prompt": prompt, "trials": trials, "objective": objective, "weight": weight}
    several = {"confounders": confounder, "categorical": categorical, "guardrails": guardrail}
    asked = None if experiments else group  # it is a column of the tests
    roles = given.declare_roles(
        completion, outcome, group=asked, cluster=cluster, audience=audience, **several, **columns
    )
    chosen.check_roles(roles)
    require_writable(out, logs, *([experiments] if experiments else []))
    logs = given.fetch(context, logs, query)

    def work(place: Path) -> tuple[ca.results.Section, Callable[[Path], object]]:
        read = given.scan_or_read(logs, roles, engine, scale, drop_incomplete)
        names = (experiments_outcome, experiments_trials, group)
        more = _read_tests(experiments, roles, names, drop_incomplete)
        fit = chosen.fit(read, encoder, out=place, progress=given.shows_progress(), **more)
        return fit.section(), fit.save

    produce(context, work, out, strict=strict, closing=lambda: _find_models(out))


def _read_tests(
    path: str | None,
    log: ca.Roles,
    columns: tuple[str | None, str | None, str | None],
    drop_incomplete: bool,
) -> dict[str, ca.Logs]:
    """Return the tests beside the log as the method takes them, if there are any."""
    if path is None:
        return {}
    return {"experiments": given.read_experiments(path, log, columns, drop_incomplete)}


def _choose(
    name: str,
    settings: list[str] | None,
    encoder: str | None,
    experiments: str | None,
    group: str | None,
) -> ca.reward.RewardMethod:
    """Return the method; raise ``SettingsError`` for an encoder or tests that it does not read."""
    method = ca.reward.choose(ca.config.override({"method": name}, settings or ()), "")
    if encoder is not None and not method.reads_vectors:
        raise ca.errors.SettingsError(
            f"The method {method.name!r} reads texts itself and takes no --encoder. Name the model "
            f"with --set model={encoder}."
        )
    if experiments is not None and not method.reads_experiments:
        raise ca.errors.SettingsError(
            f"The method {method.name!r} reads no --experiments. Use --method pooled."
        )
    if experiments is not None and group is None:
        raise ca.errors.SettingsError("Name the column of the tests in --experiments: --group.")
    return method


def _find_models(out: Path) -> dict[str, list[Path]]:
    """Return the reward models in the folder: one for each objective, or one."""
    return {"reward model": sorted(path.parent for path in out.rglob("reward_model.json"))}


@app.command()
def score(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(help="Folder of a reward model.")],
    logs: Annotated[
        str, typer.Argument(metavar="LOGS", help="Parquet: a file, a folder; or with --query.")
    ],
    completion: given.Completion,
    out: given.NeededOut,
    prompt: given.Prompt = None,
    column: Annotated[
        str, typer.Option("--column", help="Name of the column of rewards.")
    ] = "reward",
    engine: Annotated[
        str, typer.Option("--engine", help="batches: this process; ray: Ray's workers.")
    ] = "batches",
    query: given.Query = None,
    to: given.To = None,
    table: given.Table = None,
) -> None:
    """Add a column of rewards to logs of any size; a run that was killed continues.

    Example: `causalign reward score runs/reward/model mails/ --completion mail
    --out runs/scored`
    """
    given.require_target(to, table)
    scored = ca.reward.score_logs(
        model,
        given.fetch(context, logs, query),
        out,
        completion=completion,
        prompt=prompt,
        column=column,
        engine=cast(Literal["batches", "ray"], engine),  # an unknown one is refused there
        progress=given.shows_progress(),
    )
    show_findings(scored.findings)
    without = f"; {scored.without_text:,} have no text and no reward" * bool(scored.without_text)
    say(f"scored {scored.rows:,} rows in {scored.parts:,} parts: {scored.folder}{without}")
    given.write_back(to, table, scored.write)
    give(folder=scored.folder, rows=scored.rows, parts=scored.parts)
    give(rows_without_text=scored.without_text)
