"""Ordinary least squares of the outcome on the confounders: the baseline that should lose."""

from dataclasses import asdict, dataclass

import numpy as np

from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.expansion import expand_confounders
from causalign.deconfound.inference import (
    Covariance,
    clusters_for,
    interval_degrees_of_freedom,
    positive_weights,
)
from causalign.deconfound.overlap import categories_seen_once
from causalign.logs import Logs
from causalign.stats.least_squares import ordinary

__all__ = ["OrdinaryLeastSquares"]

ASSUMPTION = "the confounders are independent of the text and of all else that moves the outcome"


@dataclass(frozen=True, slots=True)
class OrdinaryLeastSquares:
    """Regress the outcome on the confounders alone.

    ``y = a + C b + e``. Assumption: the confounders are independent of everything else that moves
    the outcome, the text included. Where text and confounder travel together, b takes the effect
    of the text with it and the subtraction removes what should have been learned: use it to show
    what another method gains.

    ``covariance``: ``auto`` clusters standard errors when the logs declare ``cluster`` or
    ``group``; ``robust``; ``clustered``. Small-sample factor ``(n - 1)/(n - k) G/(G - 1)``.
    ``formula`` says what h(C) is made of, as in ``"spline(price, 5) + season * region"``; without
    it every confounder enters as it is.
    """

    covariance: Covariance = "auto"
    formula: str | None = None

    def fit(self, logs: Logs, text_features: np.ndarray | None = None) -> ConfounderEffect:
        """Estimate h(C) from logs with the role ``confounders``; ``text_features`` is not used.

        Raises `RoleNotDeclared`, `SettingsError` for a formula that does not fit and, naming the
        column, `NotIdentified` for redundant confounders.
        """
        del text_features
        logs.require("confounders")
        weights = positive_weights(logs)
        expansion = expand_confounders(logs, self.formula, weights)
        fit = ordinary(
            logs.outcome,
            np.column_stack([np.ones(len(logs)), expansion.columns]),
            weights=weights,
            clusters=clusters_for(logs, self.covariance),
            correction="min",
            names=("intercept", *expansion.names),
        )
        linear = expansion.terms(fit.coefficients[1:], fit.covariance[1:, 1:])
        return ConfounderEffect(
            method="ordinary",
            names=linear.names,
            estimates=linear.estimates,
            covariance=linear.covariance,
            terms=linear.terms,
            observations=len(logs),
            outcome=logs.roles.outcome,
            assumption=ASSUMPTION,
            findings=(categories_seen_once(expansion.categories),),
            degrees_of_freedom=interval_degrees_of_freedom(fit),
            numbers={"condition": fit.condition},
            settings=asdict(self),
        )
