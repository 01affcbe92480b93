"""The adversary: predict confounders from the latent text, and turn its gradient around."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, softplus

from causalign.reward.losses.weighted_mean import weighted_mean

__all__ = ["adversary_loss", "reverse_gradient"]


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, latent: Tensor, strength: Tensor) -> Tensor:  # type: ignore[override]
        context.save_for_backward(strength)
        return latent.view_as(latent)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (strength,) = context.saved_tensors
        return -strength.to(gradient.dtype) * gradient, None


def reverse_gradient(latent: Tensor, strength: Tensor) -> Tensor:
    """Return the latent unchanged; its gradient comes back multiplied by ``-strength``.

    So one descent plays ``min_θ max_φ L(θ) - λ L_adv(θ, φ)``: the adversary's own weights descend
    on ``L_adv``, what lies below ascends. Reference: Ganin et al. (2016), arXiv 1505.07818.
    """
    return _Reversal.apply(latent, strength)


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
