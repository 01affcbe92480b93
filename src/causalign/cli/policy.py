"""``causalign policy``: tune a language model on logged texts or on pairs."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy.special import expit

from causalign import artifacts, config
from causalign.cli import options as given
from causalign.cli.output import console, show_section
from causalign.covariates import numeric
from causalign.errors import ColumnNotFound, InputError, SettingsError, nearest
from causalign.lm.processes import once
from causalign.logs import Logs
from causalign.pairs import Pairs
from causalign.policy import (
    DPO,
    GRPO,
    PPO,
    RLOO,
    CausalPreference,
    PairedDPO,
    PolicyFit,
    log_propensities,
    methods,
)
from causalign.reading import read_table
from causalign.results import Verdict, worst
from causalign.reward import RewardModel
from causalign.roles import Roles

Method = Annotated[str, typer.Argument(metavar="METHOD", help=f"One of: {', '.join(methods)}.")]
Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A log; for dpo and paired-dpo also pairs (chosen, rejected); for ppo, grpo and rloo "
        "a table with prompts.",
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Folder for the model and its section.")]
Completion = Annotated[str | None, typer.Option("--completion", help="Column that holds the text.")]
Outcome = Annotated[
    str | None, typer.Option("--outcome", help="Column with what happened after it.")
]
Prompt = Annotated[str | None, typer.Option("--prompt", help="Column with the prompt.")]
Propensity = Annotated[
    str | None, typer.Option("--propensity", help="Column with the (log-)probability of the text.")
]
Weight = Annotated[str | None, typer.Option("--weight", help="Column with the row's weight.")]
Reward = Annotated[
    Path | None, typer.Option("--reward-model", help="Folder of a saved reward model.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Setting of the method, e.g. training.steps=100 (repeatable)."),
]


def command(
    method: Method,
    data: Data,
    out: Out,
    completion: Completion = None,
    outcome: Outcome = None,
    prompt: Prompt = None,
    propensity: Propensity = None,
    weight: Weight = None,
    group: given.Group = None,
    trials: given.Trials = None,
    reward_model: Reward = None,
    settings: Set = None,
    drop_incomplete: given.DropIncomplete = False,
    strict: given.Strict = False,
) -> None:
    """Tune a policy; a killed command goes on when it is run again.

    Deconfound first, if the log is confounded, and name the adjusted outcome here. The folder
    gets `model/`, an adapter that plain peft loads, with a card that tells how it was made.

    Example: `causalign policy sft logs.parquet --completion text --outcome clicks --out runs/sft
    --set training.steps=100`
    """
    tuner = config.choose(methods, config.override({"method": method}, settings or ()), "policy")
    once(lambda: artifacts.open_run(out.parent))
    once(lambda: artifacts.require_free(out))
    roles = {
        "completion": completion,
        "outcome": outcome,
        "prompt": prompt,
        "propensity": propensity,
        "weight": weight,
        "group": group,
        "trials": trials,
    }
    fit = _fitted(tuner, data, roles, reward_model, drop_incomplete, out)
    named = {"method": method, "settings": tuner, "data": data, "roles": roles}
    once(lambda: _kept(fit, out, named))
    if strict and worst(fit.findings) is Verdict.FAIL:
        raise typer.Exit(1)


def _kept(fit: PolicyFit, out: Path, named: dict[str, Any]) -> None:
    """Show the section, move it and the model to ``out``, and clear the folder of the training."""
    section, model = fit.section("policy"), fit.model_folder
    show_section(section)
    given.keep(section, out, named, lambda folder: shutil.copytree(model, folder / "model"))
    shutil.rmtree(fit.folder)
    console.print(f"model: {out / 'model'}", markup=False, soft_wrap=True)


def _fitted(
    tuner: Any,
    data: str,
    roles: dict[str, str | None],
    reward_model: Path | None,
    drop_incomplete: bool,
    out: Path,
) -> PolicyFit:
    work = out.with_name(f"{out.name}.training")
    progress = sys.stderr.isatty()
    if isinstance(tuner, PPO | GRPO | RLOO):
        prompts = _prompts(data, roles["prompt"])
        return tuner.fit(prompts, work, reward=_loaded(reward_model), progress=progress)
    if isinstance(tuner, PairedDPO):
        pairs, propensity = _pairs(data, roles, drop_incomplete)
        preference = _preference(_loaded(reward_model))
        given_by = {"preference_model": preference, "log_propensity": propensity}
        return tuner.fit(pairs, work, **given_by, progress=progress)
    if isinstance(tuner, DPO):
        pairs, _ = _pairs(data, roles, drop_incomplete)
        return tuner.fit(pairs, work, progress=progress)
    logs = _logs(data, roles, drop_incomplete)
    if isinstance(tuner, CausalPreference):
        model = None if reward_model is None else _loaded(reward_model).expected_outcome
        return tuner.fit(logs, work, outcome_model=model, progress=progress)
    return tuner.fit(logs, work, progress=progress)


def _logs(data: str, roles: dict[str, str | None], drop_incomplete: bool) -> Logs:
    for name in ("completion", "outcome"):
        if roles[name] is None:
            raise SettingsError(f"Name the column that holds the {name}: --{name} COLUMN.")
    named: dict[str, Any] = {name: column for name, column in roles.items() if column}
    return Logs.read(data, Roles(**named), drop_incomplete=drop_incomplete)


def _pairs(
    data: str, roles: dict[str, str | None], drop_incomplete: bool
) -> tuple[Pairs, np.ndarray | None]:
    """Return pairs, read or made within groups, and how likely each was, if a column says so."""
    column = roles["propensity"]
    if roles["completion"] is None:
        return Pairs.read(data), None if column is None else _numbers(data, column)
    logs = _logs(data, roles, drop_incomplete)
    pairs = logs.pairs()
    if len(pairs) == 0:
        raise InputError("No two rows of a group differ in text and outcome: there is no pair.")
    if column is None:
        return pairs, None
    each = log_propensities(logs.numbers(column), column)
    return pairs, each[pairs.rows].sum(axis=1)


def _numbers(data: str, column: str) -> np.ndarray:
    table = read_table(data)
    if column not in table.column_names:
        raise ColumnNotFound(f"No column {column!r}; {nearest(column, table.column_names)}")
    return numeric(column, table[column])


def _prompts(data: str, column: str | None) -> list[str] | None:
    """Return the prompts; without a column the policy writes texts of their own."""
    table = read_table(data)
    if column is None:
        return None
    if column not in table.column_names:
        raise ColumnNotFound(f"No column {column!r}; {nearest(column, table.column_names)}")
    return table[column].to_pylist()


def _loaded(folder: Path | None) -> RewardModel:
    if folder is None:
        raise SettingsError("This method needs a reward model: --reward-model FOLDER.")
    return RewardModel.load(folder)


def _preference(model: RewardModel) -> Any:
    """Return P(first wins) of a reward in log-odds, as `reward fit --method pairwise` fits it."""
    if model.units != "log-odds":
        raise SettingsError(
            f"The reward model is in {model.units}, and a preference model must be in log-odds. "
            "Fit it with `causalign reward fit --method pairwise`."
        )

    def preference(prompts: Any, first: Any, second: Any) -> np.ndarray:
        return expit(model(prompts, first) - model(prompts, second))

    return preference
