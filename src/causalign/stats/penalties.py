"""Choose one penalty among many by cross-validation, and lay out grids of penalties."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import SettingsError


@dataclass(frozen=True, slots=True, eq=False)
class PenaltyChoice:
    """Hold the cross-validated error of each penalty and the two usual choices among them.

    ``cv_error`` and ``cv_standard_error`` have shape ``(L,)``; ``best`` is the index with the
    smallest error; ``one_standard_error`` that of the largest penalty whose error is within one
    standard error of it.
    """

    cv_error: NDArray[np.float64]
    cv_standard_error: NDArray[np.float64]
    best: int
    one_standard_error: int


@dataclass(frozen=True, slots=True, eq=False)
class PenaltyPath(PenaltyChoice):
    """Hold fits for ``L`` ascending penalties and their cross-validation on k ``folds (n,)``.

    ``null_error`` is that of a fit without features; ``out_of_fold`` holds what fits at ``best``
    predict of rows that they did not see.
    """

    penalties: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    null_error: float
    out_of_fold: NDArray[np.float64]
    fold_coefficients: NDArray[np.float64]
    folds: NDArray[np.int64]

    @property
    def cv_r2(self) -> float:
        """Return ``1 - error / null error`` on unseen rows at the best penalty."""
        if self.null_error == 0:
            return 0.0
        return 1.0 - float(self.cv_error[self.best]) / self.null_error


def penalty_grid(
    largest_eigenvalue: float, below: float = 1e-5, above: float = 1e3, per_decade: int = 4
) -> NDArray[np.float64]:
    """Return ascending penalties around the largest eigenvalue of the Gram matrix, ``(L,)``.

    At ``above`` times that eigenvalue every direction is shrunk almost to nothing; at ``below``
    times it the strong directions are free. The grid scales with the data: multiplying the
    features by ``c`` multiplies it by ``c²``.
    """
    steps = round(np.log10(above / below) * per_decade) + 1
    return largest_eigenvalue * np.geomspace(below, above, steps)


def check_penalties(penalties: ArrayLike) -> NDArray[np.float64]:
    """Return the penalties in ascending order; raise ``SettingsError`` unless all are positive."""
    given = np.unique(np.asarray(penalties, dtype=np.float64).ravel())
    if given.size == 0 or not np.isfinite(given).all() or given[0] <= 0:
        raise SettingsError(f"Penalties must be positive and finite; found {penalties!r}.")
    return given


def choose_penalty(
    penalties: NDArray[np.float64],
    fold_errors: NDArray[np.float64],
    fold_weights: NDArray[np.float64] | NDArray[np.int64],
) -> PenaltyChoice:
    """Average the errors ``(k, L)`` of the folds and pick among the ``L`` penalties.

    ``cv_error = Σ_f W_f e_f / Σ_f W_f``; its standard error is the standard deviation of the
    folds' errors over ``√k``, which treats folds as independent: the training sets overlap, so it
    is a guide for choosing a penalty, not an interval. Reference: Hastie, Tibshirani and Friedman,
    *The Elements of Statistical Learning*, section 7.10.
    """
    error = np.average(fold_errors, axis=0, weights=fold_weights)
    spread = fold_errors.std(axis=0, ddof=1) / np.sqrt(len(fold_errors))
    best = int(np.argmin(error))
    near = np.flatnonzero(error <= error[best] + spread[best])
    largest = int(near[np.argmax(penalties[near])])
    return PenaltyChoice(error, spread, best, largest)
