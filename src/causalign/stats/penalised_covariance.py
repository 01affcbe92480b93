"""How uncertain penalised coefficients are: noise that groups share, and what was shrunk away."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve, cholesky

from causalign.stats.sandwich import group_rows, sum_groups

Array = NDArray[np.float64]

# Of the largest variance: what keeps a matrix of rank less than full from failing by rounding.
_ROUNDING = 1e-12


def score_covariance(
    design: ArrayLike, errors: ArrayLike, groups: ArrayLike | None = None
) -> Array:
    """Return ``G/(G - 1) Σ_g s_g s_g'`` ``(k, k)`` with ``s_g = Σ_{i∈g} x_i e_i``.

    The covariance of ``X'e`` when rows of different groups are independent. With errors of fits
    that did not see the group it does not fall short where coefficients are many.

    Parameters
    ----------
    design : (n, k) array
        x, multiplied by the weights of the rows.
    errors : (n,) array
    groups : (n,) labels, optional
        Every row its own, unless given.

    Raises
    ------
    NotIdentified
        If all rows are one group.
    """
    scores = np.asarray(design, dtype=np.float64) * np.asarray(errors, dtype=np.float64)[:, None]
    ((_, codes, count),) = group_rows(groups, len(scores))
    gathered = sum_groups(scores, codes, count)
    return np.asarray(gathered.T @ gathered * (count / max(count - 1, 1)))


def penalised_factor(
    gram: ArrayLike,
    meat: ArrayLike,
    penalty: ArrayLike,
    prior_variance: float,
    coefficients: ArrayLike,
) -> Array:
    """Return ``(L, δ)`` ``(k, k + 1)`` with ``L L' = E (b̂ - b)(b̂ - b)'`` of penalised coefficients.

    For ``min_b ‖y - Xb‖² + Σ_j λ_j b_j²`` is ``b̂ - b = (A + Λ)⁻¹ (X'e - Λ b)``, ``A = X'X``, hence
    with ``b ~ N(0, κ² I)``

        L L' = (A + Λ)⁻¹ (Cov(X'e) + κ² Λ²) (A + Λ)⁻¹,   δ = (A + Λ)⁻¹ Λ b̂.

    The second term of ``L L'`` is what the penalty shrinks away from coefficients of any direction,
    on average. For independent noise of variance σ² and ``κ² = σ²/λ`` it is the posterior
    ``σ² (A + λ)⁻¹``; for groups it stays right, and where no row says anything the prior is left.
    δ is what was shrunk away along the estimate itself: more than an average direction lost.

    Parameters
    ----------
    gram, meat : (k, k) arrays
        A and Cov(X'e).
    penalty : float or (k,) array
        λ; 0 for a coefficient that is not penalised.
    prior_variance : float
        κ²: see `implied_prior_variance`.
    coefficients : (k,) array
        b̂.

    References
    ----------
    Ruppert, Wand and Carroll (2003), *Semiparametric Regression*, section 6.4, for the posterior as
    a mean squared error.
    """
    A, M = np.asarray(gram, dtype=np.float64), np.asarray(meat, dtype=np.float64)
    lam = np.broadcast_to(np.asarray(penalty, dtype=np.float64), len(A))
    spread = M + np.diag(prior_variance * lam**2)
    scale = float(spread.diagonal().max())
    if scale <= 0:
        return np.zeros((len(A), len(A) + 1))
    root = cholesky(spread + _ROUNDING * scale * np.eye(len(A)), lower=True)
    shrunk = lam * np.asarray(coefficients, dtype=np.float64)
    return np.asarray(cho_solve(cho_factor(A + np.diag(lam)), np.column_stack([root, shrunk])))


def implied_prior_variance(gram: ArrayLike, meat: ArrayLike, best_penalty: float) -> float:
    """Return κ² ``= σ²/λ``, how much coefficients vary about 0 if λ predicts best.

    ``σ² = tr((A + λ)⁻¹ M) / tr((A + λ)⁻¹ A)`` is the noise in a direction of coefficients, those
    that λ is chosen for most of all; where groups share noise it exceeds that of a row.

    Parameters
    ----------
    gram, meat : (k, k) arrays
        A and M = Cov(X'e).
    best_penalty : float
        λ.
    """
    A, M = np.asarray(gram, dtype=np.float64), np.asarray(meat, dtype=np.float64)
    inverse = cho_solve(cho_factor(A + best_penalty * np.eye(len(A))), np.eye(len(A)))
    noise = float((inverse * M).sum()) / max(float((inverse * A).sum()), np.finfo(float).tiny)
    return noise / best_penalty


def with_level(
    factor: ArrayLike,
    centre: ArrayLike,
    basis: ArrayLike | None = None,
    prior_variance: float = 0.0,
) -> Array:
    """Return ``(L, δ)`` ``(d + 1, k + 1)`` of intercept and coefficients.

    Parameters
    ----------
    factor : (r + 1, r + 2) array
        ``(L, δ)`` of the level at the centre, which comes first, and of the coefficients.
    centre : (d,) array
        x̄, where the prediction is the level: the intercept is the level less ``x̄'b``.
    basis : (d, r) array, optional
        Orthonormal columns in whose coordinates the factor is, where rows are fewer than columns;
        outside their span nothing is known beyond the prior.
    prior_variance : float
        κ², of every coefficient outside the span.
    """
    inner, mean = np.asarray(factor, dtype=np.float64), np.asarray(centre, dtype=np.float64)
    level, slopes = inner[:1], inner[1:]
    if basis is not None:
        B = np.asarray(basis, dtype=np.float64)
        outside = np.sqrt(prior_variance) * (np.eye(len(B)) - B @ B.T)
        level = np.hstack([level[:, :1], level[:, 1:-1] @ B.T, level[:, -1:]])
        ends, core = slopes[:, [0, -1]], slopes[:, 1:-1]
        first, last = np.hsplit(B @ ends, 2)
        slopes = np.hstack([first, B @ core @ B.T + outside, last])
    return np.vstack([level - mean @ slopes, slopes])
