"""What a simulator returns."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from causalign.errors import ArtifactError
from causalign.files import write_whole
from causalign.logs import Logs
from causalign.logs.pairs import Pairs
from causalign.logs.roles import Roles
from causalign.results import Card


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Simulated(Card):
    """Hold simulated logs with what a real log never tells.

    Parameters
    ----------
    logs : Logs
        The simulated logs.
    text_effect : (n,) array
        g(T), the outcome's part that the text caused, in units of the outcome.
    confounder_effect : (n,) array
        h(C), in units of the outcome.
    experiment : Pairs
        Texts that were shown under the same confounder, so that only the text can explain who won.
    spurious, causal : tuple of str
        Words that travel with the outcome, and words that move it.
    """

    logs: Logs
    text_effect: np.ndarray
    confounder_effect: np.ndarray
    experiment: Pairs
    spurious: tuple[str, ...]
    causal: tuple[str, ...]

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Write ``logs.parquet``, with the truth beside it, and ``experiment.parquet``.

        Parameters
        ----------
        folder : path
            Made if it is not there.

        Raises
        ------
        ArtifactError
            If another log lies there, which would be lost.
        """
        path = Path(folder)
        table = self.logs.data.append_column("true_text_effect", pa.array(self.text_effect))
        table = table.append_column("true_confounder_effect", pa.array(self.confounder_effect))
        pairs = {
            "chosen": list(self.experiment.chosen),
            "rejected": list(self.experiment.rejected),
            "margin": self.experiment.margin,
            "group": self.experiment.group,
        }
        contents = {"logs.parquet": table, "experiment.parquet": pa.table(pairs)}
        for name, content in contents.items():
            if (path / name).exists() and not _holds(path / name, content):
                raise ArtifactError(
                    f"{str(path / name)!r} holds another log, which would be lost. Choose another "
                    "folder."
                )
        for name, content in contents.items():
            with write_whole(path / name) as partial:
                pq.write_table(content, partial)


def _holds(path: Path, content: pa.Table) -> bool:
    try:
        return bool(pq.read_table(path).equals(content))
    except (OSError, ValueError, pa.ArrowException):  # no Parquet file
        return False


class Simulator(Protocol):
    """A design with an experiment; its settings are the fields of a dataclass."""

    def simulate(self) -> Simulated:
        """Draw the logs, their truth and an experiment."""
        ...


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SimulatedDesign(Card):
    """Hold simulated logs for estimators of h(C): nothing in them reads like a text.

    Parameters
    ----------
    logs : Logs
        The simulated logs.
    coefficient : float
        The effect of one unit of the confounder.
    text_effect, confounder_effect : (n,) arrays
        g(T) and h(C), in units of the outcome.
    text_features : (n, p) array, optional
        What describes the texts, where the design knows such features.
    """

    logs: Logs
    coefficient: float
    text_effect: np.ndarray
    confounder_effect: np.ndarray
    text_features: np.ndarray | None = None


def draw_up_logs(
    outcome: np.ndarray,
    columns: Mapping[str, np.ndarray],
    confounders: tuple[str, ...],
    instruments: tuple[str, ...] = (),
    features: tuple[str, ...] = (),
) -> Logs:
    """Return logs of these columns, some of them with a role, and of texts that say nothing."""
    texts = [f"text {i}" for i in range(len(outcome))]
    table = pa.table({"text": texts, "outcome": outcome, **columns})
    roles = Roles(
        "text", "outcome", confounders=confounders, instruments=instruments, features=features
    )
    return Logs.of(table, roles)


def pair_up(first: tuple[list[str], np.ndarray], second: tuple[list[str], np.ndarray]) -> Pairs:
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
