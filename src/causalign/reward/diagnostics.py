"""Diagnose a reward: is it calibrated, what does it follow, does it hold where texts differ?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from causalign import figures
from causalign.covariates import Covariate
from causalign.errors import InputError
from causalign.results import Figure, Finding, Section, file_stem
from causalign.reward import diagnostic_findings as say
from causalign.stats.calibration import BinMeans, calibration, residuals_by_stratum
from causalign.stats.component_effects import component_effects
from causalign.stats.independence import independence_test
from causalign.stats.latent_overlap import latent_overlap
from causalign.stats.ranking import RankingMetric, pair_accuracy
from causalign.stats.strata import quantile_strata

__all__ = ["Diagnostics", "diagnose", "diagnose_pairs", "with_diagnostics"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Diagnostics:
    """Hold what a reward's predictions of unseen rows say about it."""

    findings: tuple[Finding, ...]
    tables: Mapping[str, pa.Table]
    figures: tuple[Figure, ...] = ()

    def table(self) -> pa.Table:
        """Return one row for each finding: code, title, verdict, explanation."""
        columns = {"code": "code", "title": "title", "explanation": "explanation"}
        rows = {name: [getattr(f, a) for f in self.findings] for name, a in columns.items()}
        return pa.table({**rows, "verdict": [f.verdict.value for f in self.findings]})

    def summary(self) -> str:
        """Return the findings, one line each."""
        return "\n".join(finding.line() for finding in self.findings)

    def section(self, stage_name: str = "reward-diagnostics") -> Section:
        """Return the diagnostics as a section of a run folder and of the report."""
        return Section(
            stage=stage_name,
            question="Is the reward calibrated, and does it follow a confounder?",
            answer=self.findings[0].explanation,
            assumption="Predictions are of rows that the fit did not see; clusters of rows are "
            "independent of each other.",
            tables=self.tables,
            figures=self.figures,
            findings=self.findings,
        )


def diagnose(
    predicted: ArrayLike,
    outcome: ArrayLike,
    *,
    confounders: Sequence[Covariate] = (),
    attributes: Mapping[str, ArrayLike] | None = None,
    clusters: ArrayLike | None = None,
    permutations: int = 499,
    seed: int = 0,
) -> Diagnostics:
    """Diagnose predictions ``(n,)`` of rows that no fit saw, such as ``RewardFit.out_of_fold``.

    ``outcome`` ``(n,)`` is what the reward was fitted to. For each of ``confounders`` (numbers are
    cut at their deciles) outcome and reward are compared by stratum, and the reward is tested for
    dependence. ``attributes`` are named columns ``(n,)`` of 0 and 1 that were randomised in the
    texts; their average marginal component effects *on the reward* are told.

    Assumption: rows of different ``clusters`` ``(n,)`` are independent. Raises `InputError` for
    shapes or values that do not fit.
    """
    r, y = np.asarray(predicted, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    overall = calibration(r, y, clusters=clusters)
    findings = [say.calibrated(overall)]
    tables = {"calibration": _table(overall.bins, "decile")}
    rows = []
    for covariate in confounders:
        codes = _codes(covariate)
        strata = residuals_by_stratum(r, y, codes, clusters=clusters)
        test = independence_test(
            r,
            covariate.values,
            categorical=covariate.is_categorical,
            clusters=clusters,
            permutations=permutations,
            seed=seed,
        )
        findings += [
            say.calibrated_by_stratum(covariate.name, strata),
            say.follows_confounder(covariate.name, test),
        ]
        rows.append({"confounder": covariate.name, **findings[-1].numbers})
        labels = _labels(covariate, strata.bins.label)
        tables[f"calibration by {covariate.name}"] = _table(strata.bins, "stratum", labels)
    if rows:
        tables["dependence"] = pa.Table.from_pylist(rows)
    if attributes:
        finding, tables["attributes"] = _attributes(r, attributes, clusters)
        findings.append(finding)
    return Diagnostics(tuple(findings), tables, (_calibration_figure(overall.bins),))


def _attributes(
    r: Array, attributes: Mapping[str, ArrayLike], clusters: ArrayLike | None
) -> tuple[Finding, pa.Table]:
    names = tuple(attributes)
    columns = np.column_stack([np.asarray(attributes[name]) for name in names])
    effects = component_effects(r, columns, clusters=clusters)
    table = pa.table(
        {
            "attribute": names,
            "effect": effects.estimate,
            "standard_error": effects.standard_error,
            "lower": effects.lower,
            "upper": effects.upper,
            "p_value": effects.p_value,
        }
    )
    return say.attribute_effects(names, effects), table


def diagnose_pairs(
    differences: ArrayLike,
    *,
    shifted: ArrayLike | None = None,
    latent: ArrayLike | None = None,
    objective: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
) -> Diagnostics:
    """Diagnose score differences ``(n,)``, chosen less rejected, of pairs that no fit saw.

    ``shifted`` ``(n,)`` marks pairs unlike those of training (another objective than usual for
    their prompt, factors that disagree): their accuracy is compared with that of the others.
    ``latent`` ``(n, d)`` are features on which heads of several objectives stand and ``objective``
    ``(n,)`` by which one each pair was judged: their overlap is measured.

    Raises `InputError` for shapes that do not fit, or if neither is given.
    """
    d = np.asarray(differences, dtype=np.float64)
    labels = np.arange(len(d)) if clusters is None else np.asarray(clusters)
    findings, tables = [], {}
    if shifted is not None:
        away = np.asarray(shifted, dtype=bool)
        if away.shape != d.shape or away.all() or not away.any():
            raise InputError("shifted must mark some pairs and leave some, one for each pair.")
        parts = [pair_accuracy(d[rows], clusters=labels[rows]) for rows in (~away, away)]
        lower, upper = _loss_interval(d, away, labels)
        findings.append(say.holds_under_shift(parts[0], parts[1], lower, upper))
        tables["accuracy under shift"] = _accuracy_table(parts)
    if latent is not None and objective is not None:
        found = latent_overlap(latent, objective, groups=clusters)
        findings.append(say.features_overlap(found))
        tables["overlap of objectives"] = pa.table({"objective": found.objective, "auc": found.auc})
    if not findings:
        raise InputError("Give shifted, or latent features with an objective for each pair.")
    return Diagnostics(tuple(findings), tables)


def with_diagnostics(section: Section, parts: Mapping[str, Diagnostics]) -> Section:
    """Return a section with the diagnostics of several named rewards added to it."""
    return replace(
        section,
        tables={
            **section.tables,
            **{f"{t}-{name}": rows for name, p in parts.items() for t, rows in p.tables.items()},
        },
        figures=(
            *section.figures,
            *(
                replace(figure, name=f"{figure.name}-{file_stem(name)}")
                for name, p in parts.items()
                for figure in p.figures
            ),
        ),
        findings=(
            *section.findings,
            *(
                replace(finding, title=f"{finding.title} ({name})")
                for name, p in parts.items()
                for finding in p.findings
            ),
        ),
    )


def _codes(covariate: Covariate) -> NDArray[np.int64]:
    return covariate.values if covariate.is_categorical else quantile_strata(covariate.values)


def _labels(covariate: Covariate, codes: NDArray) -> list[str]:
    if covariate.is_categorical:
        return [covariate.levels[int(code)] for code in codes]
    return [f"class {int(code) + 1}" for code in codes]


def _table(bins: BinMeans, name: str, labels: Sequence[str] | None = None) -> pa.Table:
    return pa.table(
        {
            name: labels if labels is not None else bins.label + 1,
            "rows": bins.rows,
            "predicted": bins.predicted,
            "observed": bins.observed,
            "lower": bins.lower,
            "upper": bins.upper,
        }
    )


def _calibration_figure(bins: BinMeans) -> Figure:
    seen = "outcome of unseen rows"
    return figures.curve(
        "calibration",
        bins.predicted,
        {seen: bins.observed, "calibrated": bins.predicted},
        xlabel="mean reward of a decile",
        ylabel="mean outcome",
        caption="Outcome against reward by decile of the reward, with 95 % intervals; on the "
        "second line a reward is what it says.",
        alt=f"From the lowest to the highest decile the mean reward goes from "
        f"{bins.predicted[0]:.3g} to {bins.predicted[-1]:.3g}, the mean outcome from "
        f"{bins.observed[0]:.3g} to {bins.observed[-1]:.3g}.",
        bands={seen: (bins.lower, bins.upper)},
    )


def _loss_interval(d: Array, away: NDArray[np.bool_], clusters: NDArray) -> tuple[float, float]:
    """Return a clustered 95 % interval of accuracy in distribution less accuracy under shift."""
    right = (d > 0) + 0.5 * (d == 0)
    influence = np.zeros(len(d))
    for rows, sign in ((~away, 1.0), (away, -1.0)):
        influence[rows] = sign * (right[rows] - right[rows].mean()) / rows.sum()
    _, member = np.unique(clusters, return_inverse=True)
    sums = np.bincount(member, weights=influence)
    error = float(np.sqrt(len(sums) / (len(sums) - 1) * (sums @ sums)))
    loss = float(right[~away].mean() - right[away].mean())
    return loss - 1.959964 * error, loss + 1.959964 * error


def _accuracy_table(parts: Sequence[RankingMetric]) -> pa.Table:
    return pa.table(
        {
            "pairs": ["in distribution", "shifted"],
            "count": [part.pairs for part in parts],
            "accuracy": [part.estimate for part in parts],
            "lower": [part.lower for part in parts],
            "upper": [part.upper for part in parts],
        }
    )
