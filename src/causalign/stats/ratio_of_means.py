"""A ratio of means plus means: its influence, intervals with clusters, finite-sample bounds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.settings import require_number
from causalign.stats.folds import number_clusters

Floats = NDArray[np.float64]

BLOCK = 2_000_000  # resampled cells held at once


@dataclass(frozen=True, slots=True, eq=False)
class RatioOfMeans:
    """Hold the rows of ``V = sum a / sum b + mean c + mean d``.

    ``numerator`` a, ``denominator`` b and ``added`` c are ``(n,)``, one for each row of the log;
    ``sampled`` d ``(m,)`` belongs to a second sample, drawn independently of the log (length 0 for
    none). Off-policy estimators of a value are of this form.
    """

    numerator: Floats
    denominator: Floats
    added: Floats
    sampled: Floats

    @property
    def estimate(self) -> float:
        """Return V."""
        ratio = self.numerator.sum() / self.denominator.sum()
        own = self.sampled.mean() if len(self.sampled) else 0.0
        return float(ratio + self.added.mean() + own)

    def influence(self) -> tuple[Floats, Floats]:
        """Return the influence of each row ``(n,)`` and of each sample ``(m,)``, with mean zero.

        ``(a_i - R b_i) / mean b + c_i - mean c`` with R the ratio, and ``d_j - mean d``.
        """
        ratio = self.numerator.sum() / self.denominator.sum()
        rows = (self.numerator - ratio * self.denominator) / self.denominator.mean()
        rows = rows + self.added - self.added.mean()
        own = self.sampled - self.sampled.mean() if len(self.sampled) else self.sampled
        return rows, own


@dataclass(frozen=True, slots=True)
class Spread:
    """Hold a standard error and the interval of an estimate."""

    stderr: float
    lower: float
    upper: float


def clustered_error(influence: Floats, clusters: ArrayLike | None = None) -> tuple[float, int]:
    """Return the standard error of a mean with these influences ``(n,)``, and the clusters.

    ``sqrt(G / (G - 1) sum_g s_g^2) / n`` with s_g the sum over cluster g. Assumption: clusters
    ``(n,)`` (default: every row its own) are independent. Raises ``NotIdentified`` with fewer
    than two.
    """
    member, count = _clusters(clusters, len(influence))
    sums = np.bincount(member, weights=influence, minlength=count)
    return float(np.sqrt(count / (count - 1) * (sums @ sums)) / len(influence)), count


def influence_spread(
    estimate: float,
    influence: tuple[Floats, Floats],
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> Spread:
    """Return ``estimate ± t se`` with ``se^2`` of the rows (clustered) plus that of the samples.

    t has as many degrees of freedom as clusters less one. Assumption: the mean of the influences
    is close to normal; heavy-tailed weights break it long before they break the arithmetic.
    """
    _check_level(level)
    rows, own = influence
    error, count = clustered_error(rows, clusters)
    if len(own) > 1:
        error = float(np.hypot(error, own.std(ddof=1) / np.sqrt(len(own))))
    reach = float(student.ppf(0.5 + level / 2, count - 1)) * error
    return Spread(error, estimate - reach, estimate + reach)


def bootstrap_spread(
    terms: RatioOfMeans,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Spread:
    """Resample whole clusters, and samples, with replacement; return percentiles of V.

    Everything is computed again in each draw, the ratio included. Assumption: as for
    :func:`influence_spread`, but the distribution of V need not be symmetric. Reference: Efron
    (1979); Field and Welsh (2007) for clusters.
    """
    _check_level(level)
    require_number("draws", draws, least=100, whole=True)
    n = len(terms.numerator)
    member, count = _clusters(clusters, n)
    columns = (terms.numerator, terms.denominator, terms.added, np.ones(n))
    sums = np.column_stack([np.bincount(member, c, minlength=count) for c in columns])
    generator = np.random.default_rng(seed)
    draws_of_ratio = []
    for size in _blocks(draws, count):
        drawn = _resampled(generator, size, count) @ sums
        with np.errstate(invalid="ignore", divide="ignore"):
            draws_of_ratio.append(drawn[:, 0] / drawn[:, 1] + drawn[:, 2] / drawn[:, 3])
    values = np.concatenate(draws_of_ratio)
    m = len(terms.sampled)
    if m:
        means = [_resampled(generator, size, m) @ terms.sampled / m for size in _blocks(draws, m)]
        values = values + np.concatenate(means)
    values = values[np.isfinite(values)]
    lower, upper = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Spread(float(values.std(ddof=1)), float(lower), float(upper))


def lower_bound_of_mean(
    values: ArrayLike, largest: float, failure: float, clusters: ArrayLike | None = None
) -> float:
    """Return a number below the mean of ``values (n,)`` with probability ``1 - failure``.

    ``mean - sqrt(2 s^2 log(2/failure) / G) - 7 B log(2/failure) / (3 (G - 1))`` over G independent
    rows or clusters, s^2 their variance and B the largest value that one of them can take
    (Maurer and Pontil 2009, arXiv:0907.3740, theorem 4). No normality and no large n is needed.

    Assumption: values lie in ``[0, largest]``; clusters are independent and their sizes given.
    """
    z: Floats = np.asarray(values, dtype=np.float64)
    require_number("failure", failure, above=0, below=1)
    if not np.isfinite(z).all() or z.min() < 0 or z.max() > largest * (1 + 1e-9):
        raise InputError(f"values must lie in [0, {largest:g}]; they reach {z.min():g} and "
                         f"{z.max():g}.")  # fmt: skip
    bound = largest
    if clusters is not None:
        _, member, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
        scale = len(sizes) / len(z)
        z = np.asarray(
            np.bincount(member, weights=z) * scale, dtype=np.float64
        )  # (G,), with the mean of the rows
        bound = largest * float(sizes.max()) * scale
    G = len(z)
    if G < 2:
        raise InputError("A bound needs at least two independent rows or clusters.")
    tail = np.log(2 / failure)
    return float(
        z.mean() - np.sqrt(2 * z.var(ddof=1) * tail / G) - 7 * bound * tail / (3 * (G - 1))
    )


def value_bounds(
    weights: ArrayLike,
    outcome: ArrayLike,
    outcome_range: tuple[float, float],
    largest: float,
    *,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> tuple[float, float]:
    """Return bounds on the value of the target policy, clipping and missing support included.

    With Y scaled to [0, 1] and w clipped at M, ``E[min(w, M) Y] <= V`` and
    ``V <= 1 - E[min(w, M) (1 - Y)]``: what clipping removes, and what the log never saw, may have
    been as bad or as good as the range allows. Each side gets an empirical Bernstein bound at half
    the failure probability. ``weights (n,)``, ``outcome (n,)`` within ``outcome_range``.

    Assumption: logging probabilities are right, the range is known beforehand, rows (clusters)
    are independent. Support is not assumed. Reference: Thomas et al. (2015), AAAI; Maurer and
    Pontil (2009), arXiv:0907.3740.
    """
    low, high = outcome_range
    y = np.asarray(outcome, dtype=np.float64)
    if not low < high:
        raise SettingsError(f"outcome_range must ascend; found {low:g} to {high:g}.")
    if y.min() < low or y.max() > high:
        raise InputError(
            f"The outcome reaches from {y.min():g} to {y.max():g}, outside its declared range "
            f"{low:g} to {high:g}. Give the range that it can take, known before looking."
        )
    _check_level(level)
    w = np.minimum(np.asarray(weights, dtype=np.float64), largest)
    scaled = (y - low) / (high - low)
    half = (1 - level) / 2
    below = lower_bound_of_mean(w * scaled, largest, half, clusters)
    above = 1.0 - lower_bound_of_mean(w * (1.0 - scaled), largest, half, clusters)
    return low + (high - low) * max(below, 0.0), low + (high - low) * min(above, 1.0)


def _blocks(draws: int, width: int) -> list[int]:
    step = max(1, BLOCK // width)
    return [min(step, draws - start) for start in range(0, draws, step)]


def _resampled(generator: np.random.Generator, draws: int, count: int) -> Floats:
    """Return how often each of ``count`` units is drawn, ``(draws, count)``."""
    picked = generator.integers(count, size=(draws, count))
    shifted = picked + count * np.arange(draws)[:, None]
    counts = np.bincount(shifted.ravel(), minlength=draws * count)
    return counts.reshape(draws, count).astype(np.float64)


def _clusters(clusters: ArrayLike | None, n: int) -> tuple[NDArray[np.int64], int]:
    member, count = number_clusters(clusters, n)
    if n < 2:
        raise NotIdentified(
            "There is one row: nothing tells how far another would differ. Log more of them."
        )
    if count < 2:
        raise NotIdentified(
            "All rows belong to one cluster: nothing tells how far another cluster would differ, "
            "so there is no standard error. Name a finer cluster, or log more of them."
        )
    return member, count


def _check_level(level: float) -> None:
    require_number("level", level, above=0, below=1)
