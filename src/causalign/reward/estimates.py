"""What fitting on arrays returns: a head or a folder, how it validated, findings."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from causalign import figures
from causalign.errors import ArtifactError
from causalign.figures import Drawing
from causalign.files import read_json, write_json
from causalign.results import Finding, Result, Section, Verdict
from causalign.reward.heads import ClassHead, LinearHead, NetworkHead, ObjectiveHeads

VALIDATION = ["step", "loss", "kept"]
TRAINING = ["step", "loss", "learning_rate", "grad_norm"]


_OF_NETWORKS = (
    "The reward is a function of the vector of the text; it is the effect of the text only as far "
    "as outcomes were deconfounded or texts were randomised, and sides compared on equal terms."
)
_OF_LANGUAGE_MODELS = (
    "The outcome is the effect of the text only as far as it was deconfounded or the texts were "
    "randomised, and the two sides of a pair were compared under equal conditions."
)


class HeadEstimate(Result):
    """Tell how a head was estimated; the base of the three fits below."""

    __slots__ = ()

    method: str
    units: str
    numbers: Mapping[str, float | None]
    assumption: str
    described: ClassVar[tuple[str, ...]] = ("method", "units")

    @abstractmethod
    def tables(self) -> dict[str, pa.Table]:
        """Return the tables of the section, the first of which is :meth:`table`."""

    def table(self) -> pa.Table:
        """Return one row for each penalty, epoch or step that was compared."""
        return next(iter(self.tables().values()))

    def details(self) -> Sequence[str]:
        """Return the assumption as a line of the summary."""
        return (f"Holds if: {self.assumption}",)

    def description(self) -> dict[str, str | int]:
        """Return what the section says about the fit beside its numbers."""
        return {name: getattr(self, name) for name in self.described}

    def section(self) -> Section:
        """Return the fit as a section of a run folder and of the report."""
        return Section(
            stage="reward",
            question="What outcome is a text expected to earn, and how well is that predicted?",
            answer=self.answer(),
            assumption=self.assumption,
            numbers=dict(self.numbers),
            tables=self.tables(),
            figures=figures.draw_figures(self.drawing()),
            findings=self.findings,
            details=self.description(),
        )

    def drawing(self) -> Drawing | None:
        """Return the picture of the fit, or None when there is nothing to draw."""
        return None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LinearHeadFit(HeadEstimate):
    """A linear head, and how well it predicts rows that it did not see.

    Attributes
    ----------
    head : LinearHead
    penalty : float
        The λ that was chosen.
    path : pyarrow.Table
        One row for each λ: penalty, cv_error, cv_standard_error, chosen.
    error_name : str
        What ``cv_error`` is.
    out_of_fold : (n,) array, optional
        Predictions by fits that did not see the row: of the outcome, or, for pairs, of the
        difference chosen less rejected; None where rows were read batch by batch.
    guardrails : mapping from str to LinearHeadFit
        The fits of further outcomes of the same rows.
    """

    method: str
    head: LinearHead
    penalty: float
    path: pa.Table
    error_name: str
    units: str
    assumption: str
    out_of_fold: NDArray[np.float64] | None
    numbers: Mapping[str, float]
    findings: tuple[Finding, ...] = field(default=())
    guardrails: Mapping[str, "LinearHeadFit"] = field(default_factory=dict)

    def tables(self) -> dict[str, pa.Table]:
        """Return the path of penalties, and how well guardrails are predicted."""
        tables = {"penalties": self.path}
        if self.guardrails:
            tables["guardrails"] = self._describe_guardrails()
        return tables

    def _describe_guardrails(self) -> pa.Table:
        """Return a row for each guardrail: what is predicted of it, and how it goes with rewards.

        ``correlation`` is that of both predictions of rows that no fit saw: where it is high, what
        pays also costs. None where rows were read batch by batch.
        """
        mine, rows = self.out_of_fold, []
        for name, fit in self.guardrails.items():
            theirs = fit.out_of_fold
            together = None
            if mine is not None and theirs is not None and mine.std() * theirs.std() > 0:
                together = float(np.corrcoef(mine, theirs)[0, 1])
            row = {"guardrail": name, "penalty": fit.penalty, "cv_r2": fit.numbers["cv_r2"]}
            rows.append(row | {"correlation": together})
        types = (pa.string(), pa.float64(), pa.float64(), pa.float64())
        names = ("guardrail", "penalty", "cv_r2", "correlation")
        return pa.Table.from_pylist(rows, pa.schema(list(zip(names, types, strict=True))))

    def answer(self) -> str:
        """Return in one sentence how well the reward predicts."""
        return (
            f"At penalty {self.penalty:.4g} the {self.method} reward explains "
            f"{self.numbers['cv_r2']:.2%} of the {self.error_name} in rows it did not see."
        )

    def drawing(self) -> Drawing:
        """Draw the cross-validated error along the path of penalties."""
        error = self.path["cv_error"].to_numpy()
        spread = self.path["cv_standard_error"].to_numpy()
        label = "unseen rows"
        return figures.curve(
            "penalty-path",
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


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NetworkFit(HeadEstimate):
    """A network as a head in plain numpy, and how its epochs went.

    Attributes
    ----------
    head : NetworkHead, ClassHead or ObjectiveHeads
        What scores vectors; ``ObjectiveHeads`` has one head for each objective.
    epochs : pyarrow.Table
        One row for each epoch: epoch, training_loss, validation, kept.
    validation_name : str
        What the column ``validation`` is; higher is better.
    """

    method: str
    head: NetworkHead | ClassHead | ObjectiveHeads
    seed: int
    epochs: pa.Table
    validation_name: str
    units: str
    numbers: Mapping[str, float | None]
    findings: tuple[Finding, ...] = field(default=())
    assumption: str = _OF_NETWORKS

    described: ClassVar[tuple[str, ...]] = ("method", "units", "seed")

    def tables(self) -> dict[str, pa.Table]:
        """Return the epochs."""
        return {"epochs": self.epochs}

    def answer(self) -> str:
        """Return in one sentence how well the network validated."""
        epoch = f"The {self.method} network of epoch {self.numbers['best_epoch']:.0f} was kept"
        validation = self.numbers["validation"]
        if validation is None:
            return f"{epoch}; there were no validation rows."
        return f"{epoch}; its {self.validation_name} is {validation:.4g} in validation rows."


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LanguageModelFit(HeadEstimate):
    """Where a tuned reward lies, and how its training went.

    Attributes
    ----------
    base : str
        The language model that was tuned.
    folder : Path
        ``folder / "model"`` is a saved :class:`causalign.reward.RewardModel`.
    validation : pyarrow.Table
        One row for each step that was validated: step, loss, kept; step 0 is the untouched model
        with a linear head.
    training : pyarrow.Table
        One row for each step: step, loss, learning_rate, grad_norm.
    """

    method: str
    base: str
    folder: Path
    units: str
    validation: pa.Table
    training: pa.Table
    numbers: Mapping[str, float]
    findings: tuple[Finding, ...] = field(default=())
    assumption: str = _OF_LANGUAGE_MODELS

    described: ClassVar[tuple[str, ...]] = ("method", "base", "units")

    def tables(self) -> dict[str, pa.Table]:
        """Return the steps that were validated, and the trainer's log."""
        return {"validation": self.validation, "training": self.training}

    def answer(self) -> str:
        """Return in one sentence how well the reward predicts."""
        what = "log-likelihood" if self.units == "log-odds" else "squared error"
        return (
            f"At step {self.numbers['kept_step']:.0f} of {self.numbers['steps']:.0f} the reward of "
            f"{self.base} explains {self.numbers['validation_r2']:.2%} of the {what} in validation "
            f"rows; before tuning, {self.numbers['untouched_r2']:.2%}."
        )

    def drawing(self) -> Drawing:
        """Draw the loss of the validation rows over the steps."""
        loss = self.validation["loss"].to_numpy()
        best = self.numbers["kept_step"]
        return figures.curve(
            "validation",
            self.validation["step"].to_numpy(),
            {"validation rows": loss},
            xlabel="step",
            ylabel="loss",
            caption="Loss of the validation rows; the line marks the step that was kept.",
            alt=f"The loss of the validation rows goes from {loss[0]:.4g} to {loss[-1]:.4g}; the "
            f"smallest, {loss.min():.4g}, is at step {best:.0f}, which was kept.",
            mark_x=best,
        )

    def save(self) -> None:
        """Write the fit beside its model."""
        names = ("method", "base", "units", "numbers", "findings")
        tables = {name: table.to_pylist() for name, table in self.tables().items()}
        content = {name: getattr(self, name) for name in names}
        write_json(self.folder / "fit.json", content | tables)

    @staticmethod
    def load(folder: str | Path) -> "LanguageModelFit":
        """Read a fit back; raise ``ArtifactError`` when it is damaged."""
        path = Path(folder) / "fit.json"
        record = read_json(path)
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
