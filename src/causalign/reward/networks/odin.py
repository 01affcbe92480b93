"""ODIN: one head for what texts are worth, one for what follows the confounder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, SettingsError
from causalign.reward.examples import Examples
from causalign.reward.network_head import NetworkHead
from causalign.reward.networks.folding import fold_inputs, in_units
from causalign.reward.networks.network import Layer, Network, Scales, chain, check_size
from causalign.reward.networks.outcome_kinds import check_loss

if TYPE_CHECKING:
    from torch import Tensor

    from causalign.reward.batches import Batch

__all__ = ["Odin"]


@dataclass(frozen=True, slots=True)
class Odin(Network):
    """Fit ``r_Q + r_L`` to the data, drive the confounder into r_L, and score with r_Q alone.

    ``L = ℓ(r_Q + r_L) + λ_O |ŵ_Q·ŵ_L| + λ_L [(1 - corr(c, r_L)) + |corr(c, r_Q)|]`` with
    ``r = ŵ'φ(x)``, rows ŵ of length one in training as in scoring, a perceptron φ, and correlations
    over the sides of a batch. ℓ is Bradley-Terry on pairs, or the squared error of an outcome.

    Assumption: what the confounder brings and what the text is worth are uncorrelated (invariance).
    Where the confounder truly travels with good texts, r_Q is robbed of what they share: arXiv
    2506.00152, table 2, finds a correlation of -.54 with the truth.

    Reference: Chen et al. (2024), arXiv 2402.07319, with a confounder in the place of length.
    """

    loss: Literal["bradley-terry", "squared-error"] = "bradley-terry"
    orthogonality: float = 1.0
    disentangling: float = 1.0
    depth: int = 3
    width: int = 512

    name: ClassVar[str] = "odin"
    varying: ClassVar[tuple[str, ...]] = ("orthogonality", "disentangling")

    def __post_init__(self) -> None:
        check_size(self.depth, self.width)
        if self.orthogonality < 0 or self.disentangling < 0:
            raise SettingsError("orthogonality and disentangling must not be negative.")

    def check(self, examples: Examples) -> None:
        """Raise ``InputError`` or ``SettingsError`` if the network cannot learn from these."""
        check_loss(self.loss, examples, ("bradley-terry", "squared-error"))
        if examples.confounders is None or examples.confounders.shape[2] != 1:
            raise InputError("ODIN needs one confounder for each text; give `confounders=`.")

    def layers(self, examples: Examples) -> dict[str, Layer]:
        """Return the layers by name."""
        sizes = [examples.features.shape[1], *[self.width] * (self.depth - 1)]
        hidden = chain("layer", sizes)
        return hidden | {"rows": Layer(self.width, 2, bias=False)}

    def both(
        self, weights: "Mapping[str, Tensor]", batch: "Batch"
    ) -> "tuple[Tensor, Tensor, Tensor]":
        """Return r_Q and r_L, each ``(m, b, s)``, and the unit rows ``(m, 2, width)``."""
        from causalign.reward.losses.odin import unit_rows
        from causalign.reward.stacked import perceptron

        hidden = perceptron(batch.features, weights, self._hidden(), activate_last=True)
        rows = unit_rows(weights["rows.weight"].transpose(-1, -2))
        both = batch.per_side(hidden.float() @ rows.transpose(-1, -2))  # (m, b, s, 2)
        return both[..., 0], both[..., 1], rows

    def scores(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return r_Q, ``(m, b, s)``."""
        return self.both(weights, batch)[0]

    def losses(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return the loss of each member, ``(m,)``."""
        from causalign.reward.losses.odin import disentangling
        from causalign.reward.losses.of_scores import loss_of_scores

        quality, rest, rows = self.both(weights, batch)
        assert batch.confounders is not None
        orthogonal, follows = disentangling(
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

    def fitted_scores(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return r_Q + r_L, ``(m, b, s)``: what was fitted to the labels."""
        quality, rest, _ = self.both(weights, batch)
        return quality + rest

    def validation_losses(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return how badly r_Q + r_L fits, ``(m,)``."""
        from causalign.reward.losses.of_scores import loss_of_scores

        quality, rest, _ = self.both(weights, batch)
        return loss_of_scores(self.loss, quality + rest, batch)

    def head(self, weights: Mapping[str, NDArray[np.float64]], scales: Scales) -> NetworkHead:
        """Return r_Q: the hidden layers and the first unit row."""
        layers = [(weights[f"{n}.weight"], weights[f"{n}.bias"].ravel()) for n in self._hidden()]
        layers[0] = fold_inputs(*layers[0], scales)
        row = weights["rows.weight"][:, :1]
        layers.append(in_units(row / np.linalg.norm(row), np.zeros(1), scales, self.loss))
        return NetworkHead(tuple(w for w, _ in layers), tuple(b for _, b in layers))

    def _hidden(self) -> list[str]:
        return [f"layer{i}" for i in range(self.depth - 1)]
