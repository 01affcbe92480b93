"""``causalign evaluate``: which reward is right, and what would a policy have earned?"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from causalign.cli import generations
from causalign.cli import options as given
from causalign.cli.output import show_section
from causalign.covariates import codes, numeric
from causalign.errors import ColumnNotFound, SettingsError, nearest
from causalign.evaluate import (
    Clipped,
    Inference,
    OffPolicyLog,
    TargetSamples,
    applicable,
    off_policy,
    rank,
    with_second_policy,
)
from causalign.lm import EmbeddingCache
from causalign.pairs import Pairs
from causalign.reading import read_table
from causalign.results import Section
from causalign.reward import RewardModel

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

WEIGHTED = ("importance", "self-normalised", "clipped")

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
    judge = Pairs.read(pairs)
    short = len({place.name for place in models}) == len(models)
    differences = {}
    for place in models:
        model, cache = RewardModel.load(place), EmbeddingCache()
        sides = [model(judge.prompt, s, cache) for s in (judge.chosen, judge.rejected)]
        differences[place.name if short else str(place)] = sides[0] - sides[1]
    ranking = rank(differences, judge.group, judge.margin)
    best = max(ranking.rewards, key=lambda name: ranking.auc_of(name).estimate)
    section = Section(
        stage="evaluate",
        question="Which reward ranks these pairs best?",
        answer=f"{best} ranks the {ranking.pairs:,} pairs best, with AUC "
        f"{ranking.auc_of(best).estimate:.3f}.",
        assumption="The pairs took no part in fitting any of the rewards.",
        tables={"ranking": ranking.table()},
    )
    show_section(section)
    given.keep(section, out, {"models": [str(m) for m in models]})


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
    columns = (outcome, target_logprob, logging_logprob, predicted, direct, cluster)
    table = read_table(logs)
    log = _log(table, columns, samples)
    inference = Inference(level=level)
    chosen = list(applicable(log, inference))
    if outcome_range is not None:
        chosen = [e for e in chosen if e.name != "clipped"]
        chosen.append(Clipped(outcome_range=outcome_range, inference=inference))
    found = off_policy(log, chosen)
    section = found.section()
    if against_logprob is not None:
        # The second policy has no texts of its own here, so that weights alone can compare.
        weighted = [e for e in chosen if e.name in WEIGHTED]
        other = _log(table, (outcome, against_logprob, *columns[2:4], None, cluster), None)
        second = off_policy(other, weighted)
        section = with_second_policy(section, found, second, against_logprob)
    show_section(section)
    settings = {"logs": logs, "outcome": outcome, "level": level, "against": against_logprob}
    given.keep(section, out, settings)
    if strict and section.numbers["value"] is None:
        raise typer.Exit(1)


def _log(table: pa.Table, columns: tuple[str | None, ...], samples: str | None) -> OffPolicyLog:
    outcome, target, logging, predicted, direct, cluster = columns
    read = lambda name: None if name is None else _column(table, name)  # noqa: E731
    own = None if samples is None else _samples(read_table(samples))
    if direct is not None:
        if own is not None and own.predicted is not None:
            raise SettingsError("Give predictions by --direct or in --samples, not by both.")
        own = _with_direct(_column(table, direct), own)
    return OffPolicyLog(
        outcome=_column(table, str(outcome)),
        target_logprob=read(target),
        logging_logprob=read(logging),
        predicted=read(predicted),
        clusters=None if cluster is None else codes(_present(table, cluster))[0],
        samples=own,
    )


def _samples(table: pa.Table) -> TargetSamples:
    known = ("predicted", "row", "target_logprob", "logging_logprob")
    found = {name: _column(table, name) for name in known if name in table.column_names}
    if not found:
        raise ColumnNotFound(
            f"Samples need one of the columns {', '.join(known)}; the file has "
            f"{', '.join(table.column_names)}."
        )
    return TargetSamples(**found)


def _with_direct(predicted: np.ndarray, own: TargetSamples | None) -> TargetSamples:
    """Return samples with one prediction for each logged row; both sides must be of one length."""
    row = np.arange(len(predicted))
    if own is None:
        return TargetSamples(predicted=predicted, row=row)
    return TargetSamples(predicted, row, own.target_logprob, own.logging_logprob)


def _column(table: pa.Table, name: str) -> np.ndarray:
    return numeric(name, _present(table, name))


def _present(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise ColumnNotFound(
            f"The logs have no column {name!r}; {nearest(name, table.column_names)}"
        )
    return table[name]
