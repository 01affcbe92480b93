"""Squared error: its minimiser is the expected outcome of a text."""

from torch import Tensor

from causalign.reward.losses.weighted_mean import weighted_mean

__all__ = ["squared_error"]


def squared_error(score: Tensor, outcome: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of ``(r - y)²`` over the last axis, ``(..., b) -> (...)``."""
    return weighted_mean((score - outcome).square(), weight)
