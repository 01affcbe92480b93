"""Predict outcomes of logged and sampled texts by fits that never saw the row they correct."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from causalign.evaluate.off_policy_log import OffPolicyLog
from causalign.settings import require_number
from causalign.stats.folds import group_folds
from causalign.stats.ridge_path import ridge_path

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CrossFittedOutcome:
    """A cross-fitted outcome model: ridge ``g(x) = a + x'b`` on all folds but the one predicted.

    The penalty is chosen by cross-validation inside the training folds. A sample that answers a
    logged prompt is predicted by the fit that did not see that row; samples of their own by the
    mean of the fits, weighted by the rows that each fit predicts. Rows of a cluster share a fold.

    Assumption: rows of different folds are independent. Doubly robust values need no more; for
    the direct method g must also be right.

    Parameters
    ----------
    folds : int
        Number of folds.
    seed : int
        Seed of the folds.

    Raises
    ------
    SettingsError
        For fewer than two folds, or a negative seed.
    """

    folds: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        require_number("folds", self.folds, least=2, whole=True)
        require_number("seed", self.seed, least=0, whole=True)

    def predict(self, log: OffPolicyLog) -> OffPolicyLog:
        """Return the log with ``predicted`` and ``samples.predicted`` filled in.

        Parameters
        ----------
        log : OffPolicyLog
            With vectors of logged texts and of samples.

        Returns
        -------
        OffPolicyLog

        Raises
        ------
        InputError
            When vectors of logged texts or of samples are missing.
        """
        (X, T), samples = log.vectors, log.samples
        assert samples is not None  # they have vectors
        groups = len(log) if log.clusters is None else log.clusters
        member = group_folds(groups, self.folds, self.seed)
        predicted, sampled = np.empty(len(log)), np.zeros(len(T))
        for fold in range(self.folds):
            left_out = member == fold
            slopes, intercept = self._fit(log, ~left_out)
            predicted[left_out] = intercept + X[left_out] @ slopes
            guess = intercept + T @ slopes
            if samples.row is None:
                sampled += left_out.mean() * guess
            else:
                sampled = np.where(left_out[samples.row], guess, sampled)
        return replace(log, predicted=predicted, samples=replace(samples, predicted=sampled))

    def _fit(self, log: OffPolicyLog, rows: NDArray[np.bool_]) -> tuple[Floats, float]:
        assert log.features is not None
        clusters = int(rows.sum()) if log.clusters is None else log.clusters[rows]
        inner = group_folds(clusters, self.folds, self.seed)
        path = ridge_path(log.features[rows], log.outcome[rows], folds=inner)
        return path.coefficients[path.best], float(path.intercepts[path.best])
