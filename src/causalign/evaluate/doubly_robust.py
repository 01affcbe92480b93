"""Estimators with an outcome model: predict, and correct where the log allows it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from causalign.checks.weights import effective_rows
from causalign.errors import InputError
from causalign.evaluate.influence import FurtherError
from causalign.evaluate.off_policy_log import OffPolicyLog
from causalign.evaluate.support_findings import (
    mass_cut,
    model_error,
    outcome_model,
    shared_findings,
    weight_findings,
)
from causalign.evaluate.value import Estimator, PolicyValue
from causalign.evaluate.weighting import check_largest
from causalign.results import Finding
from causalign.settings import require_choice, require_number
from causalign.stats.importance_weights import (
    at_most,
    clip_weights,
    diagnose_weights,
    exponentiate_weights,
    normalise_weights,
)
from causalign.stats.ratio_of_means import RatioOfMeans

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Direct(Estimator):
    """The mean prediction of an outcome model, ``V = (1/m) sum_j g(T_j)``, ``T_j`` of the target.

    With several samples for each logged prompt, their mean for each row is averaged over rows.
    Needs ``samples.predicted``; no weights, hence little variance, and all of the model's bias.

    With ``samples.covariance_factor`` F, which a linear reward tells, there is an interval:

        Var V = Var of the mean over texts + |f|^2 + s^2 + bias^2,   f the mean of F over texts,

    the sampling of texts (clustered by row), the noise and the shrinkage of the model's
    coefficients, which more texts do not average out, and what else may be wrong. F counts the
    shrinkage as coefficients about zero, as the penalty expects them, lose it on average; a target
    that is better for reasons of its own lies where the model lost more, s, the mean of
    ``samples.shrinkage``. Without F there is no interval: sampling alone would be far too narrow
    (EV210).

    Assumption: the outcome model g is right about the target's texts, but for its coefficients'
    error and a bias of the size that is given.

    Parameters
    ----------
    inference : Inference
        How the interval is made.
    limits : SupportLimits
        Beyond which a value is refused.
    bias : float
        Standard deviation of the model's further error in the *mean* over the target's texts, in
        units of the outcome: confounding that is left, features that miss what matters. The ω of
        `bias_of_log` is that of a difference between two texts; as biases of many texts average
        out in part, it is an upper bound here.
    chosen_by_model : bool
        The target was tuned on this very model, or takes the texts that it rates best. Then the
        texts are also those where the model was lucky, which makes up for what it shrank, and s is
        not counted.
    """

    bias: float = 0.0
    chosen_by_model: bool = False
    name: ClassVar[str] = "direct"

    def __post_init__(self) -> None:
        Estimator.__post_init__(self)
        require_number("bias", self.bias, least=0)
        require_choice("chosen_by_model", self.chosen_by_model, (True, False))

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value; raise ``InputError`` when the log has no predictions for samples."""
        by_row, by_sample = predicted_part(log)
        weights = None
        if log.target_logprob is not None:
            weights = diagnose_weights(log.log_weights, log.clusters)
        n = len(log)
        of_coefficients = _coefficient_error(log, along=not self.chosen_by_model)
        known = of_coefficients is not None
        further = () if of_coefficients is None else (of_coefficients,)
        if self.bias > 0:
            further = (*further, FurtherError(np.array([self.bias])))
        error = None if of_coefficients is None else float(np.sqrt(of_coefficients.variance))
        return self.conclude(
            log,
            RatioOfMeans(np.zeros(n), np.ones(n), by_row, by_sample),
            assumption="The outcome model is right about the texts that the target writes.",
            findings=(
                *shared_findings(log, self.limits),
                outcome_model(log, weights),
                model_error(error, self.bias),
            ),
            weights=weights,
            settings={"bias": self.bias, "chosen_by_model": self.chosen_by_model},
            interval=known,
            further=further,
            numbers={} if error is None else {"error of coefficients": error},
        )


def _coefficient_error(log: OffPolicyLog, *, along: bool) -> FurtherError | None:
    """Return the error of the mean prediction that the model's coefficients make, if known.

    Counts what was shrunk ``along`` the model itself, if asked to.
    """
    samples = log.samples
    if samples is None or samples.covariance_factor is None:
        return None
    share = np.full(len(samples), 1 / len(samples))
    if samples.row is not None:
        share = 1 / np.bincount(samples.row)[samples.row] / len(log)
    # The same predictions of logged texts are the same coefficients: a difference shares them.
    parts = share @ samples.covariance_factor
    if along and samples.shrinkage is not None:
        parts = np.append(parts, share @ samples.shrinkage)
    return FurtherError(parts, log.predicted)


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


@dataclass(frozen=True, slots=True)
class DoublyRobust(Estimator):
    """The doubly robust estimator, ``V = (1/n) sum_i w_i (Y_i - g(T_i)) + (1/m) sum_j g(T_j)``.

    Unbiased when the logging probabilities are right **or** the outcome model g is. A good g also
    removes variance; many samples (m much above n) remove that of the second mean.

    Assumption: one of the two is right; the predictions ``log.predicted`` are cross-fitted, else
    g repeats the noise of its own rows and the correction vanishes.

    Parameters
    ----------
    inference : Inference
        How the interval is made.
    limits : SupportLimits
        Beyond which a value is refused.
    normalise : bool
        Divide the correction by ``sum_i w_i`` instead of n.

    References
    ----------
    Dudik, Langford and Li (2011), arXiv:1103.4601; arXiv:2402.14979, "DR-CPO".
    """

    normalise: bool = False
    name: ClassVar[str] = "doubly-robust"

    def __post_init__(self) -> None:
        Estimator.__post_init__(self)
        require_choice("normalise", self.normalise, (True, False))

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value; raise ``InputError`` when predictions or log-probabilities lack."""
        by_row, by_sample = predicted_part(log)
        weights = diagnose_weights(log.log_weights, log.clusters)
        w = (normalise_weights if self.normalise else exponentiate_weights)(log.log_weights)
        below = w if self.normalise else np.ones(len(log))
        return self.conclude(
            log,
            RatioOfMeans(w * _residuals(log), below, by_row, by_sample),
            assumption="The logging probabilities are right, or the outcome model is; the log has "
            "texts wherever the target has; the model did not see the rows that it predicts.",
            findings=(*weight_findings(log, weights, self.limits), outcome_model(log, weights)),
            weights=weights,
            settings={"normalise": self.normalise},
        )


@dataclass(frozen=True, slots=True)
class Switch(Estimator):
    """The switch estimator: correct predictions only where the weight is at most ``largest``.

    ``V = (1/n) sum_i 1(w_i <= M) w_i (Y_i - g(T_i)) + (1/m) sum_j g(T_j)``: where the target
    writes what the log hardly holds, the outcome model stands alone. Bounded variance; the bias is
    the model's on texts with larger weights (EV206 says how much of the target they are). Refused
    where few rows correct (EV201); where next to none of the target is corrected the value is that
    of `Direct`, without an interval (EV210).

    Assumption: the logging probabilities are right, and the outcome model is right on texts whose
    weight is above M.

    Parameters
    ----------
    inference : Inference
        How the interval is made.
    limits : SupportLimits
        Beyond which a value is refused.
    largest : float, optional
        M, the largest weight that corrects; ``sqrt(n)`` when None.

    References
    ----------
    Wang, Agarwal and Dudik (2017), arXiv:1612.01205.
    """

    largest: float | None = None
    name: ClassVar[str] = "switch"

    def __post_init__(self) -> None:
        Estimator.__post_init__(self)
        check_largest(self.largest)

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value; raise ``InputError`` when predictions or log-probabilities lack."""
        by_row, by_sample = predicted_part(log)
        largest = float(np.sqrt(len(log))) if self.largest is None else float(self.largest)
        weights = diagnose_weights(log.log_weights, log.clusters)
        near = at_most(log.log_weights, largest)
        w = np.where(near, np.exp(clip_weights(log.log_weights, largest)), 0.0)
        corrects = float(w.mean()) > self.limits.cut
        correction: tuple[Finding, ...] = (model_error(),)
        if corrects:
            used = diagnose_weights(np.where(near, log.log_weights, -np.inf), log.clusters)
            correction = (effective_rows(used, self.limits),)
        return self.conclude(
            log,
            RatioOfMeans(w * _residuals(log), np.ones(len(log)), by_row, by_sample),
            assumption="The logging probabilities are right, and so is the outcome model on texts "
            f"whose weight is above {largest:.3g}.",
            findings=(
                mass_cut(log, w, largest, self.limits, model=True),
                *shared_findings(log, self.limits),
                outcome_model(log, weights),
                *correction,
            ),
            weights=weights,
            settings={"largest": largest},
            interval=corrects,
        )


def _residuals(log: OffPolicyLog) -> Floats:
    """Return outcomes less predictions by fits that did not see them, ``(n,)``."""
    if log.predicted is None:
        raise InputError(
            "This estimator needs predictions for the logged texts too, by fits that did not see "
            "them: OffPolicyLog(predicted=...). CrossFittedOutcome makes both."
        )
    return log.outcome - log.predicted
