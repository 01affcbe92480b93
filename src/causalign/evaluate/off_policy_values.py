"""Several estimators' values side by side: what the policy would earn, and who refuses."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from causalign import figures
from causalign.errors import InputError, SettingsError, nearest
from causalign.evaluate.value import PolicyValue
from causalign.results import Finding, Result, Section
from causalign.stats.importance_weights import WeightDiagnostics

# Decided before any estimate is seen: the first that the log allows is the answer.
PREFERENCE = ("pilot", "doubly-robust", "self-normalised", "kernel", "direct")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class OffPolicyValues(Result):
    """What several estimators say about one policy, beside what the log itself earned.

    Attributes
    ----------
    values : tuple of PolicyValue
        One for each estimator.
    logged : PolicyValue
        What the logging policy earned.
    method : str
        The estimator whose value is the headline; it is chosen by what the log holds, never by
        the estimates.
    log_weights : (n,) floats or None
        Log importance weights of the logged texts.
    """

    values: tuple[PolicyValue, ...]
    logged: PolicyValue
    method: str
    log_weights: NDArray[np.float64] | None = None

    @property
    def headline(self) -> PolicyValue:
        """The value that answers the question."""
        return self.of(self.method)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of the headline; the table says why other estimators refused."""
        return self.headline.findings

    def of(self, method: str) -> PolicyValue:
        """Return the value by one method, such as ``clipped``."""
        names = [v.method for v in self.values]
        if method not in names:
            raise SettingsError(f"{method!r} was not asked for; {nearest(method, names)}")
        return self.values[names.index(method)]

    def gain(self) -> PolicyValue:
        """Return the headline minus what the log earned, paired by row."""
        return self.headline.difference(self.logged)

    def minus(self, other: "OffPolicyValues") -> tuple[PolicyValue, ...]:
        """Return this policy less another on the same log, by each method that both have.

        Parameters
        ----------
        other : OffPolicyValues
            The other policy's values.

        Returns
        -------
        tuple of PolicyValue

        Raises
        ------
        InputError
            When the logs differ or no method is shared.
        """
        known = {value.method: value for value in other.values}
        shared = [v for v in self.values if v.method in known]
        if not shared:
            raise InputError(
                "The two policies share no estimator, so their difference has no estimate: give "
                "the log-probabilities of both, and of the logging policy."
            )
        return tuple(value.difference(known[value.method]) for value in shared)

    def table(self) -> pa.Table:
        """Return one row for each estimator, and one for the log itself."""
        return pa.concat_tables([v.table() for v in (*self.values, self.logged)])

    def section(self) -> Section:
        """Return the values as a section of a report."""
        value, gain = self.headline, self.gain()
        weights = None if self.log_weights is None else _draw_weights(self.log_weights)
        tables = {"values": self.table()}
        if value.weights is not None:
            tables["weights"] = _weights_table(value.weights)
        return Section(
            stage="evaluate",
            question="What would this policy have earned on the logged prompts?",
            answer=self.answer(),
            assumption=value.assumption,
            numbers=_numbers("value", value)
            | {"logged value": self.logged.estimate}
            | _numbers("gain", gain),
            tables=tables,
            figures=figures.draw_figures(self.drawing(), weights),
            findings=self.findings,
            details={"answer": self.method, "settings": dict(value.settings)},
        )

    def answer(self) -> str:
        """Return the headline and its difference from what the log earned, in words."""
        value = self.headline
        if value.estimate is None:
            return f"No number can be given for this policy. {value.reason}"
        words = f"The policy would have earned {value.describe()} (by {self.method})"
        gain = self.gain()
        if gain.estimate is None or gain.lower is None or gain.upper is None:
            return f"{words}."
        verdict = (
            "more than the log"
            if gain.lower > 0
            else "less than the log"
            if gain.upper < 0
            else "not distinguishable from the log"
        )
        return (
            f"{words}: {verdict}, which earned {self.logged.estimate:.4g}. Difference "
            f"{gain.estimate:+.4g}, {gain.level:.0%} interval {gain.lower:+.4g} to "
            f"{gain.upper:+.4g}."
        )

    def details(self) -> tuple[str, ...]:
        """Return what each estimator says, and what must hold for the headline."""
        lines = [f"  {v.method:<16} {v.describe()}" for v in (*self.values, self.logged)]
        return (*lines, f"Holds if: {self.headline.assumption}")

    def drawing(self) -> figures.Drawing:
        """Return the value by each estimator, beside what the log earned."""
        shown = (*self.values, self.logged)
        columns = [
            [np.nan if end is None else end for end in ends]
            for ends in zip(*((v.estimate, v.lower, v.upper) for v in shown), strict=True)
        ]
        return figures.forest(
            "values",
            [v.method for v in shown],
            *columns,
            xlabel="value, in units of the outcome",
            caption=f"Value by each estimator with {self.headline.level:.0%} intervals; the "
            "line is what the log earned. Refused values are not drawn.",
            alt="; ".join(f"{v.method}: {v.describe()}" for v in shown),
            reference=float(self.logged.influence.outcome.mean()),
        )


def add_second_policy(
    section: Section, first: OffPolicyValues, second: OffPolicyValues, name: str
) -> Section:
    """Return the section of ``first`` with its difference from a second policy on the same log.

    The headline is by the method that comes first in the order of the answers.

    Parameters
    ----------
    section : Section
        The section of ``first``.
    first, second : OffPolicyValues
        The values of both policies on the same rows.
    name : str
        What to call the second policy.

    Returns
    -------
    Section

    Raises
    ------
    InputError
        When the logs differ or the policies share no estimator.
    """
    differences = first.minus(second)
    by = {value.method.split(" minus ")[0]: value for value in differences}
    method = next((m for m in PREFERENCE if m in by), next(iter(by)))
    value = by[method]
    words = f" Against {name} no difference can be given. {value.reason}"
    if value.estimate is not None:
        words = f" Against {name} that is {value.describe()} (difference by {method})."
    return replace(
        section,
        answer=section.answer + words,
        numbers={**section.numbers, **_numbers("difference", value)},
        tables={
            **section.tables,
            f"difference from {name}": pa.concat_tables([v.table() for v in differences]),
        },
        findings=tuple({f.line(): f for f in (*section.findings, *value.findings)}.values()),
    )


def _numbers(name: str, value: PolicyValue) -> dict[str, float | str | None]:
    return {name: value.estimate, f"{name} lower": value.lower, f"{name} upper": value.upper}


def _weights_table(weights: WeightDiagnostics) -> pa.Table:
    rows = {
        "rows": weights.rows,
        "mean weight": weights.mean,
        "effective sample size": weights.effective_sample_size,
        "Pareto k": weights.pareto_shape,
        "largest share of the weight": weights.largest_share,
        "smallest log-weight": weights.lowest,
        "largest log-weight": weights.highest,
    }
    return pa.table({"of the weights": list(rows), "value": [float(v) for v in rows.values()]})


def _draw_weights(log_weights: NDArray[np.float64]) -> figures.Drawing:
    finite = log_weights[np.isfinite(log_weights)] / np.log(10)
    edges = np.unique(np.floor(np.linspace(finite.min(), finite.max() + 1e-9, 13) * 100) / 100)
    edges = np.append(edges, finite.max() + 1e-6) if len(edges) < 2 else edges
    edges[-1] = max(edges[-1], finite.max() + 1e-6)
    place = np.clip(np.digitize(finite, edges) - 1, 0, len(edges) - 2)
    rows = np.bincount(place, minlength=len(edges) - 1)
    carried = np.bincount(place, weights=10 ** (finite - finite.max()), minlength=len(edges) - 1)
    labels = [f"{_power(a)} to {_power(b)}" for a, b in pairwise(edges)]
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
        alt=f"Weights from {_power(finite.min())} to {_power(finite.max())}; those of "
        f"{labels[top]} are {rows[top] / rows.sum():.1%} of the rows and {share[top]:.0%} of the "
        "weight.",
    )


def _power(exponent: float) -> str:
    """Return ten to this power in few digits, also where no number holds it."""
    return f"{10.0**exponent:.3g}" if abs(exponent) < 300 else f"1e{exponent:+.0f}"
