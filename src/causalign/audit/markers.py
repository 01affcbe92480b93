"""Find by itself the words that seem to move the outcome because they travel with confounders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from causalign import figures
from causalign.audit.basis import WIDEST, curves
from causalign.audit.vocabulary import Attribute, TextMarkers, text_markers
from causalign.checks import markers as checks
from causalign.errors import SettingsError
from causalign.lm.progress import progress_of
from causalign.logs import Logs
from causalign.results import Figure, Finding, Section
from causalign.stats.false_discoveries import q_values
from causalign.stats.folds import group_folds
from causalign.stats.marker_effects import (
    Estimates,
    MarkerEffects,
    confounder_part,
    joined,
    leading_components,
    marker_effects,
)

__all__ = ["MarkerAudit", "audit_markers", "with_markers"]

FOLDS = 5
# Markers at once: so many numbers that a block of them fits into 200 MB.
NUMBERS_AT_ONCE = 25_000_000
MOST_AT_ONCE = 512
FEWEST_CLUSTERS = 10
SHOWN = 300
DRAWN = 12
# Discoveries are told as one when more of the rarer one's texts than this hold the other too.
SAME_STORY = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class MarkerAudit:
    """Hold m markers with their effects, sorted: discoveries first, then by distance.

    ``q_value (m,)`` belongs to the distance between naive and deconfounded effect; a discovery has
    ``q_value <= level``. ``leads`` are the discoveries that do not share most of their texts with
    one for which more speaks.
    """

    markers: TextMarkers
    effects: MarkerEffects
    q_value: NDArray[np.float64]
    level: float
    outcome: str
    confounders: tuple[str, ...]
    leads: tuple[int, ...]
    findings: tuple[Finding, ...]

    @property
    def spurious(self) -> tuple[str, ...]:
        """Return the names of all discoveries."""
        return tuple(
            n for n, q in zip(self.markers.names, self.q_value, strict=True) if q <= self.level
        )

    def table(self) -> pa.Table:
        """Return one row for each marker, the words made printable."""
        names = self.markers.names
        columns: dict[str, object] = {
            "marker": [figures.printable(n, 80) for n in names],
            "texts": self.markers.rows,
            "spurious": [bool(q <= self.level) for q in self.q_value],
        }
        columns |= _told("naive", self.effects.naive)
        columns |= _told("deconfounded", self.effects.deconfounded)
        columns |= _told("distance", self.effects.distance)
        columns |= {"p": self.effects.distance.p_value, "q": self.q_value}
        columns["naive q"] = q_values(self.effects.naive.p_value)
        if self.effects.alone is not None:
            columns |= _told("alone", self.effects.alone)
            columns["left beside the text"] = self.effects.left
        columns["R² on confounders"] = self.effects.told_by_confounders
        columns["kind"] = list(self.markers.kinds)
        columns["unit"] = list(self.markers.unit)
        columns["in the same texts"] = [
            figures.printable(", ".join(a), 120) for a in self.markers.alike
        ]
        return pa.table(columns)

    def summary(self) -> str:
        """Return the answer and the findings that did not pass."""
        return "\n".join([self.answer(), *(f.line() for f in self.findings)])

    def answer(self) -> str:
        """Return what was found in one or two sentences."""
        count = len(self.spurious)
        if not count:
            return (
                f"None of {len(self.markers)} markers seems to move {self.outcome} only because "
                "it travels with a confounder."
            )
        naive, after = self.effects.naive.estimate, self.effects.deconfounded.estimate
        named = "; ".join(
            f"“{figures.printable(self.markers.names[i], 40)}” seems to add {naive[i]:+.2f} and "
            f"adds {after[i]:+.2f}"
            for i in self.leads[:3]
        )
        others = count - min(len(self.leads), 3)
        more = f", and {others} more" if others else ""
        return (
            f"{count} of {len(self.markers)} markers travel with {_listed(self.confounders)}: "
            f"{named}{more}."
        )

    def plot(self) -> Figure | None:
        """Draw naive and deconfounded effects of the first markers, or None without a marker."""
        places = list(self.leads[:DRAWN]) or list(range(min(DRAWN, len(self.markers))))
        if not places:
            return None
        naive, after = self.effects.naive, self.effects.deconfounded
        labels, rows = [], []
        for i in places:
            name = figures.printable(self.markers.names[i], 24)
            labels += [f"{name}: as logged", "deconfounded"]
            for found in (naive, after):
                lower, upper = found.interval()
                rows.append((found.estimate[i], lower[i], upper[i]))
        estimates, lowers, uppers = np.array(rows).T
        return figures.forest(
            "markers",
            labels,
            estimates,
            lowers,
            uppers,
            xlabel=f"effect on {self.outcome}",
            caption="Effect of each marker as logged, and once the confounders' effect is taken "
            "out. Intervals of 95 %, one at a time.",
            alt="; ".join(
                f"{figures.printable(self.markers.names[i], 24)}: {naive.estimate[i]:.3g}, then "
                f"{after.estimate[i]:.3g}"
                for i in places
            ),
        )


def audit_markers(
    logs: Logs,
    *,
    text_features: np.ndarray | None = None,
    attributes: Mapping[str, Attribute] | Sequence[str] = (),
    sentiment: bool = False,
    rare: int = 20,
    most: int = 2000,
    level: float = 0.05,
    seed: int = 0,
    progress: bool = False,
) -> MarkerAudit:
    """Test every marker of the texts for an effect that is the confounders'.

    The naive effect is the difference of the outcome between texts with the marker and without;
    the deconfounded one is that difference in ``y - ĥ(C)``, where h is estimated with
    ``text_features (n, d)`` (or the role ``features``) partialled out, cross-fitted; of wide ones
    the 384 leading principal components. A marker is called spurious where the two differ, at a
    false-discovery rate of ``level`` under any dependence of the tests. ``attributes`` names
    columns of the table, or maps names to arrays ``(n,)`` or to functions of the texts;
    ``sentiment`` needs the extra of that name. Markers in fewer than ``rare`` texts, or in fewer
    than 10 clusters, are left out.

    Assumption: confounders are recorded; what the text does and what they do add up, h being a sum
    of smooth curves and categories; the features hold what the text does. Clusters, where declared,
    are independent, else rows. Raises `RoleNotDeclared` without confounders.
    """
    logs.require("confounders")
    if rare < 2 or most < 1 or not 0 < level < 1:
        raise SettingsError("rare must be at least 2, most at least 1 and level between 0 and 1.")
    features = logs.features if text_features is None else text_features
    with progress_of("markers read", len(logs), progress) as advance:
        markers = text_markers(
            logs.completions,
            rare=rare,
            most=most,
            attributes=_attributes(logs, attributes),
            sentiment=sentiment,
            seed=seed,
            advance=advance,
        )
    return _tested(logs, markers, features, rare, level, seed, progress)


def _tested(
    logs: Logs,
    markers: TextMarkers,
    features: np.ndarray | None,
    rare: int,
    level: float,
    seed: int,
    progress: bool,
) -> MarkerAudit:
    """Estimate, adjust and sort the effects of markers that enough clusters use."""
    markers = _in_enough_clusters(markers, logs.cluster_ways)
    effects = _effects(logs, markers, features, seed, progress)
    q = q_values(effects.distance.p_value)
    found = np.where(q <= level, 0, 1)
    order = np.lexsort((-np.abs(np.nan_to_num(effects.distance.estimate)), found))
    markers, effects, q = markers.take(order), effects.take(order), q[order]
    leads = _leads(markers, effects.distance, int((found == 0).sum()))
    return MarkerAudit(
        markers,
        effects,
        q,
        level,
        logs.roles.outcome,
        logs.roles.confounders,
        leads,
        _findings(markers, effects, leads, rare, level, features is not None),
    )


def with_markers(section: Section, found: MarkerAudit) -> Section:
    """Return the section of an audit with the markers' table, figure, findings and answer."""
    drawn, told = found.plot(), found.table()
    asked = told.filter(pc.equal(told["kind"], "attribute"))
    tables = {"attributes asked about": asked} if asked.num_rows else {}
    return replace(
        section,
        answer=f"{section.answer} {found.answer()}",
        assumption=f"{section.assumption} Markers: what text and confounders do adds up, and the "
        "text features hold what the text does.",
        numbers={
            **section.numbers,
            "markers tested": len(found.markers),
            "spurious markers": len(found.spurious),
        },
        tables={**section.tables, **tables, "markers": told.slice(0, SHOWN)},
        figures=(*section.figures, *([drawn] if drawn else [])),
        findings=(*section.findings, *found.findings),
    )


def _effects(
    logs: Logs, markers: TextMarkers, features: np.ndarray | None, seed: int, progress: bool
) -> MarkerEffects:
    together = logs.clusters
    if together is None:
        together = logs.codes_of(logs.roles.completion)
    folds = None
    if features is not None:
        features = leading_components(features, WIDEST)
        folds = group_folds(together, min(FOLDS, len(np.unique(together))), seed)
    outcome = logs.outcome
    part = confounder_part(
        outcome, curves(logs.confounders), features=features, folds=folds, weights=logs.weights
    )
    blocks = []
    with progress_of("markers tested", len(markers), progress) as advance:
        at_once = min(max(NUMBERS_AT_ONCE // len(logs), 1), MOST_AT_ONCE)
        for start in range(0, max(len(markers), 1), at_once):
            stop = min(start + at_once, len(markers))
            blocks.append(
                marker_effects(
                    markers.dense(start, stop),
                    outcome,
                    part,
                    clusters=logs.cluster_ways,
                    features=features,
                    folds=folds,
                )
            )
            advance(stop - start)
    return joined(blocks)


def _attributes(logs: Logs, given: Mapping[str, Attribute] | Sequence[str]) -> dict[str, Attribute]:
    if isinstance(given, Mapping):
        return dict(given)
    found: dict[str, Attribute] = {}
    for name in given:
        column = logs.covariate(name)
        levels = np.array(column.levels, dtype=object)
        found[name] = levels[column.values] if column.is_categorical else column.values
    return found


def _in_enough_clusters(markers: TextMarkers, ways: np.ndarray | None) -> TextMarkers:
    """Leave out markers that fewer than ten clusters use: their errors cannot be known."""
    if ways is None:
        return markers
    enough = np.ones(len(markers), dtype=bool)
    for codes in ways.reshape(len(ways), -1).T:
        picker = sparse.csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))))
        used = sparse.csc_array((picker @ abs(markers.columns)) > 0)
        enough &= np.diff(used.indptr) >= min(FEWEST_CLUSTERS, picker.shape[0])
    return markers.take(np.flatnonzero(enough))


def _leads(markers: TextMarkers, distance: Estimates, found: int) -> tuple[int, ...]:
    """Return the discoveries that share few texts with others for which more speaks.

    Of "happy monday" and the longer phrases that begin with it, the one with the largest ratio of
    distance to error.
    """
    present = markers.is_presence
    rows = sparse.csc_array(markers.columns[:, :found])
    both = (rows.T @ rows).toarray()
    size = both.diagonal()
    chosen: list[int] = []
    for i in np.argsort(-np.abs(distance.estimate[:found]) / distance.error[:found], kind="stable"):
        shared = [both[i, j] / min(size[i], size[j]) for j in chosen if present[i] and present[j]]
        if not shared or max(shared) <= SAME_STORY:
            chosen.append(int(i))
    return tuple(sorted(chosen))


def _findings(
    markers: TextMarkers,
    effects: MarkerEffects,
    leads: Sequence[int],
    rare: int,
    level: float,
    with_text: bool,
) -> tuple[Finding, ...]:
    names = [figures.printable(n, 40) for n in markers.names]
    at = list(leads)
    told = effects.told_by_confounders
    fixed = [int(i) for i in np.argsort(-told) if told[i] > checks.STANDS_FOR]
    return (
        checks.spurious_markers(
            [names[i] for i in at],
            effects.naive.estimate[at],
            effects.deconfounded.estimate[at],
            len(names),
            level,
        ),
        checks.markers_that_stand_for_confounders([names[i] for i in fixed], told[fixed]),
        checks.markers_tested(len(names), markers.left_out, rare, with_text),
    )


def _told(name: str, found: Estimates) -> dict[str, object]:
    lower, upper = found.interval()
    return {name: found.estimate, f"{name} lower": lower, f"{name} upper": upper}


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"
