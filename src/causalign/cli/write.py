"""``causalign write``: the best of n candidates for each prompt, chosen by a reward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.produce import produce, require_writable

PromptsPath = Annotated[
    str | None,
    typer.Argument(
        metavar="PROMPTS",
        help="A table with a column of prompts. Without it texts are written for no prompt: "
        "--texts says how many.",
    ),
]
WriterName = Annotated[
    str | None,
    typer.Option(
        "--writer",
        help="smollm2, a model folder, owner/name on a hub, or the address of a server that "
        "speaks as OpenAI's does: http://localhost:8000/v1. Its key comes from the environment "
        "variable OPENAI_API_KEY.",
    ),
]
WriterCommand = Annotated[
    str | None,
    typer.Option("--writer-command", help="Program that writes: JSON lines in and out."),
]
CandidatesFile = Annotated[
    str | None,
    typer.Option(
        "--candidates",
        metavar="FILE",
        help="Table with a candidate a row, in the column `completion` (--set completion=COLUMN).",
    ),
]
Reward = Annotated[Path, typer.Option("--reward", help="Folder of the reward model that chooses.")]
LogFile = Annotated[
    str | None,
    typer.Option(
        "--logs",
        help="What the reward was fitted on: a folder that causalign wrote (runs/x/2-deconfound), "
        "or a file with --completion and --outcome. Tells the nearest logged texts, and what the "
        "choice is worth.",
    ),
]
Limits = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        help="By how much a guardrail may differ from its mean in the log: "
        "'complaints <= 0.01' (repeatable).",
    ),
]
MostLoss = Annotated[
    float | None,
    typer.Option(
        "--most-loss",
        help="By how much an audience may earn less than it did in the log; for a reward of "
        "for-audience.",
    ),
]
Column = Annotated[str | None, typer.Option("--completion", help="Column of the log's texts.")]
Outcome = Annotated[str | None, typer.Option("--outcome", help="Column of the log's outcome.")]


def command(
    context: typer.Context,
    reward_model: Reward,
    out: given.NeededOut,
    prompts: PromptsPath = None,
    writer: WriterName = None,
    writer_command: WriterCommand = None,
    candidates: CandidatesFile = None,
    n: Annotated[int, typer.Option("--n", help="Candidates for each prompt.")] = 16,
    caution: Annotated[
        float, typer.Option("--caution", help="Standard errors to take off the reward.")
    ] = 1.0,
    limit: Limits = None,
    most_loss: MostLoss = None,
    texts: Annotated[int, typer.Option("--texts", help="How many, without prompts.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Of the writer's draws.")] = 0,
    prompt: Annotated[str, typer.Option("--prompt", help="Column of the prompts.")] = "prompt",
    settings: given.Settings = None,
    logs: LogFile = None,
    completion: Column = None,
    outcome: Outcome = None,
    guardrail: given.Guardrails = None,
    weight: given.Weight = None,
    group: given.Group = None,
    cluster: given.Cluster = None,
    trials: given.Trials = None,
    strict: given.Strict = False,
) -> None:
    """Write texts: the best of n candidates by a reward, among those that its log covers.

    A candidate outside the log's support is refused, with the reason and the nearest logged text.
    A killed command goes on: what the writer answered is not asked again. `--set` gives settings of
    the writer: `--set temperature=0.8`, `--set model=NAME` for a server.

    Example: `causalign write prompts.csv --writer smollm2 --reward runs/demo/3-reward/deconfounded
    --logs runs/demo/2-deconfound --n 16 --out runs/written`
    """
    source = _make_writer(writer, writer_command, candidates, prompt, settings)
    require_writable(out, prompts, reward_model, candidates, logs)
    chooser = ca.policy.BestOf(
        n=n, caution=caution, limits=limit or (), most_loss=most_loss, seed=seed
    )
    reward = ca.reward.RewardModel.load(reward_model)
    asked = _read_prompts(context, prompts, prompt, texts)
    chooser.check(reward, asked)
    columns = {"weight": weight, "group": group, "trials": trials}
    columns["prompt"] = prompt if reward.reads_prompt else None
    log = _read_log(logs, completion, outcome, cluster, guardrail, columns)

    def work(place: Path) -> tuple[ca.results.Section, Callable[[Path], object]]:
        progress = given.shows_progress()
        best = chooser.write(source, reward, asked, logs=log, folder=place, progress=progress)
        return best.section(), best.save

    closing = {"texts": [out / "texts.parquet"]}
    produce(context, work, out, strict=strict, shown=_without_candidates, closing=lambda: closing)


def _without_candidates(section: ca.results.Section) -> ca.results.Section:
    """Return the section without the long table, which stands in the folder."""
    shown = {name: table for name, table in section.tables.items() if name != "candidates"}
    return replace(section, tables=shown)


def _make_writer(
    name: str | None,
    command: str | None,
    candidates: str | None,
    prompt: str,
    settings: list[str] | None,
) -> ca.lm.Writer:
    """Return the one writer that is named; raise ``SettingsError`` for none, or several."""
    if sum(source is not None for source in (name, command, candidates)) != 1:
        raise ca.errors.SettingsError(
            "Name who offers candidates, one of: --writer, --writer-command, --candidates."
        )
    written: dict[str, object] = {}
    if command is not None:
        kind: type[ca.lm.Writer] = ca.lm.CommandWriter
        written = {"command": list(given.split_command("--writer-command", command))}
    elif candidates is not None:
        kind, written = ca.lm.FileWriter, {"path": candidates, "prompt": prompt}
    elif "://" in str(name):
        kind, written = ca.lm.ServerWriter, {"url": name}
    else:
        kind, written = ca.lm.LanguageModelWriter, {"model": name}
    return ca.config.construct(kind, ca.config.override(written, settings or ()))


def _read_prompts(
    context: typer.Context, path: str | None, column: str, texts: int
) -> list[str | None]:
    if path is None:
        if texts < 1:
            raise ca.errors.SettingsError(f"--texts must be at least 1; found {texts}.")
        return [None] * texts
    read = ca.logs.read_column(given.fetch(context, path), column, "prompts").to_pylist()
    empty = sum(prompt is None or not str(prompt).strip() for prompt in read)
    if empty or not read:
        what = f"{empty:,} rows without a prompt" if read else "no row"
        raise ca.errors.InputError(f"{path!r} has {what} in the column {column!r}.")
    return [str(prompt) for prompt in read]


def _read_log(
    path: str | None,
    completion: str | None,
    outcome: str | None,
    cluster: list[str] | None,
    guardrails: list[str] | None,
    columns: dict[str, str | None],
) -> ca.Logs | None:
    """Read the log that the reward was fitted on, if one is named."""
    if path is None:
        return None
    if completion is None and (Path(path) / "logs.json").is_file():
        return ca.Logs.load(path)
    roles = given.declare_roles(
        completion, outcome, cluster=cluster, guardrails=guardrails, **columns
    )
    return given.read_logs(path, roles)
