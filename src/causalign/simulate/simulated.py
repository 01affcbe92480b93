"""What a simulator returns."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from causalign.logs import Logs
from causalign.pairs import Pairs

__all__ = ["Simulated", "SimulatedDesign", "duels"]


@dataclass(frozen=True, slots=True)
class Simulated:
    """Hold simulated logs with what a real log never tells.

    ``text_effect`` ``(n,)`` is g(T), the outcome's part that the text caused; ``confounder_effect``
    ``(n,)`` is h(C), both in units of the outcome; ``experiment`` holds pairs of texts that were
    shown under the same confounder, so that only the text can explain who won. ``spurious`` and
    ``causal`` are markers: words that travel with the outcome, and words that move it.
    """

    logs: Logs
    text_effect: np.ndarray
    confounder_effect: np.ndarray
    experiment: Pairs
    spurious: tuple[str, ...]
    causal: tuple[str, ...]

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``logs.parquet`` (with the truth beside it) and ``experiment.parquet``."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        table = self.logs.data.append_column("true_text_effect", pa.array(self.text_effect))
        table = table.append_column("true_confounder_effect", pa.array(self.confounder_effect))
        pairs = {
            "chosen": list(self.experiment.chosen),
            "rejected": list(self.experiment.rejected),
            "margin": self.experiment.margin,
            "group": self.experiment.group,
        }
        for name, content in (("logs", table), ("experiment", pa.table(pairs))):
            partial = path / f".{name}.partial"
            pq.write_table(content, partial)
            os.replace(partial, path / f"{name}.parquet")


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedDesign:
    """Hold simulated logs for estimators of h(C): nothing in them reads like a text.

    ``coefficient`` is the effect of one unit of the confounder; ``text_effect`` ``(n,)`` g(T) and
    ``confounder_effect`` ``(n,)`` h(C) are in units of the outcome; ``text_features`` ``(n, p)``
    describe the texts, where the design knows such features.
    """

    logs: Logs
    coefficient: float
    text_effect: np.ndarray
    confounder_effect: np.ndarray
    text_features: np.ndarray | None = None


def duels(first: tuple[list[str], np.ndarray], second: tuple[list[str], np.ndarray]) -> Pairs:
    """Return pairs of texts ``(texts, outcomes)``: of each two, the better one is chosen."""
    difference = first[1] - second[1]
    won = difference > 0
    sides = list(zip(first[0], second[0], won, strict=True))
    return Pairs(
        chosen=[a if better else b for a, b, better in sides],
        rejected=[b if better else a for a, b, better in sides],
        margin=np.abs(difference),
        weight=np.ones(len(sides)),
        group=np.arange(len(sides)),
    )
