"""How importance weights are tamed, and how fresh samples are drawn."""

from dataclasses import dataclass
from typing import Literal

from causalign.errors import SettingsError

__all__ = ["FreshSamples", "Weighting"]


@dataclass(frozen=True, slots=True)
class Weighting:
    """Set what happens to the weights ``π(T) / P_R(T)`` of logged texts.

    ``level``: ``"sequence"`` is the ratio of whole texts, which estimates the value of the policy;
    ``"length"`` its root by the number of tokens, steady for long texts, and the value of nothing.
    ``normalise`` divides by the mean weight of the whole log, kept up to date while training: the
    constant in P_R then does not matter. ``smooth`` replaces the largest weights by Pareto
    quantiles, ``clip`` bounds them. Training stops when fewer than ``stop_below`` effective rows
    are left.
    """

    level: Literal["sequence", "length"] = "sequence"
    normalise: bool = True
    smooth: bool = True
    clip: float | None = None
    stop_below: float = 10.0

    def __post_init__(self) -> None:
        if self.level not in ("sequence", "length"):
            raise SettingsError(f"level must be 'sequence' or 'length'; found {self.level!r}.")
        if self.clip is not None and not self.clip > 0:
            raise SettingsError(f"clip must be above 0; found {self.clip}.")
        if self.stop_below < 1:
            raise SettingsError(f"stop_below must be at least 1 row; found {self.stop_below}.")


@dataclass(frozen=True, slots=True)
class FreshSamples:
    """Set how texts are drawn for the outcome model's part.

    Every ``every`` steps a pool of texts is drawn from the policy as it then is, large enough that
    each batch gets ``for_each_row`` new ones for each logged row. A share ``defensive`` of the
    pool comes from the reference, and the weights are taken against the mixture of both, which
    bounds them. ``measured`` texts from the policy tell how typical the logged texts are for it.
    """

    every: int = 10
    for_each_row: int = 2
    max_new_tokens: int = 64
    defensive: float = 0.0
    measured: int = 64

    def __post_init__(self) -> None:
        for name in ("every", "for_each_row", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 1; found {getattr(self, name)}.")
        if not 0 <= self.defensive < 1:
            raise SettingsError(f"defensive must lie in [0, 1); found {self.defensive}.")
        if self.measured < 0:
            raise SettingsError(f"measured must not be negative; found {self.measured}.")
