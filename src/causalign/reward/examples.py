"""What a network learns from: outcomes of texts or comparisons of two, checked at the boundary."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError, nearest

__all__ = ["Examples"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Hold n examples that share the vectors of t texts; make one with the two constructors.

    ``features`` is ``(t, d)``; ``sides`` ``(n, s)`` the positions of the texts of an example, one
    for outcomes and two for pairs; ``target`` ``(n,)`` the outcome, or the probability that the
    first side is preferred; ``objective`` ``(n,)`` codes into ``objectives``; ``confounders``
    ``(n, s, k)``. Pairs with identical sides have weight 0 and are counted in ``identical``.
    """

    features: NDArray[np.float32]
    sides: NDArray[np.int64]
    target: Array
    weight: Array
    margin: Array
    groups: NDArray[np.int64]
    objective: NDArray[np.int64] | None = None
    objectives: tuple[str, ...] = ()
    confounders: Array | None = None
    identical: int = 0

    def __len__(self) -> int:
        return len(self.target)

    @property
    def are_pairs(self) -> bool:
        """Return whether an example compares two texts."""
        return self.sides.shape[1] == 2

    @staticmethod
    def of_outcomes(
        features: ArrayLike,
        outcome: ArrayLike,
        *,
        weights: ArrayLike | None = None,
        objectives: ArrayLike | None = None,
        confounders: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> "Examples":
        """Return one example for each row of features ``(n, d)`` with its outcome ``(n,)``.

        ``objectives`` ``(n,)`` says by which objective the outcome was given; ``confounders`` is
        ``(n,)`` or ``(n, k)``; rows of one of ``groups`` are never parted by validation. Raises
        ``InputError`` for shapes or values that do not fit.
        """
        X = _features(features)
        sides = np.arange(len(X))[:, None]
        return _examples(
            X, sides, outcome, weights, None, objectives, _confounders(confounders, sides), groups
        )

    @staticmethod
    def of_pairs(
        features: ArrayLike,
        first: ArrayLike,
        second: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        margins: ArrayLike | None = None,
        objectives: ArrayLike | None = None,
        confounders: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> "Examples":
        """Return one example for each pair of rows ``first`` and ``second`` ``(n,)`` of features.

        ``labels`` ``(n,)`` is the probability that the first side is preferred (default: always).
        ``margins`` ``(n,)`` ask the preferred side to win by that many log-odds. ``confounders``
        is ``(n,)`` or ``(n, k)`` if both sides share them, else ``(n, 2, k)``.
        Raises ``InputError`` for shapes or values that do not fit, or if no pair has two different
        sides.
        """
        X = _features(features)
        sides = np.stack([_positions("first", first, X), _positions("second", second, X)], axis=1)
        target = np.ones(len(sides)) if labels is None else np.asarray(labels, dtype=np.float64)
        if target.shape == (len(sides),) and not ((target >= 0) & (target <= 1)).all():
            raise InputError("Labels must be probabilities in [0, 1] that the first side wins.")
        confounded = _confounders(confounders, sides)
        return _examples(X, sides, target, weights, margins, objectives, confounded, groups)

    def code_of(self, objective: str) -> int:
        """Return the code of an objective; raise ``InputError`` for one that was never seen."""
        if objective not in self.objectives:
            raise InputError(
                f"No example has the objective {objective!r}; {nearest(objective, self.objectives)}"
            )
        return self.objectives.index(objective)


def _examples(
    X: NDArray[np.float32],
    sides: NDArray[np.int64],
    target: ArrayLike,
    weights: ArrayLike | None,
    margins: ArrayLike | None,
    objectives: ArrayLike | None,
    confounders: Array | None,
    groups: ArrayLike | None,
) -> Examples:
    size = len(sides)
    y = _numbers("outcome", target, size)
    weight = np.ones(size) if weights is None else _numbers("weights", weights, size)
    if (weight < 0).any() or not weight.any():
        raise InputError(
            f"Weights must not be negative, and not all zero; the smallest is {weight.min():g} and "
            f"their sum {weight.sum():g}."
        )
    margin = np.zeros(size) if margins is None else _numbers("margins", margins, size)
    identical = np.zeros(size, dtype=bool)
    if sides.shape[1] == 2:
        identical = (X[sides[:, 0]] == X[sides[:, 1]]).all(axis=1)
        if identical.all():
            raise InputError("No pair has two different sides; nothing can be learned.")
    names, codes = _codes(objectives, size)
    group = np.arange(size) if groups is None else np.unique(np.asarray(groups), False, True)[1]
    if group.shape != (size,):
        raise InputError(f"groups must have shape ({size},); their shape is {group.shape}.")
    return Examples(
        X,
        sides,
        y,
        np.where(identical, 0.0, weight),
        # A margin is asked of the preferred side: against the first where the second is preferred.
        np.where(y >= 0.5, margin, -margin),
        group,
        codes,
        names,
        confounders,
        int(identical.sum()),
    )


def _features(features: ArrayLike) -> NDArray[np.float32]:
    X = np.asarray(features, dtype=np.float32)
    if X.ndim != 2 or 0 in X.shape:
        raise InputError(f"Features must have shape (n, d), neither zero; theirs is {X.shape}.")
    bad = np.flatnonzero(~np.isfinite(X).all(axis=1))
    if bad.size:
        raise InputError(
            f"{bad.size} rows of features hold values that are not finite, the first is row "
            f"{bad[0]}. Check the encoder, or remove these texts."
        )
    return X


def _positions(name: str, positions: ArrayLike, X: NDArray[np.float32]) -> NDArray[np.int64]:
    rows = np.asarray(positions)
    if rows.size == 0:
        raise InputError(f"There are no {name} sides; a pair needs two texts.")
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
        raise InputError(f"The {name} sides must be whole positions (n,) of rows of features.")
    if rows.min() < 0 or rows.max() >= len(X):
        raise InputError(
            f"The {name} sides name rows {rows.min()} to {rows.max()}; features have rows 0 to "
            f"{len(X) - 1}. Every side of a pair needs a text."
        )
    return rows.astype(np.int64)


def _numbers(name: str, values: ArrayLike, size: int) -> Array:
    found = np.array(values, dtype=np.float64)  # a copy: Arrow's arrays cannot be written
    if found.shape != (size,):
        raise InputError(f"{name} must have shape ({size},); the shape is {found.shape}.")
    if not np.isfinite(found).all():
        raise InputError(f"{name} has {(~np.isfinite(found)).sum()} values that are not finite.")
    return found


def _codes(
    objectives: ArrayLike | None, size: int
) -> tuple[tuple[str, ...], NDArray[np.int64] | None]:
    if objectives is None:
        return (), None
    found = np.asarray(objectives)
    if found.shape != (size,):
        raise InputError(f"objectives must have shape ({size},); the shape is {found.shape}.")
    names, codes = np.unique(found.astype(str), return_inverse=True)
    return tuple(names.tolist()), codes.astype(np.int64)


def _confounders(values: ArrayLike | None, sides: NDArray[np.int64]) -> Array | None:
    if values is None:
        return None
    size, count = sides.shape
    found = np.asarray(values, dtype=np.float64)
    if found.ndim == 1:
        found = found[:, None]
    if found.ndim == 2:
        found = np.repeat(found[:, None, :], count, axis=1)
    if found.ndim != 3 or found.shape[:2] != (size, count) or not np.isfinite(found).all():
        raise InputError(
            f"Confounders must be finite, ({size},), ({size}, k) or ({size}, {count}, k); their "
            f"shape is {np.shape(values)}."
        )
    return found
