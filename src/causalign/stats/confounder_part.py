"""Estimate what the confounders do to the outcome, with the text partialled out of both."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError
from causalign.stats.fold_ridge import FoldRidge
from causalign.stats.row_blocks import REDUNDANT, RowBlocks

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ConfounderPart:
    """Hold the part ``h = B γ`` of the outcome that the confounders explain, ``part (n,)``.

    ``basis (n, k)`` is centred, ``inverse (k, k)`` the inverse of its cross products.
    ``outcome_left (n,)`` and ``basis_left (n, k)`` are what the text leaves of both,
    ``inverse_left`` the inverse of the latter's cross products; without text features they are the
    centred columns themselves. ``error (n,)`` is what is left once γ is taken out as well;
    ``weights`` have mean one. ``text`` is what took the text out, if something did.
    """

    part: Floats
    basis: RowBlocks
    inverse: Floats
    coefficient: Floats
    error: Floats
    outcome_left: Floats
    basis_left: RowBlocks
    inverse_left: Floats
    weights: Floats
    text: FoldRidge | None = None

    @property
    def influence(self) -> RowBlocks:
        """What each row adds to the error of γ, ``(n, k)``."""
        V, G, e = self.basis_left, self.inverse_left, self.weights * self.error
        return RowBlocks(V.shape, lambda rows: (V.read(rows) @ G) * e[rows, None])


def confounder_part(
    outcome: ArrayLike,
    basis: ArrayLike | RowBlocks,
    *,
    text: FoldRidge | None = None,
    weights: ArrayLike | None = None,
) -> ConfounderPart:
    """Estimate ``h(C) = B γ`` in ``y = g(T) + B γ + e`` with the text partialled out.

    With ``u = y - E[y | T]`` and ``V = B - E[B | T]`` by ridge, cross-fitted on the features of
    ``text`` over its folds, ``γ = (V'WV)⁺ V'Wu`` (Robinson 1988; arXiv:1608.00060). Without a text
    the columns are centred only: least squares of ``outcome (n,)`` on ``basis (n, k)``. With a
    text the ``weights (n,)`` are those that it was made ready with.

    Assumption: the features hold what the text does to the outcome, text and confounders add up.
    Raises `InputError` for shapes that do not fit.
    """
    y = np.asarray(outcome, dtype=np.float64)
    if y.ndim != 1:
        raise InputError(f"outcome must be (n,), not {y.shape}.")
    return confounder_parts(y[:, None], basis, text=text, weights=weights)[0]


def confounder_parts(
    outcomes: Floats,
    basis: ArrayLike | RowBlocks,
    *,
    text: FoldRidge | None = None,
    weights: ArrayLike | None = None,
) -> tuple[ConfounderPart, ...]:
    """Estimate the part in each of several ``outcomes (n, s)``, as `confounder_part` does."""
    Y, shape = outcomes, basis.shape if isinstance(basis, RowBlocks) else np.shape(basis)
    n, count = Y.shape
    if len(shape) != 2 or n != shape[0] or shape[1] == 0:
        raise InputError(f"outcome must be (n,) and basis (n, k), not ({n},) and {shape}.")
    if text is not None:
        weights = text.weights
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    w = w / w.mean()
    given = RowBlocks.of(basis)
    B = given.shift(given.mean(w))
    both = RowBlocks.side_by_side(RowBlocks.of(Y - w @ Y / n), B)
    fit = None if text is None else text.fit(both)
    left = both if fit is None else both.less(fit.predicted).hold()
    u, cross = np.empty(Y.shape), np.zeros((left.shape[1], left.shape[1]))
    for rows, block in left:
        u[rows] = block[:, :count]
        cross += block.T @ (block * w[rows, None])
    inverse_left, inverse = invert(cross[count:, count:]), invert(B.gram(w))
    slopes = inverse_left @ cross[count:, :count]
    parts, errors = B.times(slopes), left.times(np.vstack([np.eye(count), -slopes]))
    return tuple(
        ConfounderPart(
            parts[:, s],
            B,
            inverse,
            slopes[:, s],
            errors[:, s],
            u[:, s],
            left.columns(slice(count, None)),
            inverse_left,
            w,
            text,
        )
        for s in range(count)
    )


def invert(cross: Floats) -> Floats:
    """Invert cross products on the directions that vary."""
    scale = np.sqrt(np.diag(cross))
    scale = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    values, vectors = np.linalg.eigh(cross * np.outer(scale, scale))
    usable = values > REDUNDANT * max(values[-1], 1e-300)
    rotated = vectors[:, usable] * scale[:, None]
    return np.asarray((rotated / values[usable]) @ rotated.T)
