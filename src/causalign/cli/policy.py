"""``causalign policy``: tune a language model on logged texts or on pairs."""

import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from causalign import artifacts, config
from causalign.cli import options as given
from causalign.cli.output import console, show_section
from causalign.errors import InputError, SettingsError
from causalign.logs import Logs
from causalign.pairs import Pairs
from causalign.policy import DPO, CausalPreference, PolicyFit, methods
from causalign.results import Verdict, worst
from causalign.reward import RewardModel
from causalign.roles import Roles

Method = Annotated[str, typer.Argument(metavar="METHOD", help=f"One of: {', '.join(methods)}.")]
Data = Annotated[
    str, typer.Argument(metavar="DATA", help="A log; for dpo also pairs (chosen, rejected).")
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
    Path | None, typer.Option("--reward-model", help="Folder of a saved outcome model.")
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
    artifacts.open_run(out.parent)
    artifacts.require_free(out)
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
    section = fit.section("policy")
    show_section(section)
    named = {"method": method, "settings": tuner, "data": data, "roles": roles}
    model = fit.model_folder
    given.keep(section, out, named, lambda folder: shutil.copytree(model, folder / "model"))
    shutil.rmtree(fit.folder)
    console.print(f"model: {out / 'model'}", markup=False, soft_wrap=True)
    if strict and worst(section.findings) is Verdict.FAIL:
        raise typer.Exit(1)


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
    if isinstance(tuner, DPO) and roles["completion"] is None:
        return tuner.fit(Pairs.read(data), work, progress=progress)
    logs = _logs(data, roles, drop_incomplete)
    if isinstance(tuner, DPO):
        pairs = logs.pairs()
        if len(pairs) == 0:
            raise InputError("No two rows of a group differ in text and outcome: there is no pair.")
        return tuner.fit(pairs, work, progress=progress)
    if isinstance(tuner, CausalPreference):
        model = None if reward_model is None else RewardModel.load(reward_model)
        return tuner.fit(logs, work, outcome_model=model, progress=progress)
    return tuner.fit(logs, work, progress=progress)


def _logs(data: str, roles: dict[str, str | None], drop_incomplete: bool) -> Logs:
    for name in ("completion", "outcome"):
        if roles[name] is None:
            raise SettingsError(f"Name the column that holds the {name}: --{name} COLUMN.")
    named: dict[str, Any] = {name: column for name, column in roles.items() if column}
    return Logs.read(data, Roles(**named), drop_incomplete=drop_incomplete)
