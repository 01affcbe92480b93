"""Read the effects of absorbed categories, with their covariance, and shrink them if asked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from causalign.deconfound.expansion import Expansion
from causalign.deconfound.terms import LinearTerms, Term
from causalign.stats.absorb import Absorber, level_bread, level_covariance
from causalign.stats.carrying_rows import carrying_rows
from causalign.stats.least_squares import LinearFit

# Beyond this many categories their joint covariance is not computed: their stderr is NaN.
MOST_LEVELS = 1000
# So many numbers are held at once to count the rows behind the effects.
BLOCK = 10_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Absorbed:
    """Hold a regression with absorbed categories: rows ``(n,)``, columns ``X (n, k)``, their fit.

    ``levels`` holds, for each part of h that is absorbed, the codes that were fitted.
    """

    levels: Sequence[np.ndarray]
    absorber: Absorber
    X: np.ndarray
    y: np.ndarray
    fit: LinearFit
    clusters: np.ndarray | None
    shrink: bool


def absorbed_terms(absorbed: Absorbed, h: Expansion) -> LinearTerms:
    """Return one term for each part of h, in their order; the columns of ``X`` end with its own."""
    absorber, fit = absorbed.absorber, absorbed.fit
    effects = absorber.split(absorber.effects(absorbed.y - absorbed.X @ fit.coefficients))
    means = np.average(h.columns, axis=0, weights=h.weights)
    starts = np.concatenate([[0], np.cumsum(absorber.counts)])
    width = int(starts[-1]) + absorbed.X.shape[1]
    place = width - h.without_categories()[0].shape[1]
    terms: list[Term] = []
    names: list[str] = []
    rows: list[np.ndarray] = []
    estimates: list[np.ndarray] = []
    f = column = 0
    for part in h.parts:
        size, category = len(part.names), part.category
        if category is not None:
            contrast, factor = _deviations(absorbed, f, effects[f])
            deviations = factor * (contrast @ effects[f])
            deviations -= _shares(absorber, f) @ deviations
            own = slice(int(starts[f]), int(starts[f + 1]))
            labels = [category.level_names[code] for code in absorbed.levels[f]]
            shown: tuple[str, ...] = tuple(f"{part.label}[{label}]" for label in labels)
            terms.append(category.effects(absorbed.levels[f], deviations))
            f += 1
        else:
            own = slice(place, place + size)
            coefficients = fit.coefficients[own.start - starts[-1] : own.stop - starts[-1]]
            shown, contrast = part.reading()
            deviations = contrast @ coefficients
            terms.append(part.term(coefficients, means[column : column + size]))
            place += size
        column += size
        names += shown
        block = np.zeros((len(contrast), width))
        block[:, own] = contrast
        rows.append(block)
        estimates.append(deviations)
    contrast = np.vstack(rows)
    covariance = _covariance(absorbed, contrast)
    return LinearTerms(tuple(terms), tuple(names), np.concatenate(estimates), covariance, contrast)


def rows_behind_levels(absorbed: Absorbed, contrast: np.ndarray) -> np.ndarray:
    """Return on how many rows, or clusters, each of r estimates rests, NaN where unknown.

    ``contrast (r, L + k)`` leads from the effects of L levels and k columns to the estimates.
    """
    absorber, total = absorbed.absorber, sum(absorbed.absorber.counts)
    bread = np.zeros((contrast.shape[1], contrast.shape[1]))
    known = _levels_are_known(absorber)
    if known:
        bread = level_bread(absorber, absorbed.X, absorbed.fit)
    else:
        bread[total:, total:] = absorbed.fit.bread
    weight = (absorber.weights / absorber.weights.mean())[:, None]
    indicators, within = absorber.indicators(), absorber.within(absorbed.X)
    carried = []
    for some in np.array_split(contrast, 1 + len(contrast) * len(weight) // BLOCK):
        own = (some @ bread).T
        pull = weight * (indicators @ own[:total] + within @ own[total:])
        carried.append(carrying_rows(pull, absorbed.clusters))
    behind = np.concatenate(carried)
    if not known:
        behind[np.abs(contrast[:, :total]).sum(axis=1) > 0] = np.nan
    return behind


def shrinkage(deviations: np.ndarray, counts: np.ndarray, noise: float) -> np.ndarray:
    """Return by how much to multiply deviations ``(L,)`` of group means from their mean.

    ``t^2/(t^2 + s^2/n_l)``, s^2 the ``noise`` of one row, ``counts (L,)`` the rows n_l; t^2 by
    moments: ``(sum n_l d_l^2 - (L - 1) s^2) / (N - sum n_l^2/N)``, not below 0. Assumption: the
    effects of the groups are draws from one distribution. Reference: Searle, Casella and
    McCulloch (1992), section 3.6.
    """
    total = counts.sum()
    room = total - (counts**2).sum() / total
    if room <= 0:
        return np.zeros(len(counts))
    spread = counts @ deviations**2 - (len(counts) - 1) * noise
    variance = max(spread / room, 0.0)
    return variance / (variance + noise / counts) if variance > 0 else np.zeros(len(counts))


def _shares(absorber: Absorber, f: int) -> np.ndarray:
    totals = np.bincount(absorber.codes[f], weights=absorber.weights)
    return np.asarray(totals / totals.sum())


def _deviations(absorbed: Absorbed, f: int, effects: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the contrast ``(L, L)`` from effects to deviations, and the factors of shrinkage."""
    absorber, fit = absorbed.absorber, absorbed.fit
    shares = _shares(absorber, f)
    contrast = np.eye(len(shares)) - shares
    if not absorbed.shrink:
        return contrast, np.ones(len(shares))
    n = len(fit.residuals)
    noise = float(np.average(fit.residuals**2, weights=absorber.weights))
    noise *= n / max(n - fit.degrees_of_freedom, 1.0)
    return contrast, shrinkage(contrast @ effects, shares * n, noise)


def _covariance(absorbed: Absorbed, rows: np.ndarray) -> np.ndarray:
    """Return the covariance of the estimates, which is that before they were shrunk."""
    total, known = sum(absorbed.absorber.counts), _levels_are_known(absorbed.absorber)
    if known:
        joint = level_covariance(
            absorbed.absorber,
            absorbed.X,
            absorbed.fit,
            clusters=absorbed.clusters,
            correction="min",
        )
    else:
        joint = np.zeros((rows.shape[1], rows.shape[1]))
        joint[total:, total:] = absorbed.fit.covariance
    covariance: np.ndarray = rows @ joint @ rows.T
    if not known:
        unknown = np.abs(rows[:, :total]).sum(axis=1) > 0
        covariance[unknown, :] = covariance[:, unknown] = np.nan
    return covariance


def _levels_are_known(absorber: Absorber) -> bool:
    """Return whether every level has a covariance: there are few, and they are connected.

    Where categories fall apart, a deviation from the common average has no meaning of its own.
    """
    few = sum(absorber.counts) <= MOST_LEVELS
    return few and (absorber.redundant is None or absorber.redundant < len(absorber.counts))
