"""``causalign evaluate``: which reward is right, and what would a policy have earned?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli import generations
from causalign.cli import options as given

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

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Judge rewards on held-out pairs, compare policies by what they write or would earn.

Examples:

- `causalign evaluate pairs experiment.parquet runs/reward/model`
- `causalign evaluate generations before.parquet after.parquet --judge runs/reward/model`
- `causalign evaluate value logs.parquet --outcome minutes --logging-logprob logged
  --target-logprob tuned`
""",
)

app.command("generations")(generations.command)


@app.command("pairs")
def pairs_command(
    pairs: Annotated[
        str, typer.Argument(metavar="PAIRS", help="File with the columns chosen and rejected.")
    ],
    models: Annotated[
        list[Path], typer.Argument(metavar="MODEL...", help="Reward models, the baseline first.")
    ],
    out: given.Out = None,
) -> None:
    """Rank held-out pairs with saved reward models: AUC, accuracy and Kendall's τ, with intervals.

    Example: `causalign evaluate pairs experiment.parquet runs/demo/3-reward/naive
    runs/demo/3-reward/deconfounded`
    """
    held_out = given.read_pairs(pairs)
    short = len({place.name for place in models}) == len(models)
    rewards = {
        place.name if short else str(place): ca.reward.RewardModel.load(place) for place in models
    }
    section = ca.evaluate.rank(rewards, held_out).section()
    given.finish(section, out, {"models": [str(place) for place in models]})


@app.command("value")
def value_command(
    logs: given.LogsPath,
    outcome: given.Outcome,
    logging_logprob: LoggingLogprob = None,
    target_logprob: TargetLogprob = None,
    predicted: Predicted = None,
    direct: Direct = None,
    samples: Samples = None,
    cluster: Cluster = None,
    against_logprob: Against = None,
    outcome_range: Range = None,
    level: Level = 0.95,
    out: given.Out = None,
    strict: given.Strict = False,
) -> None:
    """Estimate what a policy would have earned on a log that another policy wrote.

    Ends in a number with its interval, or in a refusal with its reason. Every estimator is shown
    that the columns allow.

    Example: `causalign evaluate value logs.parquet --outcome minutes --logging-logprob logged
    --target-logprob tuned --cluster user`
    """
    evaluate, table = ca.evaluate, ca.logs.read_table(logs)
    log = evaluate.read_columns(
        table,
        outcome=outcome,
        target_logprob=target_logprob,
        logging_logprob=logging_logprob,
        predicted=predicted,
        target_predicted=direct,
        clusters=cluster,
        samples=None if samples is None else evaluate.TargetSamples.of(ca.logs.read_table(samples)),
    )
    inference = evaluate.Inference(level=level)
    estimators = evaluate.choose_estimators(log, inference, outcome_range=outcome_range)
    values = evaluate.off_policy_arrays(log, estimators)
    section = values.section()
    if against_logprob is not None:
        # The second policy has no texts of its own here, so that weights alone can compare.
        second = evaluate.read_columns(
            table,
            outcome=outcome,
            target_logprob=against_logprob,
            logging_logprob=logging_logprob,
            predicted=predicted,
            clusters=cluster,
        )
        estimators = evaluate.choose_estimators(second, inference, outcome_range=outcome_range)
        other = evaluate.off_policy_arrays(second, estimators)
        section = evaluate.add_second_policy(section, values, other, against_logprob)
    settings = {"logs": logs, "outcome": outcome, "level": level, "against": against_logprob}
    given.finish(section, out, settings)
    if strict and section.numbers["value"] is None:
        raise typer.Exit(1)
