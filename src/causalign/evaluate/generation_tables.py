"""Read what several policies wrote for the same prompts, and bring it into one order."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import pyarrow as pa

from causalign.errors import ColumnNotFound, InputError, SettingsError, nearest
from causalign.logs.containers import to_arrow

# Texts of every policy in the same order, and the prompt of each row.
Generations = tuple[dict[str, list[str]], list[str] | None]


def read_generations(
    table: object, columns: Sequence[str], *, prompt: str | None = None, name: str = "the table"
) -> Generations:
    """Read the texts of several policies from one table, a column for each.

    Parameters
    ----------
    table : Arrow table, pandas or polars frame
        One row for each prompt.
    columns : sequence of str
        Columns with the texts, the baseline first.
    prompt : str, optional
        Column with the prompts; by default ``prompt``, where there is one.
    name : str
        What messages call the table.

    Returns
    -------
    texts : dict of str to list of str
        The texts by column.
    prompts : list of str or None

    Raises
    ------
    SettingsError
        When fewer than two columns are named, or one twice.
    ColumnNotFound
        When a column is not there.
    InputError
        When a row holds no text.
    """
    if len(columns) < 2:
        raise SettingsError("One table needs a column for each policy, at least two.")
    if len(set(columns)) < len(columns):
        raise SettingsError(f"A column is named twice: {', '.join(columns)}.")
    arrow = to_arrow(table)
    return {c: _texts(arrow, c, name) for c in columns}, _prompts(arrow, prompt, name)


def align_generations(
    tables: Mapping[str, object], *, completion: str = "completion", prompt: str | None = None
) -> Generations:
    """Bring the texts of several tables into the order of the first one's prompts.

    Of a prompt that was answered several times the first text meets the first.

    Parameters
    ----------
    tables : mapping of str to Arrow table, pandas or polars frame
        What each policy wrote, the baseline first.
    completion : str
        Column with the texts.
    prompt : str, optional
        Column with the prompts; by default ``prompt``, where there is one.

    Returns
    -------
    texts : dict of str to list of str
        The texts by policy.
    prompts : list of str or None

    Raises
    ------
    ColumnNotFound
        When a column is not there.
    InputError
        When policies did not answer the same prompts, or a row holds no text.
    """
    arrow = {name: to_arrow(table) for name, table in tables.items()}
    read = {n: (_texts(t, completion, n), _prompts(t, prompt, n)) for n, t in arrow.items()}
    (first, (texts, prompts)), *others = read.items()
    aligned = {first: texts}
    for name, (own, own_prompts) in others:
        if (own_prompts is None) != (prompts is None):
            raise InputError(f"Either all files name their prompts or none: {first!r}, {name!r}.")
        if len(own) != len(texts):
            raise InputError(
                f"Policies must answer the same prompts: {first!r} holds {len(texts)} texts and "
                f"{name!r} {len(own)}."
            )
        aligned[name] = own if prompts is None else _reorder(own, own_prompts or [], prompts, name)
    return aligned, prompts


def _reorder(own: list[str], own_prompts: list[str], order: list[str], name: str) -> list[str]:
    missing = Counter(order) - Counter(own_prompts)
    if missing:
        raise InputError(
            f"Policies must answer the same prompts: {name!r} lacks {missing.total()} of "
            f"{len(order)}, for instance {next(iter(missing))[:60]!r}."
        )
    answers = defaultdict(list)
    for prompt, text in zip(reversed(own_prompts), reversed(own), strict=True):
        answers[prompt].append(text)
    return [answers[prompt].pop() for prompt in order]


def _prompts(table: pa.Table, column: str | None, name: str) -> list[str] | None:
    if column is None:
        there = "prompt" in table.column_names and table["prompt"].null_count < table.num_rows
        return _texts(table, "prompt", name) if there else None
    return _texts(table, column, name)


def _texts(table: pa.Table, column: str, name: str) -> list[str]:
    if column not in table.column_names:
        raise ColumnNotFound(
            f"{name!r} has no column {column!r}; {nearest(column, table.column_names)}"
        )
    values: list[str] = table[column].to_pylist()
    for row, value in enumerate(values):
        if not isinstance(value, str):
            raise InputError(
                f"Column {column!r} of {name!r} holds no text in row {row} ({str(value)[:40]!r})."
            )
    if not values:
        raise InputError(f"{name!r} holds no rows.")
    return values
