"""Importance weighting: logged outcomes, weighted by how much likelier the target is to write."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from causalign.checks.weights import effective_rows
from causalign.errors import SettingsError
from causalign.evaluate.off_policy_log import OffPolicyLog
from causalign.evaluate.support_findings import (
    mass_cut,
    shared_findings,
    typicality,
    weight_findings,
)
from causalign.evaluate.value import Estimator, PolicyValue
from causalign.results import Finding
from causalign.settings import require_number
from causalign.stats.importance_weights import (
    clip_weights,
    diagnose_weights,
    exponentiate_weights,
    normalise_weights,
)
from causalign.stats.ratio_of_means import RatioOfMeans, value_bounds

Floats = NDArray[np.float64]

_ASSUMPTION = (
    "The logging probabilities are those that wrote the log, the log has texts wherever the target "
    "has, and nothing unrecorded chose the text and moved the outcome."
)


@dataclass(frozen=True, slots=True)
class ImportanceWeighting(Estimator):
    """Importance weighting, ``V = (1/n) sum_i w_i Y_i``, ``w = pi(T|X) / pi0(T|X)``.

    Unbiased. The variance grows with that of the weights, which for long texts explodes.

    Assumption: logging probabilities are right and positive wherever the target's are.

    Parameters
    ----------
    inference : Inference
        How the interval is made.
    limits : SupportLimits
        Beyond which a value is refused.

    References
    ----------
    Horvitz and Thompson (1952); as a training objective arXiv:2402.14979, "CPO".
    """

    name: ClassVar[str] = "importance"

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value; raise ``InputError`` when the log has no log-probabilities."""
        w = exponentiate_weights(log.log_weights)
        return _weighted_average(self, log, w, np.ones(len(log)))


@dataclass(frozen=True, slots=True)
class SelfNormalised(Estimator):
    """Self-normalised weighting, ``V = sum_i w_i Y_i / sum_i w_i``: always an average of outcomes.

    Biased by order 1/n; it cannot leave the range of the outcomes, does not change when a
    constant is added to them, and needs log-probabilities only up to a constant (then EV203
    fails, and ``limits`` must allow it). The sums run over the whole log, never over a batch.

    Assumption: as :class:`ImportanceWeighting`.

    Parameters
    ----------
    inference : Inference
        How the interval is made.
    limits : SupportLimits
        Beyond which a value is refused.

    References
    ----------
    Swaminathan and Joachims (2015).
    """

    name: ClassVar[str] = "self-normalised"

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value; raise ``InputError`` when the log has no log-probabilities."""
        w = normalise_weights(log.log_weights)
        return _weighted_average(self, log, w, w)


@dataclass(frozen=True, slots=True)
class Clipped(Estimator):
    """Clipped importance weighting, ``V = (1/n) sum_i min(w_i, M) Y_i``.

    Clipping trades variance for a bias towards 0 of at most the mass cut away times the range of
    the outcome (EV206). Like the others it is refused where few rows carry the weights that are
    left (EV201). With ``outcome_range``, known before looking, the interval is made of empirical
    Bernstein bounds: it needs no large n, and counts what was cut and what the log never saw as the
    best and the worst that the range allows. It is wide, and it is never refused for lack of
    support.

    Assumption: logging probabilities are right.

    Parameters
    ----------
    inference : Inference
        How the interval is made.
    limits : SupportLimits
        Beyond which a value is refused.
    largest : float, optional
        M, the largest weight; ``sqrt(n)`` when None.
    outcome_range : (float, float), optional
        Lowest and highest outcome possible.

    References
    ----------
    Ionides (2008) for sqrt n; :func:`causalign.stats.ratio_of_means.value_bounds` for the bounds.
    """

    largest: float | None = None
    outcome_range: tuple[float, float] | None = None
    name: ClassVar[str] = "clipped"

    def __post_init__(self) -> None:
        Estimator.__post_init__(self)
        check_largest(self.largest)
        if self.outcome_range is not None:
            _check_range(self.outcome_range)
        if self.outcome_range is not None and self.inference.interval != "influence":
            raise SettingsError("With outcome_range the interval is that of the bounds; leave "
                                "inference.interval as it is.")  # fmt: skip

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value; raise ``InputError`` when the log has no log-probabilities."""
        largest = float(np.sqrt(len(log))) if self.largest is None else float(self.largest)
        weights = diagnose_weights(log.log_weights, log.clusters)
        clipped = clip_weights(log.log_weights, largest)
        w = np.exp(clipped)
        zeros, ones = np.zeros(len(log)), np.ones(len(log))
        findings: tuple[Finding, ...] = shared_findings(log, self.limits)
        bounds = None
        if self.outcome_range is not None:
            bounds = value_bounds(
                w,
                log.outcome,
                self.outcome_range,
                largest,
                level=self.inference.level,
                clusters=log.clusters,
            )
            findings = ()
        else:
            cut = mass_cut(log, w, largest, self.limits, model=False)
            rows = effective_rows(diagnose_weights(clipped, log.clusters), self.limits)
            findings = (rows, cut, typicality(log, self.limits), *findings)
        return self.conclude(
            log,
            RatioOfMeans(w * log.outcome, ones, zeros, np.empty(0)),
            assumption="The logging probabilities are those that wrote the log."
            if bounds
            else _ASSUMPTION,
            findings=findings,
            weights=weights,
            settings={"largest": largest, "outcome_range": self.outcome_range},
            bounds=bounds,
        )


def check_largest(largest: float | None) -> None:
    """Raise `SettingsError` unless the largest weight is above 0, or None."""
    if largest is not None:
        require_number("largest", largest, above=0)


def _check_range(given: object) -> None:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise SettingsError(f"outcome_range must be two numbers, low and high, not {given!r}.")
    low, high = given
    require_number("outcome_range[0]", low)
    require_number("outcome_range[1]", high, above=low)


def _weighted_average(
    estimator: Estimator, log: OffPolicyLog, w: Floats, below: Floats
) -> PolicyValue:
    """Return ``sum_i w_i Y_i / sum_i below_i`` with the findings on weights."""
    weights = diagnose_weights(log.log_weights, log.clusters)
    return estimator.conclude(
        log,
        RatioOfMeans(w * log.outcome, below, np.zeros(len(log)), np.empty(0)),
        assumption=_ASSUMPTION,
        findings=weight_findings(log, weights, estimator.limits),
        weights=weights,
    )
