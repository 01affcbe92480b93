"""What every estimator of h(C) returns: the effect of the confounders, ready to be subtracted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import pyarrow as pa

from causalign.checks.data import few_counts
from causalign.checks.rows_behind import rows_behind_effects
from causalign.deconfound.inference import interval_degrees_of_freedom
from causalign.deconfound.method import Adjustment, FittedOnLogs, L, change_logs
from causalign.deconfound.standard_errors import check_standard_errors, find_told_once
from causalign.deconfound.terms import LinearTerms, Term
from causalign.errors import InputError
from causalign.figures import Drawing, draw_figures, forest
from causalign.logs import Logs
from causalign.results import Finding, Section, Verdict
from causalign.settings import require_number
from causalign.stats.carrying_rows import interval_reach
from causalign.stats.least_squares import LinearFit
from causalign.stats.rounding import is_exact, roundoff

SHOWN = 8


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ConfounderEffect(Adjustment):
    """Hold an estimate of h(C), how the confounders moved the outcome.

    Model: ``y = g(text) + h(C) + e`` (arXiv:2506.00152), h the sum of the ``terms``.

    Parameters
    ----------
    method : str
        The name of the method.
    names : tuple of k str
        What each estimate is of.
    estimates : (k,) array
        Units of the outcome for one unit of a numeric confounder, or the deviation of a category
        from the average row.
    covariance : (k, k) array
        NaN where none was computed; the variances ``(k,)`` alone where estimates are thousands.
    terms : tuple of Term
        The parts of h(C).
    observations : int
        The rows that were fitted.
    outcome : str
        The name of the outcome's column.
    assumption : str
        Under which condition the estimate is causal.
    findings : tuple of Finding
        What was checked.
    degrees_of_freedom : float
        Those of the t distribution of the intervals, unless few rows carry an estimate.
    carried : (k,) array
        On how many rows, or clusters, each estimate rests; infinite or NaN where nobody knows.
    numbers : mapping
        What else was measured.
    settings : mapping
        The settings of the method.
    guardrails : mapping from str to ConfounderEffect
        How the confounders moved further outcomes, by their columns.
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
    carried: np.ndarray | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    guardrails: Mapping[str, "ConfounderEffect"] = field(default_factory=dict)

    def beside(self, guardrails: Mapping[str, Self]) -> Self:
        """Return the effect that also takes out of the guardrails what these say."""
        return replace(self, guardrails=guardrails)

    @property
    def standard_errors(self) -> np.ndarray:
        """The standard errors ``(k,)``; NaN where none was computed."""
        variance = self.covariance if self.covariance.ndim == 1 else np.diag(self.covariance)
        errors: np.ndarray = np.sqrt(np.where(variance >= 0, variance, np.nan))
        return errors

    def table(self, level: float = 0.95) -> pa.Table:
        """Return the estimates with intervals, each on its own.

        They are ``estimate ± t_d √(m/(m - 1)) stderr`` for an estimate that rests on m rows, or
        clusters, with ``d = min(degrees_of_freedom, m - 1)``: the usual ones where m is large,
        wider where few rows carry an estimate, unbounded where one does.

        Parameters
        ----------
        level : float
            The coverage of the intervals, between 0 and 1.

        Returns
        -------
        pyarrow.Table
            The columns name, estimate, stderr, lower and upper, one row for each estimate.

        Raises
        ------
        SettingsError
            When the level is not between 0 and 1.
        """
        require_number("level", level, above=0, below=1)
        carried = np.full(len(self.names), np.inf) if self.carried is None else self.carried
        half = interval_reach(carried, self.degrees_of_freedom, level)
        # An error of 0 times a reach without end is no number, and such an interval has no end.
        half = np.where(np.isinf(half), half, half * self.standard_errors)
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
        """Predict ``h(C)``, less its average in the fitted logs.

        A category that the fitted logs did not hold, or held too rarely to tell, contributes 0,
        as an average one would.

        Parameters
        ----------
        logs : Logs
            Logs with the same confounders.

        Returns
        -------
        (n,) array
            In units of the outcome.

        Raises
        ------
        ColumnNotFound
            When a confounder is missing.
        InputError
            When it is of another kind than it was.
        """
        total: np.ndarray = np.sum([term.contribution(logs) for term in self.terms], axis=0)
        return total

    def subtract_from(self, logs: Logs) -> Logs:
        """Subtract h(C) from the outcome, with the average of h(C) put back.

        Units stay those of the outcome; on the logs that were fitted so does its (weighted) mean.
        From each guardrail its own effect is subtracted.

        Parameters
        ----------
        logs : Logs
            The logs that were fitted, or any others with the same confounders.

        Returns
        -------
        Logs
            Logs whose outcome is ``y - h(C)``; their history has one line more.

        Raises
        ------
        InputError
            For logs with a guardrail that the fitted ones did not have.
        """
        if unfitted := sorted(set(logs.roles.guardrails) - set(self.guardrails)):
            raise InputError(
                f"What the confounders did to the guardrail {unfitted[0]!r} is not known: these "
                "effects were fitted on logs without it. Fit them again on logs that declare it."
            )
        shift = self.predict(logs)
        changed = {logs.roles.outcome: logs.outcome - shift} | {
            name: logs.rate(name) - self.guardrails[name].predict(logs)
            for name in logs.roles.guardrails
        }
        unknown = sum(term.unknown(logs) for term in self.terms)
        note = (
            f"subtracted the effect of {', '.join(term.column for term in self.terms)} "
            f"on {logs.roles.outcome} (method {self.method}, fitted on {self.observations} rows, "
            f"standard deviation of what was removed {np.std(shift):.4g})"
        )
        if unknown:
            note += f"; {unknown} values belong to categories without an effect, taken as average"
        if logs.roles.guardrails:
            note += f"; and that on {', '.join(logs.roles.guardrails)}"
        return logs.with_outcomes(changed, note)

    def adjust(self, logs: L) -> L:
        """Subtract h(C) from the outcome, as `subtract_from` does.

        Parameters
        ----------
        logs : Logs or LogScan
            The logs that were fitted, or any others with the same confounders.

        Returns
        -------
        Logs or LogScan
            Logs whose outcome is ``y - h(C)``.
        """
        return change_logs(logs, self.subtract_from)

    def answer(self) -> str:
        """Return in a sentence what came out."""
        return (
            f"Largest effect on {self.outcome}: {self._largest()}, estimated by {self.method} on "
            f"{self.observations} rows. It is subtracted from the outcome."
        )

    def details(self) -> Sequence[str]:
        """Return the first estimates with intervals, and the assumption."""
        rows = self.table().slice(0, SHOWN).to_pylist()
        width = max(len(row["name"]) for row in rows)
        lines = [
            f"  {row['name']:<{width}}  {row['estimate']: .4g}"
            f"  [{row['lower']:.4g}, {row['upper']:.4g}]"
            for row in rows
        ]
        if len(self.names) > SHOWN:
            lines.append(f"  ... and {len(self.names) - SHOWN} more; see table()")
        return [*lines, f"Holds if: {self.assumption}"]

    def drawing(self) -> Drawing:
        """Return the estimates with their 95% intervals."""
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
            answer=self.answer(),
            assumption=self.assumption,
            numbers={"observations": self.observations, **self.numbers},
            tables={"effects": self.table()}
            | {f"effects on {name}": effect.table() for name, effect in self.guardrails.items()},
            figures=draw_figures(self.drawing()),
            findings=(*self.findings, *self._findings_of_guardrails()),
            details={"method": self.method, **self.settings},
        )

    def _findings_of_guardrails(self) -> tuple[Finding, ...]:
        """Return what is wrong with the effects on guardrails, named after them."""
        return tuple(
            replace(finding, title=f"{finding.title} ({name})")
            for name, effect in self.guardrails.items()
            for finding in effect.findings
            if finding.verdict in (Verdict.WARN, Verdict.FAIL)
        )

    def _largest(self) -> str:
        """Name the estimate that is furthest from zero in reaches of its interval."""
        table = self.table()
        reach = table["upper"].to_numpy() - self.estimates
        usable = np.where(reach > 0, reach, np.nan)
        with np.errstate(invalid="ignore"):
            ratio = np.abs(self.estimates) / usable
        best = int(np.argmax(np.nan_to_num(ratio, nan=-1.0)))
        row = table.slice(best, 1).to_pylist()[0]
        return f"{row['name']} {row['estimate']:.3g} [{row['lower']:.3g}, {row['upper']:.3g}]"


def linear_effect(
    method: FittedOnLogs[ConfounderEffect],
    logs: Logs,
    linear: LinearTerms,
    fit: LinearFit,
    *,
    carried: np.ndarray,
    assumption: str,
    findings: tuple[Finding, ...],
    numbers: Mapping[str, float],
) -> ConfounderEffect:
    """Return the effect of a linear h(C), from the regression of the method on the logs.

    ``carried (k,)`` says on how many rows, or clusters, each estimate rests.
    """
    y, observations = logs.outcome, len(fit.residuals)
    left, spread, size = (
        float(np.linalg.norm(values)) for values in (fit.residuals, y - y.mean(), y)
    )
    exact = is_exact(left, spread, size, float(roundoff(y[:, None])[0]))
    clusters = logs.cluster_ways if fit.cluster_counts else None
    once = find_told_once(linear.categories, clusters)
    covariance, errors = check_standard_errors(linear, fit.cluster_counts, exact=exact, once=once)
    behind = rows_behind_effects(
        linear.names, carried, observations, clustered=bool(fit.cluster_counts)
    )
    # The audit always tells it; here it is told to those who skipped the audit and should not have.
    scale = tuple(f for f in (few_counts(logs),) if f.verdict is Verdict.WARN)
    return ConfounderEffect(
        method=method.name,
        names=linear.names,
        estimates=linear.estimates,
        covariance=covariance,
        terms=linear.terms,
        observations=observations,
        outcome=logs.roles.outcome,
        assumption=assumption,
        findings=(*findings, behind, *errors, *scale),
        degrees_of_freedom=interval_degrees_of_freedom(fit),
        carried=carried,
        numbers=numbers,
        settings=method.settings(),
    )
