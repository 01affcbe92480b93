"""What a policy would have earned: a number with its interval, or a refusal with its reason."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from causalign import figures
from causalign.checks.weights import SupportLimits as SupportLimits
from causalign.evaluate.influence import FurtherError, Influence
from causalign.evaluate.off_policy_log import OffPolicyLog
from causalign.results import Finding, Result, Section, Verdict
from causalign.settings import require_choice, require_kind, require_number
from causalign.stats.importance_weights import WeightDiagnostics
from causalign.stats.ratio_of_means import (
    RatioOfMeans,
    Spread,
    bootstrap_spread,
    clustered_error,
    influence_spread,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Inference:
    """How the interval of a policy's value is made.

    Parameters
    ----------
    level : float
        Level of the interval, between 0 and 1.
    interval : {"influence", "bootstrap"}
        ``influence``: estimate ± t times the clustered standard error of the influence function.
        ``bootstrap``: percentiles over resamples of whole clusters.
    draws : int
        Number of resamples of the bootstrap, at least 100.
    seed : int
        Seed of the resamples.

    Raises
    ------
    SettingsError
        For a setting out of its range.
    """

    level: float = 0.95
    interval: Literal["influence", "bootstrap"] = "influence"
    draws: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        require_number("level", self.level, above=0, below=1)
        require_choice("interval", self.interval, ("influence", "bootstrap"))
        require_number("draws", self.draws, least=100, whole=True)
        require_number("seed", self.seed, least=0, whole=True)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PolicyValue(Result):
    """The value of a policy, ``V = E[Y(T)]`` with T written by it, in units of the outcome.

    When a finding failed, the value is refused: ``estimate``, ``stderr``, ``lower`` and ``upper``
    are None and ``reason`` says why. An estimate without the last three has an uncertainty that
    nobody measured.

    Attributes
    ----------
    method : str
        Name of the estimator.
    estimate, stderr, lower, upper : float or None
        The value, its standard error and its interval at ``level``.
    assumption : str
        What must hold for the value to be right.
    influence : Influence
        What each row did to the estimate, for differences from other values.
    weights : WeightDiagnostics or None
        The importance weights before clipping.
    numbers, settings : mapping
        What else was measured, and the estimator's own settings.
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
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def refused(self) -> bool:
        """Whether no number is given."""
        return self.estimate is None

    @property
    def reason(self) -> str | None:
        """Why the value is refused, or None."""
        failed = [f"{f.explanation} ({f.code})" for f in self.findings if f.verdict is Verdict.FAIL]
        return " ".join(failed) if failed else None

    def difference(self, other: "PolicyValue") -> "PolicyValue":
        """Return this value minus another from the same log, with the interval of the difference.

        Influences are subtracted row by row before they are squared: luck that both share
        cancels. The difference is refused when either value is.

        Parameters
        ----------
        other : PolicyValue
            A value from the same rows in the same order.

        Returns
        -------
        PolicyValue

        Raises
        ------
        InputError
            When the two values come from different logs.
        """
        influence = self.influence.minus(other.influence)
        findings = tuple({f.line(): f for f in (*self.findings, *other.findings)}.values())
        spread = Spread(float("nan"), float("nan"), float("nan"))
        estimate = None
        if self.estimate is not None and other.estimate is not None:
            estimate = self.estimate - other.estimate
            both = (influence.rows, influence.samples)
            spread = influence_spread(estimate, both, influence.clusters, self.level)
            spread = influence.widen(spread, estimate, self.level)
        unknown = self.stderr is None or other.stderr is None
        return PolicyValue(
            f"{self.method} minus {other.method}",
            estimate,
            *_interval(spread, unknown),
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

    def describe(self) -> str:
        """Return the number with its interval, or the refusal, in words."""
        if self.estimate is None:
            return f"refused. {self.reason}"
        if self.lower is None or self.upper is None:
            return f"{self.estimate:.4g}, without an interval"
        return (
            f"{self.estimate:.4g}, {self.level:.0%} interval {self.lower:.4g} to {self.upper:.4g}"
        )

    def answer(self) -> str:
        """Return the value, or the refusal, in a sentence."""
        return f"Value by {self.method}: {self.describe().removesuffix('.')}."

    def details(self) -> tuple[str, ...]:
        """Return what must hold."""
        return (f"Holds if: {self.assumption}",)

    def drawing(self) -> figures.Drawing:
        """Return the value with its interval, beside what the log earned."""
        nan = float("nan")
        ends = [nan if v is None else v for v in (self.estimate, self.lower, self.upper)]
        return figures.forest(
            "policy-value",
            [self.method],
            *([v] for v in ends),
            xlabel="value, in units of the outcome",
            caption=f"Value of the target policy with its {self.level:.0%} interval.",
            alt=f"{self.method}: {self.describe()}",
            reference=float(self.influence.outcome.mean()),
        )

    def section(self) -> Section:
        """Return the value as a section of a report."""
        return Section(
            stage="evaluate",
            question="What would this policy have earned?",
            answer=self.answer(),
            assumption=self.assumption,
            numbers={"value": self.estimate, **self.numbers},
            tables={"value": self.table()},
            figures=figures.draw_figures(self.drawing()),
            findings=self.findings,
            details={"method": self.method, **self.settings},
        )


@dataclass(frozen=True, slots=True)
class Estimator(ABC):
    """An estimator of a policy's value: frozen settings that turn a log into a `PolicyValue`.

    Parameters
    ----------
    inference : Inference
        How the interval is made.
    limits : SupportLimits
        Beyond which a value is refused.
    """

    inference: Inference = field(default_factory=Inference)
    limits: SupportLimits = field(default_factory=SupportLimits)

    name: ClassVar[str]

    def __post_init__(self) -> None:
        require_kind("inference", self.inference, Inference)
        require_kind("limits", self.limits, SupportLimits)

    @abstractmethod
    def estimate(self, log: OffPolicyLog) -> PolicyValue:
        """Return the value, or its refusal.

        Parameters
        ----------
        log : OffPolicyLog
            The arrays.

        Returns
        -------
        PolicyValue

        Raises
        ------
        InputError
            When the log lacks an input of this estimator.
        NotIdentified
            When the target would write none of the logged texts, or all rows are one cluster.
        """

    def conclude(
        self,
        log: OffPolicyLog,
        terms: RatioOfMeans,
        *,
        assumption: str,
        findings: tuple[Finding, ...],
        weights: WeightDiagnostics | None = None,
        settings: Mapping[str, object] | None = None,
        bounds: tuple[float, float] | None = None,
        interval: bool = True,
        further: tuple[FurtherError, ...] = (),
        numbers: Mapping[str, float] | None = None,
    ) -> PolicyValue:
        """Return the value of these terms with its interval, or refuse it when a finding failed.

        Raises ``NotIdentified`` for a single cluster.

        Parameters
        ----------
        log : OffPolicyLog
        terms : RatioOfMeans
            Whose ratio the value is.
        assumption, findings, weights, settings, numbers
            As in `PolicyValue`.
        bounds : (float, float), optional
            Replace the ends of the interval.
        interval : bool
            Whether there is one.
        further : tuple of FurtherError
            What else the interval counts.
        """
        inference = self.inference
        influence = Influence(*terms.influence(), log.outcome, log.clusters, further)
        if inference.interval == "bootstrap":
            spread = bootstrap_spread(
                terms, log.clusters, inference.level, draws=inference.draws, seed=inference.seed
            )
        else:
            both = (influence.rows, influence.samples)
            spread = influence_spread(terms.estimate, both, log.clusters, inference.level)
        spread = influence.widen(spread, terms.estimate, inference.level)
        if bounds is not None:
            spread = Spread(spread.stderr, *bounds)
        value = PolicyValue(
            self.name,
            terms.estimate,
            *_interval(spread, not interval),
            inference.level,
            assumption,
            influence,
            weights,
            findings,
            {
                "rows": float(len(log)),
                "clusters": float(clustered_error(influence.rows, log.clusters)[1]),
                **(numbers or {}),
            },
            {"interval": inference.interval, **(settings or {})},
        )
        return refuse_if_failed(value)


def refuse_if_failed(value: PolicyValue) -> PolicyValue:
    """Return the value, without its numbers when one of its findings failed."""
    if value.reason is None:
        return value
    return replace(value, estimate=None, stderr=None, lower=None, upper=None)


def _interval(spread: Spread, unknown: bool) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if unknown else (spread.stderr, spread.lower, spread.upper)
