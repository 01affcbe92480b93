"""Fit a reward to outcomes by ridge regression on vectors of the texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from causalign.reward.findings import no_signal, penalty_at_edge
from causalign.reward.fitted import RewardFit, path_table
from causalign.reward.head import LinearHead
from causalign.reward.selection import Choice, PenaltyRule, check_rule, choose_from_path
from causalign.stats.folds import group_folds
from causalign.stats.penalties import check_penalties
from causalign.stats.ridge_path import RidgePath, ridge_path

__all__ = ["RidgeReward"]

_ASSUMPTION = (
    "The outcome given the text is linear in the features; it is the effect of the text only as "
    "far as the outcome was deconfounded or the texts were randomised."
)


@dataclass(frozen=True, slots=True)
class RidgeReward:
    """Fit ``r(x) = a + x'b`` by least squares with penalty ``λ‖b‖²``, λ by cross-validation.

    ``penalties`` are the λ to try (default: 33 scaled to the data); ``choose`` takes the one with
    the smallest cross-validated error ("minimum"), the largest within one standard error of it
    ("one-standard-error"), or the one that best ranks unseen rows of equal conditions ("ranking"),
    which stays right when the outcome is still confounded.

    Assumption: the outcome, deconfounded, is the effect of the text plus noise independent of it.

    Raises ``SettingsError`` for settings out of range. Reference: Hoerl and Kennard (1970),
    Technometrics 12; used as a causal reward by arXiv 2506.00152.
    """

    penalties: Sequence[float] | None = None
    folds: int = 5
    choose: PenaltyRule = "minimum"
    seed: int = 0

    name: ClassVar[str] = "ridge"

    def __post_init__(self) -> None:
        check_rule(self.choose)
        if self.penalties is not None:
            check_penalties(self.penalties)

    def fit(
        self,
        features: ArrayLike,
        outcome: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        environment: ArrayLike | None = None,
    ) -> RewardFit:
        """Fit on features ``(n, d)`` and outcome ``(n,)``; rows of a group share a fold.

        Put into one group what must not be in training and validation at once: the same text,
        test or user. ``environment`` ``(n,)`` says which rows had equal conditions (the same week,
        the same place); only ``choose="ranking"`` reads it. Raises ``InputError`` if shapes or
        values do not fit, ``NotIdentified`` if the features do not vary, or no rows of one
        environment can be ranked.
        """
        X = np.asarray(features, dtype=np.float64)
        cut = group_folds(len(X) if groups is None else groups, self.folds, self.seed)
        path = ridge_path(X, outcome, folds=cut, penalties=self.penalties, weights=weights)
        choice = choose_from_path(path, X, outcome, self.choose, environment)
        return _result(X, path, choice)


def _result(X: np.ndarray, path: RidgePath, choice: Choice) -> RewardFit:
    index, best = choice.index, choice.index == path.best
    r2 = 1 - float(path.cv_error[index]) / path.null_error if path.null_error > 0 else 0.0
    table = path_table(path.penalties, path.cv_error, path.cv_standard_error, index)
    if choice.ranking is not None:
        table = table.append_column("rank_correlation", [choice.ranking])
    return RewardFit(
        method=RidgeReward.name,
        head=LinearHead(path.coefficients[index], float(path.intercepts[index])),
        penalty=float(path.penalties[index]),
        path=table,
        error_name="mean squared error",
        units="units of the outcome",
        assumption=_ASSUMPTION,
        out_of_fold=path.out_of_fold if best else path.out_of_fold_at(X, index),
        numbers={
            "rows": float(len(X)),
            "features": float(X.shape[1]),
            "penalty": float(path.penalties[index]),
            "best_penalty": float(path.penalties[path.best]),
            "cv_error": float(path.cv_error[index]),
            "cv_r2": r2,
        },
        findings=(
            penalty_at_edge(path.penalties, choice.optimum),
            no_signal(r2, "the share of variance explained (R²)"),
        ),
    )
