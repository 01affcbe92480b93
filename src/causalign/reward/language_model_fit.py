"""The result of tuning a language model into a reward: where it lies and what the judges said."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from causalign import artifacts, figures
from causalign.errors import ArtifactError
from causalign.results import Figure, Finding, Section, Verdict
from causalign.reward.model import RewardModel

__all__ = ["LanguageModelFit", "training_table", "validation_table"]

VALIDATION = ["step", "loss", "kept"]
TRAINING = ["step", "loss", "learning_rate", "grad_norm"]

ASSUMPTION = (
    "The outcome is the effect of the text only as far as it was deconfounded or the texts were "
    "randomised, and the two sides of a pair were compared under equal conditions."
)


@dataclass(frozen=True, slots=True, eq=False)
class LanguageModelFit:
    """Hold where a tuned reward lies and how its training went.

    ``folder / "model"`` is a saved :class:`causalign.reward.RewardModel`. ``validation`` has one
    row for each step that was judged: step, loss, kept; step 0 is the untouched model with a linear
    head. ``training`` has one row for each step: step, loss, learning_rate, grad_norm.
    """

    method: str
    base: str
    folder: Path
    units: str
    validation: pa.Table
    training: pa.Table
    numbers: Mapping[str, float]
    findings: tuple[Finding, ...] = field(default=())

    def model(self) -> RewardModel:
        """Load the reward model."""
        return RewardModel.load(self.folder / "model")

    def table(self) -> pa.Table:
        """Return one row for each step that was judged: step, loss, kept."""
        return self.validation

    def with_findings(self, *more: Finding) -> "LanguageModelFit":
        """Return the fit with further findings."""
        return replace(self, findings=(*self.findings, *more))

    def answer(self) -> str:
        """Return in one sentence how well the reward predicts."""
        what = "log-likelihood" if self.units == "log-odds" else "squared error"
        return (
            f"At step {self.numbers['kept_step']:.0f} of {self.numbers['steps']:.0f} the reward of "
            f"{self.base} explains {self.numbers['validation_r2']:.2%} of the {what} in rows that "
            f"did not teach it; before tuning, {self.numbers['untouched_r2']:.2%}."
        )

    def summary(self) -> str:
        """Return the answer and the findings as a few lines of text."""
        lines = [self.answer(), *(f.line() for f in self.findings if f.verdict != Verdict.PASS)]
        return "\n".join(lines)

    def figure(self, name: str = "validation") -> Figure:
        """Draw the loss of the rows that judge over the steps."""
        loss = self.validation["loss"].to_numpy()
        kept = self.numbers["kept_step"]
        return figures.curve(
            name,
            self.validation["step"].to_numpy(),
            {"rows that did not teach": loss},
            xlabel="step",
            ylabel="loss",
            caption="Loss of the rows that judge; the line marks the step that was kept.",
            alt=f"The loss of the rows that judge goes from {loss[0]:.4g} to {loss[-1]:.4g}; the "
            f"smallest, {loss.min():.4g}, is at step {kept:.0f}, which was kept.",
            mark_x=kept,
        )

    def section(self, stage_name: str = "reward") -> Section:
        """Return the fit as a section of a run folder and of the report."""
        return Section(
            stage=stage_name,
            question="What outcome is a text expected to earn, and how well is that predicted?",
            answer=self.answer(),
            assumption=ASSUMPTION,
            numbers=dict(self.numbers),
            tables={"validation": self.validation, "training": self.training},
            figures=(self.figure(),),
            findings=self.findings,
            details={"method": self.method, "base": self.base, "units": self.units},
        )

    def save(self) -> None:
        """Write the fit beside its model."""
        artifacts.write_json(
            self.folder / "fit.json",
            {
                "method": self.method,
                "base": self.base,
                "units": self.units,
                "numbers": self.numbers,
                "findings": self.findings,
                "validation": self.validation.to_pylist(),
                "training": self.training.to_pylist(),
            },
        )

    @staticmethod
    def load(folder: str | Path) -> "LanguageModelFit":
        """Read a fit back; raise ``ArtifactError`` when it is damaged."""
        path = Path(folder) / "fit.json"
        record = artifacts.read_json(path)
        try:
            findings = tuple(
                Finding(**{**f, "verdict": Verdict(f["verdict"])}) for f in record.pop("findings")
            )
            tables = {
                name: pa.Table.from_pylist(record.pop(name)).select(columns)  # JSON sorts names
                for name, columns in (("validation", VALIDATION), ("training", TRAINING))
            }
            return LanguageModelFit(folder=Path(folder), findings=findings, **tables, **record)
        except (KeyError, TypeError, ValueError, pa.ArrowException) as damage:
            raise ArtifactError(
                f"{str(path)!r} is damaged ({damage}). Delete the folder and fit again."
            ) from damage


def validation_table(steps: Sequence[int], losses: Sequence[float], kept: int) -> pa.Table:
    """Return what the judges said at each step."""
    return pa.table(
        {"step": list(steps), "loss": list(losses), "kept": [step == kept for step in steps]}
    )


def training_table(curve: Sequence[Mapping[str, float]]) -> pa.Table:
    """Return the trainer's log, one row for each step."""
    return pa.table(
        {"step": pa.array([int(entry["step"]) for entry in curve], pa.int64())}
        | {n: pa.array([entry.get(n) for entry in curve], pa.float64()) for n in TRAINING[1:]}
    )
