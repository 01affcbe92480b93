"""How strong must a confounder that nobody recorded be to change an effect, or a ranking?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from causalign.covariates import Covariate, design
from causalign.deconfound.inference import positive_weights
from causalign.errors import InputError, SettingsError, nearest
from causalign.figures import curve
from causalign.logs import Logs
from causalign.results import Figure, Finding, Section, Verdict
from causalign.stats.factor import independent_columns
from causalign.stats.least_squares import LinearFit, ordinary
from causalign.stats.sensitivity import (
    Adjusted,
    Coefficient,
    adjusted,
    benchmark_bounds,
    iso_line,
    largest_bias,
    robustness_value,
    stable_share,
)

__all__ = ["Benchmark", "Sensitivity", "UnrecordedConfounding"]


@dataclass(frozen=True, slots=True)
class UnrecordedConfounding:
    """Ask how an effect would change if something unrecorded moved confounder and outcome.

    The effect b of one numeric ``confounder`` D is that of ``y = a + D b + C c + X g + e``, C the
    other confounders and X the text features. An unrecorded U that explains the shares R2_d of D
    and R2_y of y, of what the others leave, moves b by ``se sqrt(dof) sqrt(R2_y R2_d / (1 -
    R2_d))`` at most. ``benchmarks`` (default: all other confounders) say what is plausible: U as
    strong as each of them, times ``multiples``. Assumption: U is independent of what is recorded;
    standard errors are classical, for which the formulas hold.
    Reference: Cinelli and Hazlett (2020); Chernozhukov et al. (2022), arXiv:2112.13398.
    """

    confounder: str
    benchmarks: tuple[str, ...] = ()
    multiples: tuple[float, ...] = (1.0, 2.0, 3.0)
    level: float = 0.95

    def fit(self, logs: Logs, text_features: np.ndarray | None = None) -> "Sensitivity":
        """Analyse logs with the role ``confounders``; text features ``(n, p)`` given or by role.

        Raises `SettingsError` for names that are no confounders or multiples that are not positive,
        `InputError` when the confounder is a category, `NotIdentified` for redundant columns.
        """
        logs.require("confounders")
        treated, others, chosen = self._columns(logs)
        features = _told_apart(logs.features if text_features is None else text_features, len(logs))
        weights = positive_weights(logs)
        matrix = _Regressors(treated, others, features, weights)
        full = matrix.outcome_fit(logs.outcome)
        coefficient = Coefficient(
            float(full.coefficients[1]),
            float(full.standard_errors[1]),
            len(logs) - full.degrees_of_freedom,
        )
        found = tuple(
            Benchmark(name, multiple, *benchmark_bounds(d, y, multiple))
            for name in chosen
            for d, y in [matrix.partial_r2(logs.outcome, name)]
            for multiple in self.multiples
        )
        return Sensitivity(
            confounder=self.confounder,
            outcome=logs.roles.outcome,
            observations=len(logs),
            coefficient=coefficient,
            benchmarks=found,
            told=matrix.told_by_text(),
            level=self.level,
        )

    def _columns(self, logs: Logs) -> tuple[Covariate, tuple[Covariate, ...], tuple[str, ...]]:
        """Return the confounder in question, the others, and the names of the benchmarks."""
        names = logs.roles.confounders
        for name in (self.confounder, *self.benchmarks):
            if name not in names:
                raise SettingsError(f"{name!r} is no confounder; {nearest(name, names)}")
        if self.confounder in self.benchmarks or not all(m > 0 for m in self.multiples):
            raise SettingsError("Benchmarks are other confounders, and multiples are positive.")
        treated = logs.covariate(self.confounder)
        if treated.is_categorical:
            raise InputError(
                f"{self.confounder!r} is a category: this analysis is of one numeric column. Make "
                "a 0/1 column of the category in question."
            )
        others = tuple(c for c in logs.confounders if c.name != self.confounder)
        return treated, others, self.benchmarks or tuple(c.name for c in others)


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Hold the strength of a confounder ``multiple`` times as strong as the recorded ``name``."""

    name: str
    multiple: float
    r2_confounder: float
    r2_outcome: float


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """Hold an effect and how it and the reward change under unrecorded confounding.

    ``told (n,)`` is what the text tells of the confounder, in its units: its prediction from the
    text features, or, without features, the confounder itself, as if the text gave it away.
    """

    confounder: str
    outcome: str
    observations: int
    coefficient: Coefficient
    benchmarks: tuple[Benchmark, ...]
    told: np.ndarray
    level: float = 0.95

    @property
    def robustness(self) -> float:
        """Return the strength that would bring the estimate to zero."""
        return robustness_value(self.coefficient)

    @property
    def robustness_of_interval(self) -> float:
        """Return the strength that would bring the interval to zero."""
        return robustness_value(self.coefficient, level=self.level)

    def adjusted(self, r2_confounder: float, r2_outcome: float) -> Adjusted:
        """Return estimate and interval under a confounder of this strength, towards zero."""
        return adjusted(self.coefficient, r2_confounder, r2_outcome, level=self.level)

    def bias(self, r2_confounder: float, r2_outcome: float) -> float:
        """Return the largest bias of the effect, outcome per unit of the confounder."""
        return float(largest_bias(self.coefficient, r2_confounder, r2_outcome))

    def reward_shift(self, bias: float) -> float:
        """Return by how much, at most, such a bias moves the reward difference of two logged texts.

        The reward learns ``y - D b``; a bias of b moves the reward of a text by bias times what
        the text tells of D. Units of the outcome.
        """
        return bias * float(np.ptp(self.told))

    def stable_pairs(self, rewards: np.ndarray, bias: float) -> float:
        """Return the share of pairs of logged texts whose order no such bias turns around.

        ``rewards (n,)``, one for each row of the logs, were learned from the deconfounded outcome.
        """
        return stable_share(rewards, self.told, bias)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return CF103: does the interval survive a confounder like the strongest recorded one?"""
        return (_robust(self),)

    def table(self) -> pa.Table:
        """Return the effect as it is, then under each benchmark, with bias and reward shift."""
        rows = [("as recorded", 0.0, 0.0, 0.0)]
        rows += [(b.name, b.multiple, b.r2_confounder, b.r2_outcome) for b in self.benchmarks]
        records = []
        for name, multiple, d, y in rows:
            found = self._recorded() if multiple == 0 else self.adjusted(d, y)
            bias = self.bias(d, y)
            records.append(
                {
                    "name": name,
                    "multiple": multiple,
                    "r2_confounder": d,
                    "r2_outcome": y,
                    "estimate": found.estimate,
                    "stderr": found.stderr,
                    "lower": found.lower,
                    "upper": found.upper,
                    "bias": bias,
                    "reward_shift": self.reward_shift(bias),
                }
            )
        return pa.Table.from_pylist(records)

    def summary(self) -> str:
        """Return a few lines that a person can read."""
        head = (
            f"Effect of {self.confounder} on {self.outcome}, {self.observations} rows: "
            f"{self.coefficient.estimate:.4g}"
        )
        lines = [head, f"  {self._answer()}"]
        lines += [
            f"  {row['multiple']:g}x {row['name']}: {row['estimate']:.4g} "
            f"[{row['lower']:.4g}, {row['upper']:.4g}], rewards move by up to "
            f"{row['reward_shift']:.3g}"
            for row in self.table().to_pylist()[1:]
        ]
        lines += [finding.line() for finding in self.findings]
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Draw the strengths that leave three quarters, half and nothing of the estimate."""
        strongest = max((b.r2_confounder for b in self.benchmarks), default=0.0)
        right = min(0.95, max(3 * self.robustness, 1.1 * strongest, 0.01))
        across = np.linspace(right / 200, right, 200)
        parts = {"three quarters left": 0.75, "half left": 0.5, "nothing left": 0.0}
        value = self.robustness
        return curve(
            "unrecorded-confounding",
            across,
            {name: iso_line(self.coefficient, across, kept) for name, kept in parts.items()},
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
            answer=self._answer(),
            assumption="the unrecorded confounder is independent of the recorded ones",
            numbers={
                "robustness": self.robustness,
                "robustness_of_interval": self.robustness_of_interval,
                "partial_r2": self.coefficient.partial_r2,
            },
            tables={"benchmarks": self.table()},
            figures=(self.plot(),),
            findings=self.findings,
        )

    def _recorded(self) -> Adjusted:
        given = self.coefficient
        return Adjusted(given.estimate, given.stderr, *given.interval(self.level))

    def _answer(self) -> str:
        return (
            f"An unrecorded confounder must explain {self.robustness:.1%} of what is left of both "
            f"{self.confounder} and {self.outcome} to bring the effect to zero, and "
            f"{self.robustness_of_interval:.1%} for its interval to hold zero."
        )


def _told_apart(text_features: np.ndarray | None, rows: int) -> np.ndarray:
    """Return the features ``(n, p)`` that the others do not determine: the rest changes nothing."""
    if text_features is None:
        return np.zeros((rows, 0))
    features = np.asarray(text_features, dtype=np.float64)
    return features[:, independent_columns(features - features.mean(axis=0))]


@dataclass(frozen=True, slots=True, eq=False)
class _Regressors:
    """Hold the columns of the regression in their groups; rows are weighted."""

    treated: Covariate
    others: tuple[Covariate, ...]
    features: np.ndarray
    weights: np.ndarray

    def outcome_fit(self, outcome: np.ndarray) -> LinearFit:
        """Fit the outcome on everything; the confounder in question is column 1."""
        columns, names = self._matrix(self.others)
        return ordinary(
            outcome,
            np.column_stack([columns[:, :1], self.treated.values, columns[:, 1:]]),
            weights=self.weights,
            kind="unadjusted",
            correction="conventional",
            names=(names[0], self.treated.name, *names[1:]),
        )

    def partial_r2(self, outcome: np.ndarray, name: str) -> tuple[float, float]:
        """Return what a recorded confounder adds to explaining the column, then the outcome."""
        rest = tuple(c for c in self.others if c.name != name)
        with_it, without = self._matrix(self.others)[0], self._matrix(rest)[0]
        treated = self.treated.values[:, None]
        return (
            self._gain(self.treated.values, with_it, without),
            self._gain(outcome, np.hstack([with_it, treated]), np.hstack([without, treated])),
        )

    def told_by_text(self) -> np.ndarray:
        """Return what the features, given the other confounders, predict of the confounder."""
        if self.features.shape[1] == 0:
            return self.treated.values - self.treated.values.mean()
        columns, names = self._matrix(self.others)
        fit = ordinary(self.treated.values, columns, weights=self.weights, names=names)
        told = self.features @ fit.coefficients[-self.features.shape[1] :]
        return np.asarray(told - told.mean())

    def _gain(self, values: np.ndarray, larger: np.ndarray, smaller: np.ndarray) -> float:
        left = [
            float(self.weights @ np.square(ordinary(values, X, weights=self.weights).residuals))
            for X in (larger, smaller)
        ]
        return max(1 - left[0] / left[1], 0.0)

    def _matrix(self, covariates: Sequence[Covariate]) -> tuple[np.ndarray, tuple[str, ...]]:
        rows, width = self.features.shape
        columns, names = design(covariates) if covariates else (np.zeros((rows, 0)), ())
        told = tuple(f"text feature {i}" for i in range(width))
        return np.hstack([np.ones((rows, 1)), columns, self.features]), (
            "intercept",
            *names,
            *told,
        )


def _robust(result: Sensitivity) -> Finding:
    """Compare the interval with zero under the worst benchmark at its own strength (CF103)."""
    title = "Robustness to what was not recorded"
    numbers: dict[str, float | str] = {
        "robustness": result.robustness,
        "robustness_of_interval": result.robustness_of_interval,
    }
    if result.robustness_of_interval == 0:
        told = f"The interval of {result.confounder} holds zero as it is."
        return Finding("CF103", title, Verdict.NOT_APPLICABLE, told, numbers)
    rows = [row for row in result.table().to_pylist() if row["multiple"] == 1]
    if not rows:
        told = (
            f"Something that explains {result.robustness_of_interval:.1%} of what is left of both "
            f"{result.confounder} and {result.outcome} would hide the effect. No recorded "
            "confounder says whether that is much: name benchmarks."
        )
        return Finding("CF103", title, Verdict.NOT_APPLICABLE, told, numbers)
    worst = max(rows, key=lambda row: row["bias"])
    numbers |= {"benchmark": worst["name"], "estimate": worst["estimate"]}
    hidden = worst["lower"] <= 0 <= worst["upper"]
    crossed = worst["estimate"] * result.coefficient.estimate <= 0
    told = f"as strong as {worst['name']}, the strongest that was recorded,"
    if hidden or crossed:
        told = (
            f"Something unrecorded {told} would hide the effect of {result.confounder}, and could "
            f"move reward differences by {worst['reward_shift']:.3g}. Record what you suspect, or "
            "use instruments."
        )
        return Finding("CF103", title, Verdict.WARN, told, numbers)
    told = (
        f"Something unrecorded {told} would leave {worst['estimate']:.3g} of "
        f"{result.coefficient.estimate:.3g}, and move reward differences by at most "
        f"{worst['reward_shift']:.3g}."
    )
    return Finding("CF103", title, Verdict.PASS, told, numbers)
