"""What Base, Multihead and Adversarial share: which objectives there are, and a head for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError, nearest
from causalign.reward.examples import Examples
from causalign.reward.network_head import NetworkHead
from causalign.reward.networks.outcome_kinds import check_loss

__all__ = ["LOSSES", "ObjectiveHeads", "check_objectives", "count_confounders", "objective_columns"]

LOSSES = ("bradley-terry", "squared-error", "logistic")


@dataclass(frozen=True, slots=True, eq=False)
class ObjectiveHeads:
    """Hold one head for each objective; continuous confounders stay at their mean."""

    heads: Mapping[str, NetworkHead]

    def of(self, objective: str) -> NetworkHead:
        """Return the head of one objective; raise ``InputError`` for one that was never seen."""
        if objective not in self.heads:
            raise InputError(
                f"No reward was fitted for the objective {objective!r}; "
                f"{nearest(objective, self.heads)}"
            )
        return self.heads[objective]

    def __call__(self, features: ArrayLike, objectives: str | Sequence[str]) -> NDArray[np.float64]:
        """Return rewards ``(n,)`` of features ``(n, d)``, each under its objective."""
        if isinstance(objectives, str):
            return self.of(objectives)(features)
        X, names = np.asarray(features), np.asarray(objectives)
        if len(X) != len(names):
            raise InputError(f"There are {len(names)} objectives for {len(X)} texts.")
        scores = np.empty(len(X))
        for name in np.unique(names):
            scores[names == name] = self.of(str(name))(X[names == name])
        return scores


def check_objectives(loss: str, examples: Examples) -> None:
    """Raise ``InputError`` unless there are two objectives, or a continuous confounder."""
    check_loss(loss, examples, LOSSES)
    if examples.confounders is None and len(examples.objectives) < 2:
        found = ", ".join(map(repr, examples.objectives)) or "none"
        raise InputError(
            f"These networks tell objectives apart; the examples have {found}. Give "
            "`objectives=` of at least two kinds, or `confounders=`, or use Perceptron."
        )


def count_confounders(examples: Examples) -> int:
    """Return the number of continuous confounders."""
    return 0 if examples.confounders is None else examples.confounders.shape[2]


def objective_columns(objectives: int) -> NDArray[np.float64]:
    """Return what stands for each objective, ``(K, q)``: 0 or 1 for two, one column each for more.

    Without objectives it is ``(1, 0)``: nothing stands for them.
    """
    if objectives < 2:
        return np.zeros((1, 0))
    return np.arange(2.0)[:, None] if objectives == 2 else np.eye(objectives)
