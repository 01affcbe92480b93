"""Bradley-Terry: the odds that one text beats another follow the difference of their rewards."""

from torch import Tensor

from causalign.reward.losses.logistic import logistic

__all__ = ["bradley_terry"]


def bradley_terry(
    first: Tensor, second: Tensor, probability: Tensor, margin: Tensor, weight: Tensor
) -> Tensor:
    """Return the weighted mean of ``-log P(label)`` with ``P(first wins) = σ(r₁ - r₂ - m)``.

    All arguments are ``(..., b)``; the loss is ``(...,)``. ``probability`` that the first side is
    preferred is 0, 1 or between; ``margin`` asks the first side to win by that many log-odds, so it
    is negative where the second side is preferred. Reference: Bradley and Terry (1952).
    """
    return logistic(first - second - margin, probability, weight)
