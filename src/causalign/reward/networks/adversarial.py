"""Adversarial: Multihead whose latent text must not tell the objective, by gradient reversal."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softplus

from causalign.errors import SettingsError
from causalign.reward.examples import Examples
from causalign.reward.networks import layers as nn
from causalign.reward.networks.batches import Batch
from causalign.reward.networks.losses import loss_of_scores, weighted_mean
from causalign.reward.networks.multihead import Multihead
from causalign.reward.networks.objectives import count_confounders

Context = Any  # torch's record of a forward pass


@dataclass(frozen=True, slots=True)
class Adversarial(Multihead):
    """Fit Multihead while an adversary tries to read the confounders from the latent text.

    ``min_{g,f} max_h L(g, f) - λ L_adv(g, h)`` with λ = ``strength``, by gradient reversal. L_adv
    is the negative log-likelihood of what was confounded given the latent text, over all sides
    of an example: the cross-entropy of the objective, half the squared error of each standardised
    continuous confounder.

    Assumption: the latent factors that matter do not tell the objective; where they do, the
    adversary takes them away.

    Parameters
    ----------
    loss : {"bradley-terry", "squared-error", "logistic"}
    depth, width : int
        Number of layers of g, and of units in each.
    training : NetworkTraining
    seed : int
        Of the initial weights, the order of rows and the cut of the validation rows.
    strength : float
        λ.

    References
    ----------
    arXiv 2506.05967, section 4.1; gradient reversal: Ganin et al. (2016), arXiv 1505.07818.
    """

    strength: float = 1.0

    name: ClassVar[str] = "adversarial"
    varying: ClassVar[tuple[str, ...]] = ("strength",)

    def __post_init__(self) -> None:
        Multihead.__post_init__(self)
        if not self.strength >= 0:
            raise SettingsError(f"strength must not be negative; found {self.strength!r}.")

    def layers(self, examples: Examples) -> dict[str, nn.Layer]:
        """Return the layers by name, those of the adversary last."""
        kinds = len(examples.objectives)
        logits = 0 if kinds < 2 else 1 if kinds == 2 else kinds
        return Multihead.layers(self, examples) | {
            "adversary0": nn.Layer(self.width, self.width),
            "adversary1": nn.Layer(self.width, logits + count_confounders(examples)),
        }

    def losses(self, weights: nn.Weights, batch: Batch) -> Tensor:
        """Return the loss of each member and its adversary; see :meth:`Architecture.losses`."""
        latent = self._latent_text(weights, batch)
        fitted = loss_of_scores(self.loss, self._scores_of_latent(latent, weights, batch), batch)
        hidden = reverse_gradient(latent, batch.settings["strength"][:, None, None])
        outputs = nn.perceptron(hidden, weights, "adversary", 2)  # (m, b·s, q)
        objective = batch.objective if batch.objectives > 1 else None
        read = adversary_loss(
            outputs.float(),
            None if objective is None else objective.repeat_interleave(batch.sides, 1),
            None if batch.confounders is None else batch.confounders.flatten(1, 2),
            batch.weight.repeat_interleave(batch.sides, dim=1),
        )
        return fitted + batch.sides * read

    def validation_losses(self, weights: nn.Weights, batch: Batch) -> Tensor:
        """Return how badly the rewards fit; see :meth:`Architecture.validation_losses`."""
        return Multihead.losses(self, weights, batch)


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(context: Context, latent: Tensor, strength: Tensor) -> Tensor:
        context.save_for_backward(strength)
        return latent.view_as(latent)

    @staticmethod
    def backward(context: Context, gradient: Tensor) -> tuple[Tensor, None]:
        (strength,) = context.saved_tensors
        return -strength.to(gradient.dtype) * gradient, None


def reverse_gradient(latent: Tensor, strength: Tensor) -> Tensor:
    """Return the latent unchanged; its gradient comes back multiplied by ``-strength``.

    So one descent plays ``min_θ max_φ L(θ) - λ L_adv(θ, φ)``: the adversary's own weights descend
    on ``L_adv``, what lies below ascends. Reference: Ganin et al. (2016), arXiv 1505.07818.
    """
    reversed_latent: Tensor = _Reversal.apply(latent, strength)  # type: ignore[no-untyped-call]
    return reversed_latent


def adversary_loss(
    outputs: Tensor, objective: Tensor | None, confounders: Tensor | None, weight: Tensor
) -> Tensor:
    """Return how badly the confounders are predicted, ``(...,)``.

    ``outputs`` ``(..., b, q)`` holds the logits of the objective, one for two objectives and k for
    k > 2, and one prediction for each confounder ``(..., b, c)``, standardised. The objective costs
    its cross-entropy, ``-c log h - (1 - c) log(1 - h)`` for two, a confounder half its squared
    error; both are negative log-likelihoods up to a constant. Reference: arXiv 2506.05967, section
    4.1 (its equation 13 omits the logarithms).
    """
    total = torch.zeros(outputs.shape[:-2], dtype=outputs.dtype, device=outputs.device)
    logits = outputs.shape[-1] - (0 if confounders is None else confounders.shape[-1])
    if objective is not None and logits == 1:
        logit = outputs[..., 0]
        total = total + weighted_mean(softplus(logit) - objective * logit, weight)
    elif objective is not None:
        log_odds = log_softmax(outputs[..., :logits], dim=-1)
        total = total - weighted_mean(log_odds.gather(-1, objective[..., None])[..., 0], weight)
    if confounders is not None:
        error = (outputs[..., logits:] - confounders).square().sum(-1)
        total = total + weighted_mean(0.5 * error, weight)
    return total
