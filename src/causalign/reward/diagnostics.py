"""Diagnose a reward: is it calibrated, what does it follow, does it hold where texts differ?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from causalign import figures
from causalign.errors import InputError
from causalign.figures import Drawing
from causalign.logs.covariates import Covariate
from causalign.results import Finding, Result, Section, file_stem
from causalign.reward import findings as checks
from causalign.stats.calibration import BinMeans, calibration, residuals_by_stratum
from causalign.stats.component_effects import component_effects
from causalign.stats.independence import independence_test
from causalign.stats.latent_overlap import latent_overlap
from causalign.stats.pair_metrics import pair_accuracy
from causalign.stats.strata import quantile_strata

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Diagnostics(Result):
    """What a reward's predictions of unseen rows say about it.

    Attributes
    ----------
    tables : mapping from str to pyarrow.Table
        What the findings stand on.
    calibration : Drawing, optional
        Outcome against reward.
    """

    tables: Mapping[str, pa.Table]
    calibration: Drawing | None = None
    findings: tuple[Finding, ...] = field(default=())

    def answer(self) -> str:
        """Return what the first finding says."""
        return self.findings[0].explanation

    def table(self) -> pa.Table:
        """Return one row for each finding: code, title, explanation, verdict."""
        columns = ("code", "title", "explanation", "verdict")
        return pa.table({name: [str(getattr(f, name)) for f in self.findings] for name in columns})

    def drawing(self) -> Drawing | None:
        """Return outcome against reward, or None for pairs."""
        return self.calibration

    def section(self) -> Section:
        """Return the diagnostics as a section of a run folder and of the report."""
        return Section(
            stage="reward-diagnostics",
            question="Is the reward calibrated, and does it follow a confounder?",
            answer=self.answer(),
            assumption="Predictions are of rows that the fit did not see; clusters of rows are "
            "independent of each other.",
            tables=self.tables,
            figures=figures.draw_figures(self.calibration),
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
    """Diagnose predictions of rows that no fit saw, such as ``RewardFit.out_of_fold``.

    Assumption: rows of different clusters are independent.

    Parameters
    ----------
    predicted : (n,) array
    outcome : (n,) array
        What the reward was fitted to.
    confounders : sequence of Covariate
        Outcome and reward are compared by stratum (numbers are cut at their deciles), and the
        reward is tested for dependence.
    attributes : mapping from str to (n,) array, optional
        Columns of 0 and 1 that were randomised in the texts; their average marginal component
        effects *on the reward* are estimated.
    clusters : (n,) array, optional
    permutations, seed : int
        Of the tests of dependence.

    Raises
    ------
    InputError
        For shapes or values that do not fit.
    """
    r, y = np.asarray(predicted, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    overall = calibration(r, y, clusters=clusters)
    findings = [checks.calibration_slope(overall)]
    tables, dependence = {"calibration": _table(overall.bins, "decile")}, []
    for covariate in confounders:
        name, values, named = covariate.name, covariate.values, covariate.is_categorical
        codes = values if named else quantile_strata(values)
        strata = residuals_by_stratum(r, y, codes, clusters=clusters)
        labels = [covariate.levels[c] if named else f"class {c + 1}" for c in strata.bins.label]
        tables[f"calibration by {name}"] = _table(strata.bins, "stratum", labels)
        test = independence_test(
            r, values, categorical=named, clusters=clusters, permutations=permutations, seed=seed
        )
        follows = checks.follows_confounder(name, test)
        findings += [checks.calibration_by_stratum(name, strata), follows]
        dependence.append({"confounder": name, **follows.numbers})
    if dependence:
        tables["dependence"] = pa.Table.from_pylist(dependence)
    if attributes:
        finding, tables["attributes"] = _attributes(r, attributes, clusters)
        findings.append(finding)
    return Diagnostics(tables, _draw_calibration(overall.bins), tuple(findings))


def _attributes(
    r: Array, attributes: Mapping[str, ArrayLike], clusters: ArrayLike | None
) -> tuple[Finding, pa.Table]:
    names = tuple(attributes)
    columns = np.column_stack([np.asarray(attributes[name]) for name in names])
    effects = component_effects(r, columns, clusters=clusters)
    numbers = ("standard_error", "lower", "upper", "p_value")
    table = pa.table(
        {"attribute": names, "effect": effects.estimate}
        | {column: getattr(effects, column) for column in numbers}
    )
    return checks.effects_of_attributes(names, effects), table


def diagnose_pairs(
    differences: ArrayLike,
    *,
    shifted: ArrayLike | None = None,
    latent: ArrayLike | None = None,
    objective: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
) -> Diagnostics:
    """Diagnose score differences of pairs that no fit saw.

    Parameters
    ----------
    differences : (n,) array
        Chosen less rejected.
    shifted : (n,) array, optional
        Marks pairs unlike those of training (another objective than usual for their prompt, factors
        that disagree): their accuracy is compared with that of the others.
    latent : (n, d) array, optional
        Features on which heads of several objectives stand: their overlap is measured.
    objective : (n,) array, optional
        By which objective each pair was judged.
    clusters : (n,) array, optional

    Raises
    ------
    InputError
        For shapes that do not fit, or if neither is given.
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
        findings.append(checks.holds_under_shift(parts[0], parts[1], lower, upper))
        columns = {"count": "pairs", "accuracy": "estimate", "lower": "lower", "upper": "upper"}
        tables["accuracy under shift"] = pa.table(
            {"pairs": ["in distribution", "shifted"]}
            | {column: [getattr(part, n) for part in parts] for column, n in columns.items()}
        )
    if latent is not None and objective is not None:
        overlap = latent_overlap(latent, objective, groups=clusters)
        findings.append(checks.features_overlap(overlap))
        tables["overlap of objectives"] = pa.table(
            {"objective": overlap.objective, "auc": overlap.auc}
        )
    if not findings:
        raise InputError("Give shifted, or latent features with an objective for each pair.")
    return Diagnostics(tables, findings=tuple(findings))


def add_diagnostics(section: Section, parts: Mapping[str, Diagnostics]) -> Section:
    """Return a section with the diagnostics of several rewards added to it.

    Parameters
    ----------
    section : Section
    parts : mapping from str to Diagnostics
        By what the rewards are called.
    """
    drawings = {name: p.calibration for name, p in parts.items() if p.calibration is not None}
    return replace(
        section,
        tables={
            **section.tables,
            **{f"{t} ({name})": rows for name, p in parts.items() for t, rows in p.tables.items()},
        },
        figures=(
            *section.figures,
            *figures.draw_figures(
                *(
                    replace(
                        drawing,
                        name=f"{drawing.name}-{file_stem(name)}",
                        caption=f"{name.capitalize()} reward. {drawing.caption}",
                    )
                    for name, drawing in drawings.items()
                )
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


def _table(bins: BinMeans, name: str, labels: Sequence[str] | None = None) -> pa.Table:
    columns = ("rows", "predicted", "observed", "lower", "upper")
    first = bins.label + 1 if labels is None else labels
    return pa.table({name: first} | {column: getattr(bins, column) for column in columns})


def _draw_calibration(bins: BinMeans) -> Drawing:
    label = "outcome of unseen rows"
    return figures.curve(
        "calibration",
        bins.predicted,
        {label: bins.observed, "calibrated": bins.predicted},
        xlabel="mean reward of a decile",
        ylabel="mean outcome",
        caption="Outcome against reward by decile of the reward, with 95 % intervals; on the "
        "second line a reward is what it says.",
        alt=f"From the lowest to the highest decile the mean reward goes from "
        f"{bins.predicted[0]:.3g} to {bins.predicted[-1]:.3g}, the mean outcome from "
        f"{bins.observed[0]:.3g} to {bins.observed[-1]:.3g}.",
        bands={label: (bins.lower, bins.upper)},
    )


def _loss_interval(
    d: Array, away: NDArray[np.bool_], clusters: NDArray[np.generic]
) -> tuple[float, float]:
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
