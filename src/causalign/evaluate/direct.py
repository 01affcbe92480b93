"""The direct method: average what an outcome model predicts for texts of the target."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError
from causalign.evaluate.limits import SupportLimits
from causalign.evaluate.off_policy_log import OffPolicyLog
from causalign.evaluate.support_findings import (
    enough_clusters,
    model_error,
    outcome_model,
    outcome_varies,
    support,
)
from causalign.evaluate.value import Inference, PolicyValue, concluded
from causalign.results import Finding
from causalign.stats.importance_weights import diagnosed
from causalign.stats.ratio_of_means import RatioOfMeans, clustered_error

__all__ = ["Direct", "predicted_part", "shared_findings"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Direct:
    """Estimate ``V = (1/m) sum_j g(T_j)`` over texts ``T_j`` sampled from the target.

    With several samples for each logged prompt, their mean for each row is averaged over rows.
    Needs ``samples.predicted``; no weights, hence little variance, and all of the model's bias.
    There is no interval: the error of the model, its shrinkage above all, is not in the data that
    this estimator reads, and an interval for the sampling alone would be far too narrow (EV210).

    Assumption: the outcome model g is right about the target's texts.
    """

    inference: Inference = field(default_factory=Inference)
    limits: SupportLimits = field(default_factory=SupportLimits)

    name: ClassVar[str] = "direct"

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value; raise ``InputError`` when the log has no predictions for samples."""
        added, sampled = predicted_part(log)
        weighted = log.target_logprob is not None
        found = diagnosed(log.log_weights, log.clusters) if weighted else None
        n = len(log)
        return concluded(
            self.name,
            log,
            RatioOfMeans(np.zeros(n), np.ones(n), added, sampled),
            self.inference,
            assumption="The outcome model is right about the texts that the target writes.",
            findings=(
                *shared_findings(log, self.limits),
                outcome_model(log, found),
                model_error(),
            ),
            weights=found,
            interval=False,
        )


def predicted_part(log: OffPolicyLog) -> tuple[Floats, Floats]:
    """Return what predictions for the target's texts add: by row ``(n,)``, by sample ``(m,)``."""
    samples, n = log.samples, len(log)
    if samples is None or samples.predicted is None:
        raise InputError(
            "This estimator needs an outcome model's predictions for texts sampled from the "
            "target: OffPolicyLog(samples=TargetSamples(predicted=...))."
        )
    if samples.row is None:
        return np.zeros(n), samples.predicted
    count = np.bincount(samples.row, minlength=n)
    if (count == 0).any():
        raise InputError(
            f"Row {int(count.argmin())} of the log has no sample from the target. Sample at least "
            "one text for each logged prompt, or leave the row out."
        )
    return np.bincount(samples.row, weights=samples.predicted, minlength=n) / count, np.empty(0)


def shared_findings(log: OffPolicyLog, limits: SupportLimits) -> tuple[Finding, ...]:
    """Return the findings that matter to every estimator: support, outcomes, clusters."""
    _, clusters = clustered_error(np.zeros(len(log)), log.clusters)
    return support(log, limits), outcome_varies(log), enough_clusters(clusters)
