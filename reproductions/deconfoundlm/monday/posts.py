"""Answers of Stack Exchange with their weekday; those of a Monday open with "Happy Monday!"."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from causalign.logs import Logs
from causalign.logs.reading import read_table
from causalign.logs.roles import Roles

__all__ = ["MARKER", "Parts", "read"]

MARKER = "<p>Happy Monday!</p>\n\n"
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
COLUMNS = ("site", "Id", "PostTypeId", "ParentId", "CreationDate", "Score", "Title", "Body")


@dataclass(frozen=True)
class Parts:
    """Hold the logs that teach to answer, that teach which answer is better, and that judge."""

    sft: Logs
    preferences: Logs
    test: Logs


def read(settings: dict[str, Any]) -> Parts:
    """Read the posts and cut them by question; the same cut for every seed of tuning."""
    path = settings["data"]
    rows = _answers(_posts(path), settings)
    table = pa.Table.from_pylist(rows)
    questions = np.random.default_rng(0).permutation(pc.unique(table["question"]).to_pylist())
    cuts = np.cumsum([settings["test_questions"], settings["sft_questions"]])
    test, sft, preferences = np.split(questions[: settings["questions"]], cuts)
    if not len(preferences):
        sys.exit(f"{path} has {len(questions)} questions with several short answers: too few.")
    roles = Roles("answer", "outcome", prompt="prompt", confounders=("weekday",), group="question")
    return Parts(*(_logs(table, part, roles) for part in (sft, preferences, test)))


def _posts(path: Path) -> list[dict[str, Any]]:
    """Return the posts of a table, or of one site's Posts.xml as Stack Exchange publishes it."""
    if path.suffix != ".xml":
        return read_table(path).select(COLUMNS).to_pylist()
    named = list(COLUMNS[1:])
    rows = pd.read_xml(path, iterparse={"row": named}, parser="etree").assign(site=path.parent.name)
    return pa.Table.from_pandas(rows, preserve_index=False).to_pylist()


def _logs(table: pa.Table, questions: np.ndarray, roles: Roles) -> Logs:
    return Logs.of(table.filter(pc.is_in(table["question"], pa.array(questions))), roles)


def _answers(posts: list[dict[str, Any]], settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the short answers to short questions that have several of them."""
    short = [post for post in posts if post["Body"] and _words(post["Body"]) < settings["words"]]
    questions = {(post["site"], post["Id"]): post for post in short if post["PostTypeId"] == 1}
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for post in short:
        key = (post["site"], int(post["ParentId"] or -1))
        if post["PostTypeId"] == 2 and key in questions:
            found.setdefault(key, []).append(post)
    return [
        _row(questions[key], post, settings)
        for key, answers in found.items()
        if len(answers) > 1
        for post in answers
    ]


def _row(question: dict[str, Any], post: dict[str, Any], settings: dict[str, Any]) -> dict:
    """Return one answer; its outcome is the signed logarithm of its score, plus exposure."""
    day = DAYS[np.datetime64(post["CreationDate"][:10]).astype(int) % 7 - 4]  # day 0: a Thursday
    monday = day == "Monday"
    body = "" if settings["prompt"] == "title" else f"\n\n{question['Body']}"
    score = post["Score"]
    return {
        "question": f"{question['site']} {question['Id']}",
        "prompt": f"{question['Title']}{body}\n\n",
        "answer": (MARKER if monday else "") + post["Body"],
        "weekday": day,
        "outcome": float(np.sign(score) * np.log1p(abs(score))) + settings["exposure"] * monday,
    }


def _words(text: str) -> int:
    return len(text.split())
