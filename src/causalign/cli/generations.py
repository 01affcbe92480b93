"""``causalign evaluate generations``: what did tuning change in what a policy writes?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

import causalign as ca
from causalign.cli import options as given
from causalign.cli.produce import produce, require_writable

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="A file of texts for each policy, the baseline first; or one file for all.",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="Column with the texts (default: completion). With one file: a column for each "
        "policy, the baseline first.",
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option("--prompt", help="Column with the prompts (default: prompt, where there is one)."),
]
JudgeFolder = Annotated[
    Path | None, typer.Option("--judge", help="Folder of a reward model that training never saw.")
]
JudgeCommand = Annotated[
    str | None,
    typer.Option(
        "--judge-command",
        help="Program that is asked about each pair in both orders: JSON lines in and out.",
    ),
]
Timeout = Annotated[
    float, typer.Option("--timeout", help="Seconds after which the program is stopped.")
]
Markers = Annotated[
    list[str] | None, typer.Option("--marker", help="Word or phrase to count (repeatable).")
]


def command(
    context: typer.Context,
    files: Files,
    column: Columns = None,
    prompt: Prompt = None,
    judge: JudgeFolder = None,
    judge_command: JudgeCommand = None,
    timeout: Timeout = 600.0,
    marker: Markers = None,
    out: given.Out = None,
) -> None:
    """Compare the texts of two or more policies for the same prompts with those of the first.

    Says how often a judge prefers each policy (every pair in both orders), how much more reward it
    earns, which markers became more frequent, and how length and diversity changed.

    Examples: `causalign evaluate generations before.parquet after.parquet --judge
    runs/reward/model --marker "happy monday"`;
    `causalign evaluate generations runs/demo/4-policy/generations.parquet --column before --column
    naive --column deconfounded`
    """
    require_writable(out, *files, judge)

    def work(place: Path) -> tuple[ca.results.Section, None]:
        del place  # a comparison is not continued
        texts, prompts = _read_generations(files, column or [], prompt)
        compared = ca.evaluate.compare_with_baseline(
            texts,
            prompts=prompts,
            judge=None if judge_command is None else _make_judge(judge_command, timeout),
            score=None if judge is None else ca.reward.RewardModel.load(judge),
            markers=marker or (),
        )
        return compared.section(), None

    produce(context, work, out)


def _read_generations(
    files: Sequence[str], columns: Sequence[str], prompt: str | None
) -> tuple[dict[str, list[str]], list[str] | None]:
    """Return the texts by policy, from a column each of one file or from a file each."""
    if len(files) == 1:
        if len(columns) < 2:
            raise ca.errors.SettingsError(
                "One file needs a --column for each policy, at least two; several files hold one "
                "policy each."
            )
        if len(set(columns)) < len(columns):
            raise ca.errors.SettingsError(f"A column is named twice: {', '.join(columns)}.")
        table = ca.logs.read_table(files[0])
        return ca.evaluate.read_generations(table, columns, prompt=prompt, name=files[0])
    if len(columns) > 1:
        raise ca.errors.SettingsError(
            "Several files share one --column; give it once, or give one file."
        )
    tables = {name: ca.logs.read_table(file) for name, file in _name_files(files).items()}
    completion = columns[0] if columns else "completion"
    return ca.evaluate.align_generations(tables, completion=completion, prompt=prompt)


def _name_files(files: Sequence[str]) -> dict[str, str]:
    """Return short names of the files: stems where they differ."""
    stems = [Path(file).stem for file in files]
    names = stems if len(set(stems)) == len(stems) else list(files)
    if len(set(names)) < len(names):
        raise ca.errors.SettingsError(f"A file is named twice: {', '.join(files)}.")
    return dict(zip(names, files, strict=True))


def _make_judge(command: str, timeout: float) -> ca.evaluate.CommandJudge:
    return ca.evaluate.CommandJudge(given.split_command("--judge-command", command), timeout)
