"""Compare two arms within days, look by look, from counts or from readers with covariates."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2, norm

from causalign.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Hold a test as moments of its readers, for each of D days and K arms.

    Attributes
    ----------
    readers : (D, K) array
        0 where the arm was not shown that day.
    mean : (D, K) array
        Of the outcome; its rate where it counts successes.
    square : (D, K) array
        Sum of squares of the outcome about the mean of the cell.
    x_mean : (D, K, p) array
        Means of p covariates.
    xy, xx : (D, K, p) and (D, K, p, p) arrays
        Sums of products about the means of the cell.
    """

    readers: Array
    mean: Array
    square: Array
    x_mean: Array
    xy: Array
    xx: Array


def sum_cells(
    cell: NDArray[np.int64],
    shape: tuple[int, int],
    readers: ArrayLike,
    mean: ArrayLike,
    square: ArrayLike,
    covariates: Array | None = None,
) -> Cells:
    """Add rows ``(n,)`` of ``readers`` with their mean and sum of squares into days and arms.

    ``cell`` is ``day K + arm``. A reader is a row of one with no square; a count of s successes
    in n trials is n readers with mean s/n and square n (s/n)(1 - s/n). ``covariates`` ``(n, p)``
    are those of every reader of the row.
    """
    size, n = shape[0] * shape[1], np.asarray(readers, dtype=np.float64)
    y = np.asarray(mean, dtype=np.float64)
    X = np.empty((len(n), 0)) if covariates is None else np.asarray(covariates, dtype=np.float64)
    width = X.shape[1]
    total = np.bincount(cell, weights=n, minlength=size)
    usable = np.maximum(total, np.finfo(float).tiny)
    mean_y = np.bincount(cell, weights=n * y, minlength=size) / usable
    mean_x = np.zeros((size, width))
    np.add.at(mean_x, cell, n[:, None] * X)
    mean_x /= usable[:, None]
    dy, dx = y - mean_y[cell], X - mean_x[cell]
    inner = np.asarray(square, dtype=np.float64) + n * dy**2
    xy, xx = np.zeros((size, width)), np.zeros((size, width, width))
    np.add.at(xy, cell, (n * dy)[:, None] * dx)
    np.add.at(xx, cell, n[:, None, None] * dx[:, :, None] * dx[:, None, :])
    return Cells(
        np.asarray(total, dtype=np.float64).reshape(shape),
        np.asarray(mean_y).reshape(shape),
        np.bincount(cell, weights=inner, minlength=size).astype(np.float64).reshape(shape),
        mean_x.reshape(*shape, width),
        xy.reshape(*shape, width),
        xx.reshape(*shape, width, width),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Differences:
    """Hold the difference of two arms as it stood after each of D days.

    Attributes
    ----------
    estimate, error : (D,) arrays
        Mean difference so far and its standard error; not finite before both arms were shown.
    information : (D,) array
        Σ h so far: n/4 for two equal arms of n readers in all.
    daily, daily_error : (D,) arrays
        The difference of each day alone and its standard error.
    """

    estimate: Array
    error: Array
    information: Array
    daily: Array
    daily_error: Array

    @property
    def shared_days(self) -> int:
        """The days on which both arms were shown."""
        return int((np.diff(self.information, prepend=0.0) > 0).sum())

    def trend_p_value(self) -> float:
        """Return the p-value that the difference of a day changes with the day, 1 if untestable."""
        known = np.isfinite(self.daily) & np.isfinite(self.daily_error) & (self.daily_error > 0)
        if known.sum() < 3:
            return 1.0
        day, weight = np.flatnonzero(known).astype(float), 1 / self.daily_error[known] ** 2
        away = day - np.average(day, weights=weight)
        slope = (weight * away) @ self.daily[known]
        return float(2 * norm.sf(abs(slope) / np.sqrt((weight * away) @ away)))


def daily_differences(cells: Cells, arm: int, against: int) -> Differences:
    """Return how much higher the outcome of one arm is than that of another, after each day.

        Δ̂ = Σ_d h_d (ȳ_d1 - ȳ_d0 - (x̄_d1 - x̄_d0)'β̂) / Σ_d h_d,   h_d = n_d1 n_d0/(n_d1 + n_d0)

    Arms are compared within days, so neither what differs between days nor a share of traffic that
    changed moves the difference; days with one of the two arms do not count. β̂ is least squares
    within days and arms. The variance sums over days what readers differ by within each cell,
    ``Σ (h_d/n_da)² Σ_i (y_i - ȳ_da - (x_i - x̄_da)'β̂)²`` for each arm, times n/(n - D - p) for the
    means and slopes that were fitted. Assumption: readers are independent; covariates were
    settled before the text was shown.

    Parameters
    ----------
    cells : Cells
    arm, against : int
        Places among the arms.

    Returns
    -------
    Differences

    References
    ----------
    Lin (2013), Annals of Applied Statistics 7; Waudby-Smith et al., arXiv 2103.06476, section 3.
    """
    pair = [arm, against]
    n = cells.readers[:, pair]
    both = np.asarray((n > 0).all(axis=1))
    total = np.maximum(n.sum(axis=1), 1.0)
    h = np.where(both, n[:, 0] * n[:, 1] / total, 0.0)
    share = np.where(both[:, None], h[:, None] / np.maximum(n, 1.0), 0.0) ** 2  # (D, 2)
    beta = _slopes(cells, pair, both)  # (D, p)
    dy = np.where(both, cells.mean[:, arm] - cells.mean[:, against], 0.0)
    dx = np.where(both[:, None], cells.x_mean[:, arm] - cells.x_mean[:, against], 0.0)
    information = np.cumsum(h)
    width = beta.shape[1]
    days = np.cumsum(both)[:, None]
    readers = np.cumsum(np.where(both[:, None], n, 0.0), axis=0)
    inner = np.cumsum(share * cells.square[:, pair], axis=0)
    xy = np.cumsum(share[..., None] * cells.xy[:, pair], axis=0)
    xx = np.cumsum(share[..., None, None] * cells.xx[:, pair], axis=0)
    quadratic = np.einsum("dp,dapq,dq->da", beta, xx, beta)
    inner = inner - 2 * np.einsum("dp,dap->da", beta, xy) + quadratic
    with np.errstate(divide="ignore", invalid="ignore"):
        spare = readers - days - width
        factor = np.where(spare > 0, readers / spare, np.inf)
        adjusted = np.cumsum(h * dy) - (np.cumsum(h[:, None] * dx, axis=0) * beta).sum(axis=1)
        variance = (np.maximum(inner, 0.0) * factor).sum(axis=1)
        daily, daily_error = _each_day(cells, pair, both, dy - dx @ beta[-1], beta[-1])
        return Differences(
            adjusted / information, np.sqrt(variance) / information, information, daily, daily_error
        )


def arm_sizes_p_values(test: ArrayLike, observed: ArrayLike, expected: ArrayLike) -> Array:
    """Return for each test the p-value of Pearson's chi-square that arms got their readers.

    Parameters
    ----------
    test : (n,) labels
        Of each arm.
    observed, expected : (n,) arrays
        Readers of each arm, and how many the design meant, of any scale within a test.

    Returns
    -------
    (T,) array
        In the order of the sorted labels; 1 for tests of one arm.

    Raises
    ------
    InputError
        When shapes do not fit, or an arm was meant to get none.
    """
    code = np.unique(np.asarray(test), return_inverse=True)[1].ravel()
    got, meant = np.asarray(observed, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if not got.shape == meant.shape == code.shape or not (meant > 0).all():
        raise InputError("test, observed and expected must be (n,), each arm expected to be read.")
    scale = np.bincount(code, weights=got) / np.bincount(code, weights=meant)
    meant = meant * scale[code]
    statistic = np.bincount(code, weights=(got - meant) ** 2 / np.maximum(meant, 1e-300))
    return np.asarray(chi2.sf(statistic, np.maximum(np.bincount(code) - 1, 1)))


def _slopes(cells: Cells, pair: list[int], both: NDArray[np.bool_]) -> Array:
    """Return β̂ ``(D, p)`` from all readers so far, within days and arms."""
    if not cells.xy.shape[-1]:
        return np.zeros((len(both), 0))
    use = both[:, None].astype(float)
    xy = np.cumsum((use[..., None] * cells.xy[:, pair]).sum(axis=1), axis=0)
    xx = np.cumsum((use[..., None, None] * cells.xx[:, pair]).sum(axis=1), axis=0)
    return np.asarray(np.einsum("dpq,dq->dp", np.linalg.pinv(xx, hermitian=True), xy))


def _each_day(
    cells: Cells, pair: list[int], both: NDArray[np.bool_], difference: Array, beta: Array
) -> tuple[Array, Array]:
    """Return the difference of each day and its standard error, with the arms' mean variance."""
    use, n = both[:, None], cells.readers[:, pair]
    inner = cells.square[:, pair] - 2 * cells.xy[:, pair] @ beta
    inner = inner + np.einsum("p,dapq,q->da", beta, cells.xx[:, pair], beta)
    spare = np.maximum(np.where(use, n, 0.0).sum(axis=0) - both.sum(), 1.0)
    variance = np.where(use, inner, 0.0).sum(axis=0) / spare
    error = np.sqrt((variance / np.maximum(n, 1.0)).sum(axis=1))
    return np.where(both, difference, np.nan), np.where(both, error, np.nan)
