"""Choose comparisons of texts by what they would teach: D-optimal, or by the best text known."""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from causalign.errors import InputError

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

# Beyond so many standard deviations the normal density adds nothing that a double would hold.
_REACH = 9.0
# Numbers that one block of slopes may hold.
_BLOCK = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class ChosenPairs:
    """Hold t comparisons in the order in which they were chosen.

    Attributes
    ----------
    place : (t,) integers
        Of the candidates.
    gain : (t,) array
        What each adds to those before it: nats of information, or units of the reward.
    changes : (n, t) array
        Standard deviations ``σ̃`` of how the t results will move each posterior mean; column by
        column independent, so that ``μ_new = μ + Σ_t σ̃_t Z_t``.
    """

    place: Codes
    gain: Array
    changes: Array


def posterior_change(factor: Array, pair: tuple[int, int], noise: float) -> Array:
    """Return ``σ̃ = F(F_i - F_j)/√(s² + ‖F_i - F_j‖²)`` ``(n,)``: how one result moves each mean.

    With ``r = μ + Fz``, ``z ~ N(0, I)`` and a result ``r_i - r_j + e``, ``e ~ N(0, s²)``, the new
    mean is ``μ + σ̃Z`` and the new covariance ``FF' - σ̃σ̃'``.
    """
    u = factor[pair[0]] - factor[pair[1]]
    return np.asarray(factor @ u / np.sqrt(noise + u @ u))


def learn(factor: Array, pair: tuple[int, int], noise: float) -> Array:
    """Return the factor ``(n, k)`` of the covariance after a comparison, ``F(I - c uu')``.

    ``u = (F_i - F_j)/s`` and ``c = (1 - 1/√(1 + u'u))/u'u``, the root of the rank-one update
    ``(I + uu')⁻¹``.
    """
    u = (factor[pair[0]] - factor[pair[1]]) / np.sqrt(noise)
    square = float(u @ u)
    if square == 0:
        return factor
    shrink = (1 - 1 / np.sqrt(1 + square)) / square
    return np.asarray(factor - np.outer(factor @ u, shrink * u))


def pair_variance(factor: Array, first: Codes, second: Codes) -> Array:
    """Return ``‖F_i - F_j‖²`` ``(m,)``, block by block."""
    step = max(1, _BLOCK // max(1, factor.shape[1]))
    parts = [
        ((factor[first[at : at + step]] - factor[second[at : at + step]]) ** 2).sum(axis=1)
        for at in range(0, len(first), step)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def choose_informative(
    factor: ArrayLike, first: ArrayLike, second: ArrayLike, noise: float, count: int
) -> ChosenPairs:
    """Choose comparisons greedily by the gain in log determinant of the information.

    ``½ ln det(I + Σ uu')`` grows by ``½ ln(1 + ‖F_i - F_j‖²/s²)``, in nats, with F the factor after
    those chosen before. The batch reaches at least 1 - 1/e of the best possible one.

    Parameters
    ----------
    factor : (n, k) array
        ``Cov(r_i, r_j) = F_i'F_j``.
    first, second : (m,) integers
        Rows of the candidates.
    noise : float
        Variance s² of the difference that a comparison finds.
    count : int
        How many to choose, each candidate at most once.

    Returns
    -------
    ChosenPairs

    References
    ----------
    Nemhauser, Wolsey and Fisher (1978), Mathematical Programming 14, for the bound.
    """
    F, i, j = _read_pairs(factor, first, second)
    variance = pair_variance(F, i, j)
    place, gain, changes = [], [], []
    for _ in range(min(count, len(i))):
        best = int(variance.argmax())
        pair = (int(i[best]), int(j[best]))
        change = posterior_change(F, pair, noise)
        place.append(best)
        gain.append(0.5 * np.log1p(max(variance[best], 0.0) / noise))
        changes.append(change)
        variance = np.maximum(variance - (change[i] - change[j]) ** 2, 0.0)
        variance[place] = -1.0
        F = learn(F, pair, noise)
    return _collect(place, gain, changes, len(F))


def choose_for_best(
    mean: ArrayLike,
    factor: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    noise: float,
    count: int,
    group: ArrayLike,
) -> ChosenPairs:
    """Choose comparisons greedily by the expected value of the best text that will be known.

    The knowledge gradient of a comparison is ``E max_{i∈g}(μ_i + σ̃_i Z) - max_{i∈g} μ_i``, averaged
    over groups g. Those chosen before have shrunk the covariance; the means, whose movement
    nobody knows yet, stand still.

    Parameters
    ----------
    mean : (n,) array
        Posterior means.
    factor, first, second, noise, count
        As in `choose_informative`.
    group : (n,) integers
        Within which one text will be chosen.

    Returns
    -------
    ChosenPairs

    References
    ----------
    Frazier, Powell and Dayanik (2009), INFORMS Journal on Computing 21.
    """
    F, i, j = _read_pairs(factor, first, second)
    mu = np.asarray(mean, dtype=np.float64)
    place: list[int] = []
    gain, changes = [], []
    for _ in range(min(count, len(i))):
        value = expected_best(mu, F, i, j, noise, group)
        value[place] = -np.inf
        best = int(value.argmax())
        pair = (int(i[best]), int(j[best]))
        place.append(best)
        gain.append(value[best])
        changes.append(posterior_change(F, pair, noise))
        F = learn(F, pair, noise)
    return _collect(place, gain, changes, len(F))


def expected_best(
    mean: ArrayLike,
    factor: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    noise: float,
    group: ArrayLike,
) -> Array:
    """Return the knowledge gradient of each comparison ``(m,)``; arguments as above."""
    F, i, j = _read_pairs(factor, first, second)
    mu, code = np.asarray(mean, dtype=np.float64), np.asarray(group)
    order = np.lexsort((-mu, code))  # the leader of each group comes first
    starts = np.flatnonzero(np.diff(code[order], prepend=code[order[0]] - 1))
    F_sorted, mu = F[order], mu[order]
    value = np.empty(len(i))
    step = max(1, _BLOCK // len(mu))
    for at in range(0, len(i), step):
        u = F[i[at : at + step]] - F[j[at : at + step]]
        slopes = (u @ F_sorted.T) / np.sqrt(noise + (u**2).sum(axis=1))[:, None]
        value[at : at + step] = expected_maximum(mu, slopes, starts).mean(axis=1)
    return value


def expected_maximum(mean: Array, slopes: Array, starts: Codes) -> Array:
    """Return ``E max_i(μ_i + b_i Z) - max_i μ_i`` of each group, ``(m, g)``, exactly.

    The maximum of lines is convex and piecewise linear in Z: a kink at z, where the slope rises by
    d, adds ``d (φ(z) - |z|Φ(-|z|))``. Kinks are walked from Z = 0 to both sides, all groups at
    once.

    Parameters
    ----------
    mean : (n,) array
        Sorted by group, the greatest of each group first.
    slopes : (m, n) array
        Of m experiments.
    starts : (g,) integers
        Where groups begin.
    """
    return _walk(mean, slopes, starts) + _walk(mean, -slopes, starts)


def _walk(mean: Array, slopes: Array, starts: Codes) -> Array:
    """Return what kinks at z >= 0 add, ``(m, g)``."""
    member = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(mean)))
    rows = np.arange(len(slopes))[:, None]
    leader = np.broadcast_to(starts, (len(slopes), len(starts)))
    total = np.zeros(leader.shape)
    while True:
        rise = slopes - slopes[rows, leader][:, member]
        gap = mean[leader][:, member] - mean
        with np.errstate(divide="ignore", invalid="ignore"):
            kink = np.where(rise > 1e-12, np.maximum(gap, 0) / rise, np.inf)
        nearest = np.minimum.reduceat(kink, starts, axis=1)
        if not (nearest < _REACH).any():
            return total
        # Of lines that meet in one point the steepest goes on.
        met = np.where(kink <= nearest[:, member], rise, -np.inf)
        steepest = np.maximum.reduceat(met, starts, axis=1)
        turned = nearest < _REACH
        z = np.where(turned, nearest, 0.0)
        loss = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) - z * ndtr(-z)
        total += np.where(turned, steepest * loss, 0.0)
        experiment, line = np.nonzero((met == steepest[:, member]) & (kink < _REACH))
        leader = leader.copy()
        leader[experiment, member[line]] = line


def improve_on_leader(mean: ArrayLike, factor: ArrayLike, group: ArrayLike) -> tuple[Codes, Array]:
    """Return each row's leader ``(n,)``, the best of its group, and what knowing both would add.

    ``E max(r_i - r_ℓ, 0)``: what choosing between a text and the leader gains when both are known
    exactly. No comparison of the two can add more.

    Parameters
    ----------
    mean, factor, group
        As in `choose_for_best`.
    """
    mu, F = np.asarray(mean, dtype=np.float64), np.asarray(factor, dtype=np.float64)
    code = np.unique(np.asarray(group), return_inverse=True)[1].ravel()
    order = np.lexsort((-mu, code))
    leader = order[np.flatnonzero(np.diff(code[order], prepend=-1))][code]
    spread = np.sqrt(pair_variance(F, np.arange(len(mu)), leader))
    safe = np.where(spread > 0, spread, 1.0)
    z = (mu - mu[leader]) / safe
    gain = safe * (np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) + z * ndtr(z))
    return leader, np.where(spread > 0, np.maximum(gain, 0.0), 0.0)


def best_after(
    mean: ArrayLike, changes: ArrayLike, group: ArrayLike, *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the mean over groups of the best text's value, now and expected after t results.

    ``E max_{i∈g}(μ_i + Σ_t σ̃_it Z_t)`` by antithetic Monte Carlo.

    Parameters
    ----------
    mean, group
        As in `choose_for_best`.
    changes : (n, t) array
        Those of `ChosenPairs`.
    draws, seed : int
    """
    mu, moved = np.asarray(mean, dtype=np.float64), np.asarray(changes, dtype=np.float64)
    code = np.asarray(group)
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=code[order[0]] - 1))
    mu, moved = mu[order], moved[order]
    now = float(np.maximum.reduceat(mu, starts).mean())
    random, step, total = np.random.default_rng(seed), max(1, _BLOCK // len(mu)), 0.0
    for at in range(0, draws, step):
        shift = random.normal(size=(min(step, draws - at), moved.shape[1])) @ moved.T
        for side in (shift, -shift):
            total += np.maximum.reduceat(mu + side, starts, axis=1).mean(axis=1).sum()
    return now, total / (2 * draws)


def choose_groups(
    factor: ArrayLike, precision: ArrayLike, group: ArrayLike, count: int
) -> tuple[Codes, Array]:
    """Order whole tests of several arms by the gain in log determinant, and return the gains.

    A test with arms of precision w teaches ``Σ_i w_i (F_i - F̄)(F_i - F̄)'``, F̄ the weighted mean:
    its own level is lost. Gains only shrink as others are chosen, so that a gain that is still the
    largest after it was computed anew is the largest of all, and few are.

    Parameters
    ----------
    factor : (n, k) array
        Of the arms.
    precision : (n,) array
        One over the variance of each arm's result.
    group : (n,) integers
        The test of each arm.
    count : int
        How many to choose.

    Returns
    -------
    group : (t,) array
        Codes of the tests in the order chosen.
    gain : (t,) array
        In nats.

    References
    ----------
    Minoux (1978), Optimization Techniques, Springer.
    """
    F, w = np.asarray(factor, dtype=np.float64), np.asarray(precision, dtype=np.float64)
    names, code = np.unique(np.asarray(group), return_inverse=True)
    members = np.split(np.argsort(code, kind="stable"), np.cumsum(np.bincount(code))[:-1])
    tests = [_centre(F[rows], w[rows]) for rows in members]
    covariance = np.eye(F.shape[1])
    queue = [(-_block_gain(rows @ rows.T), test) for test, rows in enumerate(tests)]
    heapq.heapify(queue)
    order: list[int] = []
    gains: list[float] = []
    while queue and len(order) < count:
        test = heapq.heappop(queue)[1]
        shrunk = tests[test] @ covariance
        known = shrunk @ tests[test].T
        gain = _block_gain(known)
        if queue and gain < -queue[0][0]:
            heapq.heappush(queue, (-gain, test))
            continue
        order.append(test)
        gains.append(gain)
        covariance -= shrunk.T @ np.linalg.solve(np.eye(len(known)) + known, shrunk)
    return np.asarray(names[order]), np.array(gains)


def _centre(rows: Array, weights: Array) -> Array:
    mean = weights @ rows / weights.sum()
    return np.asarray(np.sqrt(weights)[:, None] * (rows - mean))


def _block_gain(known: Array) -> float:
    """Return ½ ln det(I + U C U') of ``known``, U C U'."""
    return 0.5 * float(np.linalg.slogdet(np.eye(len(known)) + known)[1])


def readers_for_power(
    difference: ArrayLike, variance: float, *, power: float = 0.8, level: float = 0.05
) -> Array:
    """Return readers for each of two arms that find a difference with a two-sided test.

    ``n = 2σ²(z_{1-α/2} + z_{power})²/d²``, σ² the variance of one reader; infinite at d = 0.

    Parameters
    ----------
    difference : (m,) array
    variance : float
        Of one reader, in squared units of the difference.
    power, level : float
        The probability to find it, and of finding what is not there.
    """
    d = np.abs(np.asarray(difference, dtype=np.float64))
    reach = ndtri(1 - level / 2) + ndtri(power)
    with np.errstate(divide="ignore"):
        return np.asarray(np.ceil(2 * variance * reach**2 / d**2))


def _read_pairs(
    factor: ArrayLike, first: ArrayLike, second: ArrayLike
) -> tuple[Array, Codes, Codes]:
    F = np.asarray(factor, dtype=np.float64)
    i, j = (np.asarray(side, dtype=np.int64) for side in (first, second))
    if F.ndim != 2 or i.shape != j.shape or not np.isfinite(F).all():
        raise InputError(
            "factor must be (n, k) finite numbers, first and second rows of it, alike in number; "
            f"found {F.shape}, {i.shape} and {j.shape}."
        )
    return F, i, j


def _collect(place: list[int], gain: list[float], changes: list[Array], rows: int) -> ChosenPairs:
    moved = np.column_stack(changes) if changes else np.zeros((rows, 0))
    return ChosenPairs(np.array(place, dtype=np.int64), np.array(gain), moved)
