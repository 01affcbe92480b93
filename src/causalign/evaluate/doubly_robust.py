"""Doubly robust estimators: predict, and correct the prediction where the log allows it."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from causalign.errors import InputError, SettingsError
from causalign.evaluate.direct import predicted_part, shared_findings
from causalign.evaluate.limits import SupportLimits
from causalign.evaluate.off_policy_log import OffPolicyLog
from causalign.evaluate.support_findings import mass_cut, outcome_model
from causalign.evaluate.value import Inference, PolicyValue, concluded
from causalign.evaluate.weighting import weight_findings
from causalign.stats.importance_weights import diagnosed, exponentiated, self_normalised
from causalign.stats.ratio_of_means import RatioOfMeans

__all__ = ["DoublyRobust", "Switch"]

_PREDICTIONS = (
    "This estimator needs predictions for the logged texts too, by fits that did not see them: "
    "OffPolicyLog(predicted=...). CrossFittedOutcome makes both."
)


@dataclass(frozen=True, slots=True)
class DoublyRobust:
    """Estimate ``V = (1/n) sum_i w_i (Y_i - g(T_i)) + (1/m) sum_j g(T_j)``.

    Unbiased when the logging probabilities are right **or** the outcome model g is. A good g also
    removes variance; many samples (m much above n) remove that of the second mean.
    ``normalise`` divides the correction by ``sum_i w_i`` instead of n.

    Assumption: one of the two is right; the predictions ``log.predicted`` are cross-fitted, else
    g repeats the noise of its own rows and the correction vanishes. Reference: Dudik, Langford
    and Li (2011), arXiv:1103.4601; arXiv:2402.14979, "DR-CPO".
    """

    normalise: bool = False
    inference: Inference = field(default_factory=Inference)
    limits: SupportLimits = field(default_factory=SupportLimits)

    name: ClassVar[str] = "doubly-robust"

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value; raise ``InputError`` when predictions or log-probabilities lack."""
        added, sampled = predicted_part(log)
        if log.predicted is None:
            raise InputError(_PREDICTIONS)
        found = diagnosed(log.log_weights, log.clusters)
        w = (self_normalised if self.normalise else exponentiated)(log.log_weights)
        below = w if self.normalise else np.ones(len(log))
        return concluded(
            self.name,
            log,
            RatioOfMeans(w * (log.outcome - log.predicted), below, added, sampled),
            self.inference,
            assumption="The logging probabilities are right, or the outcome model is; the log has "
            "texts wherever the target has; the model did not see the rows that it predicts.",
            findings=(*weight_findings(log, found, self.limits), outcome_model(log, found)),
            weights=found,
            settings={"normalise": self.normalise},
        )


@dataclass(frozen=True, slots=True)
class Switch:
    """Correct predictions only where the weight is at most ``largest`` (default sqrt n).

    ``V = (1/n) sum_i 1(w_i <= M) w_i (Y_i - g(T_i)) + (1/m) sum_j g(T_j)``: where the target
    writes what the log hardly holds, the outcome model stands alone. Bounded variance; the bias is
    the model's on texts with larger weights (EV206 says how much of the target they are).

    Assumption: the logging probabilities are right, and the outcome model is right on texts whose
    weight is above M. Reference: Wang, Agarwal and Dudik (2017), arXiv:1612.01205.
    """

    largest: float | None = None
    inference: Inference = field(default_factory=Inference)
    limits: SupportLimits = field(default_factory=SupportLimits)

    name: ClassVar[str] = "switch"

    def __post_init__(self) -> None:
        if self.largest is not None and not self.largest > 0:
            raise SettingsError(f"largest must be above 0; found {self.largest}.")

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value; raise ``InputError`` when predictions or log-probabilities lack."""
        added, sampled = predicted_part(log)
        if log.predicted is None:
            raise InputError(_PREDICTIONS)
        largest = float(np.sqrt(len(log))) if self.largest is None else self.largest
        found = diagnosed(log.log_weights, log.clusters)
        near = log.log_weights <= np.log(largest)
        w = np.where(near, np.exp(np.minimum(log.log_weights, np.log(largest))), 0.0)
        return concluded(
            self.name,
            log,
            RatioOfMeans(w * (log.outcome - log.predicted), np.ones(len(log)), added, sampled),
            self.inference,
            assumption="The logging probabilities are right, and so is the outcome model on texts "
            f"whose weight is above {largest:.3g}.",
            findings=(
                mass_cut(log, w, largest, self.limits, model=True),
                *shared_findings(log, self.limits),
                outcome_model(log, found),
            ),
            weights=found,
            settings={"largest": largest},
        )
