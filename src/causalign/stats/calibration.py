"""Ask of predictions whether what was predicted is what happened: by decile and by stratum."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2
from scipy.stats import t as student

from causalign.errors import InputError
from causalign.stats.folds import number_clusters
from causalign.stats.least_squares import ordinary
from causalign.stats.strata import quantile_strata

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BinMeans:
    """Hold mean prediction and outcome ``(b,)`` of each bin, and the interval of the outcome's."""

    label: NDArray[np.generic]
    rows: NDArray[np.int64]
    predicted: Array
    observed: Array
    standard_error: Array
    lower: Array
    upper: Array


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Hold the slope of outcome on prediction (1 is calibrated), its interval, and the deciles."""

    slope: float
    standard_error: float
    lower: float
    upper: float
    bins: BinMeans


@dataclass(frozen=True, slots=True, eq=False)
class StratumResiduals:
    """Hold outcome less prediction by stratum, and a test that all strata have the same mean.

    ``explained`` is the share of the residuals' variance between strata, less what chance alone
    would give (adjusted R²).
    """

    bins: BinMeans
    statistic: float
    degrees_of_freedom: int
    p_value: float
    explained: float


def calibration(
    predicted: ArrayLike, observed: ArrayLike, *, clusters: ArrayLike | None = None, bins: int = 10
) -> Calibration:
    """Regress outcomes ``(n,)`` on predictions ``(n,)`` of rows that no fit saw.

    ``y = a + s r + e``: with s = 1 a text predicted to earn one unit more earns one more; s < 1
    means that the reward exaggerates. The interval is robust, or clustered; bins are quantiles of
    the prediction. Assumption: clusters are independent. Raises `InputError` for shapes that do
    not fit or predictions that are all the same.
    """
    r, y, member = _check_arrays(predicted, observed, clusters)
    if np.ptp(r) == 0:
        raise InputError("All predictions are the same, so they cannot be calibrated.")
    X = np.column_stack([np.ones(len(r)), r - r.mean()])
    fit = ordinary(y, X, clusters=member, correction="min")
    error = float(np.sqrt(fit.covariance[1, 1]))
    count = len(r) if member is None else int(member.max()) + 1
    reach = float(student.ppf(0.975, count - 1)) * error
    slope = float(fit.coefficients[1])
    means = _means(quantile_strata(r, bins), r, y, y, member)
    return Calibration(slope, error, slope - reach, slope + reach, means)


def residuals_by_stratum(
    predicted: ArrayLike,
    observed: ArrayLike,
    strata: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
) -> StratumResiduals:
    """Compare the means of outcome less prediction between ``strata`` ``(n,)``.

    With m_s the stratum's mean residual, v_s its (clustered) variance and m̄ their
    inverse-variance mean, ``Q = Σ (m_s - m̄)²/v_s`` is χ² with S - 1 degrees of freedom when all
    strata have one mean. Assumption: strata are independent of each other and hold many rows; those
    of fewer than 5 are left out of the test. Raises `InputError` for shapes that do not fit.
    """
    r, y, member = _check_arrays(predicted, observed, clusters)
    code = np.asarray(strata)
    if code.shape != r.shape:
        raise InputError(f"strata must have shape {r.shape}; its shape is {code.shape}.")
    residual = y - r
    means = _means(code, r, y, residual, member)
    gap, size = means.observed - means.predicted, means.rows
    usable = (size >= 5) & (means.standard_error > 0)
    weight = 1 / means.standard_error[usable] ** 2
    freedom = max(int(usable.sum()) - 1, 0)
    q = 0.0
    if freedom:
        centre = np.average(gap[usable], weights=weight)
        q = float(weight @ (gap[usable] - centre) ** 2)
    total = residual - residual.mean()
    between = float(size @ (gap - residual.mean()) ** 2)
    n, classes = len(r), len(size)
    explained = 0.0
    if n > classes and total @ total > 0:
        explained = 1 - (1 - between / float(total @ total)) * (n - 1) / (n - classes)
    p = float(chi2.sf(q, freedom)) if freedom else 1.0
    return StratumResiduals(means, q, freedom, p, explained)


def _means(
    codes: NDArray[np.int64], r: Array, y: Array, noisy: Array, clusters: NDArray[np.generic] | None
) -> BinMeans:
    """Average prediction and outcome in each bin; the error is that of the mean of ``noisy``."""
    labels, code = np.unique(codes, return_inverse=True)
    size = np.bincount(code)
    centred = noisy - (np.bincount(code, weights=noisy) / size)[code]
    if clusters is None:
        count, squares = size, np.bincount(code, weights=centred**2)
    else:
        cell = np.unique(np.column_stack([code, clusters]), axis=0, return_inverse=True)
        sums = np.bincount(cell[1].ravel(), weights=centred)
        count = np.bincount(cell[0][:, 0])
        squares = np.bincount(cell[0][:, 0], weights=sums**2)
    error = np.sqrt(squares * count / np.maximum(count - 1, 1)) / size
    error = np.where(count > 1, error, np.nan)
    reach = student.ppf(0.975, np.maximum(count - 1, 1)) * error
    mean = np.bincount(code, weights=y) / size
    predicted = np.bincount(code, weights=r) / size
    return BinMeans(labels, size, predicted, mean, error, mean - reach, mean + reach)


def _check_arrays(
    predicted: ArrayLike, observed: ArrayLike, clusters: ArrayLike | None
) -> tuple[Array, Array, NDArray[np.int64] | None]:
    r = np.asarray(predicted, dtype=np.float64)
    y = np.asarray(observed, dtype=np.float64)
    if r.ndim != 1 or r.shape != y.shape or not len(r):
        raise InputError(f"Predictions and outcomes must be (n,); found {r.shape} and {y.shape}.")
    if not (np.isfinite(r).all() and np.isfinite(y).all()):
        raise InputError("Predictions or outcomes are missing or infinite; remove such rows.")
    return r, y, None if clusters is None else number_clusters(clusters, len(r))[0]
