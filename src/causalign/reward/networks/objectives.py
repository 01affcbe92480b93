"""What networks share that tell objectives apart: roles, losses, columns of the objective."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, RoleNotDeclared
from causalign.logs import Roles
from causalign.reward.examples import Examples, check_loss
from causalign.reward.networks.ensemble import RewardNetwork

LOSSES = ("bradley-terry", "squared-error", "logistic")


@dataclass(frozen=True, slots=True)
class ObjectiveNetwork(RewardNetwork):
    """Learn a reward for each of several objectives."""

    loss: Literal["bradley-terry", "squared-error", "logistic"] = "bradley-terry"

    def check_roles(self, roles: Roles) -> None:
        """Raise ``RoleNotDeclared`` without objective and confounder, or group of pairs."""
        RewardNetwork.check_roles(self, roles)
        if roles.objective is None and not roles.confounders:
            raise RoleNotDeclared(
                f"The method {self.name!r} needs to know by which objective a row was judged, or "
                "continuous confounders.",
                "objective",
                "confounders",
            )

    def check(self, examples: Examples) -> None:
        """Raise ``InputError`` unless there are two objectives, or a continuous confounder."""
        check_loss(self.loss, examples, LOSSES)
        if examples.confounders is None and len(examples.objectives) < 2:
            names = ", ".join(map(repr, examples.objectives)) or "none"
            raise InputError(
                f"These networks tell objectives apart; the examples have {names}. Give "
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
