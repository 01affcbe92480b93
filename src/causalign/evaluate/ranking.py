"""How well do rewards rank held-out pairs? AUC, accuracy and Kendall's tau, clustered."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from causalign import figures
from causalign.errors import InputError, NotIdentified
from causalign.evaluate.judges import Score
from causalign.evaluate.measure import Measure
from causalign.logs import Logs, Pairs
from causalign.logs.outcome_model import predict_outcome
from causalign.stats.pair_metrics import RankingMetric, pair_accuracy, pair_auc, paired_difference
from causalign.stats.rank_correlation import pair_tau

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Ranking(Measure):
    """How well rewards rank held-out pairs, the first reward the baseline.

    Attributes
    ----------
    differences : mapping of str to (m,) floats
        Score differences of each reward, chosen minus rejected.
    clusters : (m,) integers
        Pairs that are not independent.
    margins : (m,) floats or None
        Differences of the outcomes, where they are known.
    """

    question: ClassVar[str] = "Which reward ranks these pairs best?"
    assumption: ClassVar[str] = "The pairs took no part in fitting any of the rewards."

    differences: Mapping[str, Floats]
    clusters: NDArray[np.int64]
    margins: Floats | None = None

    @property
    def rewards(self) -> tuple[str, ...]:
        """The names of the rewards."""
        return tuple(self.differences)

    @property
    def pairs(self) -> int:
        """The number of pairs."""
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
        """Return AUC of one reward minus that of another, on the same pairs.

        Parameters
        ----------
        reward, other : str
            Names of the rewards.
        """
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

    def answer(self) -> str:
        """Return which reward ranks the pairs best."""
        best = max(self.rewards, key=lambda name: self.auc_of(name).estimate)
        return (
            f"{best} ranks the {self.pairs:,} pairs best, with AUC "
            f"{self.auc_of(best).estimate:.3f}."
        )

    def drawing(self) -> figures.Drawing:
        """Return the AUC of each reward with its interval."""
        auc = {name: self.auc_of(name) for name in self.rewards}
        return figures.forest(
            "ranking",
            list(auc),
            [m.estimate for m in auc.values()],
            [m.lower for m in auc.values()],
            [m.upper for m in auc.values()],
            xlabel="ROC AUC on held-out pairs",
            caption="How well each reward ranks held-out pairs, with 95 % intervals.",
            alt="; ".join(f"{name}: AUC {m.estimate:.3f}" for name, m in auc.items()),
            reference=0.5,
        )

    def _tau_or_none(self, reward: str) -> RankingMetric | None:
        """Return tau, or None for a reward that tells no two texts apart: it orders nothing."""
        try:
            return self.tau_of(reward)
        except NotIdentified:
            return None


def rank(models: Mapping[str, Score], pairs: Pairs | Logs) -> Ranking:
    """Score both sides of pairs that no reward has seen, and rank them.

    Parameters
    ----------
    models : mapping of str to callable
        ``reward(completions, prompts) -> (n,)`` by name, the baseline first.
    pairs : Pairs or Logs
        Held-out comparisons, or logs whose texts compete within a group; groups are the clusters.

    Returns
    -------
    Ranking

    Raises
    ------
    InputError
        When a reward returns no finite score for a text.
    RoleNotDeclared
        When logs name no group.
    """
    pairs = pairs.pairs() if isinstance(pairs, Logs) else pairs
    sides = pairs.chosen, pairs.rejected
    differences = {}
    for name, model in models.items():
        chosen, rejected = (predict_outcome(model, side, pairs.prompt) for side in sides)
        differences[name] = chosen - rejected
    return rank_arrays(differences, pairs.group, pairs.margin)


def rank_arrays(
    differences: Mapping[str, Floats],
    clusters: NDArray[np.int64],
    margins: Floats | None = None,
) -> Ranking:
    """Gather the score differences of several rewards on the same pairs, for research.

    Parameters
    ----------
    differences : mapping of str to (m,) floats
        Chosen minus rejected, the baseline first.
    clusters : (m,) integers
        Pairs that are not independent.
    margins : (m,) floats, optional
        Differences of the outcomes.

    Returns
    -------
    Ranking

    Raises
    ------
    InputError
        When a margin is negative or no number: AUC and tau would then contradict each other.
    """
    if margins is not None and not (np.asarray(margins) >= 0).all():
        raise InputError(
            "A margin is negative or no number. It says by how much the chosen text is better: "
            "exchange the sides of such pairs, or correct it."
        )
    arrays = {name: np.asarray(d, dtype=np.float64) for name, d in differences.items()}
    return Ranking(arrays, clusters, margins)


def _floats(values: Iterable[float | None]) -> pa.Array:
    return pa.array(list(values), pa.float64())
