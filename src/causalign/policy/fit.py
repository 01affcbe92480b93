"""The result of tuning: the stored model with its card, the log of training, findings."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from torch import Tensor

from causalign import artifacts, figures
from causalign.errors import ArtifactError
from causalign.files import read_format, read_json, to_json, write_json, write_whole
from causalign.lm.language_model import LanguageModel, load_language_model, write_adapter
from causalign.lm.model_files import DESCRIPTION
from causalign.lm.progress import silence_transformers
from causalign.results import Finding, Result, Section, Verdict

POINTS_AVERAGED = 20  # of the plotted curve, at most
FORMAT, VERSION = "causalign policy fit", 1


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PolicyFit(Result):
    """A tuned policy and the log of its training.

    Parameters
    ----------
    method : str
        Name of the method.
    base : str
        Public name of the model that was tuned.
    folder : Path
        ``folder / "model"`` holds an adapter that plain peft loads onto ``base``, or a whole
        model, with its card.
    curve : pyarrow.Table
        One row for each step: step, loss, and what the objective measured.
    plotted_metric : str
        The column of ``curve`` that the plot shows.
    assumption : str
        On what the result rests.
    numbers : mapping
        Headline figures.
    findings : tuple of Finding
    """

    method: str
    base: str
    folder: Path
    curve: pa.Table
    plotted_metric: str
    assumption: str
    numbers: Mapping[str, float]
    findings: tuple[Finding, ...] = field(default=())

    @property
    def model_folder(self) -> Path:
        """The folder that peft or transformers loads."""
        return self.folder / "model"

    def language_model(
        self, precision: Literal["float32", "bfloat16"] = "float32"
    ) -> LanguageModel:
        """Load the tuned model.

        Parameters
        ----------
        precision : {"float32", "bfloat16"}
            Of the weights; an adapter stays in float32.

        Returns
        -------
        LanguageModel

        Raises
        ------
        ArtifactError
            When the folder is damaged, or its base model is not there.
        """
        if (self.model_folder / "adapter_config.json").exists():
            name = read_json(self.model_folder / DESCRIPTION)["base"]
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
        size = self.numbers.get("held_out_bits_per_byte")
        unseen = "" if size is None else f" A byte of unseen texts takes {size:.2f} bits."
        return (
            f"In {steps} steps of {self.method} on {self.base} the {self._label()} went from "
            f"{first:.4g} to {last:.4g} (means of the first and last tenth).{unseen}"
        )

    def details(self) -> Sequence[str]:
        """Return on what the result rests."""
        return (f"Holds if: {self.assumption}",)

    def drawing(self) -> figures.Drawing | None:
        """Return the curve of the plotted metric, or None where fewer than two steps were made."""
        if self.curve.num_rows < 2:
            return None
        values = self.curve[self.plotted_metric].to_numpy()
        window = max(1, min(POINTS_AVERAGED, len(values) // 10))
        kernel = np.ones(window)
        smooth = np.convolve(values, kernel, "same") / np.convolve(
            np.ones(len(values)), kernel, "same"
        )
        first, last = self._ends()
        return figures.curve(
            "training",
            self.curve["step"].to_numpy(),
            {self._label(): smooth},
            xlabel="step",
            ylabel=self._label(),
            caption=f"The {self._label()} while training, averaged over {window} steps.",
            alt=f"The {self._label()} over {len(values)} steps: {first:.4g} in the first tenth, "
            f"{last:.4g} in the last.",
        )

    def section(self) -> Section:
        """Return the fit as a section of a run folder and of the report."""
        return Section(
            stage="policy",
            question="Did tuning move the policy where its objective points, and did it hold?",
            answer=self.answer(),
            assumption=self.assumption,
            numbers=dict(self.numbers),
            tables={"training": self.curve},
            figures=figures.draw_figures(self.drawing()),
            findings=self.findings,
            details={"method": self.method, "base": self.base},
        )

    def save(self) -> None:
        """Write the fit beside its model, as ``fit.json``."""
        names = ("method", "base", "plotted_metric", "assumption", "numbers", "findings")
        content = {name: getattr(self, name) for name in names}
        content |= {"format": FORMAT, "version": VERSION, "curve": self.curve.to_pylist()}
        write_json(self.folder / "fit.json", content)

    @staticmethod
    def load(folder: str | Path) -> "PolicyFit":
        """Read a fit back.

        Parameters
        ----------
        folder : path
            The ``out`` of the fit.

        Returns
        -------
        PolicyFit

        Raises
        ------
        ArtifactError
            When there is no fit in the folder, or it is damaged.
        """
        path = Path(folder) / "fit.json"
        record = read_format(path, FORMAT, VERSION, again="delete the folder and tune again")
        try:
            return PolicyFit(
                method=record["method"],
                base=record["base"],
                folder=Path(folder),
                curve=curve_table(record["curve"]),
                plotted_metric=record["plotted_metric"],
                assumption=record["assumption"],
                numbers=record["numbers"],
                findings=tuple(
                    Finding(**{**f, "verdict": Verdict(f["verdict"])}) for f in record["findings"]
                ),
            )
        except (KeyError, TypeError, ValueError) as damage:
            raise ArtifactError(
                f"{str(path)!r} is damaged ({damage}). Delete the folder and run again."
            ) from damage

    def _label(self) -> str:
        return self.plotted_metric.replace("_", " ")

    def _ends(self) -> tuple[float, float]:
        values = self.curve[self.plotted_metric].to_numpy()
        tenth = max(1, len(values) // 10)
        return float(values[:tenth].mean()), float(values[-tenth:].mean())


def curve_table(entries: Sequence[Mapping[str, float]]) -> pa.Table:
    """Return the log of training as a table, from one mapping for each step."""
    names = sorted({name for entry in entries for name in entry} - {"step", "epoch"})
    steps = pa.array([int(entry["step"]) for entry in entries], pa.int64())
    columns = {n: pa.array([entry.get(n) for entry in entries], pa.float64()) for n in names}
    return pa.table({"step": steps} | columns)


def write_model(
    model: LanguageModel,
    fit: PolicyFit,
    *,
    settings: object,
    data: str,
    weights: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write weights, tokenizer and card to ``fit.model_folder``, whole or not at all.

    ``weights`` are written instead of those in the network where it has been split. Raises
    `ArtifactError` when the disk refuses.
    """
    target = fit.model_folder
    described = {
        "base": model.name,
        "base_revision": model.revision.split("+")[0],
        "method": fit.method,
        "settings": settings,
        "data": data,
        "versions": artifacts.versions(),
    }
    try:
        with write_whole(target) as partial:
            partial.mkdir()
            _write_weights(model, partial, weights)
            write_json(partial / DESCRIPTION, described)
            card = _render_card(model, fit, settings, data)
            (partial / "README.md").write_text(card, encoding="utf-8")
    except Exception as failure:  # a full disk shows as OSError, RuntimeError or SafetensorError
        raise ArtifactError(
            f"The tuned model cannot be written to {target}: {failure}. Free some space and run "
            "again: training continues from its last checkpoint."
        ) from failure
    return target


def _write_weights(
    model: LanguageModel, folder: Path, weights: Mapping[str, Tensor] | None
) -> None:
    if model.has_adapter:
        write_adapter(model, folder, weights)
    with silence_transformers():
        if not model.has_adapter:
            given = {} if weights is None else {"state_dict": weights}
            model.model.save_pretrained(str(folder), **given)
            if model.generation is not None:
                # The author's way to write, ending where the model now ends.
                generation = {**model.generation, "eos_token_id": list(model.ends)}
                write_json(folder / "generation_config.json", generation)
        model.tokenizer.save_pretrained(str(folder))


def _render_card(model: LanguageModel, fit: PolicyFit, settings: object, data: str) -> str:
    """Return the model card: what was tuned on what, how, and with which findings."""
    kind = "adapter" if model.has_adapter else "model"
    library = "peft" if model.has_adapter else "transformers"
    numbers = [f"| {name.replace('_', ' ')} | {value:.6g} |" for name, value in fit.numbers.items()]
    lines = [
        "---",
        f"base_model: {model.public_name}",
        f"library_name: {library}",
        "tags: [causalign]",
        "---",
        f"# {fit.method} {kind} for {model.public_name}",
        "",
        fit.answer(),
        "",
        f"**Assumption.** {fit.assumption}",
        "",
        f"**Data.** Hash of all tokens, outcomes and weights that were read: `{data}`.",
        "",
        "## Numbers",
        "",
        "| what | value |",
        "| --- | --- |",
        *numbers,
        "",
        "## Findings",
        "",
        *(f"- {finding.line()}" for finding in fit.findings),
        "",
        "## Settings",
        "",
        "```json",
        json.dumps(to_json(settings), indent=2, sort_keys=True),
        "```",
        "",
    ]
    return "\n".join(lines)
