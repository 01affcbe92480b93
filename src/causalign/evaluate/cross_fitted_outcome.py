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
        """Return the log with predictions of all its texts, and how uncertain those of samples are.

        Parameters
        ----------
        log : OffPolicyLog
            With vectors of logged texts and of samples, and of a pilot if it is to be predicted.

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
        pilot = log.pilot
        measured = None if pilot is None else pilot.features
        of_pilot = np.zeros(0 if measured is None else len(measured))
        for fold in range(self.folds):
            left_out = member == fold
            slopes, intercept = self._fit(log, ~left_out)
            predicted[left_out] = intercept + X[left_out] @ slopes
            guess = intercept + T @ slopes
            if measured is not None:
                of_pilot += left_out.mean() * (intercept + measured @ slopes)
            if samples.row is None:
                sampled += left_out.mean() * guess
            else:
                sampled = np.where(left_out[samples.row], guess, sampled)
        factor = self._factor(log, T)
        # Each fit saw fewer rows than all, so that its penalty shrank more.
        more = self.folds / (self.folds - 1)
        samples = replace(
            samples,
            predicted=sampled,
            covariance_factor=factor[:, :-1],
            shrinkage=more * factor[:, -1],
        )
        if pilot is not None and measured is not None:
            pilot = replace(pilot, predicted=of_pilot)
        return replace(log, predicted=predicted, samples=samples, pilot=pilot)

    def _factor(self, log: OffPolicyLog, sampled: Floats) -> Floats:
        """Return F and what was shrunk, by a fit on all rows: the fits' mean has its noise."""
        X, _ = log.vectors
        groups = np.arange(len(log)) if log.clusters is None else log.clusters
        path = ridge_path(X, log.outcome, folds=group_folds(groups, self.folds, self.seed))
        factor = path.covariance_factor(X, log.outcome, path.best, groups=log.clusters)
        return np.asarray(factor[0] + sampled @ factor[1:])

    def _fit(self, log: OffPolicyLog, rows: NDArray[np.bool_]) -> tuple[Floats, float]:
        assert log.features is not None
        clusters = int(rows.sum()) if log.clusters is None else log.clusters[rows]
        inner = group_folds(clusters, self.folds, self.seed)
        path = ridge_path(log.features[rows], log.outcome[rows], folds=inner)
        return path.coefficients[path.best], float(path.intercepts[path.best])
