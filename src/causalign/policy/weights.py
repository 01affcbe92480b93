"""The last known importance weight of every logged row, and what all of them say together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from causalign.policy.settings import Weighting
from causalign.stats.importance_weights import (
    WeightDiagnostics,
    diagnosed,
    effective_sample_size,
    pareto_smoothed,
)

__all__ = ["WeightTable"]

Floats = NDArray[np.float64]
LARGEST = 60.0  # a log-weight beyond which sums of float32 lose everything else


@dataclass(slots=True)
class WeightTable:
    """Keep log-weights ``(n,)`` of a whole log while batches bring them up to date.

    A batch of four cannot normalise or smooth its weights: the mean over the log can. Rows that
    were not in a batch lately keep the weight they last had. ``row_weight`` (n,) has mean one;
    ``outcome`` (n,) is Y, or Y − ĝ.
    """

    log_weight: Floats
    outcome: Floats
    row_weight: Floats
    weighting: Weighting

    def update(self, rows: NDArray[np.int64], log_weight: Floats) -> None:
        """Write the newest log-weights of some rows."""
        self.log_weight[rows] = log_weight

    def log_normaliser(self) -> float:
        """Return the logarithm of the weights' mean, or 0 when they are not normalised."""
        if not self.weighting.normalise:
            return 0.0
        return float(logsumexp(self.log_weight, b=self.row_weight) - np.log(self.row_weight.sum()))

    def smoothing(self) -> Floats:
        """Return what Pareto smoothing adds to each log-weight, ``(n,)``; zeros without it."""
        if not self.weighting.smooth:
            return np.zeros(len(self.log_weight))
        return pareto_smoothed(self.log_weight).log_weights - self.log_weight

    def weights(self) -> Floats:
        """Return the weights ``(n,)`` as the objective uses them."""
        found = self.log_weight + self.smoothing() - self.log_normaliser()
        with np.errstate(over="ignore"):
            return np.minimum(np.exp(found), self.weighting.clip or np.inf)

    def value(self) -> tuple[float, float]:
        """Return the estimate from all rows and its standard error.

        Self-normalised: ``Σ v w y / Σ v w`` with error ``√(Σ (v w)² (y − V̂)²) / Σ v w``;
        otherwise the mean of ``v w y`` and the error of a mean.
        """
        weight = self.row_weight * self.weights()
        if self.weighting.normalise:
            value = float(weight @ self.outcome / weight.sum())
            error = np.sqrt((weight**2) @ (self.outcome - value) ** 2) / weight.sum()
            return value, float(error)
        terms = weight * self.outcome
        return float(terms.mean()), float(terms.std(ddof=1) / np.sqrt(len(terms)))

    def baseline(self) -> float:
        """Return what outcomes are compared with: the value, or their plain mean."""
        if self.weighting.normalise:
            return self.value()[0]
        return float(self.row_weight @ self.outcome / self.row_weight.sum())

    def clipped_share(self) -> float:
        """Return the share of weights that the bound changes."""
        if self.weighting.clip is None:
            return 0.0
        raw = self.log_weight + self.smoothing() - self.log_normaliser()
        return float((raw > np.log(self.weighting.clip)).mean())

    def measured(self) -> dict[str, float]:
        """Return, before clipping, the spread and the worth of the weights."""
        return {
            "effective_rows": effective_sample_size(self.log_weight),
            "pareto_k": pareto_smoothed(self.log_weight).pareto_shape,
            "log_mean_weight": float(logsumexp(self.log_weight) - np.log(len(self.log_weight))),
            "table_clipped_share": self.clipped_share(),
        }

    def diagnosed(self) -> WeightDiagnostics:
        """Return all diagnostics of the raw weights."""
        return diagnosed(self.log_weight)

    def trouble(self, share: float = 1.0) -> str | None:
        """Return in which way the weights have collapsed, or None.

        ``share`` is the size of this table in terms of that for which ``stop_below`` was meant.
        """
        size = effective_sample_size(self.log_weight)
        least = self.weighting.stop_below * share
        if size < least:
            return (
                f"the weights of {len(self.log_weight):,} rows are worth {size:.1f}, fewer than "
                f"{least:.1f}"
            )
        unbounded = not self.weighting.normalise and self.weighting.clip is None
        if unbounded and self.log_weight.max() > LARGEST:
            return f"the largest weight is exp({self.log_weight.max():.0f})"
        return None

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what changes while training."""
        return {"log_weight": self.log_weight}
