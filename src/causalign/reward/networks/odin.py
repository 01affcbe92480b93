"""ODIN: one head for what texts are worth, one for what follows the confounder."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from causalign.errors import InputError, SettingsError
from causalign.logs import Roles
from causalign.reward.examples import Examples, check_loss
from causalign.reward.from_logs import require_confounder
from causalign.reward.heads import NetworkHead
from causalign.reward.networks import layers as nn
from causalign.reward.networks.architecture import FittedWeights
from causalign.reward.networks.batches import Batch
from causalign.reward.networks.ensemble import RewardNetwork
from causalign.reward.networks.losses import loss_of_scores, weighted_mean


@dataclass(frozen=True, slots=True)
class Odin(RewardNetwork):
    """Fit ``r_Q + r_L`` to the data, drive the confounder into r_L, and score with r_Q alone.

    ``L = ℓ(r_Q + r_L) + λ_O |ŵ_Q·ŵ_L| + λ_L [(1 - corr(c, r_L)) + |corr(c, r_Q)|]`` with
    ``r = ŵ'φ(x)``, rows ŵ of length one in training as in scoring, a perceptron φ, and correlations
    over the sides of a batch. ℓ is Bradley-Terry on pairs, or the squared error of an outcome.

    Assumption: what the confounder brings and what the text is worth are uncorrelated (invariance).
    Where the confounder truly travels with good texts, r_Q is robbed of what they share: arXiv
    2506.00152, table 2, finds a correlation of -.54 with the truth.

    Parameters
    ----------
    loss : {"bradley-terry", "squared-error"}
    depth, width : int
        Number of layers, and of units in each.
    training : NetworkTraining
    seed : int
        Of the initial weights, the order of rows and the cut of the validation rows.
    orthogonality, disentangling : float
        λ_O and λ_L.

    References
    ----------
    Chen et al. (2024), arXiv 2402.07319, with a confounder in the place of length.
    """

    loss: Literal["bradley-terry", "squared-error"] = "bradley-terry"
    orthogonality: float = 1.0
    disentangling: float = 1.0

    name: ClassVar[str] = "odin"
    varying: ClassVar[tuple[str, ...]] = ("orthogonality", "disentangling")

    def __post_init__(self) -> None:
        RewardNetwork.__post_init__(self)
        if self.orthogonality < 0 or self.disentangling < 0:
            raise SettingsError("orthogonality and disentangling must not be negative.")

    def check_roles(self, roles: Roles) -> None:
        """Raise ``RoleNotDeclared`` or ``SettingsError`` unless there is one confounder."""
        RewardNetwork.check_roles(self, roles)
        require_confounder(self.name, roles)
        if len(roles.confounders) > 1:
            raise SettingsError(
                f"ODIN takes one confounder; {len(roles.confounders)} were named: "
                f"{', '.join(roles.confounders)}."
            )

    def check(self, examples: Examples) -> None:
        """Raise ``InputError`` or ``SettingsError`` if the network cannot learn from these."""
        check_loss(self.loss, examples, ("bradley-terry", "squared-error"))
        if examples.confounders is None or examples.confounders.shape[2] != 1:
            raise InputError("ODIN needs one confounder for each text; give `confounders=`.")

    def layers(self, examples: Examples) -> dict[str, nn.Layer]:
        """Return the layers by name."""
        sizes = [examples.features.shape[1], *[self.width] * (self.depth - 1)]
        hidden = nn.chain("layer", sizes)
        return hidden | {"rows": nn.Layer(self.width, 2, bias=False)}

    def _both(self, weights: nn.Weights, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return r_Q and r_L, each ``(m, b, s)``, and the unit rows ``(m, 2, width)``."""
        hidden = nn.perceptron(batch.features, weights, "layer", self.depth - 1, activate_last=True)
        rows = unit_rows(weights["rows.weight"].transpose(-1, -2))
        both = batch.per_side(hidden.float() @ rows.transpose(-1, -2))  # (m, b, s, 2)
        return both[..., 0], both[..., 1], rows

    def scores(self, weights: nn.Weights, batch: Batch) -> Tensor:
        """Return r_Q, ``(m, b, s)``; see :meth:`Architecture.scores`."""
        return self._both(weights, batch)[0]

    def losses(self, weights: nn.Weights, batch: Batch) -> Tensor:
        """Return the loss of each member, ``(m,)``; see :meth:`Architecture.losses`."""
        quality, rest, rows = self._both(weights, batch)
        assert batch.confounders is not None
        orthogonal, follows = disentangling_penalties(
            rows[:, 0],
            rows[:, 1],
            quality.flatten(1),
            rest.flatten(1),
            batch.confounders[..., 0].flatten(1),
            batch.weight.repeat_interleave(batch.sides, dim=1),
        )
        fitted = loss_of_scores(self.loss, quality + rest, batch)
        strength = batch.settings
        return fitted + strength["orthogonality"] * orthogonal + strength["disentangling"] * follows

    def fitted_scores(self, weights: nn.Weights, batch: Batch) -> Tensor:
        """Return r_Q + r_L, ``(m, b, s)``: what was fitted to the labels.

        See :meth:`Architecture.fitted_scores`.
        """
        quality, rest, _ = self._both(weights, batch)
        return quality + rest

    def validation_losses(self, weights: nn.Weights, batch: Batch) -> Tensor:
        """Return how badly r_Q + r_L fits, ``(m,)``; see :meth:`Architecture.validation_losses`."""
        return RewardNetwork.losses(self, weights, batch)

    def head(self, weights: FittedWeights, scales: nn.Scales) -> NetworkHead:
        """Return r_Q: the hidden layers and the first unit row; see :meth:`Architecture.head`."""
        layers = nn.layer_pairs(weights, "layer", self.depth - 1)
        row = weights["rows.weight"][:, :1]
        unit = (row / np.linalg.norm(row), np.zeros(1))
        return nn.perceptron_head([*layers, unit], scales, self.loss)


def unit_rows(rows: Tensor) -> Tensor:
    """Return rows scaled to length one, over the last axis."""
    length: Tensor = rows.norm(dim=-1, keepdim=True)
    return rows / length.clamp(min=1e-12)


def correlation(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Return weighted correlations over the last axis, ``(..., b) -> (...)``; 0 of constants."""
    a = first - weighted_mean(first, weight)[..., None]
    b = second - weighted_mean(second, weight)[..., None]
    spread = weighted_mean(a * a, weight) * weighted_mean(b * b, weight)
    # Where one side does not vary the root has no gradient; the clamp gives it zero.
    return weighted_mean(a * b, weight) / spread.clamp(min=1e-12).sqrt()


def disentangling_penalties(
    quality_row: Tensor,
    confounder_row: Tensor,
    quality: Tensor,
    rest: Tensor,
    confounder: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the two penalties of ODIN, each ``(...,)``.

    ``|ŵ_Q·ŵ_L|`` of the unit rows ``(..., h)``, and ``(1 - corr(c, r_L)) + |corr(c, r_Q)|`` over
    the batch, for rewards and confounder ``(..., b)``. Reference: Chen et al. (2024),
    arXiv 2402.07319, with a confounder in the place of length.
    """
    orthogonal = (quality_row * confounder_row).sum(-1).abs()
    follows = 1 - correlation(confounder, rest, weight)
    return orthogonal, follows + correlation(confounder, quality, weight).abs()
