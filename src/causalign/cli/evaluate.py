"""``causalign evaluate``: which reward is right, and what would a policy have earned?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import causalign as ca
from causalign.cli import generations, log_and_tests
from causalign.cli import options as given
from causalign.cli.produce import produce, require_writable

LoggingLogprob = Annotated[
    str | None,
    typer.Option("--logging-logprob", help="Column: log-probability under the logging policy."),
]
TargetLogprob = Annotated[
    str | None,
    typer.Option("--target-logprob", help="Column: log-probability under the target policy."),
]
Predicted = Annotated[
    str | None,
    typer.Option("--predicted", help="Column: outcome model's prediction for the logged text."),
]
Direct = Annotated[
    str | None,
    typer.Option("--direct", help="Column: its prediction for a text of the target."),
]
Samples = Annotated[
    str | None,
    typer.Option(
        "--samples",
        help="File of texts sampled from the target, columns target_logprob, logging_logprob, "
        "predicted, row (those that there are): shows whether the log has support.",
    ),
]
Pilot = Annotated[
    str | None,
    typer.Option(
        "--pilot",
        help="File of texts that the target wrote and whose outcome was measured: columns of the "
        "log for outcome, cluster and --predicted. Needs no probabilities.",
    ),
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against-logprob",
        help="Column: log-probability under a second policy; adds the difference of the two.",
    ),
]
Cluster = Annotated[
    str | None, typer.Option("--cluster", help="Column of rows that are not independent.")
]
Range = Annotated[
    tuple[float, float] | None,
    typer.Option("--range", help="Lowest and highest outcome possible: adds sure bounds."),
]
Level = Annotated[float, typer.Option("--level", help="Level of the intervals.")]
Candidates = Annotated[
    str | None,
    typer.Option(
        "--candidates",
        metavar="FILE",
        help="Texts to choose among, in the column of `--completion`; the logged ones unless "
        "given.",
    ),
]
Written = Annotated[
    str | None,
    typer.Option(
        "--written",
        metavar="FILE",
        help="What a policy wrote for everybody, in the column of `--completion`: who gains by it, "
        "and who loses?",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Of the folds, halves and the test.")]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Judge rewards on held-out pairs, a log by experiments, and policies by what they write
or would earn.

Examples:

- `causalign evaluate pairs experiment.parquet runs/reward/model`
- `causalign evaluate generations before.parquet after.parquet --judge runs/reward/model`
- `causalign evaluate value logs.parquet --outcome minutes --logging-logprob logged
  --target-logprob tuned`
- `causalign evaluate audience adjusted.parquet --completion mail --outcome minutes_adjusted
  --audience reader`
- `causalign evaluate worth adjusted.parquet --completion headline --outcome clicks_adjusted
  --experiments tests.csv --group test`
""",
)

app.command("generations")(generations.command)
app.command("worth")(log_and_tests.worth_command)
app.command("bias")(log_and_tests.bias_command)


@app.command("pairs")
def pairs_command(
    context: typer.Context,
    pairs: Annotated[
        str, typer.Argument(metavar="PAIRS", help="File with the columns chosen and rejected.")
    ],
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Reward models, the baseline first.")
    ],
    out: given.Out = None,
) -> None:
    """Rank held-out pairs with saved reward models: AUC, accuracy and Kendall's τ, with intervals.

    Where the pairs have margins, also what choosing between two texts by each reward earns.

    Example: `causalign evaluate pairs experiment.parquet runs/demo/3-reward/naive
    runs/demo/3-reward/deconfounded`
    """
    require_writable(out, pairs, *models)

    def work(place: Path) -> tuple[ca.results.Section, None]:
        del place  # a comparison is not continued
        short = len({folder.name for folder in models}) == len(models)
        rewards = {
            folder.name if short else str(folder): ca.reward.RewardModel.load(folder)
            for folder in models
        }
        read = given.read_pairs(pairs)
        section = ca.evaluate.rank(rewards, read).section()
        choices = ca.evaluate.choose_between(rewards, read) if read.has_margins else None
        return section if choices is None else ca.evaluate.add_choices(section, choices), None

    produce(context, work, out)


@app.command("value")
def value_command(
    context: typer.Context,
    logs: given.LogsPath,
    outcome: given.Outcome,
    logging_logprob: LoggingLogprob = None,
    target_logprob: TargetLogprob = None,
    predicted: Predicted = None,
    direct: Direct = None,
    samples: Samples = None,
    pilot: Pilot = None,
    cluster: Cluster = None,
    against_logprob: Against = None,
    outcome_range: Range = None,
    level: Level = 0.95,
    query: given.Query = None,
    out: given.Out = None,
    strict: given.Strict = False,
) -> None:
    """Estimate what a policy would have earned on a log that another policy wrote.

    Ends in a number with its interval, or in a refusal with its reason. Every estimator is shown
    that the columns allow.

    Examples: `causalign evaluate value logs.parquet --outcome minutes --logging-logprob logged
    --target-logprob tuned --cluster user`; `causalign evaluate value logs.parquet --outcome minutes
    --predicted guess --samples written.parquet --pilot measured.parquet`
    """
    require_writable(out, logs, samples, pilot)
    logs = given.fetch(context, logs, query)
    work = partial(
        _estimate_value,
        logs,
        samples,
        pilot,
        against_logprob,
        ca.evaluate.Inference(level=level),
        outcome_range,
        outcome=outcome,
        logging_logprob=logging_logprob,
        target_logprob=target_logprob,
        predicted=predicted,
        target_predicted=direct,
        clusters=cluster,
    )
    section = produce(context, work, out)
    if strict and section.numbers["value"] is None:
        raise typer.Exit(1)


def _estimate_value(
    logs: str,
    samples: str | None,
    pilot: str | None,
    against: str | None,
    inference: ca.evaluate.Inference,
    outcome_range: tuple[float, float] | None,
    place: Path,
    **columns: Any,
) -> tuple[ca.results.Section, None]:
    """Return what the target would have earned, and a second policy beside it if one is named."""
    del place  # an estimate is not continued
    evaluate, table = ca.evaluate, ca.logs.read_table(logs)

    def estimate(log: ca.evaluate.OffPolicyLog) -> ca.evaluate.OffPolicyValues:
        estimators = evaluate.choose_estimators(log, inference, outcome_range=outcome_range)
        return evaluate.off_policy_arrays(log, estimators)

    sampled = None if samples is None else evaluate.TargetSamples.of(ca.logs.read_table(samples))
    measured = None
    if pilot is not None:
        names = {name: columns[name] for name in ("outcome", "predicted", "clusters")}
        measured = evaluate.PilotTexts.of(ca.logs.read_table(pilot), **names)
    values = estimate(evaluate.read_columns(table, **columns, samples=sampled, pilot=measured))
    section = values.section()
    if against is not None:
        # The second policy has no texts of its own here, so that weights alone can compare.
        second = columns | {"target_logprob": against, "target_predicted": None}
        other = estimate(evaluate.read_columns(table, **second))
        section = evaluate.add_second_policy(section, values, other, against)
    return section, None


@app.command("audience")
def audience_command(
    context: typer.Context,
    logs: given.LogsPath,
    completion: given.Completion,
    outcome: given.Outcome,
    audience: given.Audience = None,
    candidates: Candidates = None,
    written: Written = None,
    prompt: given.Prompt = None,
    categorical: given.Categorical = None,
    weight: given.Weight = None,
    cluster: given.Cluster = None,
    drop_incomplete: given.DropIncomplete = False,
    encoder: given.Encoder = None,
    seed: Seed = 0,
    query: given.Query = None,
    out: given.Out = None,
    strict: given.Strict = False,
) -> None:
    """Test whether audiences differ, and say what targeting them gains and who would lose.

    The log must be deconfounded. Texts are chosen on one half of it and valued on the other.

    Example: `causalign evaluate audience runs/adjusted/logs.parquet --completion mail --outcome
    minutes_adjusted --audience reader`
    """
    columns = {"prompt": prompt, "weight": weight}
    roles = given.declare_roles(
        completion, outcome, audience=audience, categorical=categorical, cluster=cluster, **columns
    )
    require_writable(out, logs, candidates, written)
    logs = given.fetch(context, logs, query)

    def work(place: Path) -> tuple[ca.results.Section, None]:
        del place  # a study is not continued
        study = ca.evaluate.audiences(
            given.read_logs(logs, roles, drop_incomplete=drop_incomplete),
            encoder,
            seed=seed,
            progress=given.shows_progress(),
            candidates=_read_texts(candidates, roles.completion),
            written=_read_texts(written, roles.completion),
        )
        return study.section(), None

    produce(context, work, out, strict=strict)


def _read_texts(path: str | None, column: str) -> list[str] | None:
    if path is None:
        return None
    return [str(text) for text in ca.logs.read_column(path, column)]
