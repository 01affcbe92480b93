"""The result of tuning a policy: where the model lies, how training went, findings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from causalign import artifacts, figures
from causalign.errors import ArtifactError
from causalign.lm.language_model import LanguageModel, load_language_model
from causalign.results import Figure, Finding, Section, Verdict

__all__ = ["PolicyFit"]

SMOOTHED = 20  # points over which the drawn curve is averaged, at most


@dataclass(frozen=True, slots=True, eq=False)
class PolicyFit:
    """Hold a tuned policy and the log of its training.

    ``folder / "model"`` holds an adapter that plain peft loads onto ``base``, or a whole model,
    with its card. ``curve`` has one row for each step: step, loss, and what the objective measured;
    ``drawn`` names the column that the figure shows.
    """

    method: str
    base: str
    folder: Path
    curve: pa.Table
    drawn: str
    assumption: str
    numbers: Mapping[str, float]
    findings: tuple[Finding, ...] = field(default=())

    @staticmethod
    def of(*, curve: Sequence[Mapping[str, float]], **fields: Any) -> "PolicyFit":
        """Make a fit from the trainer's log, one mapping for each step."""
        names = sorted({name for entry in curve for name in entry} - {"step", "epoch"})
        table = pa.table(
            {"step": pa.array([int(entry["step"]) for entry in curve], pa.int64())}
            | {n: pa.array([entry.get(n) for entry in curve], pa.float64()) for n in names}
        )
        return PolicyFit(curve=table, **fields)

    @property
    def model_folder(self) -> Path:
        """Return the folder that peft or transformers loads."""
        return self.folder / "model"

    def language_model(
        self, precision: Literal["float32", "bfloat16"] = "float32"
    ) -> LanguageModel:
        """Load the tuned model."""
        if (self.model_folder / "adapter_config.json").exists():
            name = artifacts.read_json(self.model_folder / "causalign.json")["base"]
            return load_language_model(name, precision=precision, adapter=self.model_folder)
        return load_language_model(self.model_folder, precision=precision)

    def table(self) -> pa.Table:
        """Return the log of training, one row for each step."""
        return self.curve

    def answer(self) -> str:
        """Return in one sentence what training did."""
        steps = self.curve.num_rows
        if steps == 0:
            return f"{self.method} made no step; {self.base} is unchanged."
        first, last = self._ends()
        return (
            f"In {steps} steps of {self.method} on {self.base} the {self._label()} went from "
            f"{first:.4g} to {last:.4g} (means of the first and last tenth)."
        )

    def summary(self) -> str:
        """Return the answer and the findings as a few lines of text."""
        lines = [self.answer(), *(f.line() for f in self.findings if f.verdict != Verdict.PASS)]
        return "\n".join(lines)

    def figure(self, name: str = "training") -> Figure:
        """Draw what the objective measured at each step."""
        values = self.curve[self.drawn].to_numpy()
        window = max(1, min(SMOOTHED, len(values) // 10))
        kernel = np.ones(window)
        smooth = np.convolve(values, kernel, "same") / np.convolve(
            np.ones(len(values)), kernel, "same"
        )
        first, last = self._ends()
        return figures.curve(
            name,
            self.curve["step"].to_numpy(),
            {self._label(): smooth},
            xlabel="step",
            ylabel=self._label(),
            caption=f"The {self._label()} while training, averaged over {window} steps.",
            alt=f"The {self._label()} over {len(values)} steps: {first:.4g} in the first tenth, "
            f"{last:.4g} in the last.",
        )

    def section(self, stage_name: str = "policy") -> Section:
        """Return the fit as a section of a run folder and of the report."""
        drawn = (self.figure(),) if self.curve.num_rows > 1 else ()
        return Section(
            stage=stage_name,
            question="Did tuning move the policy where its objective points, and did it hold?",
            answer=self.answer(),
            assumption=self.assumption,
            numbers=dict(self.numbers),
            tables={"training": self.curve},
            figures=drawn,
            findings=self.findings,
            details={"method": self.method, "base": self.base},
        )

    def save(self) -> None:
        """Write the fit beside its model."""
        artifacts.write_json(
            self.folder / "fit.json",
            {
                "method": self.method,
                "base": self.base,
                "drawn": self.drawn,
                "assumption": self.assumption,
                "numbers": self.numbers,
                "findings": self.findings,
                "curve": self.curve.to_pylist(),
            },
        )

    @staticmethod
    def load(folder: str | Path) -> "PolicyFit":
        """Read a fit back; raise ``ArtifactError`` when it is damaged."""
        record = artifacts.read_json(Path(folder) / "fit.json")
        try:
            findings = tuple(
                Finding(**{**f, "verdict": Verdict(f["verdict"])}) for f in record.pop("findings")
            )
            return PolicyFit.of(folder=Path(folder), findings=findings, **record)
        except (KeyError, TypeError, ValueError) as damage:
            raise ArtifactError(
                f"{str(Path(folder) / 'fit.json')!r} is damaged ({damage}). Delete the folder and "
                "run again."
            ) from damage

    def _label(self) -> str:
        return self.drawn.replace("_", " ")

    def _ends(self) -> tuple[float, float]:
        values = self.curve[self.drawn].to_numpy()
        tenth = max(1, len(values) // 10)
        return float(values[:tenth].mean()), float(values[-tenth:].mean())
