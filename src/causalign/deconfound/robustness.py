"""What sensitivity to unobserved confounding says: bounds, a table, a picture, a finding."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from causalign.checks.check import Check
from causalign.figures import Drawing, curve, draw_figures
from causalign.results import Finding, Result, Section
from causalign.stats.sensitivity import (
    Adjusted,
    Coefficient,
    adjust_estimate,
    iso_line,
    largest_bias,
    robustness_value,
    stable_share,
)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Hold the strength of a confounder ``multiple`` times as strong as the observed ``name``."""

    name: str
    multiple: float
    r2_confounder: float
    r2_outcome: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Sensitivity(Result):
    """Hold an effect and how it and the reward change under unobserved confounding.

    ``predicted (n,)`` is the confounder as the text predicts it, in its units, or, without text
    features, the confounder itself, as if the text gave it away.
    """

    confounder: str
    outcome: str
    observations: int
    coefficient: Coefficient
    benchmarks: tuple[Benchmark, ...]
    predicted: np.ndarray
    level: float = 0.95

    @property
    def robustness(self) -> float:
        """The strength that would bring the estimate to zero."""
        return robustness_value(self.coefficient)

    @property
    def robustness_of_interval(self) -> float:
        """The strength that would bring the interval to zero."""
        return robustness_value(self.coefficient, level=self.level)

    def adjust_estimate(self, r2_confounder: float, r2_outcome: float) -> Adjusted:
        """Return estimate and interval under a confounder of this strength, towards zero."""
        return adjust_estimate(self.coefficient, r2_confounder, r2_outcome, level=self.level)

    def bias(self, r2_confounder: float, r2_outcome: float) -> float:
        """Return the largest bias of the effect, outcome per unit of the confounder."""
        return float(largest_bias(self.coefficient, r2_confounder, r2_outcome))

    def reward_shift(self, bias: float) -> float:
        """Return by how much, at most, such a bias moves the reward difference of two logged texts.

        The reward learns ``y - D b``; a bias of b moves the reward of a text by that times
        what it predicts of D. Units of the outcome.
        """
        return bias * float(np.ptp(self.predicted))

    def stable_pairs(self, rewards: np.ndarray, bias: float) -> float:
        """Return the share of pairs of logged texts whose order no such bias turns around.

        ``rewards (n,)``, one for each row of the logs, were learned from the deconfounded outcome.
        """
        return stable_share(rewards, self.predicted, bias)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """CF103: does the interval survive a confounder like the strongest observed one?"""
        return (_check_robustness(self),)

    def table(self) -> pa.Table:
        """Return the effect as it is, then under each benchmark, with bias and reward shift."""
        rows = [("as recorded", 0.0, 0.0, 0.0)]
        rows += [(b.name, b.multiple, b.r2_confounder, b.r2_outcome) for b in self.benchmarks]
        records = []
        for name, multiple, d, y in rows:
            changed = self._unchanged() if multiple == 0 else self.adjust_estimate(d, y)
            bias = self.bias(d, y)
            records.append(
                {
                    "name": name,
                    "multiple": multiple,
                    "r2_confounder": d,
                    "r2_outcome": y,
                    "estimate": changed.estimate,
                    "stderr": changed.stderr,
                    "lower": changed.lower,
                    "upper": changed.upper,
                    "bias": bias,
                    "reward_shift": self.reward_shift(bias),
                }
            )
        return pa.Table.from_pylist(records)

    def answer(self) -> str:
        """Return in a sentence what came out."""
        return (
            f"An unrecorded confounder must explain {self.robustness:.1%} of what is left of both "
            f"{self.confounder} and {self.outcome} to bring the effect to zero, and "
            f"{self.robustness_of_interval:.1%} for its interval to hold zero."
        )

    def details(self) -> Sequence[str]:
        """Return the effect, and what is left of it under each benchmark."""
        return [
            f"Effect of {self.confounder} on {self.outcome}, {self.observations} rows: "
            f"{self.coefficient.estimate:.4g}",
            *(
                f"  {row['multiple']:g}x {row['name']}: {row['estimate']:.4g} "
                f"[{row['lower']:.4g}, {row['upper']:.4g}], rewards move by up to "
                f"{row['reward_shift']:.3g}"
                for row in self.table().to_pylist()[1:]
            ),
        ]

    def drawing(self) -> Drawing:
        """Return the strengths that leave three quarters, half and nothing of the estimate."""
        strongest = max((b.r2_confounder for b in self.benchmarks), default=0.0)
        right = min(0.95, max(3 * self.robustness, 1.1 * strongest, 0.01))
        across = np.linspace(right / 200, right, 200)
        parts = {"three quarters left": 0.75, "half left": 0.5, "nothing left": 0.0}
        value = self.robustness
        return curve(
            "unrecorded-confounding",
            across,
            {name: iso_line(self.coefficient, across, left) for name, left in parts.items()},
            xlabel=f"share of {self.confounder} that it explains",
            ylabel=f"share of {self.outcome}",
            caption=f"How strong an unrecorded confounder must be to leave so much of the effect "
            f"of {self.confounder}; the vertical line is the strongest benchmark.",
            alt=f"Lines of equal adjusted estimate; nothing is left where both shares are "
            f"{value:.3g}.",
            mark_x=strongest or None,
        )

    def section(self) -> Section:
        """Return the analysis as the report tells it."""
        return Section(
            stage="deconfound",
            question=f"Could something unrecorded explain the effect of {self.confounder}?",
            answer=self.answer(),
            assumption="the unrecorded confounder is independent of the recorded ones",
            numbers={
                "robustness": self.robustness,
                "robustness_of_interval": self.robustness_of_interval,
                "partial_r2": self.coefficient.partial_r2,
            },
            tables={"benchmarks": self.table()},
            figures=draw_figures(self.drawing()),
            findings=self.findings,
        )

    def _unchanged(self) -> Adjusted:
        given = self.coefficient
        return Adjusted(given.estimate, given.stderr, *given.interval(self.level))


def _check_robustness(result: Sensitivity) -> Finding:
    """Compare the interval with zero under the worst benchmark at its own strength (CF103)."""
    name, needed = result.confounder, result.robustness_of_interval
    numbers: dict[str, float | str] = {
        "robustness": result.robustness,
        "robustness_of_interval": needed,
    }
    rows = [row for row in result.table().to_pylist() if row["multiple"] == 1]
    worst = max(rows, key=lambda row: row["bias"], default=None)
    if worst and needed:
        numbers |= {"benchmark": worst["name"], "estimate": worst["estimate"]}
    check = Check("CF103", "Robustness to what was not recorded", **numbers)
    if needed == 0:
        return check.does_not_apply(f"The interval of {name} holds zero as it is.")
    if worst is None:
        return check.does_not_apply(
            f"Something that explains {needed:.1%} of what is left of both {name} and "
            f"{result.outcome} would hide the effect. No recorded confounder says whether that is "
            "much: name benchmarks."
        )
    hidden = worst["lower"] <= 0 <= worst["upper"]
    crossed = worst["estimate"] * result.coefficient.estimate <= 0
    like = f"as strong as {worst['name']}, the strongest that was recorded,"
    if hidden or crossed:
        return check.warns(
            f"Something unrecorded {like} would hide the effect of {name}, and could move reward "
            f"differences by {worst['reward_shift']:.3g}. Record what you suspect, or use "
            "instruments."
        )
    return check.passes(
        f"Something unrecorded {like} would leave {worst['estimate']:.3g} of "
        f"{result.coefficient.estimate:.3g}, and move reward differences by at most "
        f"{worst['reward_shift']:.3g}."
    )
