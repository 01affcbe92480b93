"""``causalign evaluate worth`` and ``bias``: what is a log worth, and how wrong may it be?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.produce import produce, require_writable

AsLogged = Annotated[
    str | None,
    typer.Option(
        "--as-logged", help="Column of the log: the outcome before deconfounding, for comparison."
    ),
]
Experiments = Annotated[
    str,
    typer.Option(
        "--experiments", metavar="FILE", help="Tests beside the log; `--group` names the column."
    ),
]
Group = Annotated[str, typer.Option("--group", help="Column of the tests in --experiments.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the folds and draws of tests.")]


def worth_command(
    context: typer.Context,
    logs: given.LogsPath,
    completion: given.Completion,
    outcome: given.Outcome,
    experiments: Experiments,
    group: Group,
    experiments_outcome: given.ExperimentsOutcome = None,
    experiments_trials: given.ExperimentsTrials = None,
    as_logged: AsLogged = None,
    prompt: given.Prompt = None,
    weight: given.Weight = None,
    drop_incomplete: given.DropIncomplete = False,
    encoder: given.Encoder = None,
    seed: Seed = 0,
    query: given.Query = None,
    out: given.Out = None,
    strict: given.Strict = False,
) -> None:
    """Compare what a log, so many tests, and both teach; say how many tests the log is worth.

    The log must be deconfounded, and on the log-odds scale where the tests declare trials.

    Example: `causalign evaluate worth runs/adjusted/logs.parquet --completion headline --outcome
    clicks_adjusted --experiments tests.csv --experiments-outcome clicks --experiments-trials shown
    --group test`
    """
    require_writable(out, logs, experiments)
    logs = given.fetch(context, logs, query)

    def work(place: Path) -> tuple[ca.results.Section, None]:
        del place  # a comparison is not continued
        roles = ca.Roles(completion, outcome, prompt=prompt, weight=weight)
        columns = (experiments_outcome, experiments_trials, group)
        log = given.read_logs(logs, roles, drop_incomplete=drop_incomplete)
        naive = None if as_logged is None else log.with_outcome(log.numbers(as_logged), "as logged")
        result = ca.evaluate.worth(
            log,
            given.read_experiments(experiments, roles, columns, drop_incomplete),
            encoder,
            naive=naive,
            seed=seed,
            progress=given.shows_progress(),
        )
        return result.section(), None

    produce(context, work, out, strict=strict)


def bias_command(
    context: typer.Context,
    logs: given.LogsPath,
    completion: given.Completion,
    outcome: given.Outcome,
    experiments: Experiments,
    group: Group,
    experiments_outcome: given.ExperimentsOutcome = None,
    experiments_trials: given.ExperimentsTrials = None,
    prompt: given.Prompt = None,
    weight: given.Weight = None,
    drop_incomplete: given.DropIncomplete = False,
    encoder: given.Encoder = None,
    seed: Seed = 0,
    query: given.Query = None,
    out: given.Out = None,
    strict: given.Strict = False,
) -> None:
    """Learn from tests how wrong the differences are that a log predicts: their scale and bias.

    The log must be deconfounded, and on the log-odds scale where the tests declare trials.

    Example: `causalign evaluate bias runs/adjusted/logs.parquet --completion headline --outcome
    clicks_adjusted --experiments tests.csv --experiments-outcome clicks --experiments-trials shown
    --group test`
    """
    require_writable(out, logs, experiments)
    logs = given.fetch(context, logs, query)

    def work(place: Path) -> tuple[ca.results.Section, None]:
        del place  # a comparison is not continued
        roles = ca.Roles(completion, outcome, prompt=prompt, weight=weight)
        columns = (experiments_outcome, experiments_trials, group)
        result = ca.evaluate.bias_of_log(
            given.read_logs(logs, roles, drop_incomplete=drop_incomplete),
            given.read_experiments(experiments, roles, columns, drop_incomplete),
            encoder,
            seed=seed,
            progress=given.shows_progress(),
        )
        return result.section(), None

    produce(context, work, out, strict=strict)
