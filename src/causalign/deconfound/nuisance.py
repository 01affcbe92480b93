"""Take out of outcome, confounders and instruments what the text explains of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from causalign.checks.check import Check
from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.method import FittedOnLogs
from causalign.errors import NotIdentified, SettingsError
from causalign.logs import Logs
from causalign.logs.stories import rows_together
from causalign.results import Finding
from causalign.settings import require_number
from causalign.stats.cross_fit import learner_cross_fit, ridge_cross_fit
from causalign.stats.folds import group_folds

LITTLE = 0.05
# A share of variance below this is rounding: the text determines the column.
NOTHING = 1e-8


@dataclass(frozen=True, slots=True, eq=False)
class PartialledOut:
    """Hold ``residuals (n, m)``, and ``left (m,)``: their variance over that of the columns."""

    residuals: np.ndarray
    left: np.ndarray


@dataclass(frozen=True, slots=True)
class PartialledOutTexts(FittedOnLogs[ConfounderEffect]):
    """Predict columns from the text by fits on other folds, and keep what is left of them.

    ``learner``: a scikit-learn regressor, or None for ridge whose penalty each fold chooses among
    the other folds, for each column.
    """

    reads_text: ClassVar[bool] = True

    learner: object = None
    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.learner is not None and not (
            hasattr(self.learner, "fit") and hasattr(self.learner, "predict")
        ):
            raise SettingsError(
                "learner must be None (ridge) or a scikit-learn regressor such as "
                f"RandomForestRegressor(), not {self.learner!r}."
            )
        why = "without a learner, ridge chooses its penalty on further folds"
        fewest, why = (3, why) if self.learner is None else (2, "")
        require_number("folds", self.folds, least=fewest, whole=True, why=why)
        require_number("seed", self.seed, least=0, whole=True)

    def _check_rows(self, logs: Logs) -> None:
        group_folds(rows_together(logs), self.folds, self.seed)

    def _partial_out(self, logs: Logs, features: np.ndarray, columns: np.ndarray) -> PartialledOut:
        """Return ``columns (n, m)`` less their cross-fitted prediction from ``features (n, p)``."""
        member = group_folds(rows_together(logs), self.folds, self.seed)
        if self.learner is None:
            fit = ridge_cross_fit(features, columns, folds=member, weights=logs.weights)
        else:
            fit = learner_cross_fit(
                self.learner, features, columns, folds=member, weights=logs.weights
            )
        residuals = columns - fit.predicted
        w = np.ones(len(logs)) if logs.weights is None else logs.weights
        spread = w @ (columns - w @ columns / w.sum()) ** 2
        remains = w @ residuals**2
        left = np.divide(remains, spread, out=np.zeros_like(remains), where=spread > 0)
        return PartialledOut(residuals, left)

    def settings(self) -> dict[str, object]:
        """Return the settings as JSON can hold them."""
        learner = "ridge" if self.learner is None else repr(self.learner)
        return {**FittedOnLogs.settings(self), "learner": learner}


def check_confounder_left(left: np.ndarray, names: Sequence[str]) -> Finding:
    """Judge how much of each confounder the text leaves unexplained, ``left (k,)`` (DE201).

    Raises `NotIdentified` when nothing is left: every text then has one value of the confounder.
    """
    least = int(np.argmin(left))
    share, name = float(left[least]), names[least]
    if share < NOTHING:
        raise NotIdentified(
            f"The text features determine {name!r}, so that its effect cannot be told from the "
            "text's (DE201). Leave out the feature that copies it, or use instruments."
        )
    check = Check("DE201", "What the text leaves of the confounders", left=share, confounder=name)
    described = (
        f"the text features leave {min(share, 1.0):.1%} of the variance of {name} unexplained"
    )
    if share >= LITTLE:
        return check.passes(f"At the least, {described}.")
    return check.warns(
        f"Only {share:.1%} of the variance of {name} is left once the text is known. Its effect "
        "rests on that rest, and small errors in predicting it bias the estimate. Use coarser "
        "text features, or instruments."
    )
