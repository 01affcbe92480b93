"""A head that scores for the mean of the readers, and holds one for each audience."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError
from causalign.logs.audiences import require_audience
from causalign.logs.outcome_model import Assessment
from causalign.reward.heads import LinearHead, Settings, Tensors

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AudienceHead(LinearHead):
    """Score for the mean of the readers as a `LinearHead` does; `of` gives each audience's head.

    Parameters
    ----------
    audiences : mapping from str to LinearHead
        By the name of the audience.
    levels : (a,) array
        The mean outcome of each audience: what a text earns beyond it is a gain.

    Raises
    ------
    InputError
        If heads and levels do not fit each other.
    """

    audiences: Mapping[str, LinearHead] = field(default_factory=dict)
    levels: Array = field(default_factory=lambda: np.zeros(0))

    kind: ClassVar[str] = "audiences"

    def __post_init__(self) -> None:
        LinearHead.__post_init__(self)
        widths = {head.dimension for head in self.audiences.values()}
        if widths != {self.dimension} or np.shape(self.levels) != (len(self.audiences),):
            raise InputError("Heads and levels of the audiences do not fit each other.")

    @property
    def settings(self) -> Settings:
        """The names of the audiences."""
        return {"audiences": list(self.audiences)}

    def of(self, audience: str) -> LinearHead:
        """Return the head of one audience; raise ``InputError`` for one that is not known."""
        return self.audiences[require_audience(audience, tuple(self.audiences))]

    def assess(self, features: ArrayLike) -> dict[str, Assessment]:
        """Return the gain of each text in each audience, and its standard error."""
        gains = {}
        for head, level, name in zip(
            self.audiences.values(), self.levels, self.audiences, strict=True
        ):
            factor = head.covariance_factor(features)
            error = np.linalg.norm(factor, axis=1)
            gains[name] = Assessment(head(features) - level, error, None, None, 0, factor)
        return gains

    def tensors(self) -> Tensors:
        """Return the arrays that define the head, by name."""
        named = dict(LinearHead.tensors(self)) | {"levels": self.levels}
        for place, head in enumerate(self.audiences.values()):
            named |= {f"{place}.{name}": array for name, array in head.tensors().items()}
        return named

    @classmethod
    def from_tensors(cls, settings: Settings, tensors: Tensors) -> "AudienceHead":
        """Build a head from what :meth:`tensors` and ``settings`` returned."""
        mean, audiences = LinearHead.from_tensors({}, tensors), {}
        for place, name in enumerate(settings["audiences"]):
            mark = f"{place}."
            own = {n[len(mark) :]: t for n, t in tensors.items() if n.startswith(mark)}
            audiences[str(name)] = LinearHead.from_tensors({}, own)
        levels = np.asarray(tensors["levels"], dtype=np.float64)
        known = (mean.coefficients, mean.intercept, mean.factor, mean.support)
        return cls(*known, audiences, levels)
