"""What every head is, and the closed list of heads that a saved reward model may hold.

A head that keeps to :class:`Head` needs one line in ``HEADS`` to be saved and loaded.
"""

from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import ArtifactError, nearest
from causalign.reward.class_head import ClassHead
from causalign.reward.head import LinearHead
from causalign.reward.network_head import NetworkHead

__all__ = ["HEADS", "Head", "built_head"]


class Head(Protocol):
    """Score vectors of texts; be made again from its kind, its settings and its arrays.

    The class method ``from_tensors(settings, tensors)`` returns an equal head. It must accept
    anything: settings come from a file that somebody may have altered.
    """

    @property
    def kind(self) -> str:
        """Return the name under which the head's class stands in ``HEADS``."""
        ...

    @property
    def dimension(self) -> int:
        """Return the length d of the vectors that the head reads."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return what is needed beside the arrays, as JSON types."""
        ...

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that define the head, by name."""
        ...

    def __call__(self, features: ArrayLike) -> NDArray[np.float64]:
        """Return the rewards ``(n,)`` of features ``(n, d)``."""
        ...


HEADS: Mapping[str, Any] = {head.kind: head for head in (LinearHead, NetworkHead, ClassHead)}


def built_head(kind: str, settings: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> Head:
    """Return the head that was saved; raise ``ArtifactError`` if its parts do not fit."""
    if kind not in HEADS:
        raise ArtifactError(
            f"The reward model has a head of the kind {kind!r}, which this causalign does not "
            f"know; {nearest(kind, HEADS)} Install the causalign that wrote it."
        )
    try:
        return cast(Head, HEADS[kind].from_tensors(settings, tensors))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as damage:
        raise ArtifactError(
            f"The saved parts make no head of the kind {kind!r}: {damage!r}. Save the model again."
        ) from damage
