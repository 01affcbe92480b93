"""Let instruments reach the outcome directly, a little, and see what is left of an estimate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from causalign.errors import InputError, SettingsError
from causalign.stats.partial import Partialled
from causalign.stats.sandwich import sandwich

__all__ = ["ExclusionSensitivity", "exclusion_sensitivity"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ExclusionSensitivity:
    """Hold how two-stage intervals widen as instruments may act directly.

    ``deviations (d,)`` are standard deviations of the direct effect; ``lower`` and ``upper``
    ``(d, p)`` the intervals under each; ``breakdown (p,)`` the deviation at which the interval
    reaches zero: 0 where it holds zero already, infinite where no deviation matters.
    """

    deviations: Floats
    estimates: Floats
    lower: Floats
    upper: Floats
    breakdown: Floats
    level: float


def exclusion_sensitivity(
    parts: Partialled, deviations: ArrayLike, *, level: float = 0.95
) -> ExclusionSensitivity:
    """Return local-to-zero intervals of Conley, Hansen and Rossi (2012).

    ``y = X b + Z g + e``. Exclusion says ``g = 0``; here each ``g_j ~ N(0, (delta / s_j)^2)``
    independently, s_j the standard deviation of instrument j once the exogenous columns are
    removed, so that delta is in units of the outcome: what a typical move of one instrument does
    to it directly. Then ``b^ ~ N(b, V + delta^2 A A')`` with ``A = (X'P X)^-1 X'Z / s`` and V the
    robust or clustered covariance of two-stage least squares. Assumption: direct effects are small,
    centred on zero and independent of the sampling error. Intervals are ``b^ +- t se``.

    ``parts`` come from `causalign.stats.partial.partial_out`; ``deviations (d,)`` are finite and
    not negative. Raises `InputError` and `SettingsError`.
    """
    given = np.atleast_1d(np.asarray(deviations, dtype=np.float64))
    if given.ndim != 1 or not (np.isfinite(given) & (given >= 0)).all():
        raise InputError("Deviations must be finite numbers from 0 on, (d,).")
    if not 0 < level < 1:
        raise SettingsError(f"level must lie between 0 and 1, not {level!r}.")
    projected = parts.basis.T @ parts.X  # (q, p)
    bread: Floats = np.asarray(np.linalg.inv(projected.T @ projected), dtype=np.float64)
    estimates = bread @ (projected.T @ (parts.basis.T @ parts.y))
    errors = parts.y - parts.X @ estimates
    scores: Floats = (parts.basis @ projected) * errors[:, None]
    spent = parts.exogenous + parts.X.shape[1]
    covariance, counts = sandwich(
        scores, bread, parts.clusters, correction="conventional", spent=spent
    )
    typical = np.linalg.norm(parts.Z, axis=0) / np.sqrt(len(parts.y))
    moved = bread @ projected.T @ (parts.root / typical)  # (p, q)
    variance, direct = np.diag(covariance), np.square(moved).sum(axis=1)
    freedom = min(counts) - 1 if counts else len(parts.y) - spent
    critical = float(stdtrit(freedom, (1 + level) / 2))
    half = critical * np.sqrt(variance + np.square(given)[:, None] * direct)
    with np.errstate(divide="ignore"):
        slack = np.square(estimates / critical) - variance
        breakdown = np.sqrt(np.maximum(slack, 0) / direct)
    return ExclusionSensitivity(
        given, estimates, estimates - half, estimates + half, breakdown, level
    )
