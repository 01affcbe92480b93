"""What do markers do in each audience, and which do other things in some than in others?"""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import chdtrc

from causalign.audit.audited_rows import AuditedRows, cut_folds
from causalign.audit.basis import expand_curves
from causalign.audit.judging import in_blocks
from causalign.audit.vocabulary import TextMarkers
from causalign.checks.confounding import markers_by_audience
from causalign.figures import printable
from causalign.logs import read_audiences
from causalign.results import Finding, Section
from causalign.stats.confounder_part import confounder_part
from causalign.stats.estimates import Estimates, q_values
from causalign.stats.fold_ridge import FoldRidge
from causalign.stats.marker_effects import MarkerContrasts, marker_effects
from causalign.stats.row_blocks import RowBlocks

# In an audience a marker needs so many texts with it, and so many without.
RARE = 20
FEWEST_ROWS = 100
SHOWN = 300

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MarkersByAudience:
    """Hold the deconfounded effect of m markers in a audiences, and whether these differ.

    ``effects`` has an estimate for each marker in each audience, NaN where it is too rare there;
    ``q_value (a, m)`` counts all of them as tests, at any dependence. ``difference_q (m,)`` is that
    of Cochran's test that all audiences have one effect.

    Assumption: audiences are independent, as those of different readers are. Rows of different
    audiences that share a cluster, such as one mail to both, are alike if anything, and the test
    then finds too little rather than too much.
    """

    names: tuple[str, ...]
    markers: TextMarkers
    effects: tuple[Estimates, ...]
    q_value: Floats
    difference_q: Floats
    level: float

    @property
    def different(self) -> NDArray[np.int64]:
        """The places of the markers that do other things in some audiences, the surest first."""
        order = np.argsort(self.difference_q, kind="stable")
        return np.asarray(order[self.difference_q[order] <= self.level])

    @property
    def findings(self) -> tuple[Finding, ...]:
        """MK104: which markers do other things in some audiences?"""
        named = [
            (printable(self.markers.names[place], 40), self._say(int(place)))
            for place in self.different
        ]
        tested = int(np.isfinite(self.difference_q).sum())
        return (markers_by_audience(named, tested, len(self.names)),)

    def _say(self, place: int) -> str:
        return ", ".join(
            f"{each.estimate[place]:+.2g} for {printable(name, 40)!r}"
            for name, each in zip(self.names, self.effects, strict=True)
            if np.isfinite(each.estimate[place])
        )

    def table(self) -> pa.Table:
        """Return a row for each marker and audience, markers that differ first."""
        order = np.argsort(np.nan_to_num(self.difference_q, nan=2.0), kind="stable")
        intervals = [each.interval() for each in self.effects]
        rows = [
            {
                "marker": printable(self.markers.names[i], 80),
                "audience": name,
                "effect": float(each.estimate[i]),
                "lower": float(lower[i]),
                "upper": float(upper[i]),
                "q": float(q[i]),
                "audiences differ": bool(self.difference_q[i] <= self.level),
                "q of the difference": float(self.difference_q[i]),
            }
            for i in order
            for name, each, (lower, upper), q in zip(
                self.names, self.effects, intervals, self.q_value, strict=True
            )
            if np.isfinite(each.estimate[i])
        ]
        return pa.Table.from_pylist(rows) if rows else pa.table({})

    def add_to(self, section: Section) -> Section:
        """Return the section of an audit with the table and the finding."""
        return replace(
            section,
            tables={**section.tables, "markers by audience": self.table().slice(0, SHOWN)},
            findings=(*section.findings, *self.findings),
        )


def compare_audiences(
    rows: AuditedRows, markers: TextMarkers, *, level: float = 0.05
) -> MarkersByAudience:
    """Estimate the deconfounded effect of each marker within each audience by itself.

    Confounders may do other things in each. Raises as `read_audiences` does.
    """
    people = read_audiences(rows.logs)
    effects = tuple(
        _estimate(rows, markers, np.flatnonzero(people.codes == place))
        for place in range(len(people.names))
    )
    p = np.array([each.p_value for each in effects])
    estimate = np.array([each.estimate for each in effects])
    error = np.array([each.error for each in effects])
    return MarkersByAudience(
        people.names,
        markers,
        effects,
        q_values(p.ravel()).reshape(p.shape),
        q_values(_test_difference(estimate, error)),
        level,
    )


def _test_difference(estimate: Floats, error: Floats) -> Floats:
    """Return Cochran's p-value ``(m,)`` that effects ``(a, m)`` are one; NaN for fewer than two."""
    known = np.isfinite(estimate) & (error > 0)
    precision = np.where(known, 1 / np.where(known, error, 1.0) ** 2, 0.0)
    value = np.where(known, estimate, 0.0)
    total = precision.sum(axis=0)
    mean = np.divide((precision * value).sum(axis=0), total, out=0 * total, where=total > 0)
    spread = (precision * (value - mean) ** 2).sum(axis=0)
    freedom = known.sum(axis=0) - 1
    return np.where(freedom > 0, chdtrc(np.maximum(freedom, 1), spread), np.nan)


def _estimate(rows: AuditedRows, markers: TextMarkers, places: NDArray[np.int64]) -> Estimates:
    """Return the effects of all markers in some rows; NaN where too few hold or lack one."""
    logs = rows.logs.take(places, "one audience")
    nothing = np.full(len(markers), np.nan)
    empty = Estimates(nothing, nothing, nothing, nothing)
    varying = [c for c in logs.confounders if np.ptp(c.values) > 0]
    columns = sparse.csc_array(sparse.csr_array(markers.columns)[places])
    here = np.diff(columns.indptr)
    usable = np.flatnonzero((here >= RARE) & ((len(places) - here >= RARE) | ~markers.is_presence))
    if not varying or len(places) < FEWEST_ROWS or not len(usable):
        return empty
    text = None
    if rows.features is not None:
        features = RowBlocks.of(rows.features.take(places))
        text = FoldRidge.of(features, cut_folds(rows.groups[places], seed=rows.seed), logs.weights)
    part = confounder_part(logs.outcome, expand_curves(varying), text=text, weights=logs.weights)

    def estimate(start: int, stop: int) -> MarkerContrasts:
        block = columns[:, usable[start:stop]]
        return marker_effects(block, logs.outcome, part, clusters=logs.cluster_ways)

    both = in_blocks(here[usable], part.basis.shape[1], estimate)
    return both.deconfounded.spread(usable, len(markers))
