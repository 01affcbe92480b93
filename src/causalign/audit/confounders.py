"""What can these logs support? Findings on the data, and what travels with the texts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from causalign import figures
from causalign.audit.basis import WIDEST, curves
from causalign.audit.from_text import FromText, given_away
from causalign.audit.over_time import time_findings
from causalign.checks import confounding, data, overlap
from causalign.checks.advice import Advice, advise
from causalign.checks.clusters import cluster_findings
from causalign.covariates import Covariate
from causalign.logs import Logs
from causalign.results import Figure, Finding, Section, Verdict
from causalign.stats.counterparts import Overlap
from causalign.stats.marker_effects import leading_components
from causalign.stats.predictability import predictability

__all__ = ["Audit", "ConfounderAudit", "audit"]


@dataclass(frozen=True, slots=True)
class ConfounderAudit:
    """Hold what was seen of one confounder, both scores cross-fitted.

    ``from_text`` says how well the text predicts the confounder (``metric`` R² or AUC), None when
    no text features were given; ``outcome_r2`` what share of the outcome the confounder explains;
    ``overlap`` whether texts met its other values and what of it is left beside the text.
    """

    name: str
    kind: str
    metric: str
    from_text: float | None
    outcome_r2: float
    finding: Finding | None
    overlap: Overlap | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """Hold the audit of a log: one row for each confounder, findings, and what to use.

    ``advice`` names the estimators that fit what the log contains, the first choice first.
    """

    rows: int
    confounders: tuple[ConfounderAudit, ...]
    findings: tuple[Finding, ...]
    advice: tuple[Advice, ...] = ()

    @property
    def confounded_by(self) -> tuple[str, ...]:
        """Return the confounders that the text gives away and that move the outcome."""
        found = [c for c in self.confounders if c.finding is not None]
        return tuple(c.name for c in found if c.finding.verdict is Verdict.WARN)  # type: ignore[union-attr]

    def table(self) -> pa.Table:
        """Return one row for each confounder."""
        return pa.table(
            {
                "confounder": [c.name for c in self.confounders],
                "kind": [c.kind for c in self.confounders],
                "predicted by text": pa.array(
                    [c.from_text for c in self.confounders], pa.float64()
                ),
                "metric": [c.metric for c in self.confounders],
                "outcome R²": pa.array([c.outcome_r2 for c in self.confounders], pa.float64()),
                "without counterpart": _known(
                    c.overlap.missing if c.overlap else None for c in self.confounders
                ),
                "left beside the text": _known(
                    c.overlap.left if c.overlap else None for c in self.confounders
                ),
            }
        )

    def summary(self) -> str:
        """Return the answer, the findings that did not pass, and which estimators to use."""
        grave = [f.line() for f in self.findings if f.verdict in (Verdict.WARN, Verdict.FAIL)]
        use = [f"Use {a.method} ({a.take_it}): {a.because}." for a in self.advice]
        return "\n".join([self._answer(), *grave, *use])

    def section(self) -> Section:
        """Return the audit as a section of a report."""
        drawn: tuple[Figure, ...] = ()
        if self.confounders:
            drawn = (
                figures.bars(
                    "outcome-by-confounder",
                    [c.name for c in self.confounders],
                    {"share of the outcome": np.array([c.outcome_r2 for c in self.confounders])},
                    xlabel="cross-fitted R²",
                    caption="How much of the outcome each confounder explains.",
                    alt="; ".join(f"{c.name}: R² {c.outcome_r2:.3f}" for c in self.confounders),
                ),
            )
        return Section(
            stage="audit",
            question="What travels with the texts, and does it move the outcome?",
            answer=self._answer(),
            assumption=(
                "Only recorded confounders can be seen. Scores are cross-fitted: ridge regressions "
                "on text embeddings and on splines or indicators of the confounders, each row "
                "predicted by a fit that never saw it."
            ),
            numbers={
                "rows": self.rows,
                "confounded_by": ", ".join(self.confounded_by) or "nothing",
            },
            tables=self._tables(),
            figures=drawn,
            findings=self.findings,
        )

    def _tables(self) -> dict[str, pa.Table]:
        if not self.confounders:
            return {}
        use = {
            "use": [a.method for a in self.advice],
            "when": [a.take_it for a in self.advice],
            "because": [a.because for a in self.advice],
        }
        return {"confounders": self.table(), "what to use": pa.table(use)}

    def _answer(self) -> str:
        if not self.confounders:
            return "No confounder is declared, so nothing can be said about confounding."
        if not self.confounded_by:
            return "None of the declared confounders both shows in the text and moves the outcome."
        told = []
        for c in self.confounders:
            if c.name in self.confounded_by:
                told.append(
                    f"{c.name} (explains {c.outcome_r2:.1%} of the outcome, and the text predicts "
                    f"it with {c.metric} {c.from_text:.2f})"
                )
        return "The log is confounded by " + " and by ".join(told) + "."


def audit(
    logs: Logs, *, text_features: np.ndarray | None = None, folds: int = 5, seed: int = 0
) -> Audit:
    """Check a log before anything is fitted on it.

    ``text_features`` ``(n, d)``, for instance embeddings, serve to ask how well the text predicts
    each confounder, and the time; of wide ones the 384 leading principal components. Without them
    (and without the role ``features``) only the confounders' share of the outcome is measured. Rows
    with the same text, cluster or group stay in one fold.
    """
    features = logs.features if text_features is None else text_features
    groups = _kept_together(logs)
    varying = tuple(c for c in logs.confounders if np.ptp(c.values) > 0)
    from_text: tuple[FromText | None, ...] = (None,) * len(varying)
    if features is not None:
        features = leading_components(features, WIDEST)
        if varying:
            from_text = given_away(varying, features, groups, folds=folds, seed=seed)
    outcome = logs.outcome
    seen = tuple(
        _audit_confounder(c, outcome, told, groups, folds, seed)
        for c, told in zip(varying, from_text, strict=True)
    )
    checks = [
        data.few_rows(logs),
        data.duplicate_rows(logs),
        data.repeated_texts(logs),
        data.huge_texts(logs),
        data.constant_confounders(logs),
        *(c.finding for c in seen if c.finding is not None),
        *_overlap_findings(seen, features is not None, len(logs)),
        *cluster_findings(logs),
        *time_findings(logs, features, groups, folds=folds, seed=seed),
    ]
    if not logs.roles.confounders:
        checks.append(confounding.no_confounders())
    found = Audit(len(logs), seen, tuple(checks))
    return replace(found, advice=advise(logs, found.confounded_by, features is not None))


def _kept_together(logs: Logs) -> np.ndarray:
    """Return clusters, or texts where none are declared or there are too few for three folds."""
    clusters = logs.clusters
    if clusters is None or len(np.unique(clusters)) < 3:
        clusters = logs.codes_of(logs.roles.completion)
    return clusters if len(np.unique(clusters)) >= 3 else np.arange(len(logs))


def _audit_confounder(
    confounder: Covariate,
    outcome: np.ndarray,
    from_text: FromText | None,
    groups: np.ndarray,
    folds: int,
    seed: int,
) -> ConfounderAudit:
    basis = curves([confounder], rows_for_a_level=2)
    explained = predictability(basis, outcome, groups, folds=folds, seed=seed)
    if from_text is None:
        metric = "R²" if confounder.kind in ("numeric", "datetime") else "AUC"
        return ConfounderAudit(
            confounder.name, confounder.kind, metric, None, explained.score, None
        )
    shown = from_text.told
    finding = confounding.confounded_by(
        confounder.name,
        from_text=shown.score,
        metric=shown.metric,
        text_p_value=shown.p_value,
        outcome_r2=explained.score,
        outcome_p_value=explained.p_value,
    )
    return ConfounderAudit(
        confounder.name,
        confounder.kind,
        shown.metric,
        shown.score,
        explained.score,
        finding,
        from_text.overlap,
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
        return (overlap.overlap_not_known(why),)
    names, overlaps = zip(*known, strict=True)
    return (
        overlap.counterparts(names, overlaps),
        overlap.left_beside_the_text(names, overlaps, rows),
    )


def _known(values: Iterable[float | None]) -> pa.Array:
    return pa.array(list(values), pa.float64())
