"""Predict outcomes of logged and sampled texts by fits that never saw the row they correct."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError
from causalign.evaluate.off_policy_log import OffPolicyLog
from causalign.stats.folds import group_folds
from causalign.stats.ridge_path import ridge_path

__all__ = ["CrossFittedOutcome"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CrossFittedOutcome:
    """Fit ``g(x) = a + x'b`` by ridge on all folds but one, and predict the one left out.

    The penalty is chosen by cross-validation inside the training folds. A sample that answers a
    logged prompt is predicted by the fit that did not see that row; samples of their own by the
    mean of the fits, weighted by the rows that each fit predicts. Rows of a cluster share a fold.

    Assumption: rows of different folds are independent. Doubly robust values need no more; for
    the direct method g must also be right.
    """

    folds: int = 5
    seed: int = 0

    def predict(self, log: OffPolicyLog) -> OffPolicyLog:
        """Return the log with ``predicted`` and ``samples.predicted`` filled in.

        Raises ``InputError`` when vectors of either side are missing.
        """
        samples = log.samples
        if log.features is None or samples is None or samples.features is None:
            raise InputError(
                "An outcome model needs vectors of the logged texts and of texts sampled from the "
                "target: OffPolicyLog(features=..., samples=TargetSamples(features=...))."
            )
        X, T = log.features, samples.features
        groups = len(log) if log.clusters is None else log.clusters
        member = group_folds(groups, self.folds, self.seed)
        predicted, sampled = np.empty(len(log)), np.zeros(len(T))
        for fold in range(self.folds):
            held = member == fold
            slopes, intercept = self._fit(log, ~held)
            predicted[held] = intercept + X[held] @ slopes
            guess = intercept + T @ slopes
            if samples.row is None:
                sampled += held.mean() * guess
            else:
                sampled = np.where(held[samples.row], guess, sampled)
        return replace(log, predicted=predicted, samples=replace(samples, predicted=sampled))

    def _fit(self, log: OffPolicyLog, rows: NDArray[np.bool_]) -> tuple[Floats, float]:
        assert log.features is not None
        clusters = int(rows.sum()) if log.clusters is None else log.clusters[rows]
        inner = group_folds(clusters, self.folds, self.seed)
        path = ridge_path(log.features[rows], log.outcome[rows], folds=inner)
        return path.coefficients[path.best], float(path.intercepts[path.best])
