"""Kernel weighting: compare where target and log put texts in the space of vectors."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from causalign.checks.weights import effective_rows
from causalign.errors import SettingsError
from causalign.evaluate.influence import Influence
from causalign.evaluate.off_policy_log import OffPolicyLog
from causalign.evaluate.support_findings import REPEATED, likeness, shared_findings
from causalign.evaluate.value import Estimator, PolicyValue, refuse_if_failed
from causalign.results import Finding
from causalign.settings import require_number
from causalign.stats.importance_weights import diagnose_weights
from causalign.stats.kernel_weights import (
    KernelValue,
    choose_bandwidth,
    copies,
    kernel_value,
    principal_components,
)
from causalign.stats.ratio_of_means import clustered_error, influence_spread


@dataclass(frozen=True, slots=True)
class KernelWeighting(Estimator):
    """Kernel weighting: weight logged outcomes by how densely the target's texts lie around them.

    ``V = sum_i w_i Y_i / sum_i w_i``, ``w = q(e) / s(e)`` with q and s kernel densities of the
    target's and of the logged vectors. For texts whose sequence weights collapse: two wordings of
    one thought are near, though one policy finds them a thousand times likelier. Put prompt and
    text into the vector where prompts matter.

    Assumption: the outcome depends on the text through the kept directions, and hardly changes
    within a bandwidth; the log has texts wherever the target has; nothing unrecorded chose the
    text and moved the outcome. The log-probabilities are not used. Refused where vectors name
    texts, each logged about once, and do not say which are alike (EV211).

    Parameters
    ----------
    inference : Inference
        How the interval is made.
    limits : SupportLimits
        Beyond which a value is refused.
    components : int, optional
        Principal directions that are kept; None for all. All are kept where a logged vector occurs
        twice or more on average, as indicators of texts do: each text is then compared with itself,
        and fewer directions would mix texts.
    bandwidth : float, optional
        In units of the vectors; chosen by the likelihood of left-out vectors when None (no outcome
        takes part).

    References
    ----------
    Kiyohara et al. (2025), arXiv:2504.02646.
    """

    components: int | None = 5
    bandwidth: float | None = None

    name: ClassVar[str] = "kernel"

    def __post_init__(self) -> None:
        Estimator.__post_init__(self)
        if self.components is not None:
            require_number("components", self.components, least=1, whole=True)
        if self.bandwidth is not None:
            require_number("bandwidth", self.bandwidth, above=0)
        if self.inference.interval != "influence":
            raise SettingsError(
                "'kernel' has the influence interval only: resampling would estimate densities "
                "anew in every draw."
            )

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value; raise ``InputError`` when vectors of either side are missing."""
        X, T = log.vectors
        often = copies(X)
        compared = likeness(X, often)
        if self.components is not None and often < REPEATED:
            X, T = principal_components(X, T, self.components)
        seed = self.inference.seed
        width = choose_bandwidth(X, T, seed) if self.bandwidth is None else float(self.bandwidth)
        return self._conclude(log, kernel_value(X, T, log.outcome, width), width, compared)

    def _conclude(
        self, log: OffPolicyLog, value: KernelValue, width: float, compared: Finding
    ) -> PolicyValue:
        with np.errstate(divide="ignore"):
            weights = diagnose_weights(np.log(value.weights), log.clusters)
        support = effective_rows(weights, self.limits)
        findings = (support, compared, *shared_findings(log, self.limits))
        rows, own = value.rows, value.samples
        if log.samples is not None and log.samples.row is not None:
            # Samples of a logged prompt vary with its row, so they belong to the row's cluster.
            size = len(log) / len(own)
            rows = rows + size * np.bincount(log.samples.row, weights=own, minlength=len(log))
            own = np.empty(0)
        influence = Influence(rows, own, log.outcome, log.clusters)
        level = self.inference.level
        spread = influence_spread(value.estimate, (rows, own), log.clusters, level)
        return refuse_if_failed(
            PolicyValue(
                self.name,
                value.estimate,
                spread.stderr,
                spread.lower,
                spread.upper,
                level,
                f"Texts nearer than {width:.3g} have about the same expected outcome, and the log "
                "has texts wherever the target has.",
                influence,
                weights,
                findings,
                {"bandwidth": width, "clusters": float(clustered_error(rows, log.clusters)[1])},
                {"components": self.components},
            )
        )
