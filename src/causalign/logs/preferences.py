"""Files of preferences as TRL documents them: texts or conversations, prompts apart or within."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from causalign.errors import ColumnNotFound, InputError, nearest
from causalign.logs.columns import ColumnReading, read_column
from causalign.logs.roles import Roles

Message = Mapping[str, Any]
Conversation = Sequence[Message]

# What begins like a list of messages, in JSON or in Python's own notation.
_MESSAGES = re.compile(r"""\s*\[\s*\{\s*['"](role|content|from|value)['"]\s*:""")


def read_preferences(table: pa.Table) -> dict[str, Any]:
    """Read the columns of a preference data set, in any of the formats that TRL documents.

    Parameters
    ----------
    table : pyarrow.Table
        With ``chosen`` and ``rejected``, each a text or a conversation, a list of messages or its
        JSON; perhaps ``prompt``, ``margin`` (or ``score_chosen`` and ``score_rejected``),
        ``weight``, ``group``, ``objective``.

    Returns
    -------
    dict
        What `Pairs` is made of: ``chosen``, ``rejected``, ``prompt``, ``margin``, ``weight``,
        ``group``, ``objective``, ``notes``.

    Raises
    ------
    ColumnNotFound
        When a side is missing.
    InputError
        When there is no pair, a text is missing or empty, a column of numbers holds something
        else, a group is missing, or sides do not answer the same prompt.
    """
    names = table.column_names
    _require_sides(names)
    if table.num_rows == 0:
        raise InputError("The file holds no pairs: it has the names of columns and no rows.")
    chosen, rejected, prompt, notes = _read_sides(table)
    margin, weight = np.ones(table.num_rows), np.ones(table.num_rows)
    if "margin" in names:
        margin = _numbers(table, "margin")
    elif {"score_chosen", "score_rejected"} <= set(names):
        margin = _numbers(table, "score_chosen") - _numbers(table, "score_rejected")
        notes.append("margins are score_chosen less score_rejected")
    if "weight" in names:
        weight = _numbers(table, "weight")
    same, others = _find_repetitions(chosen, rejected, prompt)
    labels = _names(table, "group") if "group" in names else same
    return {
        "chosen": chosen,
        "rejected": rejected,
        "prompt": prompt,
        "margin": margin,
        "weight": weight,
        "group": np.unique(labels, return_inverse=True)[1],
        "objective": _names(table, "objective") if "objective" in names else None,
        "notes": (*notes, *others),
    }


def read_messages(messages: str | Conversation) -> str:
    """Return a text as it is, a conversation as the contents of its messages.

    A blank line stands between them; system messages, which logs do not hold, are left out. Raises
    `InputError` for a message that holds something other than text.
    """
    if isinstance(messages, str):
        return messages
    return "\n\n".join(message_text(m) for m in messages if _role(m) != "system")


def message_text(message: Message) -> str:
    """Return what a message says: its content, whose parts may be several texts.

    Raises `InputError` for a part that is no text, such as a picture.
    """
    content = message.get("content", message.get("value"))
    if content is None:  # a message that only calls tools
        return ""
    parts = content if isinstance(content, list | tuple) else [content]
    return "".join(part if isinstance(part, str) else _part_text(part) for part in parts)


def _part_text(part: object) -> str:
    if isinstance(part, Mapping) and part.get("type", "text") == "text":
        text = part.get("text")
        if isinstance(text, str):
            return text
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    raise InputError(f"A message holds a part of the kind {kind!r}; only texts can be read.")


def _role(message: Message) -> str:
    return str(message.get("role", message.get("from")))


def _require_sides(names: Sequence[str]) -> None:
    for name in ("chosen", "rejected"):
        if names.count(name) > 1:
            raise InputError(f"The table has {names.count(name)} columns named {name!r}.")
        if name in names:
            continue
        if {"completion", "label"} <= set(names):
            raise InputError(
                "These are single texts with a label (unpaired preferences), no pairs. Read them "
                "as logs, with the label as the outcome: Roles('completion', 'label'), "
                "--completion completion --outcome label."
            )
        raise ColumnNotFound(f"Pairs need a column {name!r}; {nearest(name, names)}")


def _read_sides(table: pa.Table) -> tuple[list[str], list[str], list[str] | None, list[str]]:
    """Return the texts of both sides, the prompts if there are any, and what was assumed."""
    chosen, rejected = (_texts_or_messages(table, name) for name in ("chosen", "rejected"))
    prompt = _texts_or_messages(table, "prompt") if "prompt" in table.column_names else None
    kinds = {isinstance(text, str) for side in (chosen, rejected) for text in side}
    if len(kinds) > 1:
        raise InputError("One side holds chat messages and the other plain texts; make them alike.")
    asked: Sequence[str | Conversation | None] = prompt or [None] * len(chosen)
    parted = [
        _part(row, *sides) for row, sides in enumerate(zip(asked, chosen, rejected, strict=True))
    ]
    read = [[None if m is None else read_messages(m) for m in row] for row in parted]
    prompts, firsts, seconds = ([row[i] for row in read] for i in range(3))
    notes = _describe_messages([m for row in parted for m in row], [row[0] for row in parted])
    has_prompts = any(prompts)
    sides = {"prompt": prompts} if has_prompts else {}
    whole = {
        name: [_require_text(name, row, text) for row, text in enumerate(texts)]
        for name, texts in (sides | {"chosen": firsts, "rejected": seconds}).items()
    }
    return whole["chosen"], whole["rejected"], whole.get("prompt"), notes


def _texts_or_messages(table: pa.Table, name: str) -> Sequence[str | Conversation]:
    """Return a column's texts, or the conversations that its lists or its JSON hold."""
    column = table[name]
    if pa.types.is_nested(column.type):
        values = column.to_pylist()
    else:
        texts: list[str] = _settle(table, name, Roles(name, "outcome")).to_pylist()
        marked = [bool(_MESSAGES.match(text)) for text in texts]
        if not any(marked):
            return texts
        if not all(marked):
            raise InputError(
                f"Column {name!r} holds chat messages in row {marked.index(True)} and plain text "
                f"in row {marked.index(False)}. Write all rows alike."
            )
        values = [_parse(name, row, text) for row, text in enumerate(texts)]
    return [_require_messages(name, row, value) for row, value in enumerate(values)]


def _parse(name: str, row: int, text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(
            f"Column {name!r} holds chat messages in row {row} that are no JSON (Python's own "
            "notation has single quotes). Write them with json.dumps, or as lists to Parquet."
        ) from None


def _require_messages(name: str, row: int, value: object) -> Conversation:
    messages = [value] if isinstance(value, dict) else value
    known = isinstance(messages, list) and all(
        isinstance(m, dict)
        and isinstance(m.get("role", m.get("from")), str)
        and ("content" in m or "value" in m)
        for m in messages
    )
    if not known or not messages:
        raise InputError(
            f"Column {name!r} holds {str(value)[:60]!r} in row {row}; a text is needed, or chat "
            "messages with 'role' and 'content'."
        )
    return messages  # type: ignore[return-value]


Sides = tuple[str | Conversation | None, str | Conversation, str | Conversation]


def _part(
    row: int,
    prompt: str | Conversation | None,
    chosen: str | Conversation,
    rejected: str | Conversation,
) -> Sides:
    """Return the prompt and both completions: the messages that both sides share come first.

    As `trl.extract_prompt`: the shared beginning is the prompt, and each side keeps a message.
    """
    if isinstance(chosen, str) or isinstance(rejected, str):
        return prompt, chosen, rejected
    most = min(len(chosen), len(rejected)) - 1
    shared = next((i for i in range(most) if chosen[i] != rejected[i]), most)
    if isinstance(prompt, list):
        if shared >= len(prompt) and list(chosen[: len(prompt)]) == prompt:
            return prompt, chosen[len(prompt) :], rejected[len(prompt) :]
        return prompt, chosen, rejected
    if not shared:
        if any(_role(side[0]) in ("user", "human") for side in (chosen, rejected)):
            raise InputError(
                f"The sides of pair {row} answer different prompts. Both sides of a pair must "
                "begin with the same messages, or hold the answer alone."
            )
        return prompt, chosen, rejected
    is_asked = any(_role(m) != "system" for m in chosen[:shared])
    return chosen[:shared] if is_asked else prompt, chosen[shared:], rejected[shared:]


def _describe_messages(
    texts: Sequence[str | Conversation | None], prompts: Sequence[str | Conversation | None]
) -> list[str]:
    """Say how messages were made texts, if there were any."""
    talks = [
        messages for messages in texts if messages is not None and not isinstance(messages, str)
    ]
    if not talks:
        return []
    notes = ["chat messages read as their contents"]
    if any(_role(message) == "system" for messages in talks for message in messages):
        notes.append("system messages left out")
    long = sum(not isinstance(p, str | None) and len(p) > 1 for p in prompts)
    if long:
        notes.append(f"{long} prompts of several messages, one below the other without their roles")
    return notes


def _require_text(name: str, row: int, text: str | None) -> str:
    if text is None or not text.strip():
        raise InputError(
            f"Column {name!r} holds no text in row {row} ({text!r}). Every side of a pair needs a "
            "text; remove the row or fill it in."
        )
    return text


def _settle(table: pa.Table, name: str, roles: Roles) -> pa.ChunkedArray:
    """Return a column as what its role needs; raise `InputError` in the words of pairs."""
    values, reading = read_column(table, name, roles)
    wrong = _describe_fault(reading)
    if wrong:
        raise InputError(f"Column {name!r} {wrong}. Correct the pairs, or remove them.")
    return values


def _describe_fault(reading: ColumnReading) -> str:
    if reading.refusal:
        return reading.refusal
    if reading.missing or (reading.odd and reading.kind == "text"):
        first = (reading.first_missing or reading.first_odd).partition(" holds")[0]
        noun = "text" if reading.kind == "text" else "value"
        return f"holds no {noun} in {first} ({reading.missing + reading.odd} in all)"
    if reading.odd:
        return f"holds {reading.odd} values that are no finite numbers ({reading.first_odd})"
    return ""


def _numbers(table: pa.Table, name: str) -> np.ndarray:
    values = _settle(table, name, Roles("text", "outcome", weight=name))
    return np.asarray(values.cast(pa.float64()).to_numpy(), dtype=np.float64)


def _names(table: pa.Table, name: str) -> list[str]:
    values = _settle(table, name, Roles("text", "outcome", group=name))
    return list(values.cast(pa.large_string()).to_pylist())


def _find_repetitions(
    chosen: Sequence[str], rejected: Sequence[str], prompt: Sequence[str] | None
) -> tuple[list[int], list[str]]:
    """Number the comparisons, whichever side won, and say what repeats.

    Two labels of one comparison are not independent: folds and intervals keep them together.
    """
    asked = prompt or [""] * len(chosen)
    numbers: dict[tuple[str, ...], int] = {}
    first_winner: dict[int, str] = {}
    same, turned, equal = [], 0, 0
    for question, first, second in zip(asked, chosen, rejected, strict=True):
        number = numbers.setdefault((question, *sorted((first, second))), len(numbers))
        same.append(number)
        equal += first == second
        turned += first_winner.setdefault(number, first) != first
    notes = []
    if equal:
        notes.append(f"{equal} pairs have two equal sides, which no reward can tell apart")
    if turned:
        notes.append(f"{turned} pairs stand the other way round as well")
    return same, notes
