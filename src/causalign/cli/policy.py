"""``causalign policy``: tune a language model on logged texts, on pairs or on prompts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.produce import produce, require_writable
from causalign.policy import METHODS

Method = Annotated[str, typer.Argument(metavar="METHOD", help=f"One of: {', '.join(METHODS)}.")]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A log; without --completion a file of pairs (chosen, rejected), or a table with "
        "prompts, for the methods that read such.",
    ),
]
Completion = Annotated[str | None, typer.Option("--completion", help="Column that holds the text.")]
Outcome = Annotated[
    str | None, typer.Option("--outcome", help="Column with what happened after it.")
]
Prices = Annotated[
    list[str] | None,
    typer.Option(
        "--price",
        metavar="GUARDRAIL=PRICE",
        help="What one of a guardrail costs, in units of the outcome (repeatable): texts then earn "
        "the outcome less their costs.",
    ),
]
Reward = Annotated[
    Path | None, typer.Option("--reward-model", help="Folder of a saved reward model.")
]


def command(
    context: typer.Context,
    method: Method,
    data: Data,
    out: given.NeededOut,
    completion: Completion = None,
    outcome: Outcome = None,
    prompt: given.Prompt = None,
    propensity: given.Propensity = None,
    weight: given.Weight = None,
    group: given.Group = None,
    cluster: given.Cluster = None,
    trials: given.Trials = None,
    reward_model: Reward = None,
    price: Prices = None,
    settings: given.Settings = None,
    query: given.Query = None,
    drop_incomplete: given.DropIncomplete = False,
    strict: given.Strict = False,
) -> None:
    """Tune a policy; a killed command goes on when it is run again.

    Deconfound first, if the log is confounded, and name the adjusted outcome here. The folder
    gets `model/`, an adapter that plain peft loads, with a card that tells how it was made.

    Example: `causalign policy sft logs.parquet --completion text --outcome clicks --out runs/sft
    --set training.steps=100`
    """
    tuner = ca.config.choose(METHODS, ca.config.override({"method": method}, settings or ()))
    ca.lm.run_once(lambda: require_writable(out, data, reward_model))
    data = given.fetch(context, data, query)
    prices = _read_prices(price)
    reward = _load_reward(tuner, reward_model, prices)
    # Where the reward takes the outcome's place, the logs need not tell what texts cost.
    costs = prices if reward is None or tuner.needs == "outcome model" else {}
    roles = None
    if completion is not None or tuner.reads == "logs":
        columns = {"prompt": prompt, "propensity": propensity, "weight": weight}
        columns |= {"group": group, "trials": trials}
        roles = given.declare_roles(
            completion, outcome, cluster=cluster, guardrails=tuple(costs), **columns
        )
        tuner.check_roles(roles, with_reward=reward is not None)

    def work(place: Path) -> tuple[ca.results.Section, Callable[[Path], object]]:
        fit = ca.policy.tune(
            tuner,
            _read_source(tuner, data, roles, prompt, drop_incomplete, costs),
            place,
            reward=reward,
            log_propensity=_read_propensity(data, propensity) if roles is None else None,
            progress=given.shows_progress(),
        )
        return fit.section(), lambda folder: shutil.copytree(fit.model_folder, folder / "model")

    produce(context, work, out, strict=strict, closing=lambda: {"model": [out / "model"]})


def _read_source(
    tuner: ca.policy.PolicyMethod,
    data: str,
    roles: ca.Roles | None,
    prompt: str | None,
    drop_incomplete: bool,
    costs: Mapping[str, float],
) -> ca.policy.Data:
    """Read logs where roles are named, else the pairs or prompts that the method reads."""
    if roles is not None:
        logs = given.read_logs(data, roles, drop_incomplete=drop_incomplete)
        return logs.price(costs) if costs else logs
    if costs:
        raise ca.errors.SettingsError("--price needs --reward-model, or logs with the guardrail.")
    if tuner.reads == "pairs":
        return given.read_pairs(data)
    return None if prompt is None else ca.logs.read_column(data, prompt).to_pylist()


def _read_propensity(data: str, column: str | None) -> Sequence[float] | None:
    """Return the log-probability of each pair of a file, if a column says how likely it was."""
    if column is None:
        return None
    numbers = ca.logs.numeric(column, ca.logs.read_column(data, column, "propensity"))
    return list(ca.policy.log_propensities(numbers, column))


def _read_prices(given: Sequence[str] | None) -> dict[str, float]:
    """Return the price of each guardrail."""
    prices = {}
    for text in given or ():
        name, equals, number = text.rpartition("=")
        try:
            prices[name] = float(number)
        except ValueError:
            equals = ""
        if not (equals and name):
            raise ca.errors.SettingsError(f"--price {text!r}: write GUARDRAIL=PRICE, as returns=3.")
    return prices


def _load_reward(
    tuner: ca.policy.PolicyMethod, folder: Path | None, prices: Mapping[str, float]
) -> ca.policy.Reward | None:
    if folder is not None:
        model = ca.reward.RewardModel.load(folder)
        return model.price(prices) if prices else model
    if tuner.needs is not None:
        raise ca.errors.SettingsError(
            f"The method {tuner.name!r} reads a saved {tuner.needs}: --reward-model FOLDER."
        )
    return None
