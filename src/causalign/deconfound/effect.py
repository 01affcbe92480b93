"""What every estimator of h(C) returns: the effect of the confounders, ready to be subtracted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import stdtrit

from causalign.deconfound.terms import Term
from causalign.errors import SettingsError
from causalign.figures import forest
from causalign.logs import Logs
from causalign.results import Figure, Finding, Section

__all__ = ["ConfounderEffect"]

SHOWN = 8


@dataclass(frozen=True, slots=True, eq=False)
class ConfounderEffect:
    """Hold an estimate of h(C), how the confounders moved the outcome.

    Model: ``y = g(text) + h(C) + e`` (arXiv:2506.00152), h the sum of the ``terms``.
    ``estimates (k,)`` are units of the outcome for one unit of a numeric confounder, or the
    deviation of a category from the average row; ``covariance (k, k)``. ``assumption`` says under
    which condition the estimate is causal. ``degrees_of_freedom`` belongs to the t distribution of
    the intervals. ``numbers`` holds what else was measured, ``settings`` the method's own.
    """

    method: str
    names: tuple[str, ...]
    estimates: np.ndarray
    covariance: np.ndarray
    terms: tuple[Term, ...]
    observations: int
    outcome: str
    assumption: str
    findings: tuple[Finding, ...] = ()
    degrees_of_freedom: float = float("inf")
    numbers: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def standard_errors(self) -> np.ndarray:
        """Return ``(k,)`` standard errors; NaN where none was computed."""
        variance = np.diag(self.covariance)
        return np.sqrt(np.where(variance >= 0, variance, np.nan))

    def table(self, level: float = 0.95) -> pa.Table:
        """Return name, estimate, stderr, lower and upper, one row for each estimate.

        Intervals are ``estimate ± t * stderr`` at the given level, for each row on its own.
        """
        if not 0 < level < 1:
            raise SettingsError(f"level must lie between 0 and 1, not {level!r}.")
        half = stdtrit(self.degrees_of_freedom, (1 + level) / 2) * self.standard_errors
        return pa.table(
            {
                "name": pa.array(self.names, pa.string()),
                "estimate": self.estimates,
                "stderr": self.standard_errors,
                "lower": self.estimates - half,
                "upper": self.estimates + half,
            }
        )

    def predict(self, logs: Logs) -> np.ndarray:
        """Return ``h(C)`` less its average in the fitted logs, ``(n,)``, units of the outcome.

        A category that the fitted logs did not hold, or held too rarely to tell, contributes 0,
        as an average one would. Raises `ColumnNotFound` when a confounder is missing and
        `InputError` when it is of another kind than it was.
        """
        return np.sum([term.contribution(logs) for term in self.terms], axis=0)

    def subtract_from(self, logs: Logs) -> Logs:
        """Return logs whose outcome is ``y - h(C)``, with the average of h(C) put back.

        Units stay those of the outcome; on the logs that were fitted so does its (weighted) mean.
        The history gains one line.
        """
        shift = self.predict(logs)
        unknown = sum(term.unknown(logs) for term in self.terms)
        note = (
            f"subtracted the effect of {', '.join(term.column for term in self.terms)} "
            f"on {logs.roles.outcome} (method {self.method}, fitted on {self.observations} rows, "
            f"standard deviation of what was removed {np.std(shift):.4g})"
        )
        if unknown:
            note += f"; {unknown} values belong to categories without an effect, taken as average"
        return logs.with_outcome(logs.outcome - shift, note)

    def summary(self) -> str:
        """Return a few lines that a person can read: estimates, intervals, findings."""
        rows = self.table().to_pylist()
        lines = [
            f"Effect of the confounders on {self.outcome}, method {self.method}, "
            f"{self.observations} rows"
        ]
        width = max(len(name) for name in self.names[:SHOWN])
        lines += [
            f"  {row['name']:<{width}}  {row['estimate']: .4g}"
            f"  [{row['lower']:.4g}, {row['upper']:.4g}]"
            for row in rows[:SHOWN]
        ]
        if len(rows) > SHOWN:
            lines.append(f"  ... and {len(rows) - SHOWN} more; see table()")
        lines.append(f"Holds if: {self.assumption}")
        lines += [finding.line() for finding in self.findings]
        return "\n".join(lines)

    def plot(self) -> Figure:
        """Draw the estimates with their 95% intervals."""
        table = self.table()
        return forest(
            "confounder-effects",
            self.names,
            self.estimates,
            table["lower"].to_numpy(),
            table["upper"].to_numpy(),
            xlabel=f"effect on {self.outcome}",
            caption=f"Effect of the confounders with 95% intervals, method {self.method}.",
            alt=f"Estimates and intervals for {len(self.names)} effects; largest: "
            f"{self._largest()}.",
        )

    def section(self) -> Section:
        """Return the stage as the report tells it."""
        return Section(
            stage="deconfound",
            question=f"How did the confounders move {self.outcome}?",
            answer=f"Largest effect: {self._largest()}, estimated by {self.method} on "
            f"{self.observations} rows. It is subtracted from the outcome.",
            assumption=self.assumption,
            numbers={"observations": self.observations, **self.numbers},
            tables={"effects": self.table()},
            figures=(self.plot(),),
            findings=self.findings,
            details={"method": self.method, **self.settings},
        )

    def _largest(self) -> str:
        """Name the estimate that is furthest from zero in standard errors."""
        errors = self.standard_errors
        usable = np.where(errors > 0, errors, np.nan)
        with np.errstate(invalid="ignore"):
            ratio = np.abs(self.estimates) / usable
        best = int(np.argmax(np.nan_to_num(ratio, nan=-1.0)))
        row = self.table().slice(best, 1).to_pylist()[0]
        return f"{row['name']} {row['estimate']:.3g} [{row['lower']:.3g}, {row['upper']:.3g}]"
