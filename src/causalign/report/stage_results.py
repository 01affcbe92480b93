"""What the stages of a run stored, by the names of their numbers and tables."""

from collections.abc import Mapping
from dataclasses import dataclass

from causalign.results import Section

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Stages:
    """Find what a stage stored, whichever stages there are."""

    sections: tuple[Section, ...]

    def number(self, stage: str, name: str) -> object:
        """Return a number of a stage, or None."""
        values = (s.numbers.get(name) for s in self.sections if s.stage == stage)
        return next((value for value in values if value is not None), None)

    def rows(self, stage: str, table: str) -> list[Row]:
        """Return the rows of a stage's table; none where it has no such table."""
        tables = (s.tables.get(table) for s in self.sections if s.stage == stage)
        return next((t.to_pylist() for t in tables if t is not None), [])

    def detail(self, stage: str, name: str) -> str:
        """Return a detail of a stage in words, or none."""
        details = (s.details.get(name) for s in self.sections if s.stage == stage)
        return next((str(value) for value in details if value), "")

    def verdict(self, code: str) -> str:
        """Return how a check ended, or nothing where it was not made."""
        findings = (f for s in self.sections for f in s.findings if f.code == code)
        return next((f.verdict.value for f in findings), "")

    @property
    def has_rewards(self) -> bool:
        """Whether rewards were fitted or judged, so that one may be advised."""
        return bool(any(s.stage == "reward" for s in self.sections) or self.verdict("EV102"))

    @property
    def log(self) -> dict[str, str]:
        """What is known of the log: rows, days, hash, unit."""
        logs = (s.details.get("log") for s in self.sections)
        return next(({k: str(v) for k, v in log.items()} for log in logs if log), {})

    @property
    def compared(self) -> tuple[str, str] | None:
        """The names of the rewards that are compared: as logged, and deconfounded."""
        names = [str(row["reward"]) for row in self.rows("evaluate", "ranking of held-out pairs")]
        return (names[0], names[1]) if len(names) > 1 else None


def to_float(value: object) -> float:
    """Return a cell as a number, NaN where it holds none."""
    return float(value) if isinstance(value, int | float) else float("nan")
