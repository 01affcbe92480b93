"""Ordinary least squares of the outcome on the confounders: the baseline that should lose."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from causalign.deconfound.effect import ConfounderEffect, linear_effect
from causalign.deconfound.expansion import expand_confounders
from causalign.deconfound.inference import (
    Covariance,
    check_covariance,
    clusters_for,
    positive_weights,
    rows_behind,
)
from causalign.deconfound.method import BlockPlan, FittedOnLogs, refuse_formulas
from causalign.deconfound.rare_categories import categories_seen_once
from causalign.logs import Logs
from causalign.stats.least_squares import ordinary

ASSUMPTION = "the confounders are independent of the text and of all else that moves the outcome"


@dataclass(frozen=True, slots=True)
class OrdinaryLeastSquares(FittedOnLogs[ConfounderEffect]):
    """Regress the outcome on the confounders alone.

    ``y = a + C b + e``. Assumption: the confounders are independent of everything else that moves
    the outcome, the text included. Where text and confounder travel together, b takes the effect
    of the text with it and the subtraction removes what should have been learned: use it to show
    what another method gains. Small-sample factor ``(n - 1)/(n - k) G/(G - 1)``.

    Parameters
    ----------
    covariance : {"auto", "robust", "clustered"}
        ``auto`` clusters standard errors when the logs declare ``cluster`` or ``group``.
    formula : str, optional
        What h(C) is made of, as in ``"spline(price, 5) + season * region"``; without it every
        confounder enters as it is.
    """

    name: ClassVar[str] = "ordinary"
    is_regression: ClassVar[bool] = True

    covariance: Covariance = "auto"
    formula: str | None = None

    def __post_init__(self) -> None:
        check_covariance(self.covariance)

    def _estimate(self, logs: Logs, *_: object) -> ConfounderEffect:
        """Estimate h(C) without the text; raise `NotIdentified` for redundant confounders."""
        weights = positive_weights(logs)
        expansion = expand_confounders(logs, self.formula, weights)
        clusters = clusters_for(logs, self.covariance)
        X = np.column_stack([np.ones(len(logs)), expansion.columns])
        fit = ordinary(
            logs.outcome,
            X,
            weights=weights,
            clusters=clusters,
            correction="min",
            names=("intercept", *expansion.names),
        )
        linear = expansion.terms(fit.coefficients[1:], fit.covariance[1:, 1:])
        return linear_effect(
            self,
            logs,
            linear,
            fit,
            carried=rows_behind(X, fit.bread[1:], linear.contrast, weights, clusters),
            assumption=ASSUMPTION,
            findings=(categories_seen_once(expansion.categories),),
            numbers={"condition": fit.condition},
        )

    def plan_blocks(self) -> BlockPlan:
        """Return how to fit block by block; raise `SettingsError` for a formula."""
        refuse_formulas(self.formula)
        return BlockPlan(ASSUMPTION)
