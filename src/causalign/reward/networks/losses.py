"""Losses of reward models, as functions of torch tensors.

The last axis of every argument is the rows of a batch; axes before it, such as the members of an
ensemble, are kept, so that a loss ``(...,)`` comes out for each member. All are averages weighted
by ``weight`` ``(..., b)``.
"""

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid, softplus

from causalign.errors import SettingsError, nearest
from causalign.reward.examples import UNITS
from causalign.reward.networks.batches import Batch


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return ``Σ w v / Σ w`` over the last axis, ``(..., b) -> (...)``; 0 where no row counts."""
    return (weight * values).sum(-1) / weight.sum(-1).clamp(min=1e-12)


def squared_error(score: Tensor, outcome: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of ``(r - y)²`` over the last axis, ``(..., b) -> (...)``."""
    return weighted_mean((score - outcome).square(), weight)


def logistic(score: Tensor, probability: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of ``-p log σ(r) - (1 - p) log σ(-r)``, ``(..., b) -> (...)``.

    ``probability`` is 0 or 1, or a share between them. ``log σ`` is never taken of a number that
    has underflowed: ``-log σ(r) = log(1 + e^{-r})``.
    """
    return weighted_mean(softplus(score) - probability * score, weight)


def bradley_terry(
    first: Tensor, second: Tensor, probability: Tensor, margin: Tensor, weight: Tensor
) -> Tensor:
    """Return the weighted mean of ``-log P(label)`` with ``P(first wins) = σ(r₁ - r₂ - m)``.

    All arguments are ``(..., b)``; the loss is ``(...,)``. ``probability`` that the first side is
    preferred is 0, 1 or between; ``margin`` asks the first side to win by that many log-odds, so it
    is negative where the second side is preferred. Reference: Bradley and Terry (1952).
    """
    return logistic(first - second - margin, probability, weight)


def multi_class(scores: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of ``-log softmax(s)_y``, ``(..., b, k) -> (...)``.

    ``label`` ``(..., b)`` holds integers 0 to k - 1.
    """
    chosen = log_softmax(scores, dim=-1).gather(-1, label[..., None])[..., 0]  # (..., b)
    return weighted_mean(-chosen, weight)


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


def loss_of_scores(
    loss: str, scores: Tensor, batch: Batch, thresholds: Tensor | None = None
) -> Tensor:
    """Return the loss of each member, ``(m,)``, for scores ``(m, b, s)`` or ``(m, b, 1, k)``.

    ``thresholds`` ``(m, k - 1)`` are raw numbers that :func:`ordered_thresholds` puts in order.
    Raises ``SettingsError`` for an unknown loss, or levels without thresholds.
    """
    scores = scores.float()
    if loss == "bradley-terry":
        first, second = scores.unbind(-1)
        return bradley_terry(first, second, batch.target, batch.margin, batch.weight)
    if loss == "multi-class":
        return multi_class(scores[:, :, 0], batch.label, batch.weight)
    if loss == "ordinal":
        if thresholds is None:
            raise SettingsError("The loss 'ordinal' needs thresholds between the levels.")
        cuts = ordered_thresholds(thresholds)
        return ordinal(scores[..., 0], batch.label, cuts, batch.weight)
    if loss == "logistic":
        return logistic(scores[..., 0], batch.target, batch.weight)
    if loss == "squared-error":
        return squared_error(scores[..., 0], batch.target, batch.weight)
    raise SettingsError(f"There is no loss {loss!r}; {nearest(loss, UNITS)}")
