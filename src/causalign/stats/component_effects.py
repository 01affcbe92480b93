"""Average marginal component effects: what one attribute does, averaged over all others."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from causalign.errors import InputError, NotIdentified
from causalign.stats.least_squares import ordinary

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ComponentEffects:
    """Hold the effect of each attribute with its interval, all ``(k,)``, in units of the outcome.

    ``alike`` is the largest |correlation| between two attributes: near 0 when each was drawn by
    itself.
    """

    estimate: Array
    standard_error: Array
    lower: Array
    upper: Array
    p_value: Array
    alike: float


def component_effects(
    outcome: ArrayLike, attributes: ArrayLike, *, clusters: ArrayLike | None = None
) -> ComponentEffects:
    """Estimate the AMCE of each attribute from texts whose attributes were randomised.

        AMCE_k = Σ_z m(z_-k) { E[y | z_k = 1, z_-k] - E[y | z_k = 0, z_-k] }

    with m the distribution of the other attributes in the data, by least squares of ``outcome``
    ``(n,)`` on ``attributes`` ``(n, k)`` of 0 and 1 together. For a preference, ``outcome`` is 1
    where the text won, and attributes are those of the first side less those of the second.

    Assumption: attributes were drawn independently of each other and of all else in the text. Then
    the estimate is the AMCE even where attributes interact; the interval is robust, or clustered.

    Raises `InputError` for shapes that do not fit, `NotIdentified` if attributes are collinear.
    Reference: Hainmueller, Hopkins and Yamamoto (2014), Political Analysis 22; for preferences of
    language models arXiv 2506.05967.
    """
    y, Z = np.asarray(outcome, dtype=np.float64), np.asarray(attributes, dtype=np.float64)
    if Z.ndim != 2 or y.shape != (len(Z),):
        raise InputError(f"outcome must be (n,), attributes (n, k); found {y.shape}, {Z.shape}.")
    if not np.isin(Z, (-1, 0, 1)).all() or not np.isfinite(y).all():
        raise InputError("Attributes must be 0 or 1 (or differences of them), outcomes finite.")
    flat = np.flatnonzero(np.ptp(Z, axis=0) == 0)
    if flat.size:
        raise NotIdentified(f"Attribute {int(flat[0])} is the same in every row: leave it out.")
    X = np.column_stack([np.ones(len(y)), Z])
    fit = ordinary(y, X, clusters=clusters, correction="min")
    independent = len(y) if clusters is None else len(np.unique(np.asarray(clusters)))
    error = fit.standard_errors[1:]
    estimate = fit.coefficients[1:]
    freedom = max(independent - (1 if clusters is not None else X.shape[1]), 1)
    reach = student.ppf(0.975, freedom) * error
    p = 2 * student.sf(np.abs(estimate) / np.where(error > 0, error, np.nan), freedom)
    alike = 0.0
    if Z.shape[1] > 1:
        related = np.atleast_2d(np.corrcoef(Z, rowvar=False))
        alike = float(np.abs(related[np.triu_indices(len(related), 1)]).max())
    return ComponentEffects(estimate, error, estimate - reach, estimate + reach, p, alike)


def factorial_effects(cells: ArrayLike, mass: ArrayLike | None = None) -> Array:
    """Return the exact AMCE ``(k,)`` of a function known in all ``2^k`` cells.

    ``cells`` has shape ``(2, ..., 2)``: the mean outcome, or a reward, of every combination;
    ``mass`` of the same shape is m(z), by default uniform. Of m only the distribution of the other
    attributes matters: ``m(z_-k) = Σ_{z_k} m(z)``. Raises `InputError` for other shapes.
    """
    value = np.asarray(cells, dtype=np.float64)
    m = np.ones(value.shape) if mass is None else np.asarray(mass, dtype=np.float64)
    if value.ndim == 0 or set(value.shape) != {2} or m.shape != value.shape:
        raise InputError(f"cells must have shape (2, ..., 2), as must mass; found {value.shape}.")
    if (m < 0).any() or m.sum() <= 0:
        raise InputError("mass must not be negative, and somewhere positive.")
    m = m / m.sum()
    effects = np.zeros(value.ndim)
    for k in range(value.ndim):
        for others in product((0, 1), repeat=value.ndim - 1):
            on, off = (*others[:k], 1, *others[k:]), (*others[:k], 0, *others[k:])
            effects[k] += (m[on] + m[off]) * (value[on] - value[off])
    return effects
