"""Double machine learning: compare what the text leaves of the outcome and of the confounders."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from causalign.deconfound.effect import ConfounderEffect
from causalign.deconfound.expansion import expand_confounders
from causalign.deconfound.inference import (
    Covariance,
    clusters_for,
    interval_degrees_of_freedom,
    positive_weights,
)
from causalign.deconfound.nuisance import Nuisance, confounder_left, text_features_of
from causalign.deconfound.overlap import categories_seen_once
from causalign.logs import Logs
from causalign.stats.least_squares import ordinary

__all__ = ["DoubleML"]

ASSUMPTION = (
    "among texts with the same features, nothing else moved both the confounders and the outcome, "
    "text and confounders do not interact, and the learner predicts both well enough"
)


@dataclass(frozen=True, slots=True)
class DoubleML:
    """Fit ``y = C b + g(text) + e``, ``C = m(text) + v`` by cross-fitted partialling out.

    ``b = (Σ v_i v_i')⁻¹ Σ v_i u_i`` with ``v = C - m^(text)`` and ``u = y - l^(text)``, each
    predicted for a row by a fit on other folds. Errors of m^ and l^ reach b only as their product,
    so that g may be any function that the learner approaches faster than n^(-1/4). Assumption:
    given the text features the confounders are as good as random, their effect is linear and does
    not depend on the text. Several confounders are partialled out jointly; categories enter as
    dummies.

    ``learner``: a scikit-learn regressor, or None for ridge with the penalty chosen inside the
    training folds, all from one pass over the data. ``folds`` and ``seed`` cut the folds, which
    keep clusters (of two ways the first; else rows of equal text) together. ``covariance`` as in
    the other methods, from the influence function ``J⁻¹ v_i (u_i - v_i b)``, without small-sample
    factor. ``formula`` says what h(C) is made of, as in ``"spline(price, 5) + season * region"``;
    each of its columns is partialled out.

    Equal to DoubleMLPLR of DoubleML with one confounder, the same folds and learners. Reference:
    Robinson (1988); Chernozhukov et al. (2018), arXiv:1608.00060.
    """

    learner: Any = None
    folds: int = 5
    seed: int = 0
    covariance: Covariance = "auto"
    formula: str | None = None

    def __post_init__(self) -> None:
        Nuisance(self.learner, self.folds, self.seed)

    def fit(self, logs: Logs, text_features: np.ndarray | None = None) -> ConfounderEffect:
        """Estimate h(C) with ``text_features (n, p)``, or the columns of the role ``features``.

        Raises `RoleNotDeclared`, `InputError`, and `NotIdentified` naming a confounder that the
        text determines or that the other confounders do.
        """
        logs.require("confounders")
        features, _ = text_features_of(logs, text_features, "double-ml")
        weights = positive_weights(logs)
        h = expand_confounders(logs, self.formula, weights)
        # Each column is predicted with its own penalty, which would hide that two are copies.
        h.require_independent()
        nuisance = Nuisance(self.learner, self.folds, self.seed)
        out = nuisance.partial_out(logs, features, np.column_stack([logs.outcome, h.columns]))
        overlap = confounder_left(out.left[1:], h.names)
        fit = ordinary(
            out.residuals[:, 0],
            out.residuals[:, 1:],
            weights=weights,
            clusters=clusters_for(logs, self.covariance),
            names=h.names,
        )
        linear = h.terms(fit.coefficients, fit.covariance)
        return ConfounderEffect(
            method="double-ml",
            names=linear.names,
            estimates=linear.estimates,
            covariance=linear.covariance,
            terms=linear.terms,
            observations=len(logs),
            outcome=logs.roles.outcome,
            assumption=ASSUMPTION,
            findings=(overlap, categories_seen_once(h.categories)),
            degrees_of_freedom=interval_degrees_of_freedom(fit),
            numbers={
                "text_explains_outcome": float(1 - out.left[0]),
                "text_explains_confounders": float(1 - out.left[1:].min()),
            },
            settings={
                **nuisance.settings(),
                "covariance": self.covariance,
                "formula": self.formula,
            },
        )
