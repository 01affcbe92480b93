"""Draw pairs whose factor differences have a chosen correlation, by strata of the differences."""

from dataclasses import dataclass

import numpy as np
from factors import Factored
from scipy.optimize import brentq


@dataclass(frozen=True)
class PairPool:
    """Hold candidate pairs ``(n, 2)`` and the differences of their factors ``(n, 2)``."""

    sides: np.ndarray
    difference: np.ndarray

    def take(self, rows: np.ndarray) -> "PairPool":
        """Return the pairs at these positions."""
        return PairPool(self.sides[rows], self.difference[rows])


def candidate_pairs(
    data: Factored, texts: np.ndarray, limit: int, seed: int, *, keep_ties: bool
) -> PairPool:
    """Return pairs among these texts: of one prompt where prompts differ, else any two.

    Without ``keep_ties``, pairs that are equal in a factor are left out: then the share of pairs
    whose differences disagree is (1 - ρ) / 2 for factors of two values.
    """
    random = np.random.default_rng(seed)
    if data.prompt is None:
        sides = random.choice(texts, size=(limit, 2))
    else:
        found = []
        prompts = data.prompt[texts]
        for prompt in np.unique(prompts):
            mine = texts[prompts == prompt]
            first, second = np.triu_indices(len(mine), k=1)
            found.append(np.stack([mine[first], mine[second]], axis=1))
        sides = random.permutation(np.concatenate(found))[:limit]
        flip = random.random(len(sides)) < 0.5
        sides[flip] = sides[flip, ::-1]
    factors = data.factors[:, data.chosen(seed)]
    pool = PairPool(sides, factors[sides[:, 0]] - factors[sides[:, 1]])
    differ = sides[:, 0] != sides[:, 1]
    return pool.take(differ if keep_ties else differ & pool.difference.all(axis=1))


def correlated(pool: PairPool, rho: float, size: int, random: np.random.Generator) -> PairPool:
    """Draw pairs with replacement so that the differences have expected correlation rho.

    A pair's chance is proportional to exp(-θ(δ₁ - δ₂)²): equal differences get equal chances, so
    the draw is stratified by them, and a high θ keeps pairs whose differences agree.
    """
    gap = (pool.difference[:, 0] - pool.difference[:, 1]) ** 2 / pool.difference.var()

    def chances(theta: float) -> np.ndarray:
        log = -theta * gap
        weight = np.exp(log - log.max())
        return weight / weight.sum()

    def excess(theta: float) -> float:
        p = chances(theta)
        second = (pool.difference * p[:, None]).T @ pool.difference
        return float(second[0, 1] / np.sqrt(second[0, 0] * second[1, 1])) - rho

    theta = brentq(excess, -20, 20)
    return pool.take(random.choice(len(gap), size=size, p=chances(theta)))


def discordant(pool: PairPool, size: int, random: np.random.Generator) -> PairPool:
    """Draw pairs whose differences disagree in sign: what training at high rho hardly shows."""
    rows = np.flatnonzero(np.prod(pool.difference, axis=1) < 0)
    return pool.take(random.choice(rows, size=size, replace=len(rows) < size))


def labels(pairs: PairPool, weight: float, random: np.random.Generator) -> np.ndarray:
    """Return 1 where the first side has the higher reward w δ₁ + (1 - w) δ₂; ties by a coin."""
    gap = pairs.difference @ [weight, 1 - weight]
    return np.where(gap == 0, random.integers(0, 2, len(gap)), gap > 0).astype(float)
