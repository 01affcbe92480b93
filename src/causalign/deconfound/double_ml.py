"""Double machine learning: compare what the text leaves of the outcome and of the confounders."""

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
from causalign.deconfound.method import TextFeatures
from causalign.deconfound.nuisance import PartialledOutTexts, check_confounder_left
from causalign.deconfound.rare_categories import categories_seen_once
from causalign.logs import Logs
from causalign.stats.least_squares import ordinary

ASSUMPTION = (
    "among texts with the same features, nothing else moved both the confounders and the outcome, "
    "text and confounders do not interact, and the learner predicts both well enough"
)


@dataclass(frozen=True, slots=True)
class DoubleML(PartialledOutTexts):
    """Fit ``y = C b + g(text) + e``, ``C = m(text) + v`` by cross-fitted partialling out.

    ``b = (Σ v_i v_i')⁻¹ Σ v_i u_i`` with ``v = C - m^(text)`` and ``u = y - l^(text)``, each
    predicted for a row by a fit on other folds. Errors of m^ and l^ reach b only as their product,
    so that g may be any function that the learner approaches faster than n^(-1/4). Assumption:
    given the text features the confounders are as good as random, their effect is linear and does
    not depend on the text. Several confounders are partialled out jointly; categories enter as
    dummies.

    Equal to DoubleMLPLR of DoubleML with one confounder, the same folds and learners.

    Parameters
    ----------
    learner : regressor of scikit-learn, optional
        Without one, ridge with the penalty chosen inside the training folds, all from one pass
        over the data.
    folds, seed : int
        How the folds are cut, which keep clusters (of two ways the first; else rows of equal text)
        together.
    covariance : {"auto", "robust", "clustered"}
        From the influence function ``J⁻¹ v_i (u_i - v_i b)``, without small-sample factor.
    formula : str, optional
        What h(C) is made of, as in ``"spline(price, 5) + season * region"``; each of its columns
        is partialled out.

    References
    ----------
    Robinson (1988); Chernozhukov et al. (2018), arXiv:1608.00060.
    """

    name: ClassVar[str] = "double-ml"
    is_regression: ClassVar[bool] = True

    covariance: Covariance = "auto"
    formula: str | None = None

    def __post_init__(self) -> None:
        PartialledOutTexts.__post_init__(self)
        check_covariance(self.covariance)

    def _estimate(self, logs: Logs, features: TextFeatures) -> ConfounderEffect:
        """Estimate h(C) from what the text leaves of the confounders.

        Raises `NotIdentified` naming a confounder that the text or the other confounders determine.
        """
        weights = positive_weights(logs)
        h = expand_confounders(logs, self.formula, weights)
        # Each column is predicted with its own penalty, which would hide that two are copies.
        h.require_independent()
        out = self._partial_out(logs, features.columns, np.column_stack([logs.outcome, h.columns]))
        overlap = check_confounder_left(out.left[1:], h.names)
        u, v = out.residuals[:, 0], out.residuals[:, 1:]
        clusters = clusters_for(logs, self.covariance)
        fit = ordinary(u, v, weights=weights, clusters=clusters, names=h.names)
        linear = h.terms(fit.coefficients, fit.covariance, fit.repaired)
        return linear_effect(
            self,
            logs,
            linear,
            fit,
            carried=rows_behind(v, fit.bread, h.contrast, weights, clusters),
            assumption=ASSUMPTION,
            findings=(overlap, categories_seen_once(h.categories)),
            numbers={
                "text_explains_outcome": float(1 - out.left[0]),
                "text_explains_confounders": float(1 - out.left[1:].min()),
            },
        )
