"""What a network learns from: outcomes of texts or comparisons of two, checked at the boundary."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError, SettingsError, nearest
from causalign.logs.covariates import number_labels
from causalign.results import Card

Array = NDArray[np.float64]

EVENT_ODDS = "log-odds of the event"
UNITS = {
    "bradley-terry": "log-odds",
    "logistic": EVENT_ODDS,
    "squared-error": "units of the outcome",
    "multi-class": "units of the classes",
    "ordinal": "units of the levels",
}

NEGATIVE_MARGIN = (
    "A margin is negative. It says by how much the preferred side is better: exchange the sides of "
    "such pairs, or correct it."
)
_MOST_CLASSES = 100


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Examples(Card):
    """Hold n examples that share the vectors of t texts; make one with the two constructors.

    Attributes
    ----------
    features : (t, d) array
        The vectors of the texts.
    sides : (n, s) integers
        Positions of the texts of an example: one for outcomes, two for pairs.
    target : (n,) array
        The outcome, or the probability that the first side is preferred.
    weight, margin, groups : (n,) arrays
        Pairs with identical sides have weight 0 and are counted in ``identical``.
    objective : (n,) integers, optional
        Codes into ``objectives``.
    confounders : (n, s, k) array, optional
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
        return bool(self.sides.shape[1] == 2)

    def target_scale(self, rows: NDArray[np.int64]) -> tuple[float, float]:
        """Return mean and standard deviation of the outcome in some rows, weighted."""
        y, w = self.target[rows], self.weight[rows]
        mean = float(np.average(y, weights=w))
        return mean, float(np.sqrt(np.average((y - mean) ** 2, weights=w)))

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
        """Return one example for each row of features with its outcome.

        Parameters
        ----------
        features : (n, d) array
        outcome : (n,) array
        weights : (n,) array, optional
        objectives : (n,) array, optional
            By which objective the outcome was given.
        confounders : (n,) or (n, k) array, optional
        groups : (n,) array, optional
            Rows of one group are never parted by validation.

        Raises
        ------
        InputError
            For shapes or values that do not fit.
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
        """Return one example for each pair of rows of features.

        Parameters
        ----------
        features : (t, d) array
        first, second : (n,) integers
            Positions in the features.
        labels : (n,) array, optional
            Probability that the first side is preferred; always, unless given.
        weights : (n,) array, optional
        margins : (n,) array, optional
            The preferred side is asked to win by that many log-odds.
        objectives : (n,) array, optional
            By which objective the pair was labelled.
        confounders : (n,), (n, k) or (n, 2, k) array, optional
            The sides share them, unless there are three axes.
        groups : (n,) array, optional
            Pairs of one group are never parted by validation.

        Raises
        ------
        InputError
            For shapes or values that do not fit, or if no pair has two different sides.
        """
        X = _features(features)
        sides = np.stack([_positions("first", first, X), _positions("second", second, X)], axis=1)
        target = np.ones(len(sides)) if labels is None else np.asarray(labels, dtype=np.float64)
        if target.shape == (len(sides),) and not ((target >= 0) & (target <= 1)).all():
            raise InputError("Labels must be probabilities in [0, 1] that the first side wins.")
        confounded = _confounders(confounders, sides)
        return _examples(X, sides, target, weights, margins, objectives, confounded, groups)


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
    if (margin < 0).any():
        raise InputError(NEGATIVE_MARGIN)
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
    array = np.array(values, dtype=np.float64)  # a copy: Arrow's arrays cannot be written
    if array.shape != (size,):
        raise InputError(f"{name} must have shape ({size},); the shape is {array.shape}.")
    if not np.isfinite(array).all():
        raise InputError(f"{name} has {(~np.isfinite(array)).sum()} values that are not finite.")
    return array


def _codes(
    objectives: ArrayLike | None, size: int
) -> tuple[tuple[str, ...], NDArray[np.int64] | None]:
    if objectives is None:
        return (), None
    labels = np.asarray(objectives)
    if labels.shape != (size,):
        raise InputError(f"objectives must have shape ({size},); the shape is {labels.shape}.")
    codes = number_labels(labels.tolist())
    names = dict(zip(codes.tolist(), map(str, labels.tolist()), strict=True))
    return tuple(names[code] for code in sorted(names)), codes


def _confounders(values: ArrayLike | None, sides: NDArray[np.int64]) -> Array | None:
    if values is None:
        return None
    size, count = sides.shape
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim == 2:
        array = np.repeat(array[:, None, :], count, axis=1)
    if array.ndim != 3 or array.shape[:2] != (size, count) or not np.isfinite(array).all():
        raise InputError(
            f"Confounders must be finite, ({size},), ({size}, k) or ({size}, {count}, k); their "
            f"shape is {np.shape(values)}."
        )
    return array


def check_loss(loss: str, examples: Examples, allowed: tuple[str, ...] = tuple(UNITS)) -> None:
    """Raise ``SettingsError`` for an unknown loss, ``InputError`` for examples it cannot use."""
    if loss not in allowed:
        raise SettingsError(f"There is no loss {loss!r} here; {nearest(loss, allowed)}")
    if examples.are_pairs != (loss == "bradley-terry"):
        these, other = ("pairs", "of_outcomes") if examples.are_pairs else ("outcomes", "of_pairs")
        raise InputError(f"The loss {loss!r} does not fit {these}; use Examples.{other}.")
    if loss == "logistic":
        share = examples.target
        if ((share < 0) | (share > 1)).any():
            raise InputError("A logistic loss needs outcomes in [0, 1]; use 'squared-error'.")
    if loss in ("logistic", "squared-error", "multi-class", "ordinal"):
        counted = examples.target[examples.weight > 0]
        if (counted == counted[0]).all():
            raise InputError(
                f"The outcome is {counted[0]:g} in every example; there is nothing to learn."
            )
    if loss in ("multi-class", "ordinal"):
        class_values(examples)


def class_values(examples: Examples) -> NDArray[np.float64]:
    """Return the distinct values of the outcome, ascending; raise ``InputError`` for too many."""
    values = np.unique(examples.target)
    if len(values) > _MOST_CLASSES:
        raise InputError(
            f"The outcome has {len(values)} distinct values, more than the {_MOST_CLASSES} classes "
            "that are allowed; it is a quantity. Use 'squared-error'."
        )
    return values
