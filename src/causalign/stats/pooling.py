"""Choose how much a log counts beside tests, and test whether the two agree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag, cho_factor, cho_solve
from scipy.stats import chi2

from causalign.stats.folds import group_folds
from causalign.stats.penalised_covariance import (
    implied_prior_variance,
    penalised_factor,
    score_covariance,
    with_level,
)
from causalign.stats.ridge_path import ridge_path
from causalign.stats.within_groups import (
    Deviations,
    WithinPath,
    deviate,
    penalties_for,
    within_path,
)

Array = NDArray[np.float64]

# ρ: from the tests alone to the log at full weight.
SHARES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
# Fewer cannot tell a log that misleads from bad luck: on Upworthy 25 chose wrongly in a fold of 5.
FEW_TESTS = 50
# The best of some hundred correlated cells beats the default by 3 standard errors in fewer than one
# twenty logs that are right.
_BEYOND_CHANCE = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class WeighedLog:
    """Hold a log of m rows in units of its own noise.

    Attributes
    ----------
    deviations : Deviations
        From the mean of all rows, over the standard deviation of the error in unseen rows.
    folds : (m,) integers
        The fold of tests that leaves a row out, -1 for none.
    penalty : float
        The λ that predicts unseen rows best, in these units.
    mean_features : (d,) array
    mean_outcome : float
    errors : (m,) array
        Of fits that did not see the row, in these units.
    units : (m,) integers
        Rows that are not independent share one.
    """

    deviations: Deviations
    folds: NDArray[np.int64]
    penalty: float
    mean_features: Array
    mean_outcome: float
    errors: Array
    units: NDArray[np.int64]

    def intercept(self, coefficients: Array) -> float:
        """Return the a of ``y = a + x'b`` that fits the mean of the log."""
        return self.mean_outcome - float(self.mean_features @ coefficients)


@dataclass(frozen=True, slots=True, eq=False)
class Pooling:
    """Hold the fits for every ρ and λ, the indices that were chosen, and how far tests agree."""

    path: WithinPath
    chosen: tuple[int, int]
    agreement: "Agreement"

    def covariance_factor(
        self, tests: Deviations, log: WeighedLog, errors: ArrayLike, groups: ArrayLike
    ) -> Array:
        """Return L ``(d + 1, d + 1)``, ``L L'`` the mean squared error of a and b as chosen.

        Of ``ρ`` below 1 the log's rows count as if their noise were ``1/ρ`` times as large. See
        `causalign.stats.penalised_covariance.penalised_factor`.

        Parameters
        ----------
        tests : Deviations
        log : WeighedLog
        errors : (n,) array
            Of the tests, by fits that did not see them, over the standard deviation of their noise.
        groups : (n,) labels
            Tests that are not independent share one.
        """
        share, rows = self.path.shares[self.chosen[0]], log.deviations
        penalty = self.path.penalties[self.chosen[1]]
        of_log = np.column_stack([np.sqrt(rows.weights), np.sqrt(share) * rows.features])
        meat = score_covariance(of_log, log.errors, log.units)
        meat[1:, 1:] += score_covariance(tests.features, errors, groups)
        gram = tests.products()[0] + share * rows.products()[0]
        inner = penalised_factor(
            block_diag(rows.weights.sum(), gram),
            meat,
            np.r_[0.0, np.full(len(gram), penalty)],
            implied_prior_variance(gram, meat[1:, 1:], penalty),
        )
        return with_level(inner, log.mean_features)


def weigh_log(
    features: ArrayLike,
    outcome: ArrayLike,
    units: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    leave_out: ArrayLike | None = None,
    penalties: Sequence[float] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> WeighedLog:
    """Divide a log by its error in unseen rows, and choose its penalty by cross-validation.

    Parameters
    ----------
    features : (n, d) array
    outcome : (n,) array
    units : (n,) integers
        Rows that share one are unseen together.
    weights : (n,) array, optional
        Rows of weight 0 take no part.
    leave_out : (n,) integers, optional
        The fold of tests that leaves a row out, -1 for none.
    penalties : sequence of floats, optional
        The λ to try; a grid scaled to the log unless given.
    folds, seed : int
        Of the log's cross-validation.
    """
    X, y = np.asarray(features, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    left_out = np.full(len(y), -1) if leave_out is None else np.asarray(leave_out)
    cut = group_folds(units, folds, seed)
    path = ridge_path(X, y, folds=cut, penalties=penalties, weights=w)
    noise = float(path.cv_error[path.best])
    positive = w > 0
    deviations = deviate(X[positive], y[positive], np.zeros(positive.sum()), w[positive] / noise)
    return WeighedLog(
        deviations,
        left_out[positive],
        float(path.penalties[path.best]) / noise,
        np.average(X, axis=0, weights=w),
        float(np.average(y, weights=w)),
        np.sqrt(w[positive] / noise) * (y - path.out_of_fold)[positive],
        np.asarray(units)[positive],
    )


def pool(
    tests: Deviations,
    folds: ArrayLike,
    log: WeighedLog,
    penalties: Sequence[float] | None = None,
) -> Pooling:
    """Fit every ρ and λ, and keep the log's choice unless the tests know better.

    With ρ = 1 and the λ of the log both kinds are weighed by their information. Another cell is
    taken only if its predictions of unseen tests, whatever their scale, correlate better by 3
    standard errors, and only where there are 50 tests or more.

    Parameters
    ----------
    tests : Deviations
        Of n arms, over the standard deviation of their noise.
    folds : (n,) integers
        Whole tests share one.
    log : WeighedLog
    penalties : sequence of floats, optional
        The λ to try beside the log's; a grid scaled to the tests unless given.

    References
    ----------
    Rosenman, Basse, Owen and Baiocchi, arXiv 2002.06708.
    """
    tried = np.unique([*penalties_for(penalties, tests), log.penalty])
    path = within_path(tests, folds, tried, log=log.deviations, log_folds=log.folds, shares=SHARES)
    default = (len(SHARES) - 1, int(np.flatnonzero(tried == log.penalty)[0]))
    gain, error = path.gain(*default)
    better = (gain > _BEYOND_CHANCE * error) & (len(path.null) >= FEW_TESTS)
    chosen = default
    if better.any():
        best = np.unravel_index(int(np.where(better, gain, -np.inf).argmax()), gain.shape)
        chosen = (int(best[0]), int(best[1]))
    gram, cross = log.deviations.products()
    factor = cho_factor(gram + log.penalty * np.eye(len(gram)))
    covariance = cho_solve(factor, np.eye(len(gram)))
    return Pooling(path, chosen, compare_with_log(tests, covariance @ cross, covariance))


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """Hold a test that tests and a log estimate one effect.

    ``statistic`` is the excess of what the tests say beyond the log's prediction over its
    expectation, ``p_value`` its probability under agreement; ``slope`` what a difference predicted
    by the log was worth in the tests, with ``standard_error``: 1 when the log is right.
    """

    statistic: float
    p_value: float
    slope: float
    standard_error: float


def compare_with_log(
    tests: Deviations, coefficients: ArrayLike, covariance: ArrayLike
) -> Agreement:
    """Test whether the tests depart from what a log predicts, as Hausman compares two estimates.

    With ``b ~ N(b_o, V_o)`` after the log and ``z̃ = X̃b + e``, ``e ~ N(0, I)`` in the tests, the
    score of a further effect ``δ ~ N(0, t² I)`` at t = 0 is ``Q = ‖X̃'(z̃ - X̃b_o)‖²``, with

        E Q = tr M,   Var Q = 2 tr M²,   M = A + A V_o A,   A = X̃'X̃,

    compared with a scaled chi-square of the same mean and variance. The slope is least squares of
    z̃ on ``X̃b_o``, its standard error clustered by group.

    Parameters
    ----------
    tests : Deviations
    coefficients : (d,) array
        Of the log.
    covariance : (d, d) array
        Of the log's coefficients after its penalty.

    References
    ----------
    Hausman (1978), Econometrica 46; Verbeke and Molenberghs (2003), Biometrics 59, for the score
    of a variance component.
    """
    b, V = np.asarray(coefficients, dtype=np.float64), np.asarray(covariance, dtype=np.float64)
    A, c = tests.products()
    score = c - A @ b
    M = A + A @ V @ A
    mean, variance = float(np.trace(M)), 2 * float((M * M.T).sum())
    scale, freedom = variance / (2 * mean), 2 * mean**2 / variance
    statistic = float(score @ score)
    predicted = tests.features @ b
    length = max(float(predicted @ predicted), float(np.finfo(float).tiny))
    slope = float(predicted @ tests.outcome) / length
    moment = np.bincount(tests.group, weights=predicted * (tests.outcome - slope * predicted))
    error = float(np.sqrt((moment**2).sum())) / length
    return Agreement(statistic / mean, float(chi2.sf(statistic / scale, freedom)), slope, error)
