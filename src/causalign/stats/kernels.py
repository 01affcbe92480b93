"""Kernels on columns of numbers and categories, and finitely many features that stand for them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from causalign.errors import InputError, SettingsError

Floats = NDArray[np.float64]
# Directions of the landmarks' Gram matrix below this share of the largest are rounding.
NEGLIGIBLE = 1e-10


@dataclass(frozen=True, slots=True, eq=False)
class MixedKernel:
    """Compare rows by ``k(x, x') = s (Π_j (1 + k_j(x_j, x'_j)) - 1)``.

    For a number, ``k_j = u u' + exp(-(u - u')²/(2 w_j²))`` with u the standardised value and w_j
    its ``widths``: a line and a smooth curve, or the line alone when w_j is infinite. For a
    category, ``k_j`` is 1 for equal codes and 0 otherwise; a code of -1, a
    category that the fit did not know, is an average one: ``k_j(-1, l)`` is the share of l. The
    product holds each column's own function and all interactions. ``s`` makes the mean of k(x, x)
    over the fitted rows 1. ``shares`` has one entry for each column, None for numbers.
    """

    centre: Floats
    scale: Floats
    shares: tuple[Floats | None, ...]
    amplitude: float
    widths: tuple[float, ...]

    def __call__(self, left: Floats, right: Floats) -> Floats:
        """Return the kernel ``(n, m)`` of rows ``left (n, d)`` and ``right (m, d)``."""
        product = np.ones((len(left), len(right)))
        for j, shares in enumerate(self.shares):
            if shares is None:
                u = (left[:, j] - self.centre[j]) / self.scale[j]
                v = (right[:, j] - self.centre[j]) / self.scale[j]
                one = np.exp(-(((u[:, None] - v) / self.widths[j]) ** 2) / 2)
                one += np.outer(u, v)
            else:
                one = (left[:, [j]] == right[:, j]).astype(np.float64)
                unknown = left[:, j] < 0
                one[unknown] = shares[right[:, j].astype(np.int64)]
            product *= 1 + one
        product -= 1
        product *= self.amplitude
        return product


@dataclass(frozen=True, slots=True, eq=False)
class KernelFeatures:
    """Map rows to ``r`` features whose inner products are the kernel, or come close to it.

    Nyström: ``φ(x) = Λ^(-1/2) V' k(landmarks, x)`` with ``V Λ V'`` the kernel of the landmarks
    ``(l, d)``. With every distinct row a landmark ``φ(x)'φ(x') = k(x, x')`` on these rows, and
    nothing is approximated. Reference: Williams and Seeger (2001).
    """

    kernel: MixedKernel
    landmarks: Floats
    projection: Floats

    def __call__(self, rows: Floats) -> Floats:
        """Return the features ``(n, r)`` of rows ``(n, d)``."""
        return self.kernel(rows, self.landmarks) @ self.projection

    @property
    def size(self) -> int:
        """Return the number of features r."""
        return int(self.projection.shape[1])


def mixed_kernel(
    rows: ArrayLike,
    levels: tuple[int, ...],
    weights: ArrayLike,
    widths: tuple[float, ...] | None = None,
) -> MixedKernel:
    """Return the kernel for ``rows (n, d)``, column j a number or one of ``levels[j] > 0`` codes.

    Standardisation, shares and amplitude are weighted; ``widths`` of the curves are in standard
    deviations, 1 for every column unless given; those of categories are not read. Raises
    `InputError` for a column with one value only.
    """
    X, w = np.asarray(rows, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    constant = np.flatnonzero(np.ptp(X, axis=0) == 0)
    if constant.size:
        raise InputError(f"Column {constant[0]} holds one value only: leave it out.")
    centre, scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
    shares: list[Floats | None] = []
    diagonal = np.ones(len(X))
    for j, count in enumerate(levels):
        if count:
            shares.append(np.bincount(X[:, j].astype(np.int64), w, count) / w.sum())
            diagonal *= 2
            continue
        centre[j] = np.average(X[:, j], weights=w)
        scale[j] = np.sqrt(np.average((X[:, j] - centre[j]) ** 2, weights=w))
        shares.append(None)
        diagonal *= 2 + ((X[:, j] - centre[j]) / scale[j]) ** 2
    amplitude = 1 / (np.average(diagonal, weights=w) - 1)
    return MixedKernel(
        centre, scale, tuple(shares), float(amplitude), widths or (1.0,) * len(levels)
    )


def kernel_features(
    rows: ArrayLike, kernel: MixedKernel, *, landmarks: int = 200, seed: int = 0
) -> KernelFeatures:
    """Return Nyström features of ``kernel`` from at most ``landmarks`` distinct rows.

    Where ``rows (n, d)`` hold more distinct ones, that many are drawn without replacement, by
    frequency. Raises `SettingsError` unless there are at least two landmarks.
    """
    if landmarks < 2:
        raise SettingsError(f"landmarks must be at least 2, not {landmarks!r}.")
    distinct, counts = np.unique(np.asarray(rows, dtype=np.float64), axis=0, return_counts=True)
    if len(distinct) > landmarks:
        generator = np.random.default_rng(seed)
        frequency = counts / counts.sum()
        drawn = generator.choice(len(distinct), size=landmarks, replace=False, p=frequency)
        distinct = distinct[np.sort(drawn)]
    eigenvalues, vectors = eigh(kernel(distinct, distinct), check_finite=False)
    usable = eigenvalues > NEGLIGIBLE * eigenvalues[-1]
    return KernelFeatures(kernel, distinct, vectors[:, usable] / np.sqrt(eigenvalues[usable]))
