"""The result of fitting a network: its head, its epochs, findings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from causalign.results import Finding, Section, Verdict
from causalign.reward.examples import Examples
from causalign.reward.findings import dropped_pairs
from causalign.reward.network_findings import best_epoch_inside, both_kinds_of_labels
from causalign.reward.networks.network import Network
from causalign.reward.networks.outcome_kinds import UNITS

if TYPE_CHECKING:
    from causalign.reward.fitting import Plan, Trained

__all__ = ["NetworkFit", "network_fit"]

_ASSUMPTION = (
    "The reward is a function of the vector of the text; it is the effect of the text only as far "
    "as outcomes were deconfounded or texts were randomised, and sides compared on equal terms."
)


@dataclass(frozen=True, slots=True, eq=False)
class NetworkFit:
    """Hold a fitted network and how its epochs went.

    ``head`` scores vectors in plain numpy: a ``NetworkHead``, a ``ClassHead``, or
    ``ObjectiveHeads`` with one for each objective. ``epochs`` has the columns epoch,
    training_loss, validation (``validation_name`` says what it is) and kept.
    """

    method: str
    head: Any
    seed: int
    epochs: pa.Table
    validation_name: str
    units: str
    numbers: Mapping[str, float | str | None]
    findings: tuple[Finding, ...] = field(default=())

    def table(self) -> pa.Table:
        """Return one row for each epoch: epoch, training_loss, validation, kept."""
        return self.epochs

    def answer(self) -> str:
        """Return in one sentence how well the network validated."""
        kept = f"The {self.method} network of epoch {self.numbers['best_epoch']:.0f} was kept"
        found = self.numbers["validation"]
        if found is None:
            return f"{kept}; no rows judged it."
        return f"{kept}; its {self.validation_name} is {found:.4g} in rows that did not teach it."

    def summary(self) -> str:
        """Return the answer and the findings as a few lines of text."""
        lines = [self.answer(), *(f.line() for f in self.findings if f.verdict != Verdict.PASS)]
        return "\n".join(lines)

    def section(self, stage_name: str = "reward") -> Section:
        """Return the fit as a section of a run folder and of the report."""
        return Section(
            stage=stage_name,
            question="What outcome is a text expected to earn, and how well is that predicted?",
            answer=self.answer(),
            assumption=_ASSUMPTION,
            numbers=dict(self.numbers),
            tables={"epochs": self.epochs},
            findings=self.findings,
            details={"method": self.method, "units": self.units, "seed": self.seed},
        )


def network_fit(
    network: Network, examples: Examples, plan: "Plan", trained: "Trained", head: Any
) -> NetworkFit:
    """Gather what training left into a result."""
    epochs = np.arange(1, len(trained.training_loss) + 1)
    judged: list[float | None] = list(trained.validation)
    judged = judged or [None] * len(epochs)
    table = pa.table(
        {
            "epoch": epochs,
            "training_loss": list(trained.training_loss),
            "validation": pa.array(judged, pa.float64()),
            "kept": epochs == trained.best_epoch,
        }
    )
    accuracy = network.judged_by_accuracy
    findings = [best_epoch_inside(trained.best_epoch, trained.validation)]
    if examples.are_pairs:
        findings.append(dropped_pairs(examples.identical, len(examples)))
    if network.loss == "logistic" and examples.objectives:
        findings.append(both_kinds_of_labels(examples, plan.rows))
    return NetworkFit(
        method=network.name,
        head=head,
        seed=plan.seed,
        epochs=table,
        validation_name="accuracy" if accuracy else "negative loss",
        units=UNITS[network.loss],
        numbers={
            "rows": float(len(plan.rows)),
            "validation_rows": float(len(plan.judges)),
            "features": float(examples.features.shape[1]),
            "best_epoch": float(trained.best_epoch),
            "training_loss": trained.training_loss[trained.best_epoch - 1],
            "validation": judged[trained.best_epoch - 1],
        },
        findings=tuple(findings),
    )
