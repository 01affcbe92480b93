"""Sums over rows, fold by fold, from which the moments of any fit's residuals follow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

Floats = NDArray[np.float64]
Critic = Callable[[Floats], Floats]
Block = tuple[slice, Floats, Floats, Floats]
Blocks = Callable[[], Iterator[Block]]
# δ = c n^(-0.4): between n^(-1/2), the rate of finitely many parameters, and that of rough curves.
RATE = -0.4


@dataclass(frozen=True, slots=True, eq=False)
class MomentSums:
    """Hold weighted sums over some rows, ``f = [1, ψ(z)]`` with m test functions ψ of instruments.

    ``gram (1 + m, 1 + m)`` is ``Σ w f f'``, ``cross (1 + m, q + 2)`` is ``Σ w f [1, x, y]'`` and
    ``squares (q,)`` is ``Σ w x²``, x the q columns that may explain the outcome y.
    """

    gram: Floats
    cross: Floats
    squares: Floats

    @property
    def rows(self) -> float:
        """Return the weight of all rows."""
        return float(self.gram[0, 0])

    @property
    def means(self) -> tuple[Floats, Floats]:
        """Return the means of ψ ``(m,)`` and of x and y ``(q + 1,)``."""
        return self.gram[0, 1:] / self.rows, self.cross[0, 1:] / self.rows

    def without(self, other: "MomentSums") -> "MomentSums":
        """Return the sums over the rows that are not among ``other``'s."""
        return MomentSums(
            self.gram - other.gram, self.cross - other.cross, self.squares - other.squares
        )

    def gram_about(self, centre: Floats) -> Floats:
        """Return ``Σ w (ψ - centre)(ψ - centre)'``, ``(m, m)``."""
        shift = np.hstack([-centre[:, None], np.eye(len(centre))])
        return shift @ self.gram @ shift.T

    def cross_about(self, centre: Floats) -> Floats:
        """Return ``Σ w (ψ - centre) [1, x, y]'``, ``(m, q + 2)``."""
        return self.cross[1:] - np.outer(centre, self.cross[0])


def sums_by_fold(
    blocks: Blocks, folds: NDArray[np.int64], weights: Floats
) -> tuple[MomentSums, ...]:
    """Return the sums of each fold over ``blocks`` of ``(rows, ψ (b, m), x (b, q), y (b,))``."""
    sums: list[list[Floats]] = []
    for rows, psi, x, y in blocks():
        ones = np.ones((len(y), 1))
        left, right = np.hstack([ones, psi]), np.hstack([ones, x, y[:, None]])
        if not sums:
            shapes = (left.shape[1], left.shape[1]), (left.shape[1], right.shape[1]), x.shape[1:]
            sums = [[np.zeros(shape) for shape in shapes] for _ in range(int(folds.max()) + 1)]
        for fold in np.unique(folds[rows]):
            held = folds[rows] == fold
            w = weights[rows][held]
            weighted = left[held] * w[:, None]
            sums[fold][0] += weighted.T @ left[held]
            sums[fold][1] += weighted.T @ right[held]
            sums[fold][2] += w @ x[held] ** 2
    return tuple(MomentSums(*parts) for parts in sums)


def sums_of(folds: tuple[MomentSums, ...]) -> MomentSums:
    """Return the sums over the rows of all folds."""
    return MomentSums(
        np.sum([one.gram for one in folds], axis=0),
        np.sum([one.cross for one in folds], axis=0),
        np.sum([one.squares for one in folds], axis=0),
    )


def radius(rows: float, multiple: float = 1.0) -> float:
    """Return the critical radius ``δ = multiple n^(-0.4)`` for n rows."""
    return float(multiple * rows**RATE)


def critic(gram: Floats, rows: float, delta: float) -> Critic:
    """Return ``g -> (G/(2 n δ²) + I/2)⁻¹ g`` for ``gram`` G ``(m, m)`` of n rows.

    With ``g = Σ ψ_i r_i``, ``g'(G/(2 n δ²) + I/2)⁻¹ g = r'M r``, the paper's M, is twice what the
    best test function ``f = ψ'b`` gains: ``max_f 2 Σ r_i f_i - Σ f_i²/(2 n δ²) - ‖b‖²/2`` is r'M r.
    As δ falls it becomes ``2 n δ²`` times the squared length of r projected on ψ.
    """
    factor = cho_factor(gram / (2 * rows * delta**2) + np.eye(len(gram)) / 2, check_finite=False)
    return lambda g: cho_solve(factor, g, check_finite=False)


def held_out_violation(
    train: MomentSums, held: MomentSums, columns: slice, coefficients: Floats
) -> Floats:
    """Return by how much ``y - x[columns]'a`` violates its moments on held-out rows, ``(L,)``.

    ``coefficients (c, L)`` hold L fits to the rows ``train``, whose means centre y, x and ψ. The
    violation ``g'(G/(2 n δ²) + I/2)⁻¹ g / (2 n² δ²)`` is the mean square of what the instruments
    predict of the error, in squared units of the outcome, with chance's share in it.
    """
    centre, means = train.means
    combination = np.zeros((held.cross.shape[1], coefficients.shape[1]))
    combination[1:-1][columns] = -coefficients
    combination[-1] = 1.0
    combination[0] = -(means @ combination[1:])
    g = held.cross_about(centre) @ combination
    delta = radius(held.rows)
    judged = critic(held.gram_about(centre), held.rows, delta)(g)
    violation: Floats = np.einsum("ml,ml->l", g, judged) / (2 * held.rows**2 * delta**2)
    return violation
