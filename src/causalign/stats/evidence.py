"""How probable do tests find a log that counts in full, in part or not at all? Exact densities."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from causalign.stats.within_groups import Deviations, span_rows

Array = NDArray[np.float64]


def log_evidence(
    tests: Deviations,
    log: Deviations,
    *,
    shares: ArrayLike,
    penalties: ArrayLike,
    slopes: ArrayLike = (1.0,),
    noises: ArrayLike = (1.0,),
) -> Array:
    """Return the log-density of what tests found, for every way in which a log may count.

    The log to the power ρ and the penalty λ are the prior of the coefficients (a power prior), of
    which the tests see deviations with noise:

        z̃ | b ~ N(X̃b, σ² I),   b ~ N(s m, V),   V = (ρG + λI)⁻¹,   m = Vρc,

    with ``G = X_o'X_o`` and ``c = X_o'y_o`` of the log. The slope s lets a log exaggerate without
    misleading; σ² is above 1 where tests scatter more than their variances say. So

        ln p(z̃) = -½ [ν ln σ² + ln|I + X̃VX̃'/σ²| + (z̃ - sX̃m)'(σ²I + X̃VX̃')⁻¹(z̃ - sX̃m)] + constant

    for ν rows beyond the number of tests. One eigendecomposition serves all λ and s, and all ρ and
    σ² of equal product.

    Parameters
    ----------
    tests, log : Deviations
        Over the standard deviations of their noise.
    shares : (R,) array
        The ρ.
    penalties : (L,) array
        The λ, above 0.
    slopes : (S,) array
    noises : (N,) array
        The σ².

    Returns
    -------
    (R, L, S, N) array
        Up to one constant.

    References
    ----------
    Ibrahim and Chen (2000), Statistical Science 15, for power priors.
    """
    basis = span_rows(tests, log)
    if basis is not None:
        tests = replace(tests, features=tests.features @ basis)
        log = replace(log, features=log.features @ basis)
    rho, lam, slope, noise = (
        np.asarray(values, dtype=np.float64) for values in (shares, penalties, slopes, noises)
    )
    gram, cross = log.products()
    within, target = tests.products()
    after = _decompose(within, gram, np.unique(np.multiply.outer(rho, noise)))
    spectrum, U = eigh(gram, check_finite=False)
    spectrum = np.clip(spectrum, 0.0, None)
    freedom = len(tests.outcome) - len(np.unique(tests.group))
    square = float(tests.outcome @ tests.outcome)
    density = np.empty((len(rho), len(lam), len(slope), len(noise)))
    for r, power in enumerate(rho):
        prior = power * spectrum + lam[:, None]  # (L, d)
        mean = (power * (U.T @ cross) / prior) @ U.T
        fitted = mean @ within
        error = (
            square
            - 2 * np.multiply.outer(mean @ target, slope)
            + np.multiply.outer((mean * fitted).sum(axis=1), slope**2)
        )
        for n, variance in enumerate(noise):
            roots, W = after[float(power * variance)]
            posterior = roots + lam[:, None] * variance  # (L, d), times 1/σ²
            score = (W.T @ target) - slope[:, None, None] * (fitted @ W)  # (S, L, d)
            explained = (score**2 / posterior).sum(axis=2).T
            volume = np.log(posterior / variance).sum(axis=1) - np.log(prior).sum(axis=1)
            density[r, :, :, n] = -0.5 * (
                freedom * np.log(variance) + volume[:, None] + (error - explained) / variance
            )
    return density


def _decompose(within: Array, gram: Array, factors: Array) -> Mapping[float, tuple[Array, Array]]:
    """Return eigenvalues and vectors of ``A + fG`` for each factor f."""
    decomposed = {}
    for factor in factors:
        roots, vectors = eigh(within + factor * gram, check_finite=False, overwrite_a=True)
        decomposed[float(factor)] = np.clip(roots, 0.0, None), vectors
    return decomposed
