"""Say how strong a confounder that nobody recorded must be to change a regression's answer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from causalign.errors import InputError
from causalign.settings import require_number

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Coefficient:
    """Hold a coefficient of least squares with its classical standard error.

    Units of the outcome for one unit of the column; ``degrees_of_freedom`` are n less all
    coefficients. Raises `InputError` unless all are finite and the last two positive.
    """

    estimate: float
    stderr: float
    degrees_of_freedom: float

    def __post_init__(self) -> None:
        finite = np.isfinite([self.estimate, self.stderr, self.degrees_of_freedom]).all()
        if not (finite and self.stderr > 0 and self.degrees_of_freedom > 1):
            raise InputError(
                "Sensitivity needs a finite estimate, a positive standard error and more than one "
                f"degree of freedom, not {self.estimate!r}, {self.stderr!r}, "
                f"{self.degrees_of_freedom!r}."
            )

    @property
    def partial_r2(self) -> float:
        """Return the share of the outcome's unexplained variance that the column explains."""
        t2 = (self.estimate / self.stderr) ** 2
        return t2 / (t2 + self.degrees_of_freedom)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the bounds ``estimate -+ t * stderr``."""
        half = _critical(level, self.degrees_of_freedom) * self.stderr
        return self.estimate - half, self.estimate + half


@dataclass(frozen=True, slots=True)
class Adjusted:
    """Hold what an estimate becomes under a confounder of given strength, with its interval."""

    estimate: float
    stderr: float
    lower: float
    upper: float


def robustness_value(
    coefficient: Coefficient, *, share: float = 1.0, level: float | None = None
) -> float:
    """Return the robustness value of Cinelli and Hazlett (2020), between 0 and 1.

    A confounder that explains this share of the residual variance of the column *and* of the
    outcome moves the estimate by ``share`` of itself: with ``f = share |t| / sqrt(dof)``,
    ``RV = (sqrt(f^4 + 4 f^2) - f^2) / 2``. With a ``level`` it is the strength from which on the
    interval holds ``(1 - share)`` times the estimate: f is reduced by the critical value
    ``c = t* / sqrt(dof - 1)`` first, and ``RV = (f^2 - c^2) / (1 + f^2)`` where f exceeds 1/c.
    """
    require_number("share", share, above=0)
    dof = coefficient.degrees_of_freedom
    f = share * abs(coefficient.estimate / coefficient.stderr) / np.sqrt(dof)
    critical = 0.0
    if level is not None:
        critical = float(_critical(level, dof - 1) / np.sqrt(dof - 1))
    left = f - critical
    if left <= 0:
        return 0.0
    if critical > 0 and f > 1 / critical:
        return float((f**2 - critical**2) / (1 + f**2))
    return float((np.sqrt(left**4 + 4 * left**2) - left**2) / 2)


def largest_bias(coefficient: Coefficient, r2_column: ArrayLike, r2_outcome: ArrayLike) -> Floats:
    """Return by how much, at most, a confounder of this strength moves the estimate.

    ``|bias| = se sqrt(dof) sqrt(R2_y R2_d / (1 - R2_d))``, R2_d the share of the column's and R2_y
    of the outcome's residual variance that it explains (arrays that fit together, from 0 to 1).
    """
    d, y = np.asarray(r2_column, dtype=np.float64), np.asarray(r2_outcome, dtype=np.float64)
    if not ((d >= 0) & (d <= 1)).all() or not ((y >= 0) & (y <= 1)).all():
        raise InputError("Partial R2 lie between 0 and 1.")
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.where(y * d == 0, 0.0, np.sqrt(y * d / (1 - d)))
    bias: Floats = coefficient.stderr * np.sqrt(coefficient.degrees_of_freedom) * root
    return bias


def adjust_estimate(
    coefficient: Coefficient, r2_column: float, r2_outcome: float, *, level: float = 0.95
) -> Adjusted:
    """Return the estimate less the `largest_bias`, towards zero (or past it), and its interval.

    ``se' = se sqrt((1 - R2_y) / (1 - R2_d) * dof / (dof - 1))``. A confounder that explains all of
    the column leaves the whole line.
    """
    bias = float(largest_bias(coefficient, r2_column, r2_outcome))
    if r2_column == 1:
        return Adjusted(float("nan"), float("inf"), float("-inf"), float("inf"))
    dof = coefficient.degrees_of_freedom
    estimate = float(np.sign(coefficient.estimate)) * (abs(coefficient.estimate) - bias)
    ratio = (1 - r2_outcome) / (1 - r2_column) * dof / (dof - 1)
    stderr = float(coefficient.stderr * np.sqrt(ratio))
    half = _critical(level, dof - 1) * stderr
    return Adjusted(estimate, stderr, estimate - half, estimate + half)


def benchmark_bounds(
    r2_column: float, r2_outcome: float, multiple: float = 1.0
) -> tuple[float, float]:
    """Bound the strength of a confounder ``multiple`` times as strong as a recorded one.

    ``r2_column`` and ``r2_outcome`` are the partial R2 of the recorded one with the column and,
    given the column, with the outcome. With ``f^2 = R2 / (1 - R2)``: ``R2_d = k f_d^2`` and
    ``R2_y = ((sqrt(k) + r) / sqrt(1 - r^2))^2 f_y^2``, ``r^2 = k R2_dj^2 / ((1 - k R2_dj)(1 -
    R2_dj))``, each at most 1. Assumption: the unrecorded one is independent of the recorded ones.
    """
    if not (0 <= r2_column < 1 and 0 <= r2_outcome < 1 and multiple > 0):
        raise InputError("Benchmarks need partial R2 from 0 to below 1 and a positive multiple.")
    d = min(multiple * r2_column / (1 - r2_column), 1.0)
    if multiple * r2_column >= 1:
        return d, 1.0
    square = multiple * r2_column**2 / ((1 - multiple * r2_column) * (1 - r2_column))
    if square >= 1:
        return d, 1.0
    factor = (np.sqrt(multiple) + np.sqrt(square)) / np.sqrt(1 - square)
    return d, float(min(factor**2 * r2_outcome / (1 - r2_outcome), 1.0))


def iso_line(coefficient: Coefficient, r2_column: ArrayLike, left: float) -> Floats:
    """Return the R2_y at which ``kept`` of the estimate is left, for each R2_d; NaN above 1."""
    d = np.asarray(r2_column, dtype=np.float64)
    bias = (1 - left) * abs(coefficient.estimate)
    needed = (bias / coefficient.stderr) ** 2 / coefficient.degrees_of_freedom
    with np.errstate(divide="ignore"):
        line = needed * (1 - d) / d
    capped: Floats = np.where(line <= 1, line, np.nan)
    return capped


def stable_share(rewards: ArrayLike, predicted: ArrayLike, bias: float) -> float:
    """Return the share of pairs of texts whose order no bias up to ``bias`` can turn around.

    A bias b of the effect of a column moves a reward by ``-b m_i``, m_i the column as the text
    predicts it: ``r_i - r_j - b (m_i - m_j)`` is linear in b, so that a pair is safe when both ends
    agree. The share is ``(1 + tau) / 2``, tau Kendall's between ``r - bias m`` and ``r + bias m``.
    ``rewards`` and ``predicted`` are ``(n,)``, few of them tied, in units of the outcome and of
    the column.
    """
    r, m = np.asarray(rewards, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if r.ndim != 1 or r.shape != m.shape or len(r) < 2 or not np.isfinite([r, m]).all():
        raise InputError("Rewards and predictions must be finite, (n,) both, of two or more.")
    if not 0 <= bias < np.inf:
        raise InputError(f"bias must be finite and 0 or more, not {bias!r}.")
    # Here, because all of scipy.stats takes a while to import and one function is needed.
    from scipy.stats import kendalltau

    tau = float(kendalltau(r - bias * m, r + bias * m).statistic)
    return (1 + tau) / 2


def _critical(level: float, freedom: float) -> float:
    require_number("level", level, above=0, below=1)
    return float(stdtrit(freedom, (1 + level) / 2))
