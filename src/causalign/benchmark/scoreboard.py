"""What the benchmark found: bias, coverage, ranking and seconds of each estimator."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from causalign.artifacts import versions
from causalign.errors import ArtifactError
from causalign.files import write_json, write_whole
from causalign.results import Finding, Result, Section


@dataclass(frozen=True, slots=True)
class Answer:
    """Hold what one estimator said about one log, beside the truth.

    Parameters
    ----------
    design, estimator, seed, key : str, str, int, str
        Of which log; ``key`` is a hash of the settings of the design, its texts and the version.
    truth, effect, lower, upper, auc : float or None
        The true effect, the estimate, its interval, and how well unseen pairs were ordered; None
        where the estimator says nothing.
    seconds : float
    applies : bool
        Whether the estimator can be asked on such logs.
    refusal : str
        Why it gave no number.
    """

    design: str
    estimator: str
    seed: int
    key: str
    truth: float
    effect: float | None = None
    lower: float | None = None
    upper: float | None = None
    auc: float | None = None
    seconds: float = 0.0
    applies: bool = True
    refusal: str = ""

    @property
    def unit(self) -> tuple[str, str, int, str]:
        """What was asked: an answer to the same need not be asked for again."""
        return self.design, self.estimator, self.seed, self.key

    def line(self) -> str:
        """Return the answer as a line of JSON."""
        return json.dumps(asdict(self), allow_nan=False)


def read_answers(path: Path) -> dict[tuple[str, str, int, str], Answer]:
    """Return the answers in a file of JSON lines; one that was cut short is none."""
    answers = {}
    try:
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{str(path)!r} is no file of answers. Move it away.") from error
    for line in lines:
        try:
            answer = Answer(**json.loads(line))
        except (ValueError, TypeError):  # a killed run may leave half of a line
            continue
        answers[answer.unit] = answer
    return answers


@dataclass(frozen=True, slots=True)
class Score:
    """Hold how one estimator did on the logs of one design: a row of the table."""

    design: str
    estimator: str
    draws: int
    truth: float
    bias: float | None
    bias_error: float | None
    rmse: float | None
    covered: int
    intervals: int
    auc: float | None
    seconds: float
    refused: int

    @classmethod
    def of(cls, design: str, estimator: str, given: Sequence[Answer]) -> Self:
        """Sum up the answers of an estimator."""
        errors = np.array([a.effect - a.truth for a in given if a.effect is not None])
        inside = [
            a.lower <= a.truth <= a.upper
            for a in given
            if a.lower is not None and a.upper is not None
        ]
        ranked = [a.auc for a in given if a.auc is not None]
        few = len(errors) < 2
        return cls(
            design,
            estimator,
            draws=len(given),
            truth=float(np.mean([a.truth for a in given])),
            bias=float(errors.mean()) if len(errors) else None,
            bias_error=None if few else float(errors.std(ddof=1) / math.sqrt(len(errors))),
            rmse=float(np.sqrt((errors**2).mean())) if len(errors) else None,
            covered=sum(inside),
            intervals=len(inside),
            auc=float(np.mean(ranked)) if ranked else None,
            seconds=float(np.mean([a.seconds for a in given])),
            refused=sum(bool(a.refusal) for a in given),
        )

    def write(self) -> dict[str, str]:
        """Return the row as people read it."""
        bias, error = _round(self.bias, "+.3f"), self.bias_error
        return {
            "design": self.design,
            "estimator": self.estimator,
            "draws": f"{self.draws} (refused {self.refused})" if self.refused else f"{self.draws}",
            "bias": bias if error is None else f"{bias} ± {error:.3f}",
            "rmse": _round(self.rmse, ".3f"),
            "covers": f"{self.covered} of {self.intervals}" if self.intervals else "–",
            "AUC": _round(self.auc, ".3f"),
            "seconds": _round(self.seconds, ".2f"),
        }


_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("design", "estimator")),
        ("draws", pa.int64()),
        *((name, pa.float64()) for name in ("truth", "bias", "bias_error", "rmse")),
        *((name, pa.int64()) for name in ("covered", "intervals")),
        *((name, pa.float64()) for name in ("auc", "seconds")),
        ("refused", pa.int64()),
    ]
)
_COLUMNS = ("design", "estimator", "draws", "bias", "rmse", "covers", "AUC", "seconds")
_BRIEF = pa.schema([(name, pa.string()) for name in _COLUMNS])


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Scoreboard(Result):
    """Hold how far each estimator was from the truth, over many logs of each design.

    Parameters
    ----------
    answers : tuple of Answer
        One for each log and estimator that applies, in the order of designs and estimators.
    settings : mapping
        Rows, draws, seeds, texts, versions: what somebody needs to draw the same logs.
    """

    answers: tuple[Answer, ...]
    settings: Mapping[str, object]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """None: the table is the finding."""
        return ()

    def table(self) -> pa.Table:
        """Return one row for each design and estimator.

        Returns
        -------
        pyarrow.Table
            ``bias`` with its Monte-Carlo error, ``rmse``, in how many of how many draws the 95 %
            interval ``covered`` the truth, the mean ``auc`` of unseen pairs and mean ``seconds``.
        """
        return pa.Table.from_pylist([asdict(score) for score in self._scores()], schema=_SCHEMA)

    @property
    def designs(self) -> tuple[str, ...]:
        """The designs, in their order."""
        return tuple(dict.fromkeys(answer.design for answer in self.answers))

    def brief(self, design: str | None = None) -> pa.Table:
        """Return the table as people read it: rounded, ``n of m`` for coverage.

        Parameters
        ----------
        design : str, optional
            Of this design alone; the column is then left out.
        """
        rows = [score.write() for score in self._scores()]
        if design is None:
            return pa.Table.from_pylist(rows, schema=_BRIEF)
        own = [row for row in rows if row["design"] == design]
        return pa.Table.from_pylist(own, schema=_BRIEF).drop_columns("design")

    def _scores(self) -> list[Score]:
        groups: dict[tuple[str, str], list[Answer]] = {}
        for answer in self.answers:
            groups.setdefault((answer.design, answer.estimator), []).append(answer)
        return [Score.of(design, name, given) for (design, name), given in groups.items()]

    def markdown(self) -> str:
        """Return the table and what it was made with, in Markdown."""
        brief = self.brief()
        lines = [f"| {' | '.join(brief.column_names)} |", "| --- " * brief.num_columns + "|"]
        lines += [f"| {' | '.join(row.values())} |" for row in brief.to_pylist()]
        made_with = "; ".join(f"{name}: {_tell(value)}" for name, value in self.settings.items())
        return "\n".join([*lines, "", f"{made_with}.", ""])

    def answer(self) -> str:
        """Return in a sentence what was compared."""
        estimators = {answer.estimator for answer in self.answers}
        return (
            f"{len(estimators)} estimators on {len(self.designs)} designs, "
            f"{len(self.answers):,} answers, texts: {self.settings['texts']}."
        )

    def details(self) -> Sequence[str]:
        """Return the versions and seeds, and the first reason of each refusal."""
        refusals = {(a.design, a.estimator): a.refusal for a in self.answers if a.refusal}
        return [
            *(f"{name}: {_tell(value)}" for name, value in self.settings.items()),
            *(f"{d}, {e} refused: {why}" for (d, e), why in refusals.items()),
        ]

    def section(self) -> Section:
        """Return the benchmark as a section."""
        return Section(
            stage="benchmark",
            question="How far is each estimator from the truth?",
            answer=self.answer(),
            tables={"benchmark": self.table()},
            details=self.settings,
        )

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``table.csv``, ``table.json`` (with versions and seeds) and ``table.md``.

        Parameters
        ----------
        folder : path
        """
        path, table = Path(folder), self.table()
        with write_whole(path / "table.csv") as partial:
            pacsv.write_csv(table, partial)
        write_json(path / "table.json", {**self.settings, "table": table.to_pylist()})
        with write_whole(path / "table.md") as partial:
            partial.write_text(self.markdown(), "utf-8")


def _round(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _tell(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {one}" for name, one in value.items())
    return str(value)


def describe_settings(texts: str, draws: int, rows: int, seed: int) -> dict[str, object]:
    """Return what somebody needs to draw the same logs again."""
    return {
        "texts": texts,
        "draws": draws,
        "rows": rows,
        "seeds": f"{seed} to {seed + draws - 1}",
        "versions": versions(),
    }
