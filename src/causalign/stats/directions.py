"""Reduce features to the directions in which they vary by more than their numbers are rounded.

Many features say the same: words that always stand together, columns that sum to one, vectors of a
few texts. In floats of 32 bits a copy differs from its original in the eighth digit, and a
regression that takes the difference for information divides by it. What is left here spans the
features up to their rounding, whatever their units, order or number.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.stats.factor import safe_root
from causalign.stats.rounding import MARGIN, SINGLE, roundoff

Floats = NDArray[np.float64]

# A direction this much longer than its rounding is information that must not be lost in silence.
CLEAR = 10.0
# Eigenvalues below this share of the largest are digits that the cross products do not hold.
DIGITS = 1e-15
ROTATED = "text features"


@dataclass(frozen=True, slots=True, eq=False)
class Directions:
    """Hold r directions of p features, of mean zero: ``columns (n, r)``, each of length about one.

    ``columns`` are the centred features, of length one, times ``loadings (p, r)``; ``rounding
    (r,)`` is the length of each column that may be rounding. ``rotated`` says that a direction is a
    combination of features, and not one of them in other units.
    """

    columns: Floats
    loadings: Floats
    rounding: Floats
    rotated: bool

    def names(self, features: Sequence[str]) -> tuple[str, ...]:
        """Return what messages call each direction: the feature that it is, or all of them."""
        if self.rotated:
            return (ROTATED,) * int(self.columns.shape[1])
        return tuple(features[int(i)] for i in np.argmax(np.abs(self.loadings), axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class Remaining:
    """Hold what something else leaves of directions, of length one: ``columns`` less that something
    is ``left``, both ``(n, s)``. ``lost`` are the positions of the features that lead a direction
    of which nothing is left, empty where only rounding was lost.
    """

    columns: Floats
    left: Floats
    rounding: Floats
    rotated: bool
    lost: NDArray[np.int64]


def directions(features: ArrayLike, shares: Floats | None = None) -> Directions:
    """Return the directions in which ``features (n, p)`` vary by more than their rounding.

    Each column less its mean is divided by the length of its rounding, ``16 max(e |x - mean|, e_j
    |x|)``: e is the roundoff of 32 bits, in which features are computed, and e_j that of the column
    as it came (``shares (p,)``, or what its numbers show). Directions are the eigenvectors of the
    cross products with eigenvalues above 1; without rounding among them the features themselves
    serve. So neither units nor order matter, nor whether 32 bits were made 64.
    """
    X = np.asarray(features, dtype=np.float64)
    known = roundoff(np.asarray(features)) if shares is None else shares
    centred = X - X.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    lost = MARGIN * np.maximum(SINGLE * length, known * np.linalg.norm(X, axis=0))
    used = np.flatnonzero(length > lost)
    loadings = np.zeros((X.shape[1], len(used)))
    unit = centred[:, used] / length[used]
    rounding = lost[used] / length[used]
    loadings[used, np.arange(len(used))] = 1.0
    if len(used) < len(X):
        turn = independent(unit.T @ unit, rounding)
        if not turn.rotated:
            return Directions(unit, loadings, rounding, rotated=False)
        return Directions(unit @ turn.matrix, loadings @ turn.matrix, turn.rounding, rotated=True)
    whitened = unit / rounding
    values, vectors = np.linalg.eigh(whitened @ whitened.T)
    keep = _above_rounding(values)
    size = np.sqrt(values[keep])
    turned = (whitened.T @ vectors[:, keep]) / values[keep] / rounding[:, None]
    return Directions(unit @ turned, loadings @ turned, 1 / size, rotated=True)


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """Hold the ``matrix (p, r)`` that makes r independent columns of p, and their rounding."""

    matrix: Floats
    rounding: Floats
    rotated: bool


def independent(gram: Floats, rounding: Floats) -> Turn:
    """Return how to combine columns of length one into directions longer than their rounding.

    ``gram (p, p)`` are the cross products of the columns, ``rounding (p,)`` their length that may
    be rounding. Columns of which none is nearly a combination of others stay as they are.
    """
    if safe_root(gram, rounding) is not None:
        return Turn(np.eye(len(gram)), rounding, rotated=False)
    values, vectors = np.linalg.eigh(gram / np.outer(rounding, rounding))
    keep = _above_rounding(values)
    size = np.sqrt(values[keep])
    return Turn(vectors[:, keep] / size / rounding[:, None], 1 / size, rotated=True)


def remaining(given: Directions, left: Floats) -> Remaining:
    """Return the directions of which more than rounding is ``left (n, r)``, and what was lost."""
    none = np.zeros(0, dtype=np.int64)
    length = np.linalg.norm(left, axis=0)
    if (length > given.rounding).all():
        unit, rounding = left / length, given.rounding / length
        if safe_root(unit.T @ unit, rounding) is not None:
            return Remaining(given.columns / length, unit, rounding, given.rotated, none)
    whitened = left / given.rounding
    values, vectors = np.linalg.eigh(whitened.T @ whitened)
    keep = _above_rounding(values)
    before = given.columns / given.rounding
    gone = vectors[:, ~keep]
    clear = np.linalg.norm(before @ gone, axis=0) > CLEAR
    lead = np.abs((given.loadings / given.rounding) @ gone[:, clear])
    leaders = np.unique(np.argmax(lead, axis=0)) if clear.any() else none
    size = np.sqrt(values[keep])
    turn = vectors[:, keep] / size
    return Remaining(before @ turn, whitened @ turn, 1 / size, True, leaders)


def _above_rounding(values: Floats) -> NDArray[np.bool_]:
    """Return which ascending eigenvalues, in squared lengths of rounding, are more than that."""
    return values > max(1.0, DIGITS * float(values.max(initial=0.0)))
