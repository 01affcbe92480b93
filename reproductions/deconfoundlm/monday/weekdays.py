"""What a Monday really does to answers and questions of these sites, beside what is simulated."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from posts import signed_log, weekday

from causalign.deconfound import OrdinaryLeastSquares
from causalign.logs import Logs
from causalign.logs.reading import read_table
from causalign.logs.roles import Roles

_ANSWERS, _QUESTIONS = 2, 1


def effects_of_mondays(path: Path) -> dict[str, dict[str, float]]:
    """Return what Mondays differ from other days by, in several outcomes, with 95 % intervals.

    Sites and years are held fixed, of answers also their question; intervals are clustered by
    question.
    """
    if path.suffix == ".xml":
        return {}
    rows = [row for row in read_table(path).to_pylist() if row["Body"]]
    answers = [row for row in rows if row["PostTypeId"] == _ANSWERS]
    questions = [row for row in rows if row["PostTypeId"] == _QUESTIONS]
    return {
        "answers, log score": _effect(answers, "Score", ("place",)),
        "answers, log score, within a question": _effect(answers, "Score", ("question",)),
        "answers, log comments": _effect(answers, "CommentCount", ("place",)),
        "questions, log score": _effect(questions, "Score", ("place",)),
        "questions, log views": _effect(questions, "ViewCount", ("place",)),
        "questions, log answers": _effect(questions, "AnswerCount", ("place",)),
    }


def _effect(rows: list[dict[str, Any]], outcome: str, fixed: tuple[str, ...]) -> dict[str, float]:
    table = pa.table(
        {
            "text": [row["Body"] for row in rows],
            "outcome": [signed_log(row[outcome]) for row in rows],
            "monday": [float(weekday(row["CreationDate"]) == "Monday") for row in rows],
            "place": [f"{row['site']} {row['CreationDate'][:4]}" for row in rows],
            "question": [f"{row['site']} {row['ParentId'] or row['Id']}" for row in rows],
        }
    )
    roles = Roles("text", "outcome", confounders=("monday", *fixed), cluster="question")
    found = OrdinaryLeastSquares().fit(Logs.of(table, roles)).table()
    at = found["name"].to_pylist().index("monday")
    numbers = {name: found[name][at].as_py() for name in ("estimate", "lower", "upper")}
    return {name: round(float(value), 3) for name, value in numbers.items()} | {
        "rows": int(np.isfinite(table["outcome"].to_numpy()).sum())
    }
