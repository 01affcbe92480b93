"""``causalign experiment``: read tests that still run, and plan how many readers they need."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.produce import produce, require_writable

# What a terminal has no room for; the folder of the stage and the report hold all columns.
NOT_SHOWN = ("decision", "naive lower", "naive upper")

Arm = Annotated[
    str,
    typer.Option("--arm", "--completion", help="Column that tells the arms apart: the text."),
]
Time = Annotated[
    str | None, typer.Option("--time", help="Column with the day: a date, or its number.")
]
Group = Annotated[
    str | None, typer.Option("--group", help="Column of the test, where there are several.")
]
Propensity = Annotated[
    str | None,
    typer.Option(
        "--propensity", help="Column: share of readers meant for the arm; equal unless given."
    ),
]
Weight = Annotated[
    str | None,
    typer.Option("--weight", help="Column: readers of a row, where rows are means."),
]
Variance = Annotated[
    str | None,
    typer.Option("--variance", help="Column: variance among the readers of such a row."),
]
Control = Annotated[
    str | None,
    typer.Option(
        "--control",
        help="Text of the arm that others are compared with; the leading arm unless given.",
    ),
]
Guardrails = Annotated[
    list[str] | None,
    typer.Option("--guardrail", help="Column that must not rise (repeatable)."),
]
Covariates = Annotated[
    list[str] | None,
    typer.Option(
        "--covariate",
        help="Column that was settled before the text was shown: narrows the interval "
        "(repeatable).",
    ),
]
Minimum = Annotated[
    float | None,
    typer.Option("--minimum", help="Smallest difference worth having, in units of the outcome."),
]
Planned = Annotated[
    float | None,
    typer.Option("--planned", help="Readers of all arms that are planned: needed without --time."),
]
RewardModel = Annotated[
    Path | None,
    typer.Option(
        "--reward-model",
        help="Saved reward model that was fitted on other texts: says what to expect of the test.",
    ),
]
PastTests = Annotated[
    str | None,
    typer.Option(
        "--past-tests",
        help="File of finished tests with the same columns: how far the reward may be believed.",
    ),
]
PastGroup = Annotated[
    str | None,
    typer.Option("--past-group", help="Column of the test in that file; --group unless given."),
]
Level = Annotated[float, typer.Option("--level", help="Level of the intervals.")]
Baseline = Annotated[
    float | None,
    typer.Option("--baseline", help="Mean outcome of the present text: its rate."),
]
Spread = Annotated[
    float | None,
    typer.Option("--variance", help="Variance among readers, where the outcome is no rate."),
]
Arms = Annotated[int, typer.Option("--arms", help="Number of texts.")]
ReadersADay = Annotated[
    float | None, typer.Option("--readers-a-day", help="Of all arms together: gives days.")
]
Like = Annotated[
    str | None,
    typer.Option(
        "--like",
        metavar="FILE",
        help="A test that was begun, with days: gives rate, arms and readers a day.",
    ),
]
Power = Annotated[float, typer.Option("--power", help="Probability to show the difference.")]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Read tests that still run, and plan how many readers they need.

Examples:

- `causalign experiment read test.csv --arm headline --outcome clicks --trials shown --time day`
- `causalign experiment read tests.csv --arm headline --outcome clicks --trials shown --time day
  --group test --guardrail unsubscribed --minimum 0.002`
- `causalign experiment plan --baseline 0.012 --minimum 0.002 --readers-a-day 4000`
""",
)


@app.command("read")
def read_command(
    context: typer.Context,
    logs: given.LogsPath,
    arm: Arm,
    outcome: given.Outcome,
    trials: given.Trials = None,
    time: Time = None,
    group: Group = None,
    propensity: Propensity = None,
    weight: Weight = None,
    variance: Variance = None,
    control: Control = None,
    guardrail: Guardrails = None,
    covariate: Covariates = None,
    minimum: Minimum = None,
    planned: Planned = None,
    level: Level = 0.95,
    reward_model: RewardModel = None,
    experiments: PastTests = None,
    past_group: PastGroup = None,
    drop_incomplete: given.DropIncomplete = False,
    query: given.Query = None,
    out: given.Out = None,
    strict: given.Strict = False,
) -> None:
    """Say what a running test shows today, by intervals that hold at every look.

    Rows are counts by day and arm (`--trials`), one for each reader, or means of so many readers
    (`--weight`, `--variance`). Ends in a sentence: stop and use an arm, go on for about so many
    more readers, or stop since there is no difference worth having.

    Examples:

    - `causalign experiment read test.csv --arm headline --outcome clicks --trials shown
      --time day --guardrail unsubscribed`
    - `causalign experiment read tests.csv --arm headline --outcome clicks --trials shown
      --time day --group test --reward-model runs/reward/model --past-tests past.csv`
    """
    columns = {"trials": trials, "group": group, "propensity": propensity, "weight": weight}
    roles = given.declare_roles(arm, outcome, time=time, **columns)
    past_roles = given.declare_roles(arm, outcome, trials=trials, group=past_group or group)
    require_writable(out, logs, experiments, reward_model)
    logs = given.fetch(context, logs, query)

    def work(place: Path) -> tuple[ca.results.Section, None]:
        del place  # a reading is not continued
        reading = ca.experiment.read(
            given.read_logs(logs, roles, drop_incomplete=drop_incomplete),
            control=control,
            guardrails=guardrail or (),
            covariates=covariate or (),
            variance=variance,
            expectation=_read_expectation(reward_model, experiments, past_roles),
            minimum=minimum,
            planned=planned,
            level=level,
        )
        return reading.section(), None

    produce(context, work, out, strict=strict, shown=_keep_terse_columns)


def _read_expectation(
    reward_model: Path | None, experiments: str | None, roles: ca.Roles
) -> ca.experiment.Expectation | None:
    """Return what a saved reward leads to expect, as past tests have shown; None without one."""
    if reward_model is None and experiments is None:
        return None
    if reward_model is None or experiments is None:
        raise ca.errors.SettingsError(
            "A reward model says what to expect only with past tests that show how far it may be "
            "believed: give both --reward-model and --past-tests."
        )
    model = ca.reward.RewardModel.load(reward_model)
    return ca.experiment.expect(model, given.read_logs(experiments, roles))


def _keep_terse_columns(section: ca.results.Section) -> ca.results.Section:
    """Leave out of the terminal what the sentence says, and the naive intervals."""
    tables = {
        name: table.drop_columns([column for column in NOT_SHOWN if column in table.column_names])
        for name, table in section.tables.items()
    }
    return replace(section, tables=tables)


@app.command("plan")
def plan_command(
    context: typer.Context,
    minimum: Annotated[float, typer.Option("--minimum", help="Smallest difference worth having.")],
    baseline: Baseline = None,
    variance: Spread = None,
    arms: Arms = 2,
    readers_a_day: ReadersADay = None,
    logs: Like = None,
    arm: Annotated[str | None, typer.Option("--arm", help="Column of the text in it.")] = None,
    outcome: Annotated[str | None, typer.Option("--outcome", help="Column in it.")] = None,
    trials: given.Trials = None,
    time: Time = None,
    power: Power = 0.8,
    level: Level = 0.95,
    looks: Annotated[int, typer.Option("--looks", help="How often you look.")] = 14,
    out: given.Out = None,
) -> None:
    """Say how many readers a test needs, if you look once and if you look as often as you like.

    Examples:

    - `causalign experiment plan --baseline 0.012 --minimum 0.002 --readers-a-day 4000`
    - `causalign experiment plan --like test.csv --arm headline --outcome clicks --trials shown
      --time day --minimum 0.002`
    """
    require_writable(out, logs)

    def work(place: Path) -> tuple[ca.results.Section, None]:
        del place  # a plan is not continued
        if logs is not None:
            roles = given.declare_roles(arm, outcome, trials=trials, time=time)
            begun = given.read_logs(logs, roles)
            like = ca.experiment.plan_like(begun, minimum, power=power, level=level, looks=looks)
            return like.section(), None
        if baseline is None:
            raise ca.errors.SettingsError(
                "Give the mean outcome of the present text, --baseline, or a test that was begun, "
                "--like FILE."
            )
        plan = ca.experiment.plan(
            baseline,
            minimum,
            variance=variance,
            arms=arms,
            power=power,
            level=level,
            looks=looks,
            readers_a_day=readers_a_day,
        )
        return plan.section(), None

    produce(context, work, out)
