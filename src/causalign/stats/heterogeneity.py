"""Do audiences differ in what texts do to them? A score test whose signs are flipped."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import SettingsError
from causalign.stats.audience_ridge import require_codes
from causalign.stats.ridge_path import check_arrays, ridge_path
from causalign.stats.row_blocks import leading_components, row_slices
from causalign.stats.sandwich import group_rows, sum_groups

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class HeterogeneityTest:
    """Hold the p-value that all audiences are alike, and of each ``(a,)`` against the others."""

    p_value: float
    each: Array


def heterogeneity_test(
    features: ArrayLike,
    outcome: ArrayLike,
    audience: ArrayLike,
    *,
    folds: ArrayLike,
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    flips: int = 1999,
    seed: int = 0,
) -> HeterogeneityTest:
    """Test that ``c_l = b`` for all audiences l in ``y = a_l + x'c_l + e``.

    With m(x) = E[y | x] and p_l(x) = P(l | x) by ridge, of rows that a fit did not see, and
    ``u_il = 1(l(i) = l) - p_l(x_i)``, the scores

        s_l = Σ_i w_i ũ_il x_i e_i,    e_i = y_i - m(x_i) - u_i'γ̂,

    have mean zero if audiences are alike; γ̂, what audiences do whatever the text, is least
    squares, and taken out of ``u_il x_i`` too (ũ). An error of m moves s only by its product with
    an error of p: so a b that was shrunk, which would look like a difference wherever audiences
    were sent other texts, does not. The statistic is ``Σ_l |s_l|²``; its law is that of the same
    sums with signs of groups flipped at random, which needs neither normal nor equal errors. What
    is flipped is divided by one minus the leverage of its group on γ̂ (the jackknife), or an
    audience of few rows would be found too often. Of features more than a quarter of the groups
    the leading components are read: more cannot be told from noise.

    Assumption: groups are independent, and many.

    Parameters
    ----------
    features : (n, d) array
    outcome : (n,) array
    audience : (n,) integers
        From 0 to a - 1.
    folds : (n,) array
    weights : (n,) array, optional
    groups : (n,) labels, optional
        Rows that are not independent.
    flips : int
    seed : int

    References
    ----------
    Hemerik, Goeman and Finos (2020), JRSS B 82, for flipped signs of scores; Goeman, van de Geer
    and van Houwelingen (2006), JRSS B 68, for the statistic; Chernozhukov et al. (2018), for
    scores that estimates of m and p do not move.
    """
    if flips < 19:
        raise SettingsError(f"flips must be at least 19, not {flips}.")
    X, Y, w, _ = check_arrays(features, outcome, weights)
    code = require_codes(audience, len(X))
    ((_, codes, count),) = group_rows(groups, len(X))
    X = leading_components(X - w @ X / w.sum(), max(count // 4, 1)).whole()
    own = np.equal.outer(code, np.arange(code.max() + 1)).astype(np.float64)
    left = [
        target - ridge_path(X, target, folds=folds, weights=weights).out_of_fold
        for target in (Y, own)
    ]
    u, solve = left[1], np.linalg.pinv(left[1].T @ (w[:, None] * left[1]), rcond=1e-10)
    error = w * (left[0][:, 0] - u @ (solve @ (u.T @ (w * left[0][:, 0]))))
    leverage = sum_groups(w * np.einsum("ia,ab,ib->i", u, solve, u), codes, count)
    left_over = np.maximum(1 - leverage, 0.0)
    unit = np.divide(1.0, left_over, out=np.zeros_like(left_over), where=left_over > 1e-9)
    flipped, seen = [], []
    for column in u.T:
        interaction = column[:, None] * X
        interaction -= u @ (solve @ (u.T @ (w[:, None] * interaction)))
        scores = sum_groups(interaction * error[:, None], codes, count)
        seen.append(float(np.square(scores.sum(axis=0)).sum()))
        flipped.append(_flip(scores * unit[:, None], flips, seed))
    drawn = np.array(flipped)  # (a, flips), the same signs for every audience
    every = np.array([sum(seen), *seen])
    above = np.vstack([drawn.sum(axis=0), drawn]) >= every[:, None] * (1 - 1e-12)
    p = (1 + above.sum(axis=1)) / (1 + flips)
    return HeterogeneityTest(float(p[0]), p[1:])


def _flip(scores: Array, flips: int, seed: int) -> Array:
    """Return the squared length of sums ``(flips,)`` of rows whose signs are drawn."""
    generator = np.random.default_rng(seed)
    sums = np.zeros((flips, scores.shape[1]))
    for rows in row_slices(len(scores)):
        block = scores[rows]
        signs = generator.integers(0, 2, (flips, len(block)), dtype=np.int8) * 2.0 - 1.0
        sums += signs @ block
    return np.asarray(np.square(sums).sum(axis=1))
