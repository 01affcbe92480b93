"""Best of n draws: which text is chosen, how far that is from the writer, what choosing earns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import xlogy

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

NORMAL_95 = 1.959963984540054


def best_of_law(probability: ArrayLike, score: ArrayLike, n: int) -> Array:
    """Return how likely each of k texts is to be chosen from n draws.

    The draw with the highest score wins, the first of those that tie. With F the probability of a
    score up to that of a text and f of exactly that one, the text is chosen with
    ``p/f · (Fⁿ - (F - f)ⁿ)``.

    Parameters
    ----------
    probability : (k,) array
        p, of each text under the writer.
    score : (k,) array
        Minus infinity for a text that is refused: what is missing to 1 is then the probability
        that no text is chosen.
    n : int
    """
    p, s = np.asarray(probability, dtype=np.float64), np.asarray(score, dtype=np.float64)
    _, level = np.unique(s, return_inverse=True)
    mass = np.bincount(level.ravel(), weights=p)
    upto = np.minimum(np.cumsum(mass), 1.0)
    won = upto**n - np.maximum(upto - mass, 0.0) ** n
    share = np.divide(p, mass[level], out=np.zeros_like(p), where=mass[level] > 0)
    return np.where(np.isneginf(s), 0.0, share * won[level])


def divergence(law: ArrayLike, probability: ArrayLike) -> float:
    """Return ``KL(law ‖ p)`` in nats.

    Parameters
    ----------
    law, probability : (k,) arrays
    """
    q, p = np.asarray(law, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    return float((xlogy(q, q) - xlogy(q, p)).sum())


def divergence_bound(n: int) -> float:
    """Return ``log n - (n - 1)/n``: the divergence of best of n from its writer without ties.

    With ties it is less. Reference: Beirami et al., arXiv 2401.01879.
    """
    return float(np.log(n) - (n - 1) / n)


def choose_best(score: ArrayLike, group: ArrayLike) -> Codes:
    """Return the row ``(g,)`` with the highest score of each group, the first of those that tie.

    Parameters
    ----------
    score : (m,) array
    group : (m,) integers
        From 0, each with a row.
    """
    order = np.lexsort((-np.asarray(score, dtype=np.float64), np.asarray(group)))
    return np.asarray(order[np.unique(np.asarray(group)[order], return_index=True)[1]])


@dataclass(frozen=True, slots=True, eq=False)
class Frontier:
    """Hold what is chosen at k prices of a cost: mean reward and mean cost ``(k,)``.

    The higher the price, the less of both.
    """

    prices: Array
    reward: Array
    cost: Array


def trade_off(score: ArrayLike, reward: ArrayLike, cost: ArrayLike, group: ArrayLike) -> Frontier:
    """Return the frontier of ``argmax score - price · cost`` over prices from 0 up.

    Parameters
    ----------
    score : (m,) array
        What is chosen by where the cost is free.
    reward, cost : (m,) arrays
    group : (m,) integers
        As in `choose_best`.
    """
    s, r, c = (np.asarray(values, dtype=np.float64) for values in (score, reward, cost))
    unit = np.std(s) / np.std(c) if np.std(c) > 0 else 1.0
    prices = np.r_[0.0, unit * np.geomspace(0.05, 50.0, 40)]
    chosen = [choose_best(s - price * c, group) for price in prices]
    return Frontier(
        prices,
        np.array([r[rows].mean() for rows in chosen]),
        np.array([c[rows].mean() for rows in chosen]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Valuation:
    """What is said of m candidates: scores to choose by, and what they are worth.

    Attributes
    ----------
    score : (m,) array
        What is chosen by, such as a lower bound.
    reward : (m,) array
        By what did not choose.
    factor : (m, k) array, optional
        F, ``F_i'F_j`` the covariance of two rewards; further columns for what a penalty shrank.
    """

    score: Array
    reward: Array
    factor: Array | None = None


@dataclass(frozen=True, slots=True)
class ChoiceWorth:
    """Hold an estimate with its 95 % interval; ``naive`` is by the reward that chose."""

    naive: float
    estimate: float
    stderr: float
    lower: float
    upper: float


def worth_of_choice(
    group: ArrayLike, whole: Valuation, ways: Sequence[Valuation]
) -> tuple[ChoiceWorth, ChoiceWorth]:
    """Return what chosen texts are worth, and how much more than a candidate drawn at random.

    The largest of n estimates is large by luck as well (the winner's curse), so a reward does not
    value its own choice: what a reward chooses that was fitted without a part of the log is valued
    by that part, and all ways are averaged. The standard error adds up what the valuing parts leave
    open and how groups differ; of two halves as if both erred together, of more parts as if each
    erred by itself. What is chosen without a part is on average a little worse than what the whole
    log chooses, so the value errs on the careful side.

    Parameters
    ----------
    group : (m,) integers
        The prompt of each candidate, from 0, each with a candidate.
    whole : Valuation
        By the reward that chooses.
    ways : two or more of Valuation
        Scores by a reward that did not see a part of the log, rewards by that part.

    Returns
    -------
    two of ChoiceWorth
        Of the chosen texts, and of the gain.
    """
    code = np.asarray(group, dtype=np.int64)
    own = _chosen_and_gain(code, whole)
    valued = [_chosen_and_gain(code, way) for way in ways]
    chosen, gain = (_average(own[place].values, [way[place] for way in valued]) for place in (0, 1))
    return chosen, gain


@dataclass(frozen=True, slots=True, eq=False)
class _ByGroup:
    """Hold a value of each group ``(g,)`` and the error of their mean ``(k,)``."""

    values: Array
    error: Array


def _chosen_and_gain(code: Codes, judge: Valuation) -> tuple[_ByGroup, _ByGroup]:
    rows, size = choose_best(judge.score, code), np.bincount(code)
    random = np.bincount(code, weights=judge.reward) / size
    reward = judge.reward[rows]
    if judge.factor is None:
        return _ByGroup(reward, np.zeros(1)), _ByGroup(reward - random, np.zeros(1))
    of_chosen = judge.factor[rows].mean(axis=0)
    of_random = (1 / (size[code] * len(size))) @ judge.factor
    return _ByGroup(reward, of_chosen), _ByGroup(reward - random, of_chosen - of_random)


def _average(naive: Array, ways: Sequence[_ByGroup]) -> ChoiceWorth:
    values = np.mean([way.values for way in ways], axis=0)
    errors = np.array([np.linalg.norm(way.error) for way in ways])
    together = errors.sum() if len(ways) == 2 else np.linalg.norm(errors)
    coefficients = float(together) / len(ways)
    spread = values.var(ddof=1) / len(values) if len(values) > 1 else 0.0
    estimate, stderr = float(values.mean()), float(np.hypot(coefficients, np.sqrt(spread)))
    reach = NORMAL_95 * stderr
    return ChoiceWorth(float(naive.mean()), estimate, stderr, estimate - reach, estimate + reach)
