"""What an architecture says of itself: its layers, its losses and the head that it becomes."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from causalign.errors import SettingsError
from causalign.logs import Roles
from causalign.reward.examples import Examples
from causalign.reward.from_logs import refuse_guardrails, require_group
from causalign.reward.heads import ClassHead, NetworkHead, ObjectiveHeads
from causalign.reward.network_training import NetworkTraining
from causalign.reward.networks.batches import Batch
from causalign.reward.networks.layers import Array, Layer, Scales, Weights
from causalign.reward.networks.losses import loss_of_scores
from causalign.reward.vector_method import VectorMethod
from causalign.stats.folds import group_folds

FittedWeights = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Architecture(VectorMethod):
    """Be a frozen dataclass of settings; members that differ in ``varying`` still fit together."""

    loss: str = "squared-error"
    depth: int = 3
    width: int = 512
    training: NetworkTraining = field(default_factory=NetworkTraining)
    seed: int = 0

    varying: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if self.depth < 2 or self.width < 1:
            raise SettingsError(
                "A network needs at least 2 layers of positive width; found "
                f"{self.depth} and {self.width}. For a linear reward use Ridge or Pairwise."
            )
        if self.seed < 0:
            raise SettingsError(f"seed must be a whole number from 0; found {self.seed!r}.")

    @abstractmethod
    def check(self, examples: Examples) -> None:
        """Raise ``InputError`` or ``SettingsError`` if the network cannot learn from these."""

    @abstractmethod
    def layers(self, examples: Examples) -> dict[str, Layer]:
        """Return the layers by name, in the order in which they are initialised."""

    @abstractmethod
    def scores(self, weights: Weights, batch: Batch) -> Tensor:
        """Return the outputs for each side, ``(m, b, s)`` or ``(m, b, s, classes)``.

        Parameters
        ----------
        weights : mapping of str to tensor
            Those of the m members, stacked, by the names of :meth:`layers`.
        batch : Batch
            b examples for each member.
        """

    @abstractmethod
    def head(
        self, weights: FittedWeights, scales: Scales
    ) -> NetworkHead | ClassHead | ObjectiveHeads:
        """Return what scores texts after the fit, in plain numpy.

        Parameters
        ----------
        weights : mapping of str to array
            Those of one member.
        scales : Scales
            How inputs and target were standardised.
        """

    def start(self, target: Array) -> dict[str, Array]:  # noqa: ARG002
        """Return weights that do not start at random, given the outcomes of the training rows."""
        return {}

    @property
    def compares(self) -> bool:
        """Whether it learns from pairs, and compares epochs by the share in the right order."""
        return self.loss == "bradley-terry"

    def check_roles(self, roles: Roles) -> None:
        """Raise ``RoleNotDeclared`` if pairs are compared and no group says which competed."""
        refuse_guardrails(self.name, roles)
        if self.compares:
            require_group(f"The method {self.name!r} with loss='bradley-terry'", roles)

    def _check_groups(self, groups: NDArray[np.int64]) -> None:
        if self.training.validation_share:
            group_folds(groups, self.training.validation_folds, self.seed)

    def fitted_scores(self, weights: Weights, batch: Batch) -> Tensor:
        """Return the scores whose order validation compares with the labels, ``(m, b, 2)``.

        See :meth:`scores` for the parameters.
        """
        return self.scores(weights, batch)

    def losses(self, weights: Weights, batch: Batch) -> Tensor:
        """Return the training loss of each member, ``(m,)``. See :meth:`scores`."""
        return loss_of_scores(self.loss, self.fitted_scores(weights, batch), batch)

    def validation_losses(self, weights: Weights, batch: Batch) -> Tensor:
        """Return the loss of validation rows, ``(m,)``, without what guides training.

        See :meth:`scores` for the parameters.
        """
        return self.losses(weights, batch)
