"""Multi-class: one score for each class, and the odds between classes follow their differences."""

from torch import Tensor
from torch.nn.functional import log_softmax

from causalign.reward.losses.weighted_mean import weighted_mean

__all__ = ["multi_class"]


def multi_class(scores: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of ``-log softmax(s)_y``, ``(..., b, k) -> (...)``.

    ``label`` ``(..., b)`` holds integers 0 to k - 1.
    """
    chosen = log_softmax(scores, dim=-1).gather(-1, label[..., None])[..., 0]  # (..., b)
    return weighted_mean(-chosen, weight)
