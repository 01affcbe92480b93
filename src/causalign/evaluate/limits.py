"""How much support a value must have before it is reported."""

from dataclasses import dataclass

from causalign.errors import SettingsError

__all__ = ["SupportLimits"]


@dataclass(frozen=True, slots=True)
class SupportLimits:
    """Set where findings about weights and support fail, so that no number is reported.

    ``effective_rows``: rows that the weighted log is worth. ``pareto_shape``: the tail of the
    weights (the bound for small logs is stricter by itself). ``mean_weight``: distance of the mean
    weight from 1 that counts, when it is also beyond chance. ``support``: share of the target's
    texts that lie where the log has texts. ``typical_rows``: logged texts that the target would
    typically write. ``cut``: share of the target's mass that clipping may remove.
    They are settings because costs differ; the defaults are those of the documentation's
    simulations. Raises ``SettingsError`` for a limit out of range.
    """

    effective_rows: float = 50.0
    pareto_shape: float = 0.7
    mean_weight: float = 0.1
    support: float = 0.8
    typical_rows: float = 50.0
    cut: float = 0.1

    def __post_init__(self) -> None:
        for name in ("support", "cut"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is a share; found {getattr(self, name)}.")
        for name in ("effective_rows", "pareto_shape", "mean_weight", "typical_rows"):
            if not getattr(self, name) >= 0:
                raise SettingsError(f"{name} must not be negative; found {getattr(self, name)}.")
