"""Ordinary least squares of the outcome on the confounders: the baseline that should lose."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from causalign.deconfound.effect import ConfounderEffect, linear_effect
from causalign.deconfound.expansion import Expansion, expand_confounders
from causalign.deconfound.inference import (
    Covariance,
    check_covariance,
    clusters_for,
    positive_weights,
    rows_behind,
)
from causalign.deconfound.levels import (
    absorb_categories,
    absorbed_terms,
    is_connected,
    rows_behind_levels,
)
from causalign.deconfound.method import BlockPlan, FittedOnLogs, refuse_formulas
from causalign.deconfound.rare_categories import categories_seen_once
from causalign.deconfound.streamed import fit_scan
from causalign.deconfound.terms import LinearTerms
from causalign.errors import NotIdentified
from causalign.lm.encoder import Encoder
from causalign.logs import Logs, LogScan
from causalign.stats.least_squares import LinearFit, ordinary

ASSUMPTION = "the confounders are independent of the text and of all else that moves the outcome"
# Where indicators would be more numbers than these (128 MiB of them), categories are absorbed.
MOST_INDICATORS = 2**24


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
    reads_scans: ClassVar[bool] = True

    covariance: Covariance = "auto"
    formula: str | None = None

    def __post_init__(self) -> None:
        check_covariance(self.covariance)

    def _estimate(self, logs: Logs, *_: object) -> ConfounderEffect:
        """Estimate h(C) without the text; raise `NotIdentified` for redundant confounders."""
        weights = positive_weights(logs)
        h = expand_confounders(logs, self.formula, weights)
        if len(logs) * len(h.names) > MOST_INDICATORS and any(part.category for part in h.parts):
            return self._absorb(logs, h, weights)
        clusters, columns = clusters_for(logs, self.covariance), h.columns
        X = np.column_stack([np.ones(len(logs)), columns])
        fit = ordinary(
            logs.outcome,
            X,
            weights=weights,
            clusters=clusters,
            correction="min",
            rounding=np.concatenate([[0.0], h.rounding_of(h.parts, columns)]),
            names=("intercept", *h.names),
        )
        linear = h.terms(fit.coefficients[1:], fit.covariance[1:, 1:], fit.repaired[1:])
        carried = rows_behind(X, fit.bread[1:], h.contrast, weights, clusters)
        return self._effect(logs, linear, fit, carried)

    def _absorb(self, logs: Logs, h: Expansion, weights: np.ndarray) -> ConfounderEffect:
        """Estimate h(C) where indicators of the categories would be too large a matrix."""
        design = absorb_categories(logs, h, weights, self.covariance)
        if not is_connected(design.absorber):
            names = ", ".join(category.label for category in design.absorbed)
            raise NotIdentified(
                f"The categories of {names} fall apart into groups that share no row, so that "
                "their effects cannot be told apart. Leave one column out, or merge categories."
            )
        nothing = np.zeros((len(design.y), 0))
        fit = design.fit(nothing, np.zeros(0), ())
        linear = absorbed_terms(design, design.columns, fit)
        carried = rows_behind_levels(design, design.columns, fit)
        return self._effect(logs, linear, fit, carried)

    def _effect(
        self, logs: Logs, linear: LinearTerms, fit: LinearFit, carried: np.ndarray
    ) -> ConfounderEffect:
        return linear_effect(
            self,
            logs,
            linear,
            fit,
            carried=carried,
            assumption=ASSUMPTION,
            findings=(categories_seen_once(linear.categories),),
            numbers={"condition": fit.condition},
        )

    def _estimate_scan(self, scan: LogScan, encoder: str | Encoder | None) -> ConfounderEffect:
        """Fit batch by batch; raise `SettingsError` for what needs all rows at once."""
        refuse_formulas(self.formula)
        return fit_scan(self, BlockPlan(ASSUMPTION, scan.roles.confounders), scan, encoder)
