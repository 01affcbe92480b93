"""Which loss a name means, and what it makes of the scores of a batch."""

from torch import Tensor

from causalign.reward.batches import Batch
from causalign.reward.losses.bradley_terry import bradley_terry
from causalign.reward.losses.logistic import logistic
from causalign.reward.losses.multi_class import multi_class
from causalign.reward.losses.ordinal import ordered_thresholds, ordinal
from causalign.reward.losses.squared_error import squared_error

__all__ = ["loss_of_scores"]


def loss_of_scores(
    loss: str, scores: Tensor, batch: Batch, thresholds: Tensor | None = None
) -> Tensor:
    """Return the loss of each member, ``(m,)``, for scores ``(m, b, s)`` or ``(m, b, 1, k)``.

    ``thresholds`` ``(m, k - 1)`` are raw numbers that :func:`ordered_thresholds` puts in order.
    """
    scores = scores.float()
    if loss == "bradley-terry":
        first, second = scores.unbind(-1)
        return bradley_terry(first, second, batch.target, batch.margin, batch.weight)
    if loss == "multi-class":
        return multi_class(scores[:, :, 0], batch.label, batch.weight)
    if loss == "ordinal" and thresholds is not None:
        cuts = ordered_thresholds(thresholds)
        return ordinal(scores[..., 0], batch.label, cuts, batch.weight)
    if loss == "logistic":
        return logistic(scores[..., 0], batch.target, batch.weight)
    return squared_error(scores[..., 0], batch.target, batch.weight)
