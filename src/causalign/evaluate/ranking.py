"""How well do rewards rank held-out pairs? AUC, accuracy and Kendall's tau, clustered."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from causalign.errors import NotIdentified
from causalign.stats.rank_correlation import pair_tau
from causalign.stats.ranking import RankingMetric, pair_accuracy, pair_auc, paired_difference

__all__ = ["Ranking", "rank"]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Hold the score differences ``(m,)`` of each reward, chosen minus rejected, and clusters.

    ``margins`` ``(m,)`` are the differences of the outcomes, where they are known.
    """

    differences: Mapping[str, np.ndarray]
    clusters: np.ndarray
    margins: np.ndarray | None = None

    @property
    def rewards(self) -> tuple[str, ...]:
        """Return the names of the rewards."""
        return tuple(self.differences)

    @property
    def pairs(self) -> int:
        """Return the number of pairs."""
        return len(self.clusters)

    def auc_of(self, reward: str) -> RankingMetric:
        """Return the ROC AUC of one reward."""
        return pair_auc(self.differences[reward], clusters=self.clusters)

    def accuracy_of(self, reward: str) -> RankingMetric:
        """Return the share of pairs that one reward ranks rightly; ties count half."""
        return pair_accuracy(self.differences[reward], clusters=self.clusters)

    def tau_of(self, reward: str) -> RankingMetric:
        """Return Kendall's tau-b between the differences of one reward and the margins.

        Without margins it knows only who won.
        """
        return pair_tau(self.differences[reward], self.margins, clusters=self.clusters)

    def difference(self, reward: str, other: str) -> RankingMetric:
        """Return AUC of ``reward`` minus that of ``other``, on the same pairs."""
        first, second = self.differences[reward], self.differences[other]
        return paired_difference(first, second, clusters=self.clusters)

    def table(self) -> pa.Table:
        """Return one row for each reward."""
        auc = [self.auc_of(name) for name in self.rewards]
        accuracy = [self.accuracy_of(name) for name in self.rewards]
        tau = [self._tau_or_none(name) for name in self.rewards]
        gains = [self.difference(name, self.rewards[0]) for name in self.rewards]
        return pa.table(
            {
                "reward": list(self.rewards),
                "AUC": [m.estimate for m in auc],
                "AUC lower": [m.lower for m in auc],
                "AUC upper": [m.upper for m in auc],
                "accuracy": [m.estimate for m in accuracy],
                "accuracy lower": [m.lower for m in accuracy],
                "accuracy upper": [m.upper for m in accuracy],
                "Kendall τ": _floats(m.estimate if m else None for m in tau),
                "τ lower": _floats(m.lower if m else None for m in tau),
                "τ upper": _floats(m.upper if m else None for m in tau),
                f"AUC above {self.rewards[0]}": [m.estimate for m in gains],
                "above lower": [m.lower for m in gains],
                "above upper": [m.upper for m in gains],
            }
        )

    def _tau_or_none(self, reward: str) -> RankingMetric | None:
        """Return tau, or None for a reward that tells no two texts apart: it orders nothing."""
        try:
            return self.tau_of(reward)
        except NotIdentified:
            return None


def _floats(values: Iterable[float | None]) -> pa.Array:
    return pa.array(list(values), pa.float64())


def rank(
    differences: Mapping[str, np.ndarray],
    clusters: np.ndarray,
    margins: np.ndarray | None = None,
) -> Ranking:
    """Gather the score differences of several rewards on the same pairs, the first the baseline."""
    found = {name: np.asarray(d, dtype=float) for name, d in differences.items()}
    return Ranking(found, clusters, margins)
