"""What every stage returns: a result with a table, findings and a summary, told as a section."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa


class Verdict(StrEnum):
    """How a check ended."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Finding:
    """Record the outcome of one check; it looks the same in terminal, summary and report.

    ``code`` is stable (``DA101``) and has a page ``checks/pages/<code>.md``; ``explanation`` says
    in plain words what was seen and what to do; ``numbers`` holds the figures behind it.
    """

    code: str
    title: str
    verdict: Verdict
    explanation: str
    numbers: Mapping[str, float | str] = field(default_factory=dict)

    def line(self) -> str:
        """Return the finding as one line of text."""
        return f"[{self.verdict.value}] {self.code} {self.title}: {self.explanation}"


@dataclass(frozen=True, slots=True)
class Figure:
    """Hold one picture as SVG text with the words that replace it for those who cannot see it."""

    name: str
    caption: str
    alt: str
    svg: str


@dataclass(frozen=True, slots=True)
class Section:
    """Tell one stage to a reader: what was asked, what came out, on which assumption.

    ``numbers`` holds the headline figures under stable names; ``details`` anything else that is
    JSON (settings resolved during the stage). Sections are what run folders store and what the
    report is made of.
    """

    stage: str
    question: str
    answer: str
    assumption: str = ""
    numbers: Mapping[str, float | str | None] = field(default_factory=dict)
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    findings: tuple[Finding, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Result(Protocol):
    """The three members that every result has, whatever stage it comes from."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return the findings attached to the result."""
        ...

    def table(self) -> pa.Table:
        """Return the numbers, one row for each thing estimated."""
        ...

    def summary(self) -> str:
        """Return a text of a few lines that a person can read."""
        ...


def worst(findings: tuple[Finding, ...]) -> Verdict:
    """Return the gravest verdict among the findings (``pass`` when there are none)."""
    order = [Verdict.FAIL, Verdict.WARN, Verdict.PASS]
    return next((v for v in order if any(f.verdict is v for f in findings)), Verdict.PASS)


def file_stem(name: str) -> str:
    """Return the name under which a table or figure of a stage is stored: ``a b`` → ``a-b``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
