"""Does a reward still follow the confounders? Correlations on rows that no fit has seen."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.special import ndtri

from causalign.covariates import Covariate

__all__ = ["Dependence", "confounder_outcome", "dependence"]


@dataclass(frozen=True, slots=True)
class Dependence:
    """Hold the correlation ``(r,)`` of each reward with each target, with 95 % intervals."""

    reward: tuple[str, ...]
    target: tuple[str, ...]
    correlation: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    def table(self) -> pa.Table:
        """Return one row for each reward and target."""
        return pa.table(
            {
                "reward": list(self.reward),
                "target": list(self.target),
                "correlation": self.correlation,
                "lower": self.lower,
                "upper": self.upper,
            }
        )

    def of(self, reward: str, target: str) -> float:
        """Return one correlation."""
        places = zip(self.reward, self.target, strict=True)
        return float(self.correlation[list(places).index((reward, target))])


def dependence(
    scores: Mapping[str, np.ndarray], targets: Mapping[str, np.ndarray], independent: int
) -> Dependence:
    """Correlate every reward's scores ``(n,)`` with every target ``(n,)``.

    r = cov(s, t) / √(var s · var t), its interval by Fisher's z with ``independent`` draws (the
    number of groups, when rows of a group are not independent). A constant reward has r = 0.
    """
    cells = [(r, t, _correlation(s, v)) for r, s in scores.items() for t, v in targets.items()]
    found = np.array([c[2] for c in cells])
    half = ndtri(0.975) / np.sqrt(max(independent - 3, 1))
    z = np.arctanh(np.clip(found, -1 + 1e-12, 1 - 1e-12))
    return Dependence(
        tuple(c[0] for c in cells),
        tuple(c[1] for c in cells),
        found,
        np.tanh(z - half),
        np.tanh(z + half),
    )


def confounder_outcome(train: Covariate, outcome: np.ndarray, held_out: Covariate) -> np.ndarray:
    """Return, for held-out rows, what the outcome was in training at the same confounder ``(n,)``.

    For a category it is the mean outcome of its training rows (the overall mean if it had none);
    a number stands for itself. The correlation of a reward with it is the published "monthly
    correlation" (2506.00152, section 3.2), for any confounder.
    """
    if not train.is_categorical:
        return held_out.values
    size = len(train.levels)
    total = np.bincount(train.values, weights=outcome, minlength=size)
    count = np.bincount(train.values, minlength=size)
    mean = np.where(count > 0, total / np.maximum(count, 1), outcome.mean())
    known = dict(zip(train.levels, mean, strict=True))
    levels = np.array([known.get(level, outcome.mean()) for level in held_out.levels])
    return levels[held_out.values]


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])
