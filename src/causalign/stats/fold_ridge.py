"""Ridge for very many targets, every row predicted by a fit on other folds, from sums by fold."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh, eigvalsh_tridiagonal, lapack

from causalign.errors import InputError, SettingsError
from causalign.stats.folds import check_folds
from causalign.stats.penalties import check_penalties, penalty_grid
from causalign.stats.ridge_path import row_space
from causalign.stats.row_blocks import RowBlocks

Floats = NDArray[np.float64]

# Functions of the eigenvalues are written as sums of so many products as this precision needs.
PRECISION = 1e-15
# So many reflections LAPACK applies at once.
REFLECTIONS = 64


@dataclass(frozen=True, slots=True, eq=False)
class RidgeFit:
    """Hold ridge fits of m targets on d features, one for each of k folds, on the other folds.

    ``coefficients (k, 1 + d, m)`` have the intercept first, ``penalties (k, m)`` are those chosen,
    ``predicted`` holds what is predicted of each row, ``(n, m)``.
    """

    penalties: Floats
    coefficients: Floats
    predicted: RowBlocks


@dataclass(frozen=True, slots=True, eq=False)
class FoldRidge:
    """Features of n rows, made ready so that targets can be predicted, all folds at once.

    For fold f and target j, ``min_{a,b} Σ_{i∉f} w_i (t_ij - a - x_i'b)² + λ_fj ‖b‖²`` with λ_fj
    the penalty whose error is least when each fold g ≠ f in turn is left out as well. Every fit
    needs sums over folds only, and those are taken once: k + k(k - 1)/2 factorisations serve
    all folds, targets and penalties. The columns of the features are first divided by their
    standard deviation, so that units do not matter; penalties refer to those.

    ``member (n,)`` is the fold of each row, ``gram (k, 1 + d, 1 + d)`` the weighted cross products
    of ``[1, features]`` by fold. Assumption: rows of different folds are independent (keep
    clusters together).
    """

    features: RowBlocks
    member: NDArray[np.int64]
    weights: Floats
    gram: Floats
    outer: "tuple[Factor, ...]"
    inner: "dict[tuple[int, int], Factor]"

    @staticmethod
    def of(
        given: ArrayLike | RowBlocks,
        folds: ArrayLike,
        weights: ArrayLike | None = None,
        *,
        few_targets: bool = False,
    ) -> "FoldRidge":
        """Take the sums of features ``(n, d)``, in one pass, and factor them.

        For very many targets by eigenvectors, for ``few_targets`` in less time.
        Raises `SettingsError` with fewer than three folds: with two, no rows are left for choosing
        the penalty. `InputError` where all rows outside some folds have zero weight, or numbers
        are missing or infinite.
        """
        features = RowBlocks.of(given)
        n = len(features)
        w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
        member = check_folds(folds, n)
        count = int(member.max()) + 1
        if count < 3:
            raise SettingsError(
                f"Ridge needs at least 3 folds, not {count}: one to predict, the others to fit and "
                "to choose the penalty. Ask for more folds, or give a learner with its penalty "
                "fixed."
            )
        scaled, gram = _standardise(features, member, count, w)
        if not np.isfinite(gram).all():
            raise InputError("features holds values that are missing or infinite.")
        total = gram.sum(axis=0)
        factor = _Tridiagonal.of if few_targets else _Spectrum.of
        outer = tuple(factor(total - part) for part in gram)
        pairs = combinations(range(count), 2)
        inner = {(f, g): factor(total - gram[f] - gram[g]) for f, g in pairs}
        return FoldRidge(scaled, member, w, gram, outer, inner)

    def fit(self, targets: RowBlocks, penalties: ArrayLike | None = None) -> RidgeFit:
        """Fit ``targets (n, m)``, in one pass over the rows.

        Without ``penalties`` a grid is laid out for each fold, around the largest eigenvalue.
        """
        shift = targets.read(slice(0, min(len(targets), 1024))).mean(axis=0)
        cross, size = self._sums(targets.shift(shift))
        count, _, m = cross.shape
        given = None if penalties is None else check_penalties(penalties)
        grids = [penalty_grid(s.top) if given is None else given for s in self.outer]
        errors = np.zeros((count, len(grids[0]), m))
        all_cross = cross.sum(axis=0)
        for (f, g), spectrum in self.inner.items():
            training = all_cross - cross[f] - cross[g]
            for out, held in ((f, g), (g, f)):
                held_sums = self.gram[held], cross[held], size[held]
                errors[out] += spectrum.errors(training, grids[out], *held_sums)
        best = errors.argmin(axis=1)  # (k, m)
        chosen = np.array([grids[f][best[f]] for f in range(count)])
        coefficients = np.array(
            [self.outer[f].fit(all_cross - cross[f], chosen[f]) for f in range(count)]
        )
        coefficients[:, 0] += shift
        return RidgeFit(chosen, coefficients, self.predict(coefficients))

    def rest(self, targets: RowBlocks) -> RowBlocks:
        """Return what the features leave of ``targets (n, m)``."""
        return targets.less(self.fit(targets).predicted)

    def predict(self, coefficients: Floats) -> RowBlocks:
        """Return what ``coefficients (k, 1 + d, m)``, by fold, predict of each row."""

        def read(rows: slice) -> Floats:
            X, member = self.features.read(rows), self.member[rows]
            predicted = np.empty((len(X), coefficients.shape[2]))
            for f, at in _each_fold(member, len(coefficients)):
                predicted[at] = X[at] @ coefficients[f, 1:] + coefficients[f, 0]
            return predicted

        return RowBlocks((len(self.member), coefficients.shape[2]), read)

    def _sums(self, targets: RowBlocks) -> tuple[Floats, Floats]:
        """Return cross products ``(k, 1 + d, m)`` with targets, and their squares ``(k, m)``."""
        count, width, _ = self.gram.shape
        cross = np.zeros((count, width, targets.shape[1]))
        size = np.zeros((count, targets.shape[1]))
        for rows, T in targets:
            X, w, member = self.features.read(rows), self.weights[rows], self.member[rows]
            for f, at in _each_fold(member, count):
                weighted = T[at] * w[at, None]
                cross[f, 0] += weighted.sum(axis=0)
                cross[f, 1:] += X[at].T @ weighted
                size[f] += np.einsum("ij,ij->j", weighted, T[at])
        return cross, size


@dataclass(frozen=True, slots=True, eq=False)
class _Spectrum:
    """Training rows: their weight, the mean ``(d,)`` of the features, and their eigenvectors."""

    weight: float
    mean: Floats
    values: Floats
    vectors: Floats

    @staticmethod
    def of(sums: Floats) -> "_Spectrum":
        """Decompose the cross products of ``[1, X]``."""
        mean, about = _centre(sums)
        values, vectors = eigh(about, check_finite=False)
        return _Spectrum(float(sums[0, 0]), mean, np.clip(values, 0.0, None), vectors)

    @property
    def top(self) -> float:
        """The largest eigenvalue; positive, since features that do not vary need a grid too."""
        return max(float(self.values[-1]), float(np.finfo(np.float64).tiny * 1e10))

    def fit(self, cross: Floats, penalties: Floats) -> Floats:
        """Return fits ``(1 + d, m)`` from cross products of ``[1, X]`` and targets."""
        mean_t, rotated = self._rotated(cross)
        slopes = self.vectors @ (rotated / (self.values[:, None] + penalties))
        return np.concatenate([(mean_t - self.mean @ slopes)[None], slopes])

    def errors(
        self, cross: Floats, penalties: Floats, gram: Floats, held: Floats, size: Floats
    ) -> Floats:
        """Return the squared errors ``(L, m)`` on held-out rows of fits at each penalty.

        Those rows are given by their cross products with ``[1, X]`` and by their ``size (m,)``.
        With ``s_λ = R ∘ κ_λ`` the fit in the coordinates of the eigenvectors, ``κ_λi = 1/(σ_i +
        λ)``, and H and q what the held-out rows add about the mean of the training rows, the error
        is ``size - 2 q's_λ + s_λ'H s_λ``. κ is a product of few columns and rows, so that H is
        multiplied with few matrices instead of one for each penalty.
        """
        mean_t, R = self._rotated(cross)
        weight, sums = gram[0, 0], gram[0, 1:]
        outer = np.outer(sums, self.mean)
        about = gram[1:, 1:] - outer - outer.T + weight * np.outer(self.mean, self.mean)
        H = self.vectors.T @ about @ self.vectors
        with_targets = held[1:] - np.outer(self.mean, held[0])
        q = self.vectors.T @ (with_targets - np.outer(sums - weight * self.mean, mean_t))
        centred = size - 2 * mean_t * held[0] + weight * mean_t**2
        kappa = 1.0 / (self.values + penalties[:, None])
        left, right = _low_rank(kappa, self.top + penalties)
        squares = np.zeros((len(penalties), R.shape[1]))
        for b in range(len(right)):
            product = R * (H @ (R * right[b, :, None]))
            squares += left[:, [b]] * (left @ (right @ product))
        return np.asarray(centred - 2 * kappa @ (R * q) + squares)

    def _rotated(self, cross: Floats) -> tuple[Floats, Floats]:
        """Return the targets' means and their cross products with the eigenvectors."""
        mean_t = cross[0] / self.weight
        return mean_t, self.vectors.T @ (cross[1:] - np.outer(self.mean, cross[0]))


@dataclass(frozen=True, slots=True, eq=False)
class _Tridiagonal:
    """Training rows: their weight, the mean ``(d,)`` of the features, and ``X'X = Q T Q'``.

    T has a ``diagonal`` and numbers ``beside`` it, Q is a product of ``reflections`` with
    ``scales``. It takes a quarter of the time of eigenvectors; each target and penalty then costs a
    product with Q.
    """

    weight: float
    mean: Floats
    diagonal: Floats
    beside: Floats
    reflections: Floats
    scales: Floats

    @staticmethod
    def of(sums: Floats) -> "_Tridiagonal":
        """Factor the cross products of ``[1, X]``."""
        mean, about = _centre(sums)
        reflections, diagonal, beside, scales, _ = lapack.dsytrd(
            about, lower=1, lwork=REFLECTIONS * len(about)
        )
        weight = float(sums[0, 0])
        return _Tridiagonal(weight, mean, diagonal, beside, reflections, scales)

    @property
    def top(self) -> float:
        """The largest eigenvalue; positive, since features that do not vary need a grid too."""
        last = (len(self.diagonal) - 1,) * 2
        top = eigvalsh_tridiagonal(self.diagonal, self.beside, select="i", select_range=last)[0]
        return max(float(top), float(np.finfo(np.float64).tiny * 1e10))

    def fit(self, cross: Floats, penalties: Floats) -> Floats:
        """Return fits ``(1 + d, m)`` from cross products of ``[1, X]`` and targets."""
        mean_t, turned = self._centre_and_turn(cross)
        solved = [
            self._solve(turned[:, [j]], float(penalty)) for j, penalty in enumerate(penalties)
        ]
        slopes = self._turn(np.hstack(solved), "N")
        return np.concatenate([(mean_t - self.mean @ slopes)[None], slopes])

    def errors(
        self, cross: Floats, penalties: Floats, gram: Floats, held: Floats, size: Floats
    ) -> Floats:
        """Return the squared errors ``(L, m)`` on held-out rows of fits at each penalty.

        Those rows are given by their cross products with ``[1, X]`` and by their ``size (m,)``.
        """
        mean_t, turned = self._centre_and_turn(cross)
        slopes = self._turn(np.hstack([self._solve(turned, float(p)) for p in penalties]), "N")
        first = np.tile(mean_t, len(penalties)) - self.mean @ slopes
        fits = np.concatenate([first[None], slopes])  # (1 + d, L m)
        held = np.tile(held, len(penalties))
        squares = np.einsum("ij,ij->j", fits, gram @ fits - 2 * held)
        return np.asarray(size + squares.reshape(len(penalties), -1))

    def _centre_and_turn(self, cross: Floats) -> tuple[Floats, Floats]:
        """Return the targets' means, and their cross products with the features, times ``Q'``."""
        mean_t = cross[0] / self.weight
        return mean_t, self._turn(cross[1:] - np.outer(self.mean, cross[0]), "T")

    def _turn(self, columns: Floats, transpose: str) -> Floats:
        """Multiply new columns ``(d, c)`` with Q or its transpose."""
        if len(columns) > 1:  # Q leaves the first coordinate as it is.
            columns[1:] = lapack.dormqr(
                "L",
                transpose,
                self.reflections[1:, :-1],
                self.scales,
                columns[1:],
                REFLECTIONS * columns.shape[1],
            )[0]
        return columns

    def _solve(self, turned: Floats, penalty: float) -> Floats:
        if len(turned) == 1:  # the routine takes no empty diagonals
            return np.asarray(turned / (self.diagonal + penalty)[:, None])
        solved = lapack.dgtsv(self.beside, self.diagonal + penalty, self.beside, turned)[3]
        return np.asarray(solved)


Factor = _Tridiagonal | _Spectrum


def _centre(sums: Floats) -> tuple[Floats, Floats]:
    """Return the mean ``(d,)`` of features, and their cross products about it ``(d, d)``."""
    if sums[0, 0] <= 0:
        raise InputError("All rows outside some folds have zero weight; cut other folds.")
    mean = sums[0, 1:] / sums[0, 0]
    return mean, sums[1:, 1:] - sums[0, 0] * np.outer(mean, mean)


def _low_rank(kappa: Floats, scale: Floats) -> tuple[Floats, Floats]:
    """Return ``left (L, r)`` and ``right (r, d)`` whose product is ``kappa (L, d)``.

    Rows are brought to one size by ``scale (L,)`` first, so that each is as precise as the others.
    """
    U, values, V = np.linalg.svd(kappa * scale[:, None], full_matrices=False)
    rank = int((values > PRECISION * values[0]).sum())
    return U[:, :rank] * values[:rank] / scale[:, None], V[:rank]


def _standardise(
    features: RowBlocks, member: NDArray[np.int64], count: int, w: Floats
) -> tuple[RowBlocks, Floats]:
    """Centre and scale the columns; where ``d > n`` rotate the rows into their own span.

    Returns the columns and the cross products of ``[1, columns]`` by fold.
    """
    n, d = features.shape
    if d > n:
        everything = features.read(slice(0, n))
        rotation = row_space(_scale(everything, w))
        assert rotation is not None
        rows = _scale(everything, w) @ rotation
        return RowBlocks.of(rows), _gram(RowBlocks.of(rows), member, count, w)[0]
    shift = features.read(slice(0, min(n, 1024))).mean(axis=0)
    gram, largest = _gram(features.shift(shift), member, count, w)
    total = gram.sum(axis=0)
    away = total[0, 1:] / total[0, 0]
    mean = shift + away
    spread = np.sqrt(np.maximum(np.diag(total)[1:] / total[0, 0] - away**2, 0.0))
    flat = spread <= 1e-12 * (largest + np.abs(shift))
    unit = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, spread))
    # From [1, x - shift] to [1, (x - mean) unit], rows then columns.
    gram[:, 1:] -= away[:, None] * gram[:, :1]
    gram[:, :, 1:] -= gram[:, :, :1] * away
    units = np.r_[1.0, unit]
    gram *= units[:, None] * units
    return features.scale(mean, unit), gram


def _gram(
    features: RowBlocks, member: NDArray[np.int64], count: int, w: Floats
) -> tuple[Floats, Floats]:
    """Return the cross products of ``[1, features]`` by fold, and the largest absolute values."""
    d = features.shape[1]
    gram, largest = np.zeros((count, 1 + d, 1 + d)), np.zeros(d)
    for rows, X in features:
        D = np.column_stack([np.ones(len(X)), X])
        D *= np.sqrt(w[rows])[:, None]
        largest = np.maximum(largest, np.maximum(X.max(axis=0), -X.min(axis=0)))
        for f, at in _each_fold(member[rows], count):
            # One array on both sides, so that only half of the symmetric product is computed.
            own = D[at]
            gram[f] += own.T @ own
    return gram, largest


def _each_fold(member: NDArray[np.int64], count: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Return each fold that the rows of a block are in, and which of them."""
    for f in range(count):
        at = np.flatnonzero(member == f)
        if len(at):
            yield f, at


def _scale(X: Floats, w: Floats) -> Floats:
    centred = X - w @ X / w.sum()
    spread = np.sqrt(w @ centred**2 / w.sum())
    flat = spread <= 1e-12 * np.abs(X).max(axis=0, initial=0.0)
    scaled = centred / np.where(flat, 1.0, spread)
    scaled[:, flat] = 0.0
    return np.asarray(scaled)
