"""The result of fitting a reward: a head, the path of penalties it was chosen from, findings."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from causalign import figures
from causalign.results import Figure, Finding, Section, Verdict
from causalign.reward.head import LinearHead

__all__ = ["RewardFit", "path_table"]


@dataclass(frozen=True, slots=True, eq=False)
class RewardFit:
    """Hold a fitted reward and how well it predicts rows that it did not see.

    ``path`` has one row for each penalty (penalty, cv_error, cv_standard_error, chosen);
    ``error_name`` says what ``cv_error`` is; ``out_of_fold`` ``(n,)`` holds predictions by fits
    that did not see the row: of the outcome, or, for pairs, the score difference.
    """

    method: str
    head: LinearHead
    penalty: float
    path: pa.Table
    error_name: str
    units: str
    assumption: str
    out_of_fold: NDArray[np.float64]
    numbers: Mapping[str, float | str | None]
    findings: tuple[Finding, ...] = field(default=())

    def table(self) -> pa.Table:
        """Return one row for each penalty: penalty, cv_error, cv_standard_error, chosen."""
        return self.path

    def with_findings(self, *more: Finding) -> "RewardFit":
        """Return the fit with further findings, such as those about how texts were encoded."""
        return replace(self, findings=(*self.findings, *more))

    def answer(self) -> str:
        """Return in one sentence how well the reward predicts."""
        return (
            f"At penalty {self.penalty:.4g} the {self.method} reward explains "
            f"{self.numbers['cv_r2']:.2%} of the {self.error_name} in rows it did not see."
        )

    def summary(self) -> str:
        """Return the answer and the findings as a few lines of text."""
        lines = [self.answer(), *(f.line() for f in self.findings if f.verdict != Verdict.PASS)]
        return "\n".join(lines)

    def figure(self, name: str = "penalty-path") -> Figure:
        """Draw the cross-validated error along the path of penalties."""
        error = self.path["cv_error"].to_numpy()
        spread = self.path["cv_standard_error"].to_numpy()
        label = "unseen rows"
        return figures.curve(
            name,
            self.path["penalty"].to_numpy(),
            {label: error},
            xlabel="penalty λ",
            ylabel=self.error_name,
            caption="Cross-validated error along the path of penalties, ± one standard error; "
            "the line marks the chosen penalty.",
            alt=f"The {self.error_name} in unseen rows for {len(error)} penalties from "
            f"{self.path['penalty'][0].as_py():.3g} to {self.path['penalty'][-1].as_py():.3g}; the "
            f"smallest, {error.min():.4g}, is at {self.numbers['best_penalty']:.4g}, and "
            f"{self.penalty:.4g} was chosen.",
            log_x=True,
            bands={label: (error - spread, error + spread)},
            mark_x=self.penalty,
        )

    def section(self, stage_name: str = "reward") -> Section:
        """Return the fit as a section of a run folder and of the report."""
        return Section(
            stage=stage_name,
            question="What outcome is a text expected to earn, and how well is that predicted?",
            answer=self.answer(),
            assumption=self.assumption,
            numbers=dict(self.numbers),
            tables={"penalties": self.path},
            figures=(self.figure(),),
            findings=self.findings,
            details={"method": self.method, "units": self.units},
        )


def path_table(
    penalties: NDArray[np.float64],
    error: NDArray[np.float64],
    spread: NDArray[np.float64],
    chosen: int,
) -> pa.Table:
    """Return the path of penalties as a table with one row for each."""
    return pa.table(
        {
            "penalty": penalties,
            "cv_error": error,
            "cv_standard_error": spread,
            "chosen": np.arange(len(penalties)) == chosen,
        }
    )
