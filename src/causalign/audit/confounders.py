"""What can these logs support? Findings on the data, and what travels with the texts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from causalign.audit.audited_rows import FOLDS, SAMPLE, AuditedRows, hold_logs
from causalign.audit.basis import indicators, merge_rare_levels, read_text_features
from causalign.audit.judging import judge_confounders
from causalign.audit.over_time import time_findings
from causalign.checks import confounding, data
from causalign.checks.advice import Advice, advise
from causalign.checks.clusters import cluster_findings
from causalign.checks.confounding import Judged, capital
from causalign.figures import Drawing, bars, draw_figures
from causalign.lm.encoder import Encoder
from causalign.logs import Logs, LogScan
from causalign.logs.covariates import Covariate
from causalign.results import Finding, Result, Section
from causalign.stats.counterparts import Overlap, condition_overlap, number_overlap
from causalign.stats.predictability import Predictability, score_predictions
from causalign.stats.row_blocks import RowBlocks
from causalign.stats.strata import quantile_strata

CLASSES = 4


@dataclass(frozen=True, slots=True)
class ConfounderAudit:
    """Hold what was seen of one confounder, both scores cross-fitted.

    Parameters
    ----------
    name, kind : str
        The column, and what it holds: numbers, truth values, dates or categories.
    metric : "R²" or "AUC"
        That of ``from_text``.
    from_text : float, optional
        How well the text predicts the confounder; None without text features.
    outcome_r2 : float
        What share it explains of what the text leaves of the outcome.
    judged : Judged
        Whether it confounds, by the one rule for sentence, findings and advice.
    finding : Finding
        CF101, which says so.
    overlap : Overlap, optional
        Whether texts met its other values, and what of it is left beside the text.
    """

    name: str
    kind: str
    metric: str
    from_text: float | None
    outcome_r2: float
    judged: Judged
    finding: Finding
    overlap: Overlap | None = None

    @property
    def shown(self) -> str:
        """How the text shows it, in words."""
        if self.judged.word or self.from_text is None:
            return f"“{self.judged.word}” travels with that"
        return self.judged.describe_text(self.from_text, self.metric)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Audit(Result):
    """Hold the audit of a log: one row for each confounder, findings, and what to use.

    Parameters
    ----------
    rows : int
        The rows of the log.
    rows_judged : int
        The rows from which confounders were judged: all, or a sample of them.
    confounders : tuple of ConfounderAudit
        What was seen of each confounder.
    findings : tuple of Finding
        What was checked.
    advice : tuple of Advice
        The estimators that fit what the log contains, the first choice first.
    """

    rows: int
    rows_judged: int
    confounders: tuple[ConfounderAudit, ...]
    findings: tuple[Finding, ...]
    advice: tuple[Advice, ...] = ()

    @property
    def confounded_by(self) -> tuple[str, ...]:
        """The confounders that the text gives away and that move the outcome."""
        return tuple(c.name for c in self.confounders if c.judged.confounds)

    @property
    def not_known(self) -> tuple[str, ...]:
        """The confounders that move the outcome, when nobody can say whether the text shows it."""
        return tuple(c.name for c in self.confounders if c.judged.confounds is None)

    def table(self) -> pa.Table:
        """Return one row for each confounder."""
        overlaps = [c.overlap for c in self.confounders]
        return pa.table(
            {
                "confounder": [c.name for c in self.confounders],
                "kind": [c.kind for c in self.confounders],
                "predicted by text": _known(c.from_text for c in self.confounders),
                "metric": [c.metric for c in self.confounders],
                "outcome R²": _known(c.outcome_r2 for c in self.confounders),
                "without counterpart": _known(o.missing if o else None for o in overlaps),
                "left beside the text": _known(o.left if o else None for o in overlaps),
            }
        )

    def answer(self) -> str:
        """Return in a sentence which confounders show in the text and move the outcome."""
        if not self.confounders:
            return "No confounder is declared, so nothing can be said about confounding."
        if self.not_known:
            moving = " and ".join(c.judged.describe() for c in self.confounders if c.judged.moves)
            return (
                f"{capital(moving)}; without text features nobody can say whether the texts show "
                "it."
            )
        if not self.confounded_by:
            return "None of the declared confounders both shows in the text and moves the outcome."
        described = [
            f"{c.name} ({c.judged.describe().removeprefix(c.name + ' ')}, and {c.shown})"
            for c in self.confounders
            if c.name in self.confounded_by
        ]
        return "The log is confounded by " + " and by ".join(described) + "."

    def details(self) -> Sequence[str]:
        """Return which estimators to use, the first choice first."""
        return [f"Use {a.method} ({a.take_it}): {a.because}." for a in self.advice]

    def drawing(self) -> Drawing | None:
        """Return how much of the outcome each confounder explains, None without confounders."""
        if not self.confounders:
            return None
        return bars(
            "outcome-by-confounder",
            [c.name for c in self.confounders],
            {"share of the outcome": np.array([c.outcome_r2 for c in self.confounders])},
            xlabel="cross-fitted R²",
            caption="How much each confounder explains of what the text leaves of the outcome.",
            alt="; ".join(f"{c.name}: R² {c.outcome_r2:.3f}" for c in self.confounders),
        )

    def section(self) -> Section:
        """Return the audit as a section of a report."""
        return Section(
            stage="audit",
            question="What travels with the texts, and does it move the outcome?",
            answer=self.answer(),
            assumption=(
                "Only recorded confounders can be seen, and the text features hold what the text "
                "does. Scores are cross-fitted: ridge regressions on text embeddings and on "
                "splines or indicators of the confounders, each row predicted by a fit that never "
                f"saw it.{self._say_sample()}"
            ),
            numbers={
                "rows": self.rows,
                "confounded_by": self._say_by(),
            },
            tables=self._tables(),
            figures=draw_figures(self.drawing()),
            findings=self.findings,
        )

    def _say_sample(self) -> str:
        """Return on how many rows confounders were judged, where these were not all."""
        if self.rows_judged == self.rows:
            return ""
        return (
            f" Confounders and time were judged on {self.rows_judged:,} rows of {self.rows:,}, "
            "drawn by a hash of what belongs together."
        )

    def _say_by(self) -> str | None:
        """Return what confounds, or None where nobody can say whether something does."""
        if not self.confounders or self.not_known:
            return None
        return ", ".join(self.confounded_by) or "nothing"

    def _tables(self) -> dict[str, pa.Table]:
        if not self.confounders:
            return {}
        use = {
            "use": [a.method for a in self.advice],
            "when": [a.take_it for a in self.advice],
            "because": [a.because for a in self.advice],
        }
        return {"confounders": self.table(), "what to use": pa.table(use)}


def audit_logs(
    logs: Logs | LogScan,
    encoder: str | Encoder | None = None,
    *,
    text_features: ArrayLike | None = None,
    folds: int = FOLDS,
    seed: int = 0,
    sample: int = SAMPLE,
    judged: Sequence[Judged] | None = None,
) -> Audit:
    """Check a log before anything is fitted on it.

    Rows with the same text, cluster or group stay in one fold.

    Parameters
    ----------
    logs : Logs or LogScan
        The log. Of a scan all is said of a sample.
    encoder : str or Encoder, optional
        What turns texts into features, such as ``"minilm"``: they serve to ask how well the text
        predicts each confounder, and the time.
    text_features : (n, p) array, optional
        Features of the texts, instead of an encoder; of wide ones the 384 leading principal
        components are read. Without both, the columns of the role ``features``; without any, only
        the confounders' share of the outcome is measured.
    folds, seed : int
        How rows are cut for cross-fitting.
    sample : int
        About so many rows are drawn, whole clusters or texts, of logs with more: for all that is
        said of confounders and of the time. The table and clusters are checked on all rows that
        are in memory.
    judged : sequence of Judged, optional
        Which confounders confound, as `audit_markers` found; found here when it is not given.

    Returns
    -------
    Audit
        One row for each confounder, findings, and which estimators to use.
    """
    rows = len(logs)
    logs, encoder = hold_logs(logs, encoder, sample, seed)
    features = read_text_features(logs, encoder, text_features)
    drawn = AuditedRows(logs, features, rows, folds, seed).draw(sample)
    return judge_logs(logs, drawn, judge_confounders(drawn) if judged is None else judged)


def judge_logs(logs: Logs, drawn: AuditedRows, judged: Sequence[Judged]) -> Audit:
    """Return the audit of what is held of a log, from what was drawn of it and judged by that."""
    varying = [c for c in drawn.logs.confounders if np.ptp(c.values) > 0]
    seen = tuple(map(_describe, varying, judged, _predict_from_text(varying, drawn)))
    with_text = drawn.features is not None
    checks = (
        *_check_table(logs),
        *(c.finding for c in seen),
        *_overlap_findings(seen, with_text, len(drawn.logs)),
        *cluster_findings(logs),
        *time_findings(drawn),
        *([] if logs.roles.confounders else [confounding.no_confounders()]),
    )
    audit = Audit(drawn.rows, len(drawn.logs), seen, checks)
    return replace(audit, advice=advise(logs, audit.confounded_by, with_text))


def _check_table(logs: Logs) -> tuple[Finding, ...]:
    return (
        data.few_rows(logs),
        data.duplicate_rows(logs),
        data.repeated_texts(logs),
        data.huge_texts(logs),
        data.few_counts(logs),
        data.constant_confounders(logs),
    )


def _describe(
    confounder: Covariate, judged: Judged, from_text: "_FromText | None"
) -> ConfounderAudit:
    metric = "R²" if _is_number(confounder) else "AUC"
    score = None if from_text is None else from_text.score.score
    return ConfounderAudit(
        confounder.name,
        confounder.kind,
        metric,
        score,
        judged.test.as_it_is.moves.score,
        judged,
        confounding.confounded_by(judged, score, metric),
        None if from_text is None else from_text.overlap,
    )


def _overlap_findings(
    seen: Sequence[ConfounderAudit], text_was_seen: bool, rows: int
) -> tuple[Finding, ...]:
    """Return OV101 and OV102 over the confounders whose overlap could be measured."""
    if not seen:
        return ()
    known = [(c.name, c.overlap) for c in seen if c.overlap is not None]
    if not known:
        why = "No confounder has two values that 20 clusters or texts met."
        if not text_was_seen:
            why = (
                "Without text features nobody can say which texts are alike. Name an encoder, or "
                "features in Roles(features=...)."
            )
        return (confounding.overlap_not_known(why),)
    names, overlaps = zip(*known, strict=True)
    return (
        confounding.counterparts(names, overlaps),
        confounding.left_beside_the_text(names, overlaps, rows),
    )


def _known(values: Iterable[float | None]) -> pa.Array:
    return pa.array(list(values), pa.float64())


@dataclass(frozen=True, slots=True)
class _FromText:
    """Hold how well the text predicts a covariate, and what overlap that leaves, if known."""

    score: Predictability
    overlap: Overlap | None


def _predict_from_text(
    covariates: Sequence[Covariate], drawn: AuditedRows
) -> tuple[_FromText | None, ...]:
    """Predict every covariate from the text, rows of a group in one fold.

    Categories and truth values are predicted level by level (the rare ones share a level), numbers
    as they are and, for the overlap, cut at their quartiles. None for a covariate none of whose
    values occurs twice, and without features.
    """
    if drawn.text is None:
        return (None,) * len(covariates)
    groups = drawn.groups
    results: list[_FromText | None] = []
    for c in covariates:
        code = merge_rare_levels(c) if c.is_categorical else _classes(c)
        count = int(code.max()) + 1
        targets = indicators(code, np.arange(count))
        if _is_number(c):
            number = RowBlocks.of(c.values[:, None].astype(np.float64))
            targets = RowBlocks.side_by_side(targets, number)
        predicted = drawn.text.fit(targets).predicted.whole()
        scores = predicted[:, :count]
        if _is_number(c):
            own = predicted[:, count]
            overlap = number_overlap(own, c.values, scores, code, groups)
            results.append(_FromText(score_predictions(own[:, None], c.values, groups), overlap))
        elif count == 1:
            results.append(None)
        else:
            score = score_predictions(scores, code, groups, classes=count)
            results.append(_FromText(score, condition_overlap(scores, code, groups)))
    return tuple(results)


def _is_number(covariate: Covariate) -> bool:
    return covariate.kind in ("numeric", "datetime")


def _classes(covariate: Covariate) -> np.ndarray:
    if covariate.kind == "boolean":
        return covariate.values.astype(np.int64)
    cut = quantile_strata(covariate.values, CLASSES)
    # Where most rows share the smallest value, quartiles cut nothing: that value against the rest.
    return cut if cut.max() > 0 else (covariate.values > covariate.values.min()).astype(np.int64)
