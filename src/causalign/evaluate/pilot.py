"""Prediction-powered inference: texts of the target that were measured, and many predicted."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, NotIdentified
from causalign.evaluate.doubly_robust import predicted_part
from causalign.evaluate.influence import FurtherError
from causalign.evaluate.off_policy_log import OffPolicyLog, PilotTexts
from causalign.evaluate.support_findings import outcome_model, outcome_varies, pilot_size
from causalign.evaluate.value import Estimator, PolicyValue
from causalign.stats.folds import number_clusters
from causalign.stats.ratio_of_means import RatioOfMeans, clustered_error

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pilot(Estimator):
    """The mean outcome of a pilot, sharpened by predictions: prediction-powered inference.

        V = (1/m) sum_j l g(T'_j) + (1/n) sum_i (Y_i - l g(T_i))

    with n texts T of the target whose outcome Y was measured, and m more, T', that are only
    predicted by g. Unbiased whatever g is, as long as g has not seen the pilot's outcomes: g is
    added and taken away. Its weight l makes the variance smallest,

        l = Cov(mean Y, mean g) / (Var mean g + Var mean g'),

    both variances clustered; with independent texts ``Cov(Y, g) / ((1 + n/m) Var g)``. A useless g
    has l near 0, and the pilot is left. The interval counts both samples.

    Assumption: the pilot's texts are drawn from the target, for prompts like those of the samples;
    its clusters are independent.

    Parameters
    ----------
    inference : Inference
        How the interval is made.
    limits : SupportLimits
        Not read: nothing is weighed.

    References
    ----------
    Angelopoulos, Duchi and Zrnic (2023), arXiv:2311.01453.
    """

    name: ClassVar[str] = "pilot"

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value; raise ``InputError`` when the log has no pilot."""
        pilot, n = log.pilot, len(log)
        if pilot is None:
            raise InputError(
                "This estimator needs texts of the target whose outcome was measured: "
                "OffPolicyLog(pilot=PilotTexts(outcome=...))."
            )
        measured = _parts(pilot.outcome, pilot)
        by_row, by_sample = np.zeros(n), np.empty(0)
        tuning, predicted, of_samples = 0.0, np.zeros(len(pilot)), 0.0
        samples = log.samples
        if pilot.predicted is not None and samples is not None and samples.predicted is not None:
            by_row, by_sample = predicted_part(log)
            predicted, of_samples = pilot.predicted, _variance(by_row, by_sample, log)
            tuning = _tune(measured, _parts(predicted, pilot), of_samples)
        corrected = pilot.outcome - tuning * predicted
        parts = _parts(corrected, pilot)
        alone, both = measured @ measured, parts @ parts + tuning**2 * of_samples
        narrower = 1 - float(np.sqrt(both / alone)) if alone > 0 else 0.0
        return self.conclude(
            log,
            RatioOfMeans(
                np.zeros(n), np.ones(n), tuning * by_row + corrected.mean(), tuning * by_sample
            ),
            assumption="The target wrote the pilot's texts, for prompts like those of the samples; "
            "predictions have not seen the pilot's outcomes.",
            findings=(
                outcome_varies(pilot.outcome),
                outcome_model(log, None),
                pilot_size(pilot, tuning, narrower),
            ),
            settings={"tuning": tuning},
            further=(FurtherError(parts, pilot.outcome, len(parts) - 1),),
            numbers={"pilot texts": float(len(pilot)), "pilot clusters": float(len(parts))},
        )


def _parts(values: Floats, pilot: PilotTexts) -> Floats:
    """Return what each cluster does to the mean of ``values (n,)``, squares of which sum to Var."""
    member, count = number_clusters(pilot.clusters, len(pilot))
    if count < 2:
        raise NotIdentified(
            "All texts of the pilot belong to one cluster: nothing tells how far another cluster "
            "would differ. Name a finer cluster, or measure more of them."
        )
    sums = np.bincount(member, weights=values - values.mean(), minlength=count)
    return np.asarray(sums * np.sqrt(count / (count - 1)) / len(pilot))


def _variance(by_row: Floats, by_sample: Floats, log: OffPolicyLog) -> float:
    """Return the variance of the mean prediction of the samples, clustered by row."""
    error, _ = clustered_error(by_row - by_row.mean(), log.clusters)
    own = by_sample.var(ddof=1) / len(by_sample) if len(by_sample) > 1 else 0.0
    return float(error**2 + own)


def _tune(measured: Floats, predicted: Floats, of_samples: float) -> float:
    """Return the weight of the predictions that makes the variance smallest; 0 if they are even."""
    variance = float(predicted @ predicted) + of_samples
    return float(measured @ predicted) / variance if variance > 0 else 0.0
