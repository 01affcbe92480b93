"""Fit a log and tests together, as far as the tests find the log right; test whether they agree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag, cho_factor, cho_solve
from scipy.special import logsumexp, softmax
from scipy.stats import chi2

from causalign.stats.evidence import log_evidence
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

# ρ: from the tests alone to the log in full; products of factors of 4 with the noises often meet,
# which saves factorisations.
SHARES = (0.0, *(4.0**-power for power in range(4, -1, -1)))
NOISES = (1.0, 2.0, 4.0)
# A log may exaggerate what texts do without misleading about their order.
SLOPES = (0.25, 0.5, 0.75, 1.0, 1.25)
# Before the tests, nine of ten logs that were deconfounded order texts right. At even odds a dozen
# tests of Upworthy, whose log is right, would leave it out by chance.
TRUST = 0.9
_NEGLIGIBLE = 1e-6


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
    penalties, squares : (L,) arrays
        The λ that were tried, and the squared errors of unseen rows, summed, in these units.
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
    penalties: Array
    squares: Array
    mean_features: Array
    mean_outcome: float
    errors: Array
    units: NDArray[np.int64]

    def intercept(self, coefficients: Array) -> float:
        """Return the a of ``y = a + x'b`` that fits the mean of the log."""
        return self.mean_outcome - float(self.mean_features @ coefficients)


@dataclass(frozen=True, slots=True, eq=False)
class Pooling:
    """Hold the fits for every ρ and λ, and the weight of each after the tests.

    Attributes
    ----------
    path : WithinPath
        For the ρ of ``SHARES``, ascending to 1, the log in full.
    trusted : pair of integers
        The place in the path of the log in full, with its λ.
    weights : (R, L) array
        They add up to 1.
    agreement : Agreement
    """

    path: WithinPath
    trusted: tuple[int, int]
    weights: Array
    agreement: "Agreement"

    @property
    def coefficients(self) -> Array:
        """The weighted mean ``(d,)`` of all fits."""
        return np.tensordot(self.weights, self.path.coefficients, 2)

    @property
    def share_of_log(self) -> float:
        """The weighted mean of ρ."""
        return float(self.weights.sum(axis=1) @ self.path.shares)

    def predict_unseen(self, tests: Deviations, folds: ArrayLike) -> Array:
        """Return for each arm the deviation, over its noise, that fits without the test predict.

        Parameters
        ----------
        tests : Deviations
        folds : (n,) integers
        """
        fold, predicted = np.asarray(folds), np.empty(len(tests.outcome))
        for place, number in enumerate(np.unique(fold)):
            mean = np.tensordot(self.weights, self.path.fold_coefficients[place], 2)
            predicted[fold == number] = tests.features[fold == number] @ mean
        return predicted

    def covariance_factor(
        self, tests: Deviations, log: WeighedLog, errors: ArrayLike, groups: ArrayLike
    ) -> Array:
        """Return ``(L, δ)`` ``(d + 1, k + 1)``: the error of a and b, and what was shrunk.

        ``Σ w (V + (b - b̄)(b - b̄)')`` over the fits: the error of each, and that of choosing among
        them. V is that of the log in full, or of the heaviest other fit for all others; with ρ
        below 1 the log's rows count as if their noise were ``1/ρ`` times as large. See
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
        trust, others = self.weights[self.trusted], self.weights.copy()
        others[self.trusted] = 0
        heaviest = divmod(int(others.argmax()), others.shape[1])
        parts, shrunk = [], np.zeros((len(self.coefficients) + 1, 1))
        for place, weight in ((self.trusted, trust), (heaviest, 1 - trust)):
            if weight > _NEGLIGIBLE:
                own = self._factor(place, tests, log, errors, groups)
                parts.append(np.sqrt(weight) * own[:, :-1])
                shrunk += weight * own[:, -1:]
        counted = self.weights > _NEGLIGIBLE
        apart = self.path.coefficients[counted] - self.coefficients
        steps = np.sqrt(self.weights[counted])[:, None] * apart
        return np.hstack([*parts, np.vstack([-steps @ log.mean_features, steps.T]), shrunk])

    def _factor(
        self,
        place: tuple[int, int],
        tests: Deviations,
        log: WeighedLog,
        errors: ArrayLike,
        groups: ArrayLike,
    ) -> Array:
        share, rows = self.path.shares[place[0]], log.deviations
        penalty = self.path.penalties[place[1]]
        of_log = np.column_stack([np.sqrt(rows.weights), np.sqrt(share) * rows.features])
        meat = score_covariance(of_log, log.errors, log.units)
        meat[1:, 1:] += score_covariance(tests.features, errors, groups)
        gram = tests.products()[0] + share * rows.products()[0]
        inner = penalised_factor(
            block_diag(rows.weights.sum(), gram),
            meat,
            np.r_[0.0, np.full(len(gram), penalty)],
            implied_prior_variance(gram, meat[1:, 1:], penalty),
            np.r_[0.0, self.path.coefficients[place]],
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
        path.penalties / noise,
        path.cv_error * w.sum() / noise,
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
    """Fit the log in full, in part and not at all, and weigh the fits by the tests' evidence.

    In full (ρ = 1), both kinds count by their information, and λ has the least squared error of
    unseen tests and unseen rows of the log together: with few tests the log decides, with many the
    tests. Before the tests this fit has a weight of 0.9, all (ρ, λ) share the rest; each is then
    multiplied by the density of what the tests found. For the log in full that is a mean over
    slopes, since a log may exaggerate without misleading about the order of texts; for all, over
    noises, since tests may scatter more than they should. See
    `causalign.stats.evidence.log_evidence`.

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
    Rosenman, Basse, Owen and Baiocchi, arXiv 2002.06708; Ibrahim and Chen (2000), Statistical
    Science 15.
    """
    tried = np.unique([*penalties_for(penalties, tests), log.penalty])
    rows = log.deviations
    path = within_path(tests, folds, tried, log=rows, log_folds=log.folds, shares=SHARES)
    of_log = np.interp(np.log(tried), np.log(log.penalties), log.squares)
    trusted = (len(SHARES) - 1, int((of_log + path.error[-1] * path.null.sum()).argmin()))
    any_order = log_evidence(tests, rows, shares=SHARES, penalties=tried, noises=NOISES)
    its_order = log_evidence(
        tests, rows, shares=(1.0,), penalties=tried[[trusted[1]]], slopes=SLOPES, noises=NOISES
    )
    after = logsumexp(any_order, axis=(2, 3)) - np.log(any_order.size / (1 - TRUST))
    in_full = logsumexp(its_order) - np.log(its_order.size / TRUST)
    after[trusted] = np.logaddexp(after[trusted], in_full)
    gram, cross = rows.products()
    factor = cho_factor(gram + log.penalty * np.eye(len(gram)))
    covariance = cho_solve(factor, np.eye(len(gram)))
    agreement = compare_with_log(tests, covariance @ cross, covariance)
    return Pooling(path, trusted, np.asarray(softmax(after)), agreement)


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
