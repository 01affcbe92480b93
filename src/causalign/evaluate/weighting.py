"""Importance weighting: logged outcomes, weighted by how much likelier the target is to write."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from causalign.errors import SettingsError
from causalign.evaluate.direct import shared_findings
from causalign.evaluate.limits import SupportLimits
from causalign.evaluate.off_policy_log import OffPolicyLog
from causalign.evaluate.support_findings import (
    effective_size,
    mass_cut,
    mean_weight,
    tail_of_weights,
    typicality,
)
from causalign.evaluate.value import Inference, PolicyValue, concluded
from causalign.results import Finding
from causalign.stats.bernstein import value_bounds
from causalign.stats.importance_weights import (
    WeightDiagnostics,
    clipped,
    diagnosed,
    exponentiated,
    self_normalised,
)
from causalign.stats.ratio_of_means import RatioOfMeans

__all__ = ["Clipped", "ImportanceWeighting", "SelfNormalised", "weight_findings"]

_ASSUMPTION = (
    "The logging probabilities are those that wrote the log, the log has texts wherever the target "
    "has, and nothing unrecorded chose the text and moved the outcome."
)


@dataclass(frozen=True, slots=True)
class ImportanceWeighting:
    """Estimate ``V = (1/n) sum_i w_i Y_i``, ``w = pi(T|X) / pi0(T|X)``.

    Unbiased. The variance grows with that of the weights, which for long texts explodes.

    Assumption: logging probabilities are right and positive wherever the target's are.
    Reference: Horvitz and Thompson (1952); as a training objective arXiv:2402.14979, "CPO".
    """

    inference: Inference = field(default_factory=Inference)
    limits: SupportLimits = field(default_factory=SupportLimits)

    name: ClassVar[str] = "importance"

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value; raise ``InputError`` when the log has no log-probabilities."""
        found = diagnosed(log.log_weights, log.clusters)
        zeros, ones = np.zeros(len(log)), np.ones(len(log))
        w = exponentiated(log.log_weights)
        return concluded(
            self.name,
            log,
            RatioOfMeans(w * log.outcome, ones, zeros, np.empty(0)),
            self.inference,
            assumption=_ASSUMPTION,
            findings=weight_findings(log, found, self.limits),
            weights=found,
        )


@dataclass(frozen=True, slots=True)
class SelfNormalised:
    """Estimate ``V = sum_i w_i Y_i / sum_i w_i``: an average, whatever the weights.

    Biased by order 1/n; it cannot leave the range of the outcomes, does not change when a
    constant is added to them, and needs log-probabilities only up to a constant (then EV203
    fails, and ``limits`` must allow it). The sums run over the whole log, never over a batch.

    Assumption: as :class:`ImportanceWeighting`. Reference: Swaminathan and Joachims (2015).
    """

    inference: Inference = field(default_factory=Inference)
    limits: SupportLimits = field(default_factory=SupportLimits)

    name: ClassVar[str] = "self-normalised"

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value; raise ``InputError`` when the log has no log-probabilities."""
        found = diagnosed(log.log_weights, log.clusters)
        w = self_normalised(log.log_weights)
        return concluded(
            self.name,
            log,
            RatioOfMeans(w * log.outcome, w, np.zeros(len(log)), np.empty(0)),
            self.inference,
            assumption=_ASSUMPTION,
            findings=weight_findings(log, found, self.limits),
            weights=found,
        )


@dataclass(frozen=True, slots=True)
class Clipped:
    """Estimate ``V = (1/n) sum_i min(w_i, M) Y_i``, M the ``largest`` weight (default sqrt n).

    Clipping trades variance for a bias towards 0 of at most the mass cut away times the range of
    the outcome (EV206). With ``outcome_range``, known before looking, the interval is made of
    empirical Bernstein bounds: it needs no large n, and counts what was cut and what the log never
    saw as the best and the worst that the range allows. It is wide, and it is never refused for
    lack of support.

    Assumption: logging probabilities are right. Reference: Ionides (2008) for sqrt n;
    :func:`causalign.stats.bernstein.value_bounds` for the bounds.
    """

    largest: float | None = None
    outcome_range: tuple[float, float] | None = None
    inference: Inference = field(default_factory=Inference)
    limits: SupportLimits = field(default_factory=SupportLimits)

    name: ClassVar[str] = "clipped"

    def __post_init__(self) -> None:
        if self.largest is not None and not self.largest > 0:
            raise SettingsError(f"largest must be above 0; found {self.largest}.")
        if self.outcome_range is not None and self.inference.interval != "influence":
            raise SettingsError("With outcome_range the interval is that of the bounds; leave "
                                "inference.interval as it is.")  # fmt: skip

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value; raise ``InputError`` when the log has no log-probabilities."""
        largest = float(np.sqrt(len(log))) if self.largest is None else self.largest
        found = diagnosed(log.log_weights, log.clusters)
        w = np.exp(clipped(log.log_weights, largest))
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
            findings = (cut, typicality(log, self.limits), *findings)
        return concluded(
            self.name,
            log,
            RatioOfMeans(w * log.outcome, ones, zeros, np.empty(0)),
            self.inference,
            assumption="The logging probabilities are those that wrote the log."
            if bounds
            else _ASSUMPTION,
            findings=findings,
            weights=found,
            settings={"largest": largest, "outcome_range": self.outcome_range},
            bounds=bounds,
        )


def weight_findings(
    log: OffPolicyLog, found: WeightDiagnostics, limits: SupportLimits
) -> tuple[Finding, ...]:
    """Return every finding that an average with unclipped weights has to pass."""
    return (
        effective_size(found, limits),
        tail_of_weights(found, limits),
        mean_weight(found, limits),
        typicality(log, limits),
        *shared_findings(log, limits),
    )
