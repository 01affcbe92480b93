"""How well do rewards rank held-out pairs? AUC and accuracy with clustered intervals."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from causalign.stats.ranking import RankingMetric, pair_accuracy, pair_auc, paired_difference

__all__ = ["Ranking", "rank"]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Hold the score differences ``(m,)`` of each reward, chosen minus rejected, and clusters."""

    differences: Mapping[str, np.ndarray]
    clusters: np.ndarray

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

    def difference(self, reward: str, other: str) -> RankingMetric:
        """Return AUC of ``reward`` minus that of ``other``, on the same pairs."""
        first, second = self.differences[reward], self.differences[other]
        return paired_difference(first, second, clusters=self.clusters)

    def table(self) -> pa.Table:
        """Return one row for each reward."""
        auc = [self.auc_of(name) for name in self.rewards]
        accuracy = [self.accuracy_of(name) for name in self.rewards]
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
                f"AUC above {self.rewards[0]}": [m.estimate for m in gains],
                "above lower": [m.lower for m in gains],
                "above upper": [m.upper for m in gains],
            }
        )


def rank(differences: Mapping[str, np.ndarray], clusters: np.ndarray) -> Ranking:
    """Gather the score differences of several rewards on the same pairs, the first the baseline."""
    return Ranking({name: np.asarray(d, dtype=float) for name, d in differences.items()}, clusters)
