"""Several estimators on one log, side by side: what the policy would earn, and who refuses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from causalign import figures
from causalign.errors import InputError, SettingsError, nearest
from causalign.evaluate.direct import Direct, shared_findings
from causalign.evaluate.doubly_robust import DoublyRobust, Switch
from causalign.evaluate.kernel import KernelWeighting
from causalign.evaluate.limits import SupportLimits
from causalign.evaluate.off_policy_log import OffPolicyLog
from causalign.evaluate.value import Inference, PolicyValue, concluded
from causalign.evaluate.weighting import Clipped, ImportanceWeighting, SelfNormalised
from causalign.results import Figure, Finding, Section
from causalign.stats.ratio_of_means import RatioOfMeans

__all__ = [
    "Estimator",
    "OffPolicyValues",
    "applicable",
    "logged_value",
    "methods",
    "off_policy",
    "with_second_policy",
]

methods: dict[str, Any] = {
    "direct": Direct,
    "importance": ImportanceWeighting,
    "self-normalised": SelfNormalised,
    "clipped": Clipped,
    "switch": Switch,
    "doubly-robust": DoublyRobust,
    "kernel": KernelWeighting,
}

# Decided before any estimate is seen: the first that the log allows is the answer.
PREFERENCE = ("doubly-robust", "self-normalised", "kernel", "direct")


class Estimator(Protocol):
    """Settings that turn a log into a value."""

    @property
    def name(self) -> str:
        """Return the name of the method."""
        ...

    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value, or its refusal."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class OffPolicyValues:
    """Hold what several estimators say about one policy, beside what the log itself earned.

    ``answer`` names the estimator whose value is the headline; it is chosen by what the log
    holds, never by the estimates. ``log_weights (n,)`` are drawn as a figure when there are any.
    """

    values: tuple[PolicyValue, ...]
    logged: PolicyValue
    answer: str
    log_weights: np.ndarray | None = None

    @property
    def headline(self) -> PolicyValue:
        """Return the value that answers the question."""
        return self.of(self.answer)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return the findings of the headline; the table says why other estimators refused."""
        return self.headline.findings

    def of(self, method: str) -> PolicyValue:
        """Return the value by one method."""
        names = [v.method for v in self.values]
        if method not in names:
            raise SettingsError(f"{method!r} was not asked for; {nearest(method, names)}")
        return self.values[names.index(method)]

    def gain(self) -> PolicyValue:
        """Return the headline minus what the log earned, paired by row."""
        return self.headline.difference(self.logged)

    def minus(self, other: "OffPolicyValues") -> tuple[PolicyValue, ...]:
        """Return this policy less another on the same log, by each method that both have.

        Raises ``InputError`` when the logs differ or no method is shared.
        """
        known = {value.method: value for value in other.values}
        shared = [v for v in self.values if v.method in known]
        if not shared:
            raise InputError(
                "The two policies share no estimator, so their difference cannot be told: give "
                "the log-probabilities of both, and of the logging policy."
            )
        return tuple(value.difference(known[value.method]) for value in shared)

    def table(self) -> pa.Table:
        """Return one row for each estimator, and one for the log itself."""
        return pa.concat_tables([v.table() for v in (*self.values, self.logged)])

    def summary(self) -> str:
        """Return the answer, the estimators and the findings."""
        lines = [self._answer()]
        lines += [f"  {v.method:<16} {v.told()}" for v in (*self.values, self.logged)]
        return "\n".join([*lines, *(f.line() for f in self.findings)])

    def section(self) -> Section:
        """Return the values as a section of a report."""
        value, gain = self.headline, self.gain()
        tables = {"values": self.table()}
        if value.weights is not None:
            tables["weights"] = _weights_table(value)
        return Section(
            stage="evaluate",
            question="What would this policy have earned on the logged prompts?",
            answer=self._answer(),
            assumption=value.assumption,
            numbers={
                "value": value.estimate,
                "value lower": value.lower,
                "value upper": value.upper,
                "logged value": self.logged.estimate,
                "gain": gain.estimate,
                "gain lower": gain.lower,
                "gain upper": gain.upper,
            },
            tables=tables,
            figures=self._figures(),
            findings=self.findings,
            details={"answer": self.answer, "settings": dict(value.settings)},
        )

    def _answer(self) -> str:
        value = self.headline
        if value.estimate is None:
            return f"No number can be given for this policy. {value.reason}"
        told = f"The policy would have earned {value.told()} (by {self.answer})"
        gain = self.gain()
        if gain.estimate is None or gain.lower is None or gain.upper is None:
            return f"{told}."
        verdict = (
            "more than the log"
            if gain.lower > 0
            else "less than the log"
            if gain.upper < 0
            else "not to be told from the log"
        )
        return (
            f"{told}: {verdict}, which earned {self.logged.estimate:.4g}. Difference "
            f"{gain.estimate:+.4g}, {gain.level:.0%} interval {gain.lower:+.4g} to "
            f"{gain.upper:+.4g}."
        )

    def _figures(self) -> tuple[Figure, ...]:
        shown = (*self.values, self.logged)
        columns = [
            [np.nan if end is None else end for end in ends]
            for ends in zip(*((v.estimate, v.lower, v.upper) for v in shown), strict=True)
        ]
        drawn = [
            figures.forest(
                "values",
                [v.method for v in shown],
                *columns,
                xlabel="value, in units of the outcome",
                caption=f"Value by each estimator with {self.headline.level:.0%} intervals; the "
                "line is what the log earned. Refused values are not drawn.",
                alt="; ".join(f"{v.method}: {v.told()}" for v in shown),
                reference=float(self.logged.influence.outcome.mean()),
            )
        ]
        if self.log_weights is not None:
            drawn.append(_weights_figure(self.log_weights))
        return tuple(drawn)


def with_second_policy(
    section: Section, first: OffPolicyValues, second: OffPolicyValues, name: str
) -> Section:
    """Return the section of ``first`` with its difference from a second policy on the same log.

    The headline is by the method that comes first in the order of the answers. Errors are those of
    :meth:`OffPolicyValues.minus`.
    """
    found = first.minus(second)
    by = {value.method.split(" minus ")[0]: value for value in found}
    method = next((m for m in PREFERENCE if m in by), next(iter(by)))
    value = by[method]
    told = f" Against {name} no difference can be given. {value.reason}"
    if value.estimate is not None:
        told = f" Against {name} that is {value.told()} (difference by {method})."
    return replace(
        section,
        answer=section.answer + told,
        numbers={
            **section.numbers,
            "difference": value.estimate,
            "difference lower": value.lower,
            "difference upper": value.upper,
        },
        tables={
            **section.tables,
            f"difference from {name}": pa.concat_tables([v.table() for v in found]),
        },
        findings=tuple({f.line(): f for f in (*section.findings, *value.findings)}.values()),
    )


def off_policy(log: OffPolicyLog, estimators: Sequence[Estimator] | None = None) -> OffPolicyValues:
    """Estimate the value of the target by several methods (default: all that the log allows).

    Raises ``InputError`` when the log holds neither log-probabilities, nor predictions for texts
    of the target, nor vectors of both.
    """
    chosen = applicable(log) if estimators is None else tuple(estimators)
    if not chosen:
        raise InputError(
            "Nothing can be estimated from outcomes alone: give log-probabilities under target and "
            "logging policy, or predictions or vectors of texts sampled from the target."
        )
    values = tuple(e.estimate(log) for e in chosen)
    names = [v.method for v in values]
    answer = next((name for name in PREFERENCE if name in names), names[0])
    weights = None if log.target_logprob is None else log.log_weights
    return OffPolicyValues(values, logged_value(log), answer, weights)


def applicable(
    log: OffPolicyLog,
    inference: Inference | None = None,
    limits: SupportLimits | None = None,
) -> tuple[Estimator, ...]:
    """Return the estimators whose inputs the log holds, with default settings of their own."""
    weighted = log.target_logprob is not None
    sampled = log.samples is not None and log.samples.predicted is not None
    vectors = log.samples is not None and log.samples.features is not None
    holds: Mapping[str, bool] = {
        "direct": sampled,
        "importance": weighted,
        "self-normalised": weighted,
        "clipped": weighted,
        "switch": weighted and sampled and log.predicted is not None,
        "doubly-robust": weighted and sampled and log.predicted is not None,
        "kernel": vectors and log.features is not None,
    }
    found = []
    for name, usable in holds.items():
        # Kernel weights have one interval only, whatever the others use.
        how = Inference(level=inference.level) if inference and name == "kernel" else inference
        if usable:
            found.append(
                methods[name](inference=how or Inference(), limits=limits or SupportLimits())
            )
    return tuple(found)


def logged_value(log: OffPolicyLog, inference: Inference | None = None) -> PolicyValue:
    """Return what the logging policy earned: the mean outcome, with a clustered interval."""
    zeros, ones = np.zeros(len(log)), np.ones(len(log))
    return concluded(
        "logged",
        log,
        RatioOfMeans(log.outcome, ones, zeros, np.empty(0)),
        inference or Inference(),
        assumption="Rows, or clusters, are independent.",
        findings=shared_findings(log, SupportLimits(support=0.0))[1:],
    )


def _weights_table(value: PolicyValue) -> pa.Table:
    found = value.weights
    assert found is not None
    rows = {
        "rows": found.rows,
        "mean weight": found.mean,
        "effective sample size": found.effective_sample_size,
        "Pareto k": found.pareto_shape,
        "largest share of the weight": found.largest_share,
        "smallest log-weight": found.lowest,
        "largest log-weight": found.highest,
    }
    return pa.table({"of the weights": list(rows), "value": [float(v) for v in rows.values()]})


def _weights_figure(log_weights: np.ndarray) -> Figure:
    finite = log_weights[np.isfinite(log_weights)] / np.log(10)
    edges = np.unique(np.floor(np.linspace(finite.min(), finite.max() + 1e-9, 13) * 100) / 100)
    edges = np.append(edges, finite.max() + 1e-6) if len(edges) < 2 else edges
    edges[-1] = max(edges[-1], finite.max() + 1e-6)
    place = np.clip(np.digitize(finite, edges) - 1, 0, len(edges) - 2)
    rows = np.bincount(place, minlength=len(edges) - 1)
    carried = np.bincount(place, weights=10 ** (finite - finite.max()), minlength=len(edges) - 1)
    labels = [f"{10**a:.3g} to {10**b:.3g}" for a, b in pairwise(edges)]
    share = carried / carried.sum()
    top = int(share.argmax())
    return figures.bars(
        "weights",
        labels,
        {"share of the rows": rows / rows.sum(), "share of the weight": share},
        xlabel="share",
        ylabel="weight",
        caption="How the weights are spread: where few rows carry most of the weight, the "
        "estimate is theirs.",
        alt=f"Weights from {10 ** finite.min():.3g} to {10 ** finite.max():.3g}; those of "
        f"{labels[top]} are {rows[top] / rows.sum():.1%} of the rows and {share[top]:.0%} of the "
        "weight.",
    )
