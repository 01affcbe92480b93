"""Average a batch by its row weights; rows of weight zero do not count."""

from torch import Tensor

__all__ = ["weighted_mean"]


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Return ``Σ w v / Σ w`` over the last axis, ``(..., b) -> (...)``; 0 where no row counts."""
    return (weight * values).sum(-1) / weight.sum(-1).clamp(min=1e-12)
