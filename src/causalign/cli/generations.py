"""``causalign evaluate generations``: what did tuning change in what a policy writes?"""

import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer

from causalign.cli import options as given
from causalign.cli.output import show_section
from causalign.errors import ColumnNotFound, InputError, SettingsError, nearest
from causalign.evaluate import CommandJudge, against_baseline
from causalign.lm import EmbeddingCache
from causalign.reading import read_table
from causalign.reward import RewardModel

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

# Texts of every policy in the same order, and the prompt of each row.
Written = tuple[dict[str, list[str]], list[str] | None]


def command(
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
    texts, prompts = _texts(files, column or [], prompt)
    program = None if judge_command is None else _program(judge_command, timeout)
    section = against_baseline(
        texts,
        prompts=prompts,
        judge=program,
        score=None if judge is None else _score(judge),
        markers=marker or (),
    ).section()
    show_section(section)
    settings = {"files": files, "columns": column, "prompt": prompt, "judge": judge}
    given.keep(section, out, {**settings, "judge_command": judge_command, "markers": marker})


def _texts(files: Sequence[str], columns: Sequence[str], prompt: str | None) -> Written:
    if len(files) == 1:
        if len(columns) < 2:
            raise SettingsError(
                "One file needs a --column for each policy, at least two; several files hold one "
                "policy each."
            )
        if len(set(columns)) < len(columns):
            raise SettingsError(f"A column is named twice: {', '.join(columns)}.")
        table = read_table(files[0])
        return {name: _column(table, name, files[0]) for name in columns}, _prompts(
            table, prompt, files[0]
        )
    if len(columns) > 1:
        raise SettingsError("Several files share one --column; give it once, or give one file.")
    tables = {name: read_table(file) for name, file in _names(files).items()}
    read = {
        name: (_column(t, columns[0] if columns else "completion", name), _prompts(t, prompt, name))
        for name, t in tables.items()
    }
    return _aligned(read)


def _aligned(read: dict[str, tuple[list[str], list[str] | None]]) -> Written:
    """Bring texts into the order of the baseline's prompts; of a prompt k texts meet in order."""
    (first, (texts, prompts)), *others = read.items()
    found = {first: texts}
    for name, (own, asked) in others:
        if (asked is None) != (prompts is None):
            raise InputError(f"Either all files name their prompts or none: {first!r}, {name!r}.")
        if len(own) != len(texts):
            raise InputError(
                f"Policies must answer the same prompts: {first!r} holds {len(texts)} texts and "
                f"{name!r} {len(own)}."
            )
        found[name] = own if prompts is None else _in_order(own, asked or [], prompts, name)
    return found, prompts


def _in_order(own: list[str], asked: list[str], wanted: list[str], name: str) -> list[str]:
    missing = Counter(wanted) - Counter(asked)
    if missing:
        raise InputError(
            f"Policies must answer the same prompts: {name!r} lacks {missing.total()} of "
            f"{len(wanted)}, for instance {next(iter(missing))[:60]!r}."
        )
    answers = defaultdict(list)
    for prompt, text in zip(reversed(asked), reversed(own), strict=True):
        answers[prompt].append(text)
    return [answers[prompt].pop() for prompt in wanted]


def _names(files: Sequence[str]) -> dict[str, str]:
    """Return short names of the files: stems where they differ."""
    stems = [Path(file).stem for file in files]
    names = stems if len(set(stems)) == len(stems) else list(files)
    if len(set(names)) < len(names):
        raise SettingsError(f"A file is named twice: {', '.join(files)}.")
    return dict(zip(names, files, strict=True))


def _prompts(table: pa.Table, name: str | None, file: str) -> list[str] | None:
    if name is None and ("prompt" not in table.column_names or _empty(table["prompt"])):
        return None
    return _column(table, name or "prompt", file)


def _empty(column: pa.ChunkedArray) -> bool:
    return bool(column.null_count == len(column))


def _column(table: pa.Table, name: str, file: str) -> list[str]:
    if name not in table.column_names:
        raise ColumnNotFound(
            f"{file!r} has no column {name!r}; {nearest(name, table.column_names)}"
        )
    values = table[name].to_pylist()
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise InputError(
                f"Column {name!r} of {file!r} holds no text in row {row} ({str(value)[:40]!r})."
            )
    if not values:
        raise InputError(f"{file!r} holds no rows.")
    return values


def _program(text: str, timeout: float) -> CommandJudge:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise SettingsError(f"--judge-command cannot be read as words: {error}.") from error
    return CommandJudge(words, timeout)


def _score(folder: Path) -> Any:
    model, cache = RewardModel.load(folder), EmbeddingCache()
    return lambda prompts, texts: model(prompts, texts, cache)
