"""Importance weights in log space: what they are worth, and how to tame them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.stats.folds import number_clusters

Floats = NDArray[np.float64]

LARGEST_LOG_WEIGHT = 300.0  # squares of larger weights, and sums of those, overflow
# Log-weights are differences of log-probabilities, which round: closer ones are equal.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class SmoothedWeights:
    """Hold log-weights ``(n,)`` whose tail follows a fitted Pareto law, and its shape k."""

    log_weights: Floats
    pareto_shape: float


@dataclass(frozen=True, slots=True)
class WeightDiagnostics:
    """Describe weights ``(n,)`` before anything was clipped.

    ``effective_sample_size`` counts rows; ``pareto_shape`` is the k of the largest weights (NaN
    with fewer than 25 rows); ``largest_share`` the share of the weight in a single row;
    ``lowest`` and ``highest`` are log-weights. ``mean`` should be 1, give or take ``mean_error``.
    """

    rows: int
    mean: float
    mean_error: float
    effective_sample_size: float
    pareto_shape: float
    largest_share: float
    lowest: float
    highest: float


def check_log_probabilities(
    values: ArrayLike, name: str, *, size: int | None = None, allow_zero: bool = False
) -> Floats:
    """Return log-probabilities as ``(n,)``; raise ``InputError`` for what cannot be some.

    Refused are missing values, positive ones (probabilities, densities or negative
    log-likelihoods), another size than ``size``, and minus infinity unless ``allow_zero``.
    """
    logprob = np.asarray(values, dtype=np.float64)
    if logprob.ndim != 1 or len(logprob) == 0:
        raise InputError(f"{name} must be (n,), one number for each text; found {logprob.shape}.")
    if size is not None and len(logprob) != size:
        raise InputError(f"{name} has {len(logprob)} values where there are {size} texts.")
    if np.isnan(logprob).any():
        raise InputError(
            f"{name} is missing (NaN) in row {int(np.isnan(logprob).argmax())}. Score all "
            "texts, or leave the row out everywhere."
        )
    high = int(logprob.argmax())
    if logprob[high] > 1e-6 and logprob.min() >= 0 and logprob[high] <= 1:
        raise InputError(
            f"{name} lies between 0 and 1: these look like probabilities. Give their logarithms."
        )
    if logprob[high] > 1e-6:
        raise InputError(
            f"{name} must be logarithms of probabilities, which are never above 0; row {high} "
            f"holds {logprob[high]:g}. Give sums of log-softmax values, not losses or raw logits."
        )
    zero = np.isneginf(logprob)
    if zero.any() and not allow_zero:
        raise InputError(
            f"{name} says that text {int(zero.argmax())} has probability 0, but it is in the log. "
            "The probabilities belong to another policy than the one that wrote the log."
        )
    return np.minimum(logprob, 0.0)


def log_importance_weights(
    target: ArrayLike, logging: ArrayLike, lengths: ArrayLike | None = None
) -> Floats:
    """Return ``log w = log pi(T|X) - log pi0(T|X)`` for each logged text, ``(n,)``.

    ``target`` and ``logging`` ``(n,)`` are log-probabilities of whole texts. With ``lengths``
    ``(n,)``, tokens of each text, the result is divided by them: the mean ratio of a token, whose
    spread does not grow with length. Such weights serve training; they do not estimate a value.

    Assumption: ``logging`` is the policy that wrote the log, as it wrote it (temperature, top-p
    and filters included).

    Raises ``InputError`` for values that are no log-probabilities, ``NotIdentified`` when the
    target would write none of the logged texts.
    """
    below = check_log_probabilities(logging, "logging log-probability")
    above = check_log_probabilities(
        target, "target log-probability", size=len(below), allow_zero=True
    )
    if np.isneginf(above).all():
        raise NotIdentified(
            "The target gives probability 0 to every logged text: all weights are zero, and the "
            "log says nothing about this policy."
        )
    log_w = above - below
    if lengths is None:
        return log_w
    tokens = np.asarray(lengths, dtype=np.float64)
    if tokens.shape != log_w.shape or not (tokens >= 1).all():
        raise InputError(f"lengths must be ({len(log_w)},) token counts, each at least 1.")
    return log_w / tokens


def exponentiate_weights(log_weights: ArrayLike) -> Floats:
    """Return the weights ``(n,)``, those above ``exp(300)`` as that: EV203 fails for them."""
    return np.exp(np.minimum(_check_log_weights(log_weights), LARGEST_LOG_WEIGHT))


def normalise_weights(log_weights: ArrayLike) -> Floats:
    """Return weights ``(n,)`` with mean 1, computed without overflow."""
    log_w = _check_log_weights(log_weights)
    return np.asarray(np.exp(log_w - logsumexp(log_w) + np.log(len(log_w))))


def at_most(log_weights: ArrayLike, largest: float) -> NDArray[np.bool_]:
    """Return which weights ``(n,)`` are at most ``largest`` (a weight), but for rounding."""
    if not largest > 0:
        raise SettingsError(f"The largest weight must be above 0; found {largest}.")
    return np.asarray(_check_log_weights(log_weights) <= np.log(largest) + ROUNDING)


def clip_weights(log_weights: ArrayLike, largest: float) -> Floats:
    """Return log-weights ``(n,)`` with no weight above ``largest`` (a weight, not its log)."""
    if not largest > 0:
        raise SettingsError(f"The largest weight must be above 0; found {largest}.")
    return np.minimum(_check_log_weights(log_weights), np.log(largest))


def effective_sample_size(log_weights: ArrayLike) -> float:
    """Return ``(sum w)^2 / sum w^2``: how many equally weighted rows are as precise (Kish)."""
    log_w = _check_log_weights(log_weights)
    return float(np.exp(2 * logsumexp(log_w) - logsumexp(2 * log_w)))


def pareto_threshold(rows: int) -> float:
    """Return the shape k above which ``rows`` rows cannot average the weights reliably.

    ``min(1 - 1 / log10(n), 0.7)`` (Vehtari et al. 2024, arXiv:1507.02646).
    """
    return min(1.0 - 1.0 / float(np.log10(max(rows, 11))), 0.7)


def smooth_tail(log_weights: ArrayLike) -> SmoothedWeights:
    """Replace the largest weights by the quantiles of a generalised Pareto law fitted to them.

    The tail holds the largest ``M = ceil(min(n / 5, 3 sqrt(n)))`` weights; its shape k says which
    moments of the weights exist (all below 1/k). The smoothed weights never exceed the largest
    raw one, and their scale stays that of the raw ones.

    k is minus infinity when the largest value occurs so often that there is no tail, NaN when
    there are fewer than 25 rows, infinite when too few rows exceed the others for a fit.

    Reference: Vehtari et al. (2024), arXiv:1507.02646; the fit is that of Zhang and Stephens
    (2009) with the weak prior k = 0.5.
    """
    log_w = _check_log_weights(log_weights)
    n = len(log_w)
    if n < 25:
        return SmoothedWeights(log_w, float("nan"))
    size = int(np.ceil(min(0.2 * n, 3.0 * np.sqrt(n))))
    relative = log_w - log_w.max()
    cutoff = max(np.sort(relative)[-size - 1], np.log(np.finfo(np.float64).tiny))
    if cutoff >= -1e-12:
        return SmoothedWeights(log_w, float("-inf"))
    places = np.flatnonzero(relative > cutoff)
    if len(places) < 5:
        return SmoothedWeights(log_w, float("inf"))
    order = places[np.argsort(relative[places], kind="stable")]
    base = np.exp(cutoff)
    shape, scale = _generalised_pareto(np.exp(relative[order]) - base)
    smoothed = relative.copy()
    quantiles = (np.arange(len(order)) + 0.5) / len(order)
    tail = np.expm1(-shape * np.log1p(-quantiles)) / shape if shape else -np.log1p(-quantiles)
    smoothed[order] = np.minimum(np.log(scale * tail + base), 0.0)
    return SmoothedWeights(smoothed + log_w.max(), float(shape))


def diagnose_weights(
    log_weights: ArrayLike, clusters: ArrayLike | None = None
) -> WeightDiagnostics:
    """Describe weights ``(n,)``; clusters ``(n,)`` make the error of their mean honest."""
    log_w = _check_log_weights(log_weights)
    n = len(log_w)
    relative = np.exp(log_w - log_w.max())
    member, count = number_clusters(clusters, n)
    sums = np.bincount(member, weights=relative - relative.mean())
    error = np.sqrt(count / (count - 1) * (sums @ sums)) / n if count > 1 else float("nan")
    with np.errstate(over="ignore"):
        scale = np.exp(log_w.max())
    return WeightDiagnostics(
        rows=n,
        mean=float(relative.mean() * scale),
        mean_error=float(error * scale) if error else 0.0,  # no spread, at any scale
        effective_sample_size=effective_sample_size(log_w),
        pareto_shape=smooth_tail(log_w).pareto_shape,
        largest_share=float(relative.max() / relative.sum()),
        lowest=float(log_w.min()),
        highest=float(log_w.max()),
    )


def typicality_coverage(
    target_of_logged: ArrayLike, target_of_samples: ArrayLike, mass: float = 0.9
) -> float:
    """Return the share of logged texts that the target would typically write.

    The typical set holds the ``mass`` of the target's own samples with the highest log pi; the
    result is the share of logged texts inside it. A log from the target itself has ``mass``; a
    log of texts that the target finds strange has little, however healthy the ratio of its
    weights. ``target_of_logged (n,)``, ``target_of_samples (m,)``: log pi of logged texts and of
    texts sampled from the target.
    """
    if not 0 < mass < 1:
        raise SettingsError(f"mass must lie between 0 and 1; found {mass}.")
    logged = check_log_probabilities(
        target_of_logged, "target log-probability of logged texts", allow_zero=True
    )
    sampled = check_log_probabilities(
        target_of_samples, "target log-probability of sampled texts", allow_zero=False
    )
    # Rounded up a little: (1 - .9) * 10 is just below 1.
    edge = np.sort(sampled)[int(np.floor((1 - mass) * len(sampled) + 1e-9))]
    return float((logged >= edge - 1e-9).mean())


def _check_log_weights(values: ArrayLike) -> Floats:
    log_w = np.asarray(values, dtype=np.float64)
    if log_w.ndim != 1 or len(log_w) == 0:
        raise InputError(f"log-weights must be (n,), at least one; found {log_w.shape}.")
    if np.isnan(log_w).any() or np.isposinf(log_w).any():
        raise InputError("log-weights are missing or infinite in some rows.")
    if np.isneginf(log_w).all():
        raise NotIdentified("All weights are zero: there is no overlap with the log.")
    return log_w


def _generalised_pareto(tail: Floats) -> tuple[float, float]:
    """Fit shape and scale to ascending exceedances ``(M,)`` (Zhang and Stephens 2009)."""
    M = len(tail)
    grid = 30 + int(np.sqrt(M))
    spread = 1.0 - np.sqrt(grid / (np.arange(1, grid + 1) - 0.5))  # (grid,)
    theta = spread / (3.0 * tail[int(M / 4 + 0.5) - 1]) + 1.0 / tail[-1]
    shapes = np.log1p(-theta[:, None] * tail).mean(axis=1)
    likelihood = M * (np.log(-theta / shapes) - shapes - 1.0)
    weights = np.exp(likelihood - logsumexp(likelihood))
    best = float(theta @ weights)
    shape = float(np.log1p(-best * tail).mean())
    scale = -shape / best
    # The prior is worth ten observations with shape one half.
    return (M * shape + 5.0) / (M + 10.0), scale
