"""Ordinal: one score, and ordered thresholds that cut it into levels (proportional odds)."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from causalign.reward.losses.weighted_mean import weighted_mean

__all__ = ["ordered_thresholds", "ordinal"]


def ordered_thresholds(raw: Tensor) -> Tensor:
    """Return thresholds that ascend, ``(..., k - 1)``: the first, then positive steps.

    ``θ₁ = raw₁``, ``θ_j = θ_{j-1} + log(1 + e^{raw_j})``: any raw numbers give an order.
    """
    return torch.cat([raw[..., :1], softplus(raw[..., 1:])], dim=-1).cumsum(-1)


def ordinal(score: Tensor, level: Tensor, thresholds: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of ``-log P(level)`` with ``P(level > j) = σ(s - θ_j)``.

    ``score`` and ``level`` are ``(..., b)``, levels integers 0 to k - 1; ``thresholds``
    ``(..., k - 1)`` ascend. ``P(j) = σ(s - θ_{j-1}) - σ(s - θ_j)`` is taken as
    ``σ(s - θ_{j-1}) σ(θ_j - s) (1 - e^{θ_{j-1} - θ_j})``, which does not cancel in the tails.
    Reference: McCullagh (1980), Journal of the Royal Statistical Society B 42.
    """
    edge = torch.full_like(thresholds[..., :1], torch.inf)
    bounds = torch.cat([-edge, thresholds, edge], dim=-1)[..., None, :]  # (..., 1, k + 1)
    bounds = bounds.expand(*score.shape, bounds.shape[-1])
    lower = bounds.gather(-1, level[..., None])[..., 0]
    upper = bounds.gather(-1, level[..., None] + 1)[..., 0]
    gap = torch.log1p(-torch.exp(lower - upper))
    return weighted_mean(-(logsigmoid(score - lower) + logsigmoid(upper - score) + gap), weight)
