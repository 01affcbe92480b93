"""The rows that the audit judges by: all, or a sample where there are very many."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from causalign.lm.embedded_logs import learn_encoder
from causalign.lm.encoder import Encoder
from causalign.logs import Logs, LogScan
from causalign.logs.row_hash import hash_units
from causalign.stats.fold_ridge import FoldRidge
from causalign.stats.folds import group_folds
from causalign.stats.row_blocks import RowBlocks

FOLDS = 5
FEWEST_TEXTS = 50
# Beyond so many rows, what needs rows (ranks, probabilities) is read from a sample of them.
SAMPLE = 100_000
# So many rows of a scan are read for markers, which hold a few hundred bytes of each.
MARKER_ROWS = 500_000


@dataclass(frozen=True, eq=False)
class AuditedRows:
    """Logs with the features of their texts, and how they are cut for cross-fitting.

    ``rows`` counts those of the whole log, and ``places`` are those of a sample in it, None where
    it is the whole or the others were not read.
    """

    logs: Logs
    features: RowBlocks | None
    rows: int
    folds: int = FOLDS
    seed: int = 0
    places: np.ndarray | None = None

    def draw(self, sample: int = SAMPLE) -> "AuditedRows":
        """Return about ``sample`` rows, whole clusters or texts by their hash; all if no more."""
        if len(self.logs) <= sample:
            return self
        share = sample / len(self.logs)
        places = np.flatnonzero(hash_units(self.logs, self.seed, "sample") < share)
        drawn = self.logs.take(places, f"drew {len(places)} of {len(self.logs)} rows")
        features = self.features
        if features is not None:
            features = RowBlocks.of(features.take(places).astype(np.float32))
        return replace(self, logs=drawn, features=features, places=places)

    @cached_property
    def groups(self) -> np.ndarray:
        """What folds keep together and errors share, ``(n,)``."""
        return independent_groups(self.logs)

    @cached_property
    def text(self) -> FoldRidge | None:
        """Ridge on the features, or None without any."""
        return self._ready(None)

    @cached_property
    def weighted_text(self) -> FoldRidge | None:
        """The same with the weights of the logs."""
        return self.text if self.logs.weights is None else self._ready(self.logs.weights)

    def _ready(self, weights: np.ndarray | None) -> FoldRidge | None:
        if self.features is None:
            return None
        return FoldRidge.of(self.features, cut_folds(self.groups, self.folds, self.seed), weights)


def hold_logs(
    logs: Logs | LogScan, encoder: str | Encoder | None, rows: int, seed: int
) -> tuple[Logs, str | Encoder | None]:
    """Return logs in memory, about so many rows of a scan, and the encoder.

    What a named encoder learns it learns from the same texts, however many rows are held.
    """
    if isinstance(logs, Logs):
        return logs, encoder
    if isinstance(encoder, str):
        encoder = learn_encoder(logs, encoder)
    return logs.sample(rows, seed), encoder


def independent_groups(logs: Logs) -> np.ndarray:
    """Return clusters, else texts, else rows: what folds keep together and errors share ``(n,)``.

    Texts where no cluster is declared, or fewer than three; rows where there are fewer than fifty
    texts. Few texts are templates, each in many rows: what a template does is then estimated from
    its other rows, while from the other templates nobody could know it.
    """
    clusters = logs.clusters
    if clusters is not None and len(np.unique(clusters)) >= 3:
        return clusters
    texts = logs.codes_of(logs.roles.completion)
    return texts if len(np.unique(texts)) >= FEWEST_TEXTS else np.arange(len(logs))


def cut_folds(groups: np.ndarray, folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """Return the fold of each row, ``(n,)``, from 0; at least three."""
    return group_folds(groups, max(3, min(folds, len(np.unique(groups)))), seed)
