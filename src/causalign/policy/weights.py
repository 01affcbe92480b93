"""The last known importance weight of every logged row, and what all of them say together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from causalign.checks.weights import SupportLimits, effective_rows, mean_weight, weight_tail
from causalign.errors import SettingsError
from causalign.policy.findings import clipped_weights
from causalign.results import Finding
from causalign.stats.importance_weights import (
    WeightDiagnostics,
    diagnose_weights,
    effective_sample_size,
    smooth_tail,
)

Floats = NDArray[np.float64]
LARGEST = 60.0  # a log-weight beyond which sums of float32 lose everything else


@dataclass(frozen=True, slots=True)
class Weighting:
    """How the importance weights ``π(T) / P_R(T)`` of logged texts are tamed.

    Parameters
    ----------
    level : {"sequence", "length"}
        ``"sequence"`` is the ratio of whole texts, which estimates the value of the policy;
        ``"length"`` its root by the number of tokens, steady for long texts, and the value of
        nothing.
    normalise : bool
        Divide by the mean weight of the whole log, kept up to date while training: a constant in
        P_R then does not matter.
    smooth : bool
        Replace the largest weights by the quantiles of a Pareto law fitted to them.
    clip : float, optional
        The largest weight; larger ones are cut to it.
    stop_below : float
        Training stops when the log is worth fewer equally weighted rows than this.

    Raises
    ------
    SettingsError
        For a setting out of range.
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


@dataclass(slots=True)
class WeightTable:
    """The log-weights ``(n,)`` of a whole log, which batches bring up to date.

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
        return smooth_tail(self.log_weight).log_weights - self.log_weight

    def weights(self) -> Floats:
        """Return the weights ``(n,)`` as the objective uses them."""
        log_weight = self.log_weight + self.smoothing() - self.log_normaliser()
        with np.errstate(over="ignore"):
            return np.minimum(np.exp(log_weight), self.weighting.clip or np.inf)

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

    def metrics(self) -> dict[str, float]:
        """Return what is logged at each step: effective rows, tail and mean, before clipping."""
        return {
            "effective_rows": effective_sample_size(self.log_weight),
            "pareto_k": smooth_tail(self.log_weight).pareto_shape,
            "log_mean_weight": float(logsumexp(self.log_weight) - np.log(len(self.log_weight))),
            "table_clipped_share": self.clipped_share(),
        }

    def diagnose(self) -> WeightDiagnostics:
        """Return all diagnostics of the raw weights."""
        return diagnose_weights(self.log_weight)

    def collapse_reason(self, share: float = 1.0) -> str | None:
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


def check_weights(table: WeightTable, start: WeightDiagnostics | None = None) -> Sequence[Finding]:
    """Return the findings on weights: effective rows, tail, mean and clipping.

    The mean is that of ``start``, the weights before training, where they are given: only those
    average one by design.
    """
    limits, weights, weighting = SupportLimits(), table.diagnose(), table.weighting
    return (
        effective_rows(weights, limits),
        weight_tail(weights, limits),
        mean_weight(start or weights, limits, normalised=weighting.normalise),
        clipped_weights(table.clipped_share(), weighting.clip),
    )
