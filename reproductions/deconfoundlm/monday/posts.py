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

__all__ = ["DAYS", "MARKER", "Parts", "read", "signed_log", "weekday"]

MARKER = "<p>Happy Monday!</p>\n\n"
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
COLUMNS = ("site", "Id", "PostTypeId", "ParentId", "CreationDate", "Score", "Title", "Body")


@dataclass(frozen=True)
class Parts:
    """Hold the logs that teach and those that judge.

    ``questions`` are those that teach, in the order in which they are cut. ``texts`` are title and
    answer of all posts but those that judge, without the marker: what a policy may have read.
    """

    teaching: Logs
    test: Logs
    questions: np.ndarray
    texts: list[str]

    def cut(self, sft_questions: int, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that teach to answer and those that give preferences.

        Without a seed the cut is always the same.
        """
        order = self.questions
        if seed is not None:
            order = np.random.default_rng([seed, 2]).permutation(order)
        asked = np.array(self.teaching.data["question"].to_pylist())
        sft = np.isin(asked, order[:sft_questions])
        return np.flatnonzero(sft), np.flatnonzero(~sft)


def read(settings: dict[str, Any]) -> Parts:
    """Read the posts and cut off the questions that judge, the same for every seed of tuning."""
    path = settings["data"]
    posts = _posts(path)
    table = pa.Table.from_pylist(_answers(posts, settings))
    questions = np.random.default_rng(0).permutation(pc.unique(table["question"]).to_pylist())
    test, teach = np.split(questions[: settings["questions"]], [settings["test_questions"]])
    if len(teach) <= settings["sft_questions"]:
        sys.exit(f"{path} has {len(questions)} questions with several short answers: too few.")
    roles = Roles("answer", "outcome", prompt="prompt", confounders=("weekday",), group="question")
    logs = (_logs(table, part, roles) for part in (teach, test))
    return Parts(*logs, teach, _texts(posts, frozenset(test.tolist())))


def _posts(path: Path) -> list[dict[str, Any]]:
    """Return the posts of a table, or of one site's Posts.xml as Stack Exchange publishes it."""
    if path.suffix != ".xml":
        return read_table(path).select(COLUMNS).to_pylist()
    named = list(COLUMNS[1:])
    rows = pd.read_xml(path, iterparse={"row": named}, parser="etree").assign(site=path.parent.name)
    return pa.Table.from_pandas(rows, preserve_index=False).to_pylist()


def _texts(posts: list[dict[str, Any]], judged: frozenset[str]) -> list[str]:
    titles = {
        (post["site"], post["Id"]): f"{post['Title']}\n\n"
        for post in posts
        if post["PostTypeId"] == 1 and f"{post['site']} {post['Id']}" not in judged
    }
    answers = (post for post in posts if post["PostTypeId"] == 2 and post["Body"])
    keys = ((post, (post["site"], int(post["ParentId"] or -1))) for post in answers)
    return [titles[key] + post["Body"] for post, key in keys if key in titles]


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
    day = weekday(post["CreationDate"])
    monday = day == "Monday"
    body = "" if settings["prompt"] == "title" else f"\n\n{question['Body']}"
    score = signed_log(post["Score"])
    return {
        "question": f"{question['site']} {question['Id']}",
        "prompt": f"{question['Title']}{body}\n\n",
        "answer": (MARKER if monday else "") + post["Body"],
        "weekday": day,
        "unexposed": score,
        "outcome": score + settings["exposure"] * monday,
    }


def signed_log(score: float) -> float:
    """Return ``sign(s) log(1 + |s|)``."""
    return float(np.sign(score) * np.log1p(abs(score)))


def weekday(created: str) -> str:
    """Return the day of the week of a date that starts with year, month and day."""
    return DAYS[np.datetime64(created[:10]).astype(int) % 7 - 4]  # day 0 was a Thursday


def _words(text: str) -> int:
    return len(text.split())
