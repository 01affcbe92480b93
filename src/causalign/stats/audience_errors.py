"""How uncertain the rewards of audiences are together: noise, and what both penalties shrink."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.stats.penalised_covariance import implied_prior_variance, score_covariance
from causalign.stats.sandwich import group_rows, sum_groups

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
# Eigenvalues and eigenvectors.
Spectrum = tuple[Array, Array]


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """Hold k sums ``Σ_l C_l'c_l`` over audiences: estimates, covariance, what was shrunk away.

    ``noise (k, k)`` is the covariance that the noise of the rows makes, ``prior (k, k)`` the mean
    square of what the penalties take from coefficients of any direction, ``shrunk (k,)`` what they
    took by the estimate itself.
    """

    estimate: Array
    noise: Array
    prior: Array
    shrunk: Array


@dataclass(frozen=True, slots=True, eq=False)
class AudienceErrors:
    """Hold what errors are made of: spectra by audience, the shared system, scores of the rows.

    With ``G_m`` the products of the features within audience m, ``R_m = (G_m + λ_a)⁻¹`` and
    ``S = λ_s + Σ_m λ_a G_m R_m`` the estimate is ``c_m = R_m g_m + λ_a R_m b``, ``b = S⁻¹ λ_a Σ_m
    R_m g_m``. All is in the coordinates of ``basis``, where rows are fewer than columns.
    """

    basis: Array | None
    spectra: tuple[Spectrum, ...]
    shared_spectrum: Spectrum
    shared_penalty: float
    apart_penalty: float
    prior_shared: float
    prior_apart: float
    centred: Array
    scaled_error: Array
    level_error: Array
    audience: Codes
    clusters: NDArray[np.generic] | None

    @classmethod
    def of(
        cls,
        centred: Array,
        scaled_error: Array,
        audience: Codes,
        spectra: tuple[Spectrum, ...],
        shared_spectrum: Spectrum,
        penalties: tuple[float, float],
        cautious: float,
        *,
        weight: Array,
        basis: Array | None,
        groups: ArrayLike | None,
    ) -> "AudienceErrors":
        """Gather them from features about the mean of their audience, and errors times weights.

        ``weight (a,)`` is that of each audience; ``penalties`` are λ_s and λ_a.
        ``cautious`` is a smaller λ_a that predicts about as well, and tells by how much
        audiences may differ: the best one may say not at all, which nobody can know.
        """
        shared, apart = penalties
        gram = np.asarray(sum((V * values) @ V.T for values, V in spectra))
        meat = score_covariance(centred, scaled_error, groups)
        noise = implied_prior_variance(gram, meat, shared) * shared
        return cls(
            basis,
            spectra,
            shared_spectrum,
            shared,
            apart,
            noise / shared,
            noise / cautious,
            centred,
            scaled_error,
            scaled_error / np.maximum(weight, np.finfo(float).tiny)[audience],
            audience,
            None if groups is None else np.asarray(groups),
        )

    def resolve(self, m: int, values: Array) -> Array:
        """Return ``R_m`` times values ``(d, k)``."""
        spectrum, V = self.spectra[m]
        return np.asarray(V @ ((V.T @ values) / (spectrum + self.apart_penalty)[:, None]))

    def propagate(
        self, C: Array, T: Array, coefficients: Array, shared: Array
    ) -> tuple[Array, Array, Array]:
        """Return noise ``(k, k)``, prior ``(k, k)`` and shrinkage ``(k,)``; see `Contrast`."""
        k = C.shape[2]
        outside = np.zeros((k, k))
        if self.basis is not None:
            # Outside the span of the rows nothing is known of a coefficient but its prior.
            rest = C - self.basis @ (self.basis.T @ C)
            outside = self.prior_apart * np.tensordot(rest, rest, axes=((0, 1), (0, 1)))
            outside += self.prior_shared * rest.sum(axis=0).T @ rest.sum(axis=0)
            C = self.basis.T @ C
            coefficients, shared = coefficients @ self.basis, shared @ self.basis
        lam = self.apart_penalty
        resolved = [self.resolve(m, C[m]) for m in range(len(C))]
        w, U = self.shared_spectrum
        z = lam * (U @ ((U.T @ sum(resolved)) / (w + self.shared_penalty)[:, None]))
        sums = np.zeros((len(self.centred), k))
        prior = outside + self.prior_shared * self.shared_penalty**2 * (z.T @ z)
        shrunk = self.shared_penalty * (z.T @ shared)
        for m, of_m in enumerate(resolved):
            along = self.resolve(m, z)
            rows = self.audience == m
            sums[rows] = self.centred[rows] @ (of_m + lam * along) * self.scaled_error[rows, None]
            sums[rows] += self.level_error[rows, None] * T[m]
            # λ (G_m R_m z - R_m C_m), with G_m R_m = 1 - λ R_m.
            lost = lam * (z - lam * along - of_m)
            prior += self.prior_apart * (lost.T @ lost)
            shrunk -= lost.T @ (coefficients[m] - shared)
        ((_, codes, count),) = group_rows(self.clusters, len(sums))
        gathered = sum_groups(sums, codes, count)
        return gathered.T @ gathered * (count / max(count - 1, 1)), prior, shrunk
