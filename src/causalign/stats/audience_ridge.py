"""Ridge for audiences: one penalty for what they share, another for what sets them apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from causalign.errors import InputError, NotIdentified
from causalign.stats.audience_errors import AudienceErrors, Contrast, Spectrum
from causalign.stats.folds import check_folds
from causalign.stats.penalties import check_penalties, choose_penalty, penalty_grid
from causalign.stats.ridge_path import RidgeMoments, check_arrays, row_moments, row_space

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

# Penalties of what sets audiences apart, by decade, as multiples of the largest eigenvalue.
_APART = np.geomspace(1e-3, 1e3, 7)


@dataclass(frozen=True, slots=True, eq=False)
class PenaltyPairs:
    """Hold how well pairs of penalties predict rows that a fit did not see.

    ``error`` and its standard error ``spread`` are ``(K, L)`` by ``apart (K,)`` and ``shared
    (L,)``; ``best`` is the place of the smallest error; ``null_error`` that of predicting the mean
    of the row's audience. ``cautious`` is the next smaller of ``apart`` where its error
    exceeds the smallest by no more than one standard error of the difference: audiences may well
    differ by so much.
    """

    fits: Sequence["_Fits"]
    shared: Array
    apart: Array
    error: Array
    spread: Array
    best: tuple[int, int]
    null_error: float
    cautious: float

    @property
    def chosen(self) -> tuple[float, float]:
        """The penalties of what is shared and of what is not, with the smallest error."""
        return float(self.shared[self.best[1]]), float(self.apart[self.best[0]])


@dataclass(frozen=True, slots=True, eq=False)
class AudienceRidge:
    """Hold a reward for each of a audiences, and how uncertain all of them are together.

    In audience l the outcome of a text x is ``levels[l] + (x - centres[l])'coefficients[l]``;
    ``shared (d,)`` is what the coefficients of audiences are shrunk to. ``out_of_fold (n,)`` are
    predictions of fits that did not see the row for its own audience, ``for_all (n,)`` for the mean
    of audiences as they are mixed in ``shares (a,)``.
    """

    levels: Array
    centres: Array
    coefficients: Array
    shared: Array
    shares: Array
    pairs: PenaltyPairs
    out_of_fold: Array
    for_all: Array
    errors: AudienceErrors

    def contrast(self, contrasts: ArrayLike, levels: ArrayLike | None = None) -> Contrast:
        """Return ``Σ_l levels[l]' level_l + contrasts[l]' c_l``, with errors shared by audiences.

        ``contrasts`` are ``(a, d, k)``, differences of features; ``levels`` ``(a, k)`` what of the
        levels is counted, nothing unless given.
        """
        C = np.asarray(contrasts, dtype=np.float64)
        T = np.zeros((len(C), C.shape[2])) if levels is None else np.asarray(levels)
        estimate = np.einsum("adk,ad->k", C, self.coefficients) + T.T @ self.levels
        return Contrast(estimate, *self.errors.propagate(C, T, self.coefficients, self.shared))


def audience_ridge(
    features: ArrayLike,
    outcome: ArrayLike,
    audience: ArrayLike,
    *,
    folds: ArrayLike,
    penalties: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    audiences: int | None = None,
    alone: bool = False,
) -> AudienceRidge:
    """Fit ``min Σ_i w_i (y_i - a_l(i) - x_i'c_l(i))² + λ_s‖b‖² + λ_a Σ_l ‖c_l - b‖²``.

    Levels ``a_l`` are not penalised, so that what an audience does to the outcome whatever the text
    never counts as an effect of texts. Audiences exclude each other: given λ_a each one's products
    of features are factorised once for all penalties, and what is left of ``b`` is one more system
    of the size of the features, factorised once for all λ_s. So a fold costs a + K
    eigendecompositions of size d, instead of K·L of size (a + 1)d; both penalties are those with
    the smallest error in unseen folds.

    Parameters
    ----------
    features : (n, d) array
    outcome : (n,) array
    audience : (n,) integers
        From 0 to a - 1.
    folds : (n,) array
        As cut by ``group_folds``.
    penalties : (L,) array, optional
        λ_s; a grid scaled to the data unless given. λ_a lies around the largest eigenvalue.
    weights : (n,) array, optional
    groups : (n,) labels, optional
        Rows that are not independent, for the errors.
    audiences : int, optional
        a, where some of them may have no row here: what is known of these is what all share.
    alone : bool
        Let each audience learn by itself: λ_a is the smallest that is tried.

    Raises
    ------
    InputError
        For shapes or values that do not fit.
    NotIdentified
        If the features do not vary within audiences.
    """
    X, Y, w, _ = check_arrays(features, outcome, weights)
    member, code = check_folds(folds, len(X)), require_codes(audience, len(X), audiences)
    mean_x, mean_y = w @ X / w.sum(), float(w @ Y[:, 0] / w.sum())
    centred = X - mean_x
    basis = row_space(centred)
    Z, y = (centred if basis is None else centred @ basis), Y - mean_y
    cells = _sum_cells(Z, y, w, member, code, audiences)
    totals = [reduce(RidgeMoments.plus, parts) for parts in zip(*cells, strict=True)]
    top = _largest_eigenvalue(totals, float((w @ np.square(Z)).max()))
    grid = penalty_grid(top) if penalties is None else check_penalties(penalties)
    pairs = _cross_validate(cells, totals, grid, top * (_APART[:1] if alone else _APART))
    final = _Fits.of(totals, *(np.array([one]) for one in pairs.chosen))
    mix = np.array([total.weight for total in totals]) / w.sum()
    own, for_all = _predict_held(Z, member, code, pairs, mix)
    back = np.eye(len(mean_x)) if basis is None else basis
    return AudienceRidge(
        final.levels + mean_y,
        mean_x + final.centres @ back.T,
        final.coefficients[0] @ back.T,
        back @ final.shared[0],
        mix,
        pairs,
        own + mean_y,
        for_all + mean_y,
        AudienceErrors.of(
            Z - final.centres[code],
            w * (y[:, 0] - own),
            code,
            *final.systems[0],
            pairs.chosen,
            pairs.cautious,
            weight=mix * w.sum(),
            basis=basis,
            groups=groups,
        ),
    )


def _sum_cells(
    Z: Array, y: Array, w: Array, member: Codes, code: Codes, count: int | None
) -> list[list[RidgeMoments]]:
    """Return sums over each audience of each fold."""
    audiences = int(code.max()) + 1 if count is None else count
    return [
        [row_moments(Z, y, w, (member == fold) & (code == m)) for m in range(audiences)]
        for fold in range(int(member.max()) + 1)
    ]


def _largest_eigenvalue(totals: Sequence[RidgeMoments], overall: float) -> float:
    """Return that of the products within audiences; raise if they are rounding of ``overall``."""
    pooled = np.sum([_within(total)[0] for total in totals], axis=0)
    top = float(eigh(pooled, eigvals_only=True, subset_by_index=[len(pooled) - 1] * 2)[0])
    if top <= 1e-12 * overall:
        raise NotIdentified(
            "The features do not vary within audiences, so no coefficient can be estimated."
        )
    return top


def require_codes(audience: ArrayLike, rows: int, count: int | None = None) -> Codes:
    """Return the audience of each row; raise `InputError` unless 0 ... a - 1 all occur.

    Of a ``count`` that is given some may be missing.
    """
    code = np.asarray(audience)
    fits = code.shape == (rows,) and code.dtype.kind in "iu" and rows and code.min() >= 0
    if not fits or (not np.bincount(code).all() if count is None else code.max() >= count):
        raise InputError("audience must hold one number for each row, from 0, none left out.")
    return code.astype(np.int64)


def _cross_validate(
    cells: Sequence[Sequence[RidgeMoments]],
    totals: Sequence[RidgeMoments],
    grid: Array,
    apart: Array,
) -> PenaltyPairs:
    """Fit without each fold, for every pair of penalties."""
    fits, errors, nulls, weights = [], [], [], []
    for held in cells:
        train = [total.minus(part) for total, part in zip(totals, held, strict=True)]
        weight = sum(part.weight for part in held)
        if weight <= 0 or sum(part.weight for part in train) <= 0:
            raise InputError("A fold, or all rows outside it, have zero weight; cut other folds.")
        fits.append(_Fits.of(train, grid, apart))
        errors.append(fits[-1].errors(held) / weight)
        nulls.append(fits[-1].null_error(held) / weight)
        weights.append(weight)
    choice = choose_penalty(np.tile(grid, len(apart)), np.array(errors), np.array(weights))
    return PenaltyPairs(
        fits,
        grid,
        apart,
        choice.cv_error.reshape(len(apart), -1),
        choice.cv_standard_error.reshape(len(apart), -1),
        (choice.best // len(grid), choice.best % len(grid)),
        float(np.average(nulls, weights=weights)),
        _be_cautious(np.array(errors), np.array(weights), apart),
    )


def _be_cautious(errors: Array, weights: Array, apart: Array) -> float:
    """Return the best penalty, or the next smaller one if it predicts as well.

    ``errors`` are ``(k, K·L)``. Few folds tell a difference of errors badly: one step at most.
    """
    by_pair = errors.reshape(len(errors), len(apart), -1)
    mean = np.average(by_pair, axis=0, weights=weights)
    each = np.take_along_axis(by_pair, mean.argmin(axis=1)[None, :, None], axis=2)[:, :, 0]
    best = int(mean.min(axis=1).argmin())
    smaller = max(best - 1, 0)
    beyond = each[:, smaller] - each[:, best]
    is_near = np.average(beyond, weights=weights) <= beyond.std(ddof=1) / np.sqrt(len(errors))
    return float(apart[smaller if is_near else best])


@dataclass(frozen=True, slots=True, eq=False)
class _Fits:
    """Fits of some rows for every pair of penalties, λ_s running faster: J = K·L of them.

    ``coefficients`` are ``(J, a, d)``, ``shared`` ``(J, d)``; ``centres (a, d)`` and ``levels
    (a,)`` the means of features and outcome, those of all rows where an audience has none.
    """

    coefficients: Array
    shared: Array
    centres: Array
    levels: Array
    systems: tuple[tuple[tuple[Spectrum, ...], Spectrum], ...]

    @classmethod
    def of(cls, parts: Sequence[RidgeMoments], grid: Array, apart: Array) -> "_Fits":
        within = [_within(part) for part in parts]
        spectra = []
        for gram, _ in within:
            values, V = eigh(gram, check_finite=False)
            spectra.append((np.clip(values, 0.0, None), V))
        rotated = [V.T @ cross for (_, V), (_, cross) in zip(spectra, within, strict=True)]
        coefficients, shared, systems = [], [], []
        for lam in apart:
            left = sum((V * (lam * s / (s + lam))) @ V.T for s, V in spectra)
            right = sum(
                lam * (V @ (g / (s + lam))) for (s, V), g in zip(spectra, rotated, strict=True)
            )
            w, U = eigh(left, check_finite=False)
            w = np.clip(w, 0.0, None)
            b = ((U.T @ right) / (w + grid[:, None])) @ U.T  # (L, d)
            own = [
                ((g + lam * (b @ V)) / (s + lam)) @ V.T
                for (s, V), g in zip(spectra, rotated, strict=True)
            ]
            coefficients.append(np.stack(own, axis=1))
            shared.append(b)
            systems.append((tuple(spectra), (w, U)))
        total = reduce(RidgeMoments.plus, parts)
        some = [part if part.weight > 0 else total for part in parts]
        return cls(
            np.concatenate(coefficients),
            np.concatenate(shared),
            np.array([part.features / part.weight for part in some]),
            np.array([part.outcome[0] / part.weight for part in some]),
            tuple(systems),
        )

    @property
    def intercepts(self) -> Array:
        """Return the intercepts ``(J, a)``."""
        return np.asarray(self.levels - np.einsum("jad,ad->ja", self.coefficients, self.centres))

    def errors(self, held: Sequence[RidgeMoments]) -> Array:
        """Return the sums of squared errors ``(J,)`` on rows that are held out, by audience."""
        a = self.intercepts
        return np.asarray(
            sum(
                part.errors(self.coefficients[:, m, :, None], a[:, m, None])
                for m, part in enumerate(held)
            )
        )

    def null_error(self, held: Sequence[RidgeMoments]) -> float:
        """Return the sum of squared errors of the mean of each audience."""
        return sum(
            float(part.squares[0] - 2 * level * part.outcome[0] + part.weight * level**2)
            for part, level in zip(held, self.levels, strict=True)
        )


def _within(part: RidgeMoments) -> tuple[Array, Array]:
    """Return the products of features, and of features with the outcome, about their means."""
    if part.weight <= 0:
        return np.zeros_like(part.gram), np.zeros(len(part.gram))
    mean = part.features / part.weight
    return part.gram - np.outer(mean, part.features), part.cross[:, 0] - mean * part.outcome[0]


def _predict_held(
    Z: Array, member: Codes, code: Codes, pairs: PenaltyPairs, shares: Array
) -> tuple[Array, Array]:
    """Predict each row by the fit that did not see it: for its audience, and for their mean."""
    own, for_all = np.empty(len(Z)), np.empty(len(Z))
    best = pairs.best[0] * len(pairs.shared) + pairs.best[1]
    for fold, fit in enumerate(pairs.fits):
        rows = member == fold
        each = Z[rows] @ fit.coefficients[best].T + fit.intercepts[best]
        own[rows] = each[np.arange(len(each)), code[rows]]
        for_all[rows] = each @ shares
    return own, for_all
