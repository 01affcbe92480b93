"""Test instruments: are they strong, do they agree, were they needed, may they act directly?

Every function takes the `causalign.stats.partial.Partialled` columns that `partial_out` returns.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special
from scipy.special import stdtrit

from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.stats.partial import Partialled
from causalign.stats.sandwich import group_rows, sandwich, sum_groups

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Test:
    """Hold a test: its statistic, F with two or chi-squared with one number of freedom degrees."""

    __test__ = False

    statistic: float
    numerator: int
    denominator: float = float("inf")

    @property
    def p_value(self) -> float:
        """Return the probability of a statistic at least as large if the null holds."""
        if np.isinf(self.denominator):
            return float(special.chdtrc(self.numerator, self.statistic))
        return float(special.fdtrc(self.numerator, self.denominator, self.statistic))


@dataclass(frozen=True, slots=True, eq=False)
class Strength:
    """Hold, for each endogenous column, how strongly the instruments move it: all ``(p,)``.

    ``classical_f`` and ``robust_f`` test that the q instruments do nothing in the first stage,
    the latter robust or clustered; ``partial_r2`` is the share of what the exogenous columns leave
    that the instruments explain, ``shea_r2`` the share that they explain on their own, apart from
    what moves the other endogenous columns.
    """

    classical_f: Floats
    robust_f: Floats
    partial_r2: Floats
    shea_r2: Floats


@dataclass(frozen=True, slots=True)
class OverIdentification:
    """Hold the tests that all instruments tell the same effect, chi-squared with q - p degrees."""

    sargan: Test
    score: Test
    hansen: Test


@dataclass(frozen=True, slots=True)
class Endogeneity:
    """Hold the tests that least squares would have done: F, and a robust Wald chi-squared."""

    wu_hausman: Test
    robust: Test


def strength(parts: Partialled) -> Strength:
    """Measure the first stage ``x = W g + Z d + v`` of each endogenous column.

    Classical ``F = (d'Z'Z d / q) / (v'v / (n - m - q))``; robust ``F = d'V^-1 d / q`` with V the
    robust or clustered covariance and the small-sample factor; ``partial R2 = 1 - v'v / x'x``;
    Shea's ``R2_j = [(X'X)^-1]_jj / [(X^'X^)^-1]_jj``, all after the exogenous columns were removed.
    Equal to the diagnostics of `linearmodels` with debiased=True (which reports q times the robust
    F). Raises `NotIdentified` when instruments do not move a column at all or explain it wholly.
    Reference: Shea (1997); Godfrey (1999).
    """
    q, count = parts.Z.shape[1], parts.X.shape[1]
    classical, robust, partial = np.empty(count), np.empty(count), np.empty(count)
    fitted = np.empty_like(parts.X)
    for j in range(count):
        x = parts.X[:, j]
        slopes, left = parts.on_basis(x)
        explained, unexplained = float(slopes @ slopes), float(left @ left)
        total = float(x @ x)
        _require_a_first_stage(explained, unexplained, total, j)
        covariance = parts.robust_covariance(left)
        classical[j] = explained / q / (unexplained / parts.residual_degrees_of_freedom)
        robust[j] = slopes @ np.linalg.lstsq(covariance, slopes, rcond=None)[0] / q
        partial[j] = 1 - unexplained / total
        fitted[:, j] = parts.basis @ slopes
    shea = _inverse_diagonal(parts.X) / _inverse_diagonal(fitted)
    return Strength(classical, robust, partial, shea)


def effective_f(parts: Partialled) -> float:
    """Return the effective F of Montiel Olea and Pflueger (2013) for one endogenous column.

    ``F = d'Z'Z d / trace(V Z'Z)``, V the robust or clustered covariance of the first-stage
    coefficients d, Z without what the exogenous columns explain. With one instrument it is the
    robust F. Values below 10 are taken as weak; a worst-case bias of 10% of that of least squares
    needs up to 23.1. Raises `NotIdentified` with several endogenous columns.
    """
    if parts.X.shape[1] != 1:
        raise NotIdentified(
            f"The effective F is defined for one endogenous column, not {parts.X.shape[1]}."
        )
    slopes, left = parts.on_basis(parts.X[:, 0])
    covariance = parts.robust_covariance(left)
    return float(slopes @ slopes / np.trace(covariance))


def over_identification(parts: Partialled) -> OverIdentification:
    """Test that the q instruments agree about the p coefficients, which needs ``q > p``.

    With e the residuals of two-stage least squares, Sargan's ``n e'P e / e'e`` assumes errors of
    equal variance. ``score`` is Wooldridge's (1995) robust score test, first-order equivalent to
    Hansen's J of two-step GMM: ``g'S^-1 g``, g the sum and S the sum of outer products (within
    clusters first, one way) of ``r_i e_i``, with r what X^ leaves of q - p instruments. ``hansen``
    is that J itself, ``g'S^-1 g`` at the minimum over b, with g the sum of ``z_i (y_i - x_i b)``
    and S from ``z_i e_i``.
    Assumption: at least p instruments are valid; if all are invalid in the same proportion, no
    test sees it. Equal to `linearmodels` ``sargan``, ``IVGMM(...).j_stat`` and, without clusters,
    ``wooldridge_overid``.

    Raises `NotIdentified` when there are as many instruments as endogenous columns.
    """
    parts = _of_unit_length(parts)
    p, q = parts.X.shape[1], parts.Z.shape[1]
    spare = q - p
    if spare == 0:
        raise NotIdentified(f"{q} instruments for {p} endogenous columns leave nothing to test.")
    projected = parts.basis.T @ parts.X  # (q, p)
    slopes = np.linalg.lstsq(projected, parts.basis.T @ parts.y, rcond=None)[0]
    errors = parts.y - parts.X @ slopes
    explained = parts.basis.T @ errors
    sargan = len(errors) * float(explained @ explained) / float(errors @ errors)
    # Spare directions of the instruments, orthogonal to X^, give the same statistic.
    rest = np.linalg.qr(projected, mode="complete")[0][:, p:]
    scores = (parts.basis @ rest) * errors[:, None]
    total = scores.sum(axis=0)
    weighted = np.linalg.lstsq(_outer_products(scores, parts.clusters), total, rcond=None)[0]
    score = float(total @ weighted)
    hansen = _two_step_minimum(parts, errors)
    return OverIdentification(Test(sargan, spare), Test(score, spare), Test(hansen, spare))


def endogeneity(parts: Partialled) -> Endogeneity:
    """Test whether least squares and instruments tell different effects.

    The residuals v of the first stage are added to ``y = X b + v g + e``; ``g = 0`` when X is
    exogenous. ``wu_hausman`` is the F test with ``n - m - 2p`` degrees of freedom, ``robust`` the
    Wald test with robust or clustered covariance. Assumption: the instruments are valid.
    Equal to `linearmodels` ``wu_hausman`` and ``wooldridge_regression`` (robust, debiased=True).

    Raises `NotIdentified` when the instruments explain a column wholly: it is exogenous then.
    Reference: Hausman (1978); Wooldridge (1995).
    """
    parts = _of_unit_length(parts)
    p, n = parts.X.shape[1], len(parts.y)
    left_over = parts.X - parts.basis @ (parts.basis.T @ parts.X)
    for j in range(p):
        total = float(np.square(parts.X[:, j]).sum())
        _require_a_first_stage(total, float(np.square(left_over[:, j]).sum()), total, j)
    both = np.hstack([parts.X, left_over])
    basis, root = np.linalg.qr(both)
    coefficients = np.linalg.solve(root, basis.T @ parts.y)
    errors = parts.y - basis @ (basis.T @ parts.y)
    short = parts.y - parts.X @ np.linalg.lstsq(parts.X, parts.y, rcond=None)[0]
    freedom = n - parts.exogenous - 2 * p
    gain = float(short @ short - errors @ errors) / p
    bread = np.linalg.inv(root)  # on the basis, the bread of b is the inverse of the root
    covariance = sandwich(
        basis * errors[:, None],
        bread,
        parts.clusters,
        correction="conventional",
        spent=parts.exogenous + 2 * p,
    ).covariance
    tested = coefficients[p:]
    # With fewer clusters than coefficients the covariance has no inverse.
    wald = float(tested @ np.linalg.lstsq(covariance[p:, p:], tested, rcond=None)[0])
    return Endogeneity(
        Test(gain / (float(errors @ errors) / freedom), p, freedom),
        Test(wald, p),
    )


@dataclass(frozen=True, slots=True, eq=False)
class ExclusionSensitivity:
    """Hold how two-stage intervals widen as instruments may act directly.

    ``deviations (d,)`` are standard deviations of the direct effect; ``lower`` and ``upper``
    ``(d, p)`` the intervals under each; ``breakdown (p,)`` the deviation at which the interval
    reaches zero: 0 where it holds zero already, infinite where no deviation matters.
    """

    deviations: Floats
    estimates: Floats
    lower: Floats
    upper: Floats
    breakdown: Floats
    level: float


def exclusion_sensitivity(
    parts: Partialled, deviations: ArrayLike, *, level: float = 0.95
) -> ExclusionSensitivity:
    """Return local-to-zero intervals of Conley, Hansen and Rossi (2012).

    ``y = X b + Z g + e``. Exclusion says ``g = 0``; here each ``g_j ~ N(0, (delta / s_j)^2)``
    independently, s_j the standard deviation of instrument j once the exogenous columns are
    removed, so that delta is in units of the outcome: what a typical move of one instrument does
    to it directly. Then ``b^ ~ N(b, V + delta^2 A A')`` with ``A = (X'P X)^-1 X'Z / s`` and V the
    robust or clustered covariance of two-stage least squares. Assumption: direct effects are small,
    centred on zero and independent of the sampling error. Intervals are ``b^ +- t se``.

    ``parts`` come from `causalign.stats.partial.partial_out`; ``deviations (d,)`` are finite and
    not negative. Raises `InputError` and `SettingsError`.
    """
    given = np.atleast_1d(np.asarray(deviations, dtype=np.float64))
    if given.ndim != 1 or not (np.isfinite(given) & (given >= 0)).all():
        raise InputError("Deviations must be finite numbers from 0 on, (d,).")
    if not 0 < level < 1:
        raise SettingsError(f"level must lie between 0 and 1, not {level!r}.")
    projected = parts.basis.T @ parts.X  # (q, p)
    bread: Floats = np.asarray(np.linalg.inv(projected.T @ projected), dtype=np.float64)
    estimates = bread @ (projected.T @ (parts.basis.T @ parts.y))
    errors = parts.y - parts.X @ estimates
    scores: Floats = (parts.basis @ projected) * errors[:, None]
    spent = parts.exogenous + parts.X.shape[1]
    errors_of = sandwich(scores, bread, parts.clusters, correction="conventional", spent=spent)
    covariance, counts = errors_of.covariance, errors_of.cluster_counts
    typical = np.linalg.norm(parts.Z, axis=0) / np.sqrt(len(parts.y))
    moved = bread @ projected.T @ (parts.root / typical)  # (p, q)
    variance, direct = np.diag(covariance), np.square(moved).sum(axis=1)
    freedom = min(counts) - 1 if counts else len(parts.y) - spent
    critical = float(stdtrit(freedom, (1 + level) / 2))
    half = critical * np.sqrt(variance + np.square(given)[:, None] * direct)
    with np.errstate(divide="ignore"):
        slack = np.square(estimates / critical) - variance
        breakdown = np.sqrt(np.maximum(slack, 0) / direct)
    return ExclusionSensitivity(
        given, estimates, estimates - half, estimates + half, breakdown, level
    )


def _two_step_minimum(parts: Partialled, errors: Floats) -> float:
    """Return the minimum over b of ``g(b)'S^-1 g(b)``, S from the errors of two-stage fits."""
    meat = _outer_products(parts.basis * errors[:, None], parts.clusters)
    projected, outcome = parts.basis.T @ parts.X, parts.basis.T @ parts.y
    weighted = np.linalg.lstsq(meat, np.column_stack([projected, outcome]), rcond=None)[0]
    weighing, target = weighted[:, :-1], weighted[:, -1]
    slopes = np.linalg.solve(projected.T @ weighing, projected.T @ target)
    moments = outcome - projected @ slopes
    return float(moments @ (target - weighing @ slopes))


def _outer_products(scores: Floats, clusters: NDArray[np.generic] | None) -> Floats:
    """Return the sum of outer products ``(q, q)``, of sums within clusters where there are any."""
    if clusters is not None:
        way = clusters if clusters.ndim == 1 else clusters[:, 0]
        _, codes, count = group_rows(way, len(scores))[0]
        scores = sum_groups(scores, codes, count)
    product: Floats = scores.T @ scores
    return product


def _of_unit_length(parts: Partialled) -> Partialled:
    """Scale the endogenous columns, so that the units of none decide what rounding is."""
    length = np.linalg.norm(parts.X, axis=0)
    return replace(parts, X=parts.X / np.where(length > 0, length, 1.0))


def _inverse_diagonal(X: Floats) -> Floats:
    inverse = np.linalg.inv(np.linalg.qr(X, mode="r"))
    diagonal: Floats = np.square(inverse).sum(axis=1)
    return diagonal


def _require_a_first_stage(explained: float, unexplained: float, total: float, column: int) -> None:
    # A share of 1e-18 is a ratio of 1e-9 in length: rounding, not data.
    tiny = 1e-18 * total
    if explained <= tiny:
        raise NotIdentified(f"The instruments do not move endogenous column {column} at all.")
    if unexplained <= tiny:
        raise NotIdentified(
            f"The instruments explain endogenous column {column} wholly: it is exogenous."
        )
