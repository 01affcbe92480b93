"""Multihead and Adversarial: one latent text for all objectives, one head for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from causalign.errors import SettingsError
from causalign.reward.examples import Examples
from causalign.reward.networks.latent import (
    adversary_outputs,
    latent_heads,
    latent_layers,
    latent_text,
    score_by_objective,
)
from causalign.reward.networks.network import Layer, Network, Scales, check_size
from causalign.reward.networks.objectives import (
    ObjectiveHeads,
    check_objectives,
    count_confounders,
)

if TYPE_CHECKING:
    from torch import Tensor

    from causalign.reward.batches import Batch

__all__ = ["Adversarial", "Multihead"]

Loss = Literal["bradley-terry", "squared-error", "logistic"]


@dataclass(frozen=True, slots=True)
class Multihead(Network):
    """Score by ``r(x, c) = f_c(g(x))``: a perceptron g to a latent text, a head f for each c.

    Each f has one hidden layer; continuous confounders are standardised and join its inputs. The
    latent text cannot depend on the objective, only the reading of it.

    Assumption: given the text, the latent factors do not depend on the objective, and texts of
    every kind are judged by every objective. Reference: arXiv 2506.05967, appendix E.1.
    """

    loss: Loss = "bradley-terry"
    depth: int = 3
    width: int = 512

    name: ClassVar[str] = "multihead"

    def __post_init__(self) -> None:
        check_size(self.depth, self.width)

    def check(self, examples: Examples) -> None:
        """Raise ``InputError`` or ``SettingsError`` if the network cannot learn from these."""
        check_objectives(self.loss, examples)

    def layers(self, examples: Examples) -> dict[str, Layer]:
        """Return the layers by name."""
        return latent_layers(examples, self.depth, self.width)

    def scores(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return ``(m, b, s)``, each example under its own objective."""
        return score_by_objective(latent_text(weights, batch, self.depth), weights, batch)

    def losses(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return the loss of each member, ``(m,)``."""
        from causalign.reward.losses.of_scores import loss_of_scores

        return loss_of_scores(self.loss, self.scores(weights, batch), batch)

    def head(self, weights: Mapping[str, NDArray[np.float64]], scales: Scales) -> ObjectiveHeads:
        """Return a head for each objective, as one perceptron from text to reward."""
        return latent_heads(weights, scales, self.depth, self.width, self.loss)


@dataclass(frozen=True, slots=True)
class Adversarial(Network):
    """Fit Multihead while an adversary tries to read the confounders from the latent text.

    ``min_{g,f} max_h L(g, f) - λ L_adv(g, h)`` with λ = ``strength``, by gradient reversal. L_adv
    is the negative log-likelihood of what was confounded given the latent text, over all sides
    of an example: the cross-entropy of the objective, half the squared error of each standardised
    continuous confounder.

    Assumption: the latent factors that matter do not tell the objective; where they do, the
    adversary takes them away. Reference: arXiv 2506.05967, section 4.1; gradient reversal: Ganin
    et al. (2016), arXiv 1505.07818.
    """

    strength: float = 1.0
    loss: Loss = "bradley-terry"
    depth: int = 3
    width: int = 512

    name: ClassVar[str] = "adversarial"
    varying: ClassVar[tuple[str, ...]] = ("strength",)

    def __post_init__(self) -> None:
        check_size(self.depth, self.width)
        if not self.strength >= 0:
            raise SettingsError(f"strength must not be negative; found {self.strength!r}.")

    def check(self, examples: Examples) -> None:
        """Raise ``InputError`` or ``SettingsError`` if the network cannot learn from these."""
        check_objectives(self.loss, examples)

    def layers(self, examples: Examples) -> dict[str, Layer]:
        """Return the layers by name, those of the adversary last."""
        kinds = len(examples.objectives)
        logits = 0 if kinds < 2 else 1 if kinds == 2 else kinds
        return latent_layers(examples, self.depth, self.width) | {
            "adversary0": Layer(self.width, self.width),
            "adversary1": Layer(self.width, logits + count_confounders(examples)),
        }

    def scores(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return ``(m, b, s)``, each example under its own objective."""
        return score_by_objective(latent_text(weights, batch, self.depth), weights, batch)

    def losses(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return the loss of each member and its adversary, ``(m,)``."""
        from causalign.reward.losses.adversary import adversary_loss
        from causalign.reward.losses.of_scores import loss_of_scores

        latent = latent_text(weights, batch, self.depth)
        fitted = loss_of_scores(self.loss, score_by_objective(latent, weights, batch), batch)
        outputs = adversary_outputs(latent, weights, batch)  # (m, b·s, q)
        several = batch.objective is not None and batch.objectives > 1
        read = adversary_loss(
            outputs.float(),
            batch.objective.repeat_interleave(batch.sides, 1)
            if several and batch.objective is not None
            else None,
            None if batch.confounders is None else batch.confounders.flatten(1, 2),
            batch.weight.repeat_interleave(batch.sides, dim=1),
        )
        return fitted + batch.sides * read

    def validation_losses(self, weights: "Mapping[str, Tensor]", batch: "Batch") -> "Tensor":
        """Return how badly the rewards fit, ``(m,)``, without the adversary."""
        from causalign.reward.losses.of_scores import loss_of_scores

        return loss_of_scores(self.loss, self.scores(weights, batch), batch)

    def head(self, weights: Mapping[str, NDArray[np.float64]], scales: Scales) -> ObjectiveHeads:
        """Return a head for each objective; the adversary is not needed any more."""
        return latent_heads(weights, scales, self.depth, self.width, self.loss)
