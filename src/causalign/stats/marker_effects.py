"""Compare what markers seem to do before and after the confounders' effect is taken out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh
from scipy.special import stdtr, stdtrit

from causalign.errors import InputError
from causalign.stats.cross_fit import ridge_cross_fit
from causalign.stats.sandwich import Groups, group_rows, sum_groups

Floats = NDArray[np.float64]

LITTLE = 0.05
BLOCK = 8192
# Directions whose variance is below this share of the largest are left out.
REDUNDANT = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class ConfounderPart:
    """Hold the part ``h = B γ`` of the outcome that the confounders explain.

    ``basis (n, k)`` is centred, ``inverse (k, k)`` the inverse of its cross products;
    ``influence (n, k)`` sums to the error of γ. ``outcome_left (n,)`` and ``basis_left (n, k)``
    are what the text leaves of both, ``inverse_left`` the inverse of the latter's cross products;
    without text features they are the centred columns themselves. ``weights`` have mean one.
    """

    part: Floats
    basis: Floats
    inverse: Floats
    coefficient: Floats
    influence: Floats
    outcome_left: Floats
    basis_left: Floats
    inverse_left: Floats
    weights: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Hold m estimates with standard errors and degrees of freedom, all ``(m,)``.

    ``stderr`` is robust or clustered; ``independent`` that under independence of marker and
    outcome. Tests and intervals use the larger: a rare marker may by chance meet a single value
    of the outcome, and its robust error is then zero.
    """

    estimate: Floats
    stderr: Floats
    independent: Floats
    degrees_of_freedom: Floats

    @property
    def error(self) -> Floats:
        """Return the larger of both standard errors."""
        return np.maximum(self.stderr, self.independent)

    @property
    def p_value(self) -> Floats:
        """Return two-sided p-values of no effect, NaN where the error is not known."""
        ratio = np.abs(self.estimate) / np.where(self.error > 0, self.error, np.nan)
        return np.asarray(2 * stdtr(self.degrees_of_freedom, -ratio))

    def interval(self, level: float = 0.95) -> tuple[Floats, Floats]:
        """Return lower and upper ends ``(m,)``."""
        half = stdtrit(self.degrees_of_freedom, 0.5 + level / 2) * self.error
        return self.estimate - half, self.estimate + half

    def take(self, places: NDArray[np.int64]) -> "Estimates":
        """Return the estimates at the places."""
        return Estimates(*(column[places] for column in self.columns()))

    def columns(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Return the fields, each ``(m,)``."""
        return self.estimate, self.stderr, self.independent, self.degrees_of_freedom


@dataclass(frozen=True, slots=True, eq=False)
class MarkerContrasts:
    """Hold the effects of m markers.

    ``naive``: with nothing taken out. ``deconfounded``: with ``h(C)`` taken out of the outcome.
    ``distance``: their difference. ``alone``: with confounders and the rest of the text taken out
    of both sides, or None without text features; ``left (m,)`` is the share of the marker that
    remains, and where that is below 5 % nothing is estimated (NaN): the features hold the marker.
    ``r2_on_confounders (m,)`` is the R² of the marker on the confounders.
    """

    naive: Estimates
    deconfounded: Estimates
    distance: Estimates
    r2_on_confounders: Floats
    alone: Estimates | None = None
    left: Floats | None = None

    def take(self, places: NDArray[np.int64]) -> "MarkerContrasts":
        """Return the effects of the markers at the places."""
        return MarkerContrasts(
            self.naive.take(places),
            self.deconfounded.take(places),
            self.distance.take(places),
            self.r2_on_confounders[places],
            None if self.alone is None else self.alone.take(places),
            None if self.left is None else self.left[places],
        )


def leading_components(features: ArrayLike, most: int) -> Floats:
    """Return ``features (n, d)``, or where d is larger their ``most`` first principal components.

    Ridge shrinks the others most; leaving them out saves what grows with the cube of d. Directions
    in which the features do not vary are left out too: what is seen there is rounding, which is
    another on every machine.
    """
    X = np.asarray(features)
    n, d = X.shape
    if d <= most:
        return np.asarray(X, dtype=np.float64)
    mean = X.mean(axis=0, dtype=np.float64)
    small = min(n, d)
    top = [max(small - most, 0), small - 1]
    if n < d:
        centred = X - mean
        values, vectors = eigh(centred @ centred.T, subset_by_index=top)
        usable = _usable(values)
        return np.asarray(vectors[:, usable] * np.sqrt(np.maximum(values[usable], 0.0)))
    # In blocks of rows, so that wide features of many rows are never copied as a whole.
    blocks = [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]
    cross = np.zeros((d, d))
    for rows in blocks:
        centred = X[rows] - mean
        cross += centred.T @ centred
    values, directions = eigh(cross, subset_by_index=top)
    directions = directions[:, _usable(values)]
    return np.concatenate([(X[rows] - mean) @ directions for rows in blocks])


def _usable(eigenvalues: Floats) -> NDArray[np.bool_]:
    """Return which directions vary, of ascending eigenvalues; the last one in any case."""
    usable = eigenvalues > REDUNDANT * max(float(eigenvalues[-1]), 1e-300)
    usable[-1] = True
    return usable


def join_blocks(blocks: Sequence[MarkerContrasts]) -> MarkerContrasts:
    """Return the effects of several blocks of markers as one."""

    def estimates(parts: list[Estimates]) -> Estimates:
        return Estimates(*map(np.concatenate, zip(*(p.columns() for p in parts), strict=True)))

    alone = [b.alone for b in blocks if b.alone is not None]
    left = [b.left for b in blocks if b.left is not None]
    return MarkerContrasts(
        estimates([b.naive for b in blocks]),
        estimates([b.deconfounded for b in blocks]),
        estimates([b.distance for b in blocks]),
        np.concatenate([b.r2_on_confounders for b in blocks]),
        estimates(alone) if alone else None,
        np.concatenate(left) if left else None,
    )


def confounder_part(
    outcome: ArrayLike,
    basis: ArrayLike,
    *,
    features: ArrayLike | None = None,
    folds: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> ConfounderPart:
    """Estimate ``h(C) = B γ`` in ``y = g(T) + B γ + e`` with the text partialled out.

    With ``u = y - E[y | T]`` and ``V = B - E[B | T]`` by ridge cross-fitted over ``folds (n,)``,
    ``γ = (V'WV)⁺ V'Wu`` (Robinson 1988; arXiv:1608.00060). Without ``features (n, p)`` the columns
    are centred only: least squares of ``outcome (n,)`` on ``basis (n, k)``.

    Assumption: the features hold what the text does to the outcome, text and confounders add up.
    Raises `InputError` for shapes that do not fit.
    """
    y, B = np.asarray(outcome, dtype=np.float64), np.asarray(basis, dtype=np.float64)
    if y.ndim != 1 or B.ndim != 2 or len(y) != len(B) or B.shape[1] == 0:
        raise InputError(f"outcome must be (n,) and basis (n, k), not {y.shape} and {B.shape}.")
    w = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=np.float64)
    w = w / w.mean()
    B = B - w @ B / len(y)
    u, V = y - w @ y / len(y), B
    if features is not None:
        left = _rest(features, np.column_stack([u, B]), folds, w)
        u, V = left[:, 0], left[:, 1:]
    inverse = _inverse(V.T @ (V * w[:, None]))
    coefficient = inverse @ (V.T @ (w * u))
    error = w * (u - V @ coefficient)
    return ConfounderPart(
        part=B @ coefficient,
        basis=B,
        inverse=_inverse(B.T @ (B * w[:, None])),
        coefficient=coefficient,
        influence=(V @ inverse) * error[:, None],
        outcome_left=u,
        basis_left=V,
        inverse_left=inverse,
        weights=w,
    )


def marker_effects(
    markers: ArrayLike,
    outcome: ArrayLike,
    confounders: ConfounderPart,
    *,
    clusters: ArrayLike | None = None,
    features: ArrayLike | None = None,
    folds: ArrayLike | None = None,
) -> MarkerContrasts:
    """Return the effects of each column of ``markers (n, m)`` on ``outcome (n,)``.

    For a marker x with ``v = w (x - x̄)/Σ w (x - x̄)²``: naive ``Σ v y``, distance ``Σ v h``,
    deconfounded ``Σ v (y - h)``. An innocent marker has distance zero: it does not travel with
    what moves the outcome. All errors come from influence functions on the same rows, the error of
    γ included: for the distance ``v (h - ĥ_x) + ψ_γ Σ v B``, where the first term is divided by one
    minus the leverage of its row or cluster (HC3, the jackknife). Tests use t with the effective
    number of rows or clusters that carry the marker, less one.

    Assumption: rows (clusters) are independent. References: MacKinnon and White (1985); Carter,
    Schnepel and Steigerwald (2017) for the effective number of clusters.
    """
    X, y = np.asarray(markers, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    if X.ndim != 2 or y.shape != (len(X),) or len(confounders.part) != len(X):
        raise InputError(f"markers must be (n, m), outcome (n,), not {X.shape} and {y.shape}.")
    w = confounders.weights
    groups = group_rows(clusters, len(y))
    Z = X - w @ X / len(y)
    size = np.einsum("i,ij,ij->j", w, Z, Z)
    v = w[:, None] * Z / np.where(size > 0, size, np.nan)
    travels = v.T @ confounders.basis  # (m, k)
    r2 = size * np.einsum("jk,kl,jl->j", travels, confounders.inverse, travels)
    compared = _compare(Z, v, y, confounders, groups)
    if features is None or not X.shape[1]:
        return MarkerContrasts(*compared, r2)
    rest = _rest(features, Z, folds, w)
    return MarkerContrasts(*compared, r2, *_alone(rest, size, confounders, groups))


def q_values(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return Benjamini and Yekutieli's q-values ``(m,)``; NaN where there is no p-value.

    Calling a discovery what has ``q <= α`` keeps the expected share of false discoveries at or
    below α under any dependence of the tests. Phrases share words and exclude each other, and
    tests are two-sided, so that the condition of Benjamini and Hochberg (1995) is not known to
    hold; the price is the factor ``Σ_{i <= m} 1/i``, about ``ln m + 0.58``.

    Assumption: each p-value is valid by itself. Reference: Benjamini and Yekutieli (2001).
    """
    # Here, because all of scipy.stats takes a while to import.
    from scipy.stats import false_discovery_control

    p = np.asarray(p_values, dtype=np.float64)
    q = np.full(p.shape, np.nan)
    known = np.isfinite(p)
    if known.any():
        q[known] = false_discovery_control(p[known], method="by")
    return q


def _rest(features: ArrayLike, targets: Floats, folds: ArrayLike | None, w: Floats) -> Floats:
    """Return what the text leaves of ``targets (n, m)``, each row predicted by other folds."""
    if folds is None:
        raise InputError("Text features need folds: rows are predicted by fits on the others.")
    predicted = ridge_cross_fit(features, targets, folds=folds, weights=w).predicted
    return np.asarray(targets - predicted)


def _compare(
    Z: Floats, v: Floats, y: Floats, confounders: ConfounderPart, groups: Groups
) -> tuple[Estimates, Estimates, Estimates]:
    """Return naive effects, deconfounded effects and their distance, from centred markers."""
    w, h = confounders.weights, confounders.part
    shares = _Shares.of(v * Z, w / len(y), groups)
    naive, distance = v.T @ y, v.T @ h
    own = v * ((y - w @ y / len(y))[:, None] - naive * Z)
    moved = v * (h[:, None] - distance * Z)
    through = confounders.influence @ (v.T @ confounders.basis).T  # the error of γ
    extra = _variance(None, through, groups, shares)

    def estimates(value: Floats, variance: Floats, independent: Floats) -> Estimates:
        dof = shares.degrees_of_freedom
        return Estimates(value, np.sqrt(variance), np.sqrt(independent), dof)

    return (
        estimates(naive, _variance(own, None, groups, shares), _independent(v, y, w, groups)),
        estimates(
            naive - distance,
            _variance(own - moved, -through, groups, shares),
            _independent(v, y - h, w, groups) + extra,
        ),
        estimates(
            distance,
            _variance(moved, through, groups, shares),
            _independent(v, h, w, groups) + extra,
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Shares:
    """How much of each marker every row or cluster carries, for each term of the covariance."""

    leverage: list[Floats]  # (G, m) each
    degrees_of_freedom: Floats

    @staticmethod
    def of(shares: Floats, intercept: Floats, groups: Groups) -> "_Shares":
        leverage, effective = [], []
        for _, codes, count in groups:
            share = sum_groups(shares, codes, count)
            constant = sum_groups(intercept[:, None], codes, count)
            leverage.append(np.clip(share + constant, 0.0, 1.0 - 1e-9))
            effective.append(1.0 / np.einsum("gj,gj->j", share, share))
        return _Shares(leverage, np.maximum(np.min(effective[:2], axis=0) - 1.0, 1.0))


def _variance(own: Floats | None, extra: Floats | None, groups: Groups, shares: _Shares) -> Floats:
    """Sum squares of influence within groups; two ways add up, less their overlap.

    ``own`` is divided by one minus leverage, ``extra`` is not. With two ways the result is at
    least the larger of both, since the combination need not be positive.
    """
    terms = []
    for (_, codes, count), leverage in zip(groups, shares.leverage, strict=True):
        total = np.zeros(leverage.shape)
        if own is not None:
            total += sum_groups(own, codes, count) / (1.0 - leverage)
        if extra is not None:
            total += sum_groups(extra, codes, count)
        terms.append(np.einsum("gj,gj->j", total, total))
    if len(terms) == 1:
        return np.asarray(terms[0])
    both = terms[0] + terms[1] - terms[2]
    return np.asarray(np.maximum(both, np.maximum(terms[0], terms[1])))


def _independent(v: Floats, values: Floats, w: Floats, groups: Groups) -> Floats:
    """Return the variance of ``Σ v y`` if x and y were independent, y alike within clusters."""
    h = values - w @ values / len(values)
    spread = float(w @ h**2) / max(len(h) - 1, 1)
    terms = [np.einsum("ij,ij->j", v, v) * spread]
    for _, codes, count in groups[:2]:
        if codes is None:
            continue
        sums, sizes = np.bincount(codes, weights=h), np.bincount(codes)
        pairs = float(sizes @ (sizes - 1.0))
        alike = (float(sums @ sums) - float(h @ h)) / (spread * pairs) if pairs * spread else 0.0
        alike = min(max(alike, 0.0), 1.0)
        together = sum_groups(v, codes, count)
        terms.append(
            (1 - alike) * terms[0] + alike * spread * np.einsum("gj,gj->j", together, together)
        )
    return np.asarray(np.max(terms, axis=0))


def _alone(
    rest: Floats, size: Floats, confounders: ConfounderPart, groups: Groups
) -> tuple[Estimates, Floats]:
    """Regress what the text leaves of y on what text and confounders leave of each marker."""
    w, V, G = confounders.weights, confounders.basis_left, confounders.inverse_left
    u = confounders.outcome_left - V @ confounders.coefficient
    rest = rest - V @ (G @ (V.T @ (w[:, None] * rest)))
    remains = np.einsum("i,ij,ij->j", w, rest, rest)
    left = np.divide(remains, size, out=np.zeros_like(size), where=size > 0)
    v = w[:, None] * rest / np.where(left >= LITTLE, remains, np.nan)
    effect = v.T @ u
    shares = _Shares.of(v * rest, np.zeros(len(u)), groups)
    variance = _variance(v * (u[:, None] - effect * rest), None, groups, shares)
    floor = np.sqrt(_independent(v, u, w, groups))
    return Estimates(effect, np.sqrt(variance), floor, shares.degrees_of_freedom), left


def _inverse(cross: Floats) -> Floats:
    """Invert cross products on the directions that vary."""
    scale = np.sqrt(np.diag(cross))
    scale = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    values, vectors = np.linalg.eigh(cross * np.outer(scale, scale))
    usable = values > REDUNDANT * max(values[-1], 1e-300)
    rotated = vectors[:, usable] * scale[:, None]
    return np.asarray((rotated / values[usable]) @ rotated.T)
