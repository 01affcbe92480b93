"""What a policy would have earned: a number with its interval, or a refusal with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from causalign import figures
from causalign.errors import InputError, SettingsError
from causalign.evaluate.off_policy_log import OffPolicyLog
from causalign.results import Figure, Finding, Section, Verdict
from causalign.stats.importance_weights import WeightDiagnostics
from causalign.stats.ratio_of_means import (
    RatioOfMeans,
    Spread,
    bootstrap_spread,
    clustered_error,
    influence_spread,
)

__all__ = ["Inference", "Influence", "PolicyValue", "concluded"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Inference:
    """Choose the interval: its ``level``, and how it is made.

    ``influence`` (default): estimate ± t times the clustered standard error of the influence
    function. ``bootstrap``: percentiles over ``draws`` resamples of whole clusters, from ``seed``.
    """

    level: float = 0.95
    interval: Literal["influence", "bootstrap"] = "influence"
    draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise SettingsError(f"level must lie between 0 and 1; found {self.level}.")
        if self.interval not in ("influence", "bootstrap"):
            raise SettingsError(
                f"interval must be 'influence' or 'bootstrap'; found {self.interval!r}."
            )


@dataclass(frozen=True, slots=True, eq=False)
class Influence:
    """Hold what each logged row ``(n,)`` and each sample ``(m,)`` did to an estimate.

    ``outcome`` and ``clusters`` say which log it was, so that only estimates from the same log
    are subtracted row by row.
    """

    rows: Floats
    samples: Floats
    outcome: Floats
    clusters: NDArray | None

    def minus(self, other: "Influence") -> "Influence":
        """Return the influence on a difference; samples of two policies are independent.

        Raises ``InputError`` when the two estimates come from different logs.
        """
        mine, theirs = self.clusters, other.clusters
        same = np.array_equal(self.outcome, other.outcome)
        if mine is None or theirs is None:
            same &= mine is None and theirs is None
        else:
            same &= np.array_equal(mine, theirs)
        if not same:
            raise InputError(
                "The two values come from different logs, so rows cannot be paired. Evaluate both "
                "policies on the same rows in the same order."
            )
        parts = [self.samples, -other.samples]
        # Each sample has its own size; scaled so that one mean of all has the variance of both.
        sizes = [len(p) for p in parts]
        total = sum(sizes)
        scaled = [p * total / max(size, 1) for p, size in zip(parts, sizes, strict=True)]
        return Influence(
            self.rows - other.rows, np.concatenate(scaled), self.outcome, self.clusters
        )


@dataclass(frozen=True, slots=True, eq=False)
class PolicyValue:
    """Hold ``V = E[Y(T)]``, T written by the target policy, in units of the outcome.

    When a finding failed, the value is refused: ``estimate``, ``stderr``, ``lower`` and ``upper``
    are None and ``reason`` says why. An estimate without the last three has an
    uncertainty that nobody measured. ``weights`` describes the weights before clipping;
    ``numbers`` holds what else was measured, ``settings`` the method's own.
    """

    method: str
    estimate: float | None
    stderr: float | None
    lower: float | None
    upper: float | None
    level: float
    assumption: str
    influence: Influence
    weights: WeightDiagnostics | None = None
    findings: tuple[Finding, ...] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def refused(self) -> bool:
        """Return whether no number is given."""
        return self.estimate is None

    @property
    def reason(self) -> str | None:
        """Return why the value is refused, or None."""
        failed = [f"{f.explanation} ({f.code})" for f in self.findings if _failed(f)]
        return " ".join(failed) if failed else None

    def difference(self, other: "PolicyValue") -> "PolicyValue":
        """Return this value minus another from the same log, with the interval of the difference.

        Influences are subtracted row by row before they are squared: luck that both share
        cancels. The difference is refused when either value is.
        """
        influence = self.influence.minus(other.influence)
        findings = tuple({f.line(): f for f in (*self.findings, *other.findings)}.values())
        spread = Spread(float("nan"), float("nan"), float("nan"))
        estimate = None
        if self.estimate is not None and other.estimate is not None:
            estimate = self.estimate - other.estimate
            both = (influence.rows, influence.samples)
            spread = influence_spread(estimate, both, influence.clusters, self.level)
        unknown = self.stderr is None or other.stderr is None
        return PolicyValue(
            f"{self.method} minus {other.method}",
            estimate,
            *_shown(spread, unknown),
            self.level,
            " ".join(dict.fromkeys((self.assumption, other.assumption))),
            influence,
            None,
            findings,
        )

    def table(self) -> pa.Table:
        """Return method, estimate, stderr, lower, upper and the reason of a refusal."""
        number = pa.float64()
        return pa.table(
            {
                "method": pa.array([self.method]),
                "estimate": pa.array([self.estimate], number),
                "stderr": pa.array([self.stderr], number),
                "lower": pa.array([self.lower], number),
                "upper": pa.array([self.upper], number),
                "refused because": pa.array([self.reason or ""], pa.string()),
            }
        )

    def summary(self) -> str:
        """Return the value, or the refusal, and the findings."""
        lines = [f"Value by {self.method}: {self.told()}", f"Holds if: {self.assumption}"]
        return "\n".join([*lines, *(f.line() for f in self.findings)])

    def told(self) -> str:
        """Return the number with its interval, or the refusal, in words."""
        if self.estimate is None:
            return f"refused. {self.reason}"
        if self.lower is None or self.upper is None:
            return f"{self.estimate:.4g}, without an interval"
        return (
            f"{self.estimate:.4g}, {self.level:.0%} interval {self.lower:.4g} to {self.upper:.4g}"
        )

    def plot(self) -> Figure:
        """Draw the value with its interval."""
        nan = float("nan")
        ends = [nan if v is None else v for v in (self.estimate, self.lower, self.upper)]
        return figures.forest(
            "policy-value",
            [self.method],
            *([v] for v in ends),
            xlabel="value, in units of the outcome",
            caption=f"Value of the target policy with its {self.level:.0%} interval.",
            alt=f"{self.method}: {self.told()}",
            reference=float(self.influence.outcome.mean()),
        )

    def section(self) -> Section:
        """Return the value as a section of a report."""
        return Section(
            stage="evaluate",
            question="What would this policy have earned?",
            answer=f"By {self.method}: {self.told()}.",
            assumption=self.assumption,
            numbers={"value": self.estimate, **self.numbers},
            tables={"value": self.table()},
            figures=(self.plot(),),
            findings=self.findings,
            details={"method": self.method, **self.settings},
        )


def concluded(
    method: str,
    log: OffPolicyLog,
    terms: RatioOfMeans,
    inference: Inference,
    *,
    assumption: str,
    findings: tuple[Finding, ...],
    weights: WeightDiagnostics | None = None,
    settings: Mapping[str, Any] | None = None,
    bounds: tuple[float, float] | None = None,
    interval: bool = True,
) -> PolicyValue:
    """Return the value of these terms with its interval, or refuse it when a finding failed.

    ``bounds`` replace the ends of the interval; without ``interval`` there is none. Raises
    ``NotIdentified`` for a single cluster.
    """
    influence = Influence(*terms.influence(), log.outcome, log.clusters)
    estimate = terms.estimate
    if inference.interval == "bootstrap":
        spread = bootstrap_spread(
            terms, log.clusters, inference.level, draws=inference.draws, seed=inference.seed
        )
    else:
        both = (influence.rows, influence.samples)
        spread = influence_spread(estimate, both, log.clusters, inference.level)
    if bounds is not None:
        spread = Spread(spread.stderr, *bounds)
    refused = any(_failed(f) for f in findings)
    return PolicyValue(
        method,
        None if refused else estimate,
        *_shown(spread, refused or not interval),
        inference.level,
        assumption,
        influence,
        weights,
        findings,
        {
            "rows": float(len(log)),
            "clusters": float(clustered_error(influence.rows, log.clusters)[1]),
        },
        {"interval": inference.interval, **(settings or {})},
    )


def _shown(spread: Spread, refused: bool) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if refused else (spread.stderr, spread.lower, spread.upper)


def _failed(finding: Finding) -> bool:
    return finding.verdict is Verdict.FAIL
