"""Logistic loss: its minimiser is the log-odds that a text has the outcome."""

from torch import Tensor
from torch.nn.functional import softplus

from causalign.reward.losses.weighted_mean import weighted_mean

__all__ = ["logistic"]


def logistic(score: Tensor, probability: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of ``-p log σ(r) - (1 - p) log σ(-r)``, ``(..., b) -> (...)``.

    ``probability`` is 0 or 1, or a share between them. ``log σ`` is never taken of a number that
    has underflowed: ``-log σ(r) = log(1 + e^{-r})``.
    """
    return weighted_mean(softplus(score) - probability * score, weight)
