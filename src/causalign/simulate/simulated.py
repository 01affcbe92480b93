"""What a simulator returns."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from causalign.logs import Logs
from causalign.pairs import Pairs


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
