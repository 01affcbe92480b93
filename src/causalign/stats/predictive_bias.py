"""How far predictions of differences may be wrong: their scale, and their bias beyond noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from causalign.errors import NotIdentified
from causalign.stats.within_groups import deviate

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PredictiveBias:
    """Hold what a predicted difference is worth, and by how much the truth departs from it.

    ``slope`` is the a of ``e = a d``, with ``standard_error``; ``variance`` is ω², that of a true
    difference about ``a d``.
    """

    slope: float
    standard_error: float
    variance: float

    def interval(self, differences: ArrayLike, variances: ArrayLike, reach: float = 1.96) -> Array:
        """Return ``a d ± reach √(v + ω² + d² Var a)`` of each difference, ``(n, 2)``.

        Parameters
        ----------
        differences : (n,) array
            As predicted.
        variances : (n,) array
            The sampling variance of what is to be covered; 0 for the true difference.
        reach : float
            In standard errors.
        """
        d, v = np.asarray(differences, dtype=np.float64), np.asarray(variances, dtype=np.float64)
        half = reach * np.sqrt(v + self.variance + (d * self.standard_error) ** 2)
        return np.column_stack([self.slope * d - half, self.slope * d + half])


def fit_bias(
    predicted: ArrayLike, outcome: ArrayLike, variances: ArrayLike, group: ArrayLike
) -> PredictiveBias:
    """Estimate a and ω² of ``z_gi = α_g + a p_gi + u_gi + e_gi`` by restricted maximum likelihood.

    ``e_gi ~ N(0, v_gi)`` is sampling, ``u_gi ~ N(0, η²)`` what the prediction misses, and the level
    α_g of a group is free. A difference of two arms of a group departs from ``a (p_i - p_j)`` with
    variance ``ω² = 2η²`` beyond sampling. Arms of a group share its level, so no comparison
    counts twice. With ``w = 1/(v + η²)`` and deviations within groups,

        -2ℓ = Σ ln(v + η²) + Σ_g ln Σ_{i∈g} w_gi + ln p̃'Wp̃ + z̃'Wz̃ - (p̃'Wz̃)²/p̃'Wp̃.

    Parameters
    ----------
    predicted, outcome, variances : (n,) arrays
        Variances of 0 leave all noise to η².
    group : (n,) integers

    Raises
    ------
    NotIdentified
        Without a group of two rows, or if the prediction never differs within one.

    References
    ----------
    Patterson and Thompson (1971), Biometrika 58.
    """
    p = np.asarray(predicted, dtype=np.float64)[:, None]
    z, v = np.asarray(outcome, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    code = np.unique(np.asarray(group), return_inverse=True)[1].ravel()
    plain = deviate(p, z, code)
    size, scale = float(plain.features[:, 0] @ plain.features[:, 0]), float((p**2).sum())
    if np.bincount(code).max() < 2 or size <= 1e-20 * max(scale, np.finfo(float).tiny):
        raise NotIdentified("No group has two rows that are predicted to differ.")
    spread = float(plain.outcome @ plain.outcome) / max(len(z) - code.max() - 1, 1)
    least = 0.0 if (v > 0).all() else 1e-6 * np.sqrt(spread)

    def deviance(root: float) -> float:
        total = v + root**2
        within = deviate(p, z, code, 1 / total)
        x = within.features[:, 0]
        fixed = np.log(total).sum() + np.log(np.bincount(code, weights=within.weights)).sum()
        gram, cross = float(x @ x), float(x @ within.outcome)
        return float(fixed + np.log(gram) + within.outcome @ within.outcome - cross**2 / gram)

    bounds = (least, 2 * np.sqrt(spread) + least)
    optimum = minimize_scalar(deviance, bounds=bounds, method="bounded", options={"xatol": 1e-5})
    root = float(optimum.x)
    if least == 0 and deviance(0.0) <= optimum.fun:
        root = 0.0
    within = deviate(p, z, code, 1 / (v + root**2))
    x = within.features[:, 0]
    gram = float(x @ x)
    return PredictiveBias(float(x @ within.outcome) / gram, gram**-0.5, 2 * root**2)
