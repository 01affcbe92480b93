"""Choose a penalty from the log alone: by error, or by the ranking of texts of equal conditions."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from causalign.errors import InputError, SettingsError
from causalign.stats.ranking_path import ranking_path
from causalign.stats.ridge_path import RidgePath

__all__ = ["Choice", "PenaltyRule", "check_rule", "choose_from_path"]

PenaltyRule = Literal["minimum", "one-standard-error", "ranking"]
RULES = ("minimum", "one-standard-error", "ranking")


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Hold the chosen penalty's index, the rule's optimum on the grid, and the rank correlations.

    ``ranking`` ``(L,)`` is None unless the rule is "ranking". ``optimum`` differs from ``index``
    under "one-standard-error" only.
    """

    index: int
    optimum: int
    ranking: NDArray[np.float64] | None = None


def check_rule(choose: str) -> None:
    """Raise ``SettingsError`` unless ``choose`` is one of the rules for the penalty."""
    if choose not in RULES:
        raise SettingsError(f"choose must be one of {', '.join(RULES)}; found {choose!r}.")


def choose_from_path(
    path: RidgePath,
    features: NDArray[np.float64],
    outcome: ArrayLike,
    choose: str,
    environment: ArrayLike | None,
) -> Choice:
    """Return the penalty that the rule picks; no rule sees an experiment.

    "minimum" has the smallest squared error in unseen rows, "one-standard-error" is the heaviest
    within one standard error of it, "ranking" best orders unseen rows of the same ``environment``
    ``(n,)``, as :func:`causalign.stats.ranking_path.ranking_path` measures it.

    Raises ``InputError`` if "ranking" is asked for without an environment.
    """
    if choose != "ranking":
        index = path.best if choose == "minimum" else path.one_standard_error
        return Choice(index, path.best)
    if environment is None:
        raise InputError(
            "choose='ranking' compares rows of equal conditions. Pass environment, one code for "
            "each row: the week, the place, or whatever else moved the outcome of all texts."
        )
    steps = range(len(path.penalties))
    unseen = np.column_stack([path.out_of_fold_at(features, step) for step in steps])
    found = ranking_path(unseen, outcome, environment)
    return Choice(found.best, found.best, found.correlation)
