"""Find by itself the words that seem to move the outcome because they travel with confounders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from causalign.audit.basis import expand_curves, read_text_features
from causalign.audit.vocabulary import Attribute, TextMarkers, read_attributes, text_markers
from causalign.checks import confounding
from causalign.errors import SettingsError
from causalign.figures import Drawing, forest, printable
from causalign.lm.encoder import Encoder
from causalign.lm.progress import show_progress
from causalign.logs import Logs
from causalign.results import Finding, Result, Section
from causalign.stats.folds import group_folds
from causalign.stats.marker_effects import (
    Estimates,
    MarkerContrasts,
    confounder_part,
    join_blocks,
    marker_effects,
    q_values,
)

FOLDS = 5
# Markers at once: so many numbers that a block of them fits into 200 MB.
NUMBERS_AT_ONCE = 25_000_000
MOST_AT_ONCE = 512
SHOWN = 300
DRAWN = 12
# Discoveries are told as one when more of the rarer one's texts than this hold the other too.
SAME_STORY = 0.5


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MarkerAudit(Result):
    """Hold m markers with their effects, sorted: discoveries first, then by distance.

    The naive effect is the difference of the outcome between texts with the marker and without;
    the deconfounded one is that difference in ``y - ĥ(C)``, where h is estimated with the text
    features partialled out, cross-fitted. A marker is called spurious where the two differ, at a
    false-discovery rate of ``level`` under any dependence of the tests.

    Assumption: confounders are recorded; what the text does and what they do add up, h being a sum
    of smooth curves and categories; the features hold what the text does. Clusters, where declared,
    are independent, else rows.

    Parameters
    ----------
    markers : TextMarkers
        The markers of the texts.
    effects : MarkerContrasts
        Naive and deconfounded effects and their distance.
    q_value : (m,) array
        Of the distance between naive and deconfounded effect; a discovery has ``q <= level``.
    level : float
        The false-discovery rate.
    outcome : str
        The name of the outcome's column.
    confounders : tuple of str
        The names of the confounders.
    leads : tuple of int
        The discoveries that do not share most of their texts with one for which more speaks.
    findings : tuple of Finding
        What was checked.
    """

    markers: TextMarkers
    effects: MarkerContrasts
    q_value: NDArray[np.float64]
    level: float
    outcome: str
    confounders: tuple[str, ...]
    leads: tuple[int, ...]
    findings: tuple[Finding, ...]

    @property
    def spurious(self) -> tuple[str, ...]:
        """The names of all discoveries."""
        return tuple(
            n for n, q in zip(self.markers.names, self.q_value, strict=True) if q <= self.level
        )

    def table(self) -> pa.Table:
        """Return one row for each marker, the words made printable."""
        names = self.markers.names
        columns: dict[str, object] = {
            "marker": [printable(n, 80) for n in names],
            "texts": self.markers.rows,
            "spurious": [bool(q <= self.level) for q in self.q_value],
        }
        columns |= _with_interval("naive", self.effects.naive)
        columns |= _with_interval("deconfounded", self.effects.deconfounded)
        columns |= _with_interval("distance", self.effects.distance)
        columns |= {"p": self.effects.distance.p_value, "q": self.q_value}
        columns["naive q"] = q_values(self.effects.naive.p_value)
        if self.effects.alone is not None:
            columns |= _with_interval("alone", self.effects.alone)
            columns["left beside the text"] = self.effects.left
        columns["R² on confounders"] = self.effects.r2_on_confounders
        columns["kind"] = list(self.markers.kinds)
        columns["unit"] = list(self.markers.unit)
        columns["in the same texts"] = [printable(", ".join(a), 120) for a in self.markers.alike]
        return pa.table(columns)

    def answer(self) -> str:
        """Return in a sentence or two which markers are spurious."""
        count = len(self.spurious)
        if not count:
            return (
                f"None of {len(self.markers)} markers seems to move {self.outcome} only because "
                "it travels with a confounder."
            )
        naive, after = self.effects.naive.estimate, self.effects.deconfounded.estimate
        named = "; ".join(
            f"“{printable(self.markers.names[i], 40)}” seems to add {naive[i]:+.2f} and "
            f"adds {after[i]:+.2f}"
            for i in self.leads[:3]
        )
        others = count - min(len(self.leads), 3)
        more = f", and {others} more" if others else ""
        return (
            f"{count} of {len(self.markers)} markers travel with {_join_names(self.confounders)}: "
            f"{named}{more}."
        )

    def drawing(self) -> Drawing | None:
        """Return naive and deconfounded effects of the first markers, or None without a marker."""
        places = list(self.leads[:DRAWN]) or list(range(min(DRAWN, len(self.markers))))
        if not places:
            return None
        naive, after = self.effects.naive, self.effects.deconfounded
        labels, rows = [], []
        for i in places:
            name = printable(self.markers.names[i], 24)
            labels += [f"{name}: as logged", "deconfounded"]
            for effect in (naive, after):
                lower, upper = effect.interval()
                rows.append((effect.estimate[i], lower[i], upper[i]))
        estimates, lowers, uppers = np.array(rows).T
        return forest(
            "markers",
            labels,
            estimates,
            lowers,
            uppers,
            xlabel=f"effect on {self.outcome}",
            caption="Effect of each marker as logged, and once the confounders' effect is taken "
            "out. Intervals of 95 %, one at a time.",
            alt="; ".join(
                f"{printable(self.markers.names[i], 24)}: {naive.estimate[i]:.3g}, then "
                f"{after.estimate[i]:.3g}"
                for i in places
            ),
        )

    def section(self) -> Section:
        """Return the test of the markers as a section of a report."""
        drawing, table = self.drawing(), self.table()
        asked = table.filter(pc.equal(table["kind"], "attribute"))
        tables = {"attributes asked about": asked} if asked.num_rows else {}
        return Section(
            stage="audit_markers",
            question="Which markers of the texts travel with the confounders?",
            answer=self.answer(),
            assumption="what text and confounders do adds up, and the text features hold what the "
            "text does.",
            numbers={
                "markers tested": len(self.markers),
                "spurious markers": len(self.spurious),
            },
            tables={**tables, "markers": table.slice(0, SHOWN)},
            figures=(drawing.figure(),) if drawing else (),
            findings=self.findings,
        )


def audit_markers(
    logs: Logs,
    encoder: str | Encoder | None = None,
    *,
    text_features: ArrayLike | None = None,
    attributes: Mapping[str, Attribute] | Sequence[str] = (),
    sentiment: bool = False,
    rare: int = 20,
    most: int = 2000,
    level: float = 0.05,
    seed: int = 0,
    progress: bool = False,
) -> MarkerAudit:
    """Test every marker of the texts for an effect that is the confounders': see `MarkerAudit`.

    Parameters
    ----------
    logs : Logs
        Logs with confounders; else `RoleNotDeclared` is raised.
    encoder : str or Encoder, optional
        What turns texts into features, such as ``"minilm"``.
    text_features : (n, p) array, optional
        Features of the texts, instead of an encoder; of wide ones the 384 leading principal
        components are read. Without both, the columns of the role ``features``.
    attributes : sequence of str, or mapping
        Names of columns of the table; or names with arrays ``(n,)`` or functions of the texts.
    sentiment : bool
        Add the sentiment of the texts; needs the extra of that name.
    rare, most : int
        Markers in fewer than ``rare`` texts, or in fewer than 10 clusters, are left out; of words
        and phrases the ``most`` frequent are tested.
    level : float
        The false-discovery rate.
    seed, progress
        Of the folds; whether a bar shows how far it is.
    """
    logs.require("confounders")
    if rare < 2 or most < 1 or not 0 < level < 1:
        raise SettingsError("rare must be at least 2, most at least 1 and level between 0 and 1.")
    features, given = read_text_features(logs, encoder, text_features), attributes
    with show_progress("markers read", len(logs), progress) as advance:
        settings = (rare, most, read_attributes(logs, given), sentiment, seed, advance)
        markers = text_markers(logs.completions, *settings)
    return _test_markers(logs, markers, features, rare, level, seed, progress)


def _test_markers(
    logs: Logs,
    markers: TextMarkers,
    features: np.ndarray | None,
    rare: int,
    level: float,
    seed: int,
    progress: bool,
) -> MarkerAudit:
    """Estimate, adjust and sort the effects of markers that enough clusters use."""
    markers = markers.in_enough_clusters(logs.cluster_ways)
    effects = _estimate_effects(logs, markers, features, seed, progress)
    q = q_values(effects.distance.p_value)
    rest = np.where(q <= level, 0, 1)
    order = np.lexsort((-np.abs(np.nan_to_num(effects.distance.estimate)), rest))
    markers, effects, q = markers.take(order), effects.take(order), q[order]
    leads = _choose_leads(markers, effects.distance, int((rest == 0).sum()))
    return MarkerAudit(
        markers,
        effects,
        q,
        level,
        logs.roles.outcome,
        logs.roles.confounders,
        leads,
        _check_markers(markers, effects, leads, rare, level, features is not None),
    )


def add_markers(section: Section, audit: MarkerAudit) -> Section:
    """Add the markers' table, figure, findings and answer to the section of an audit.

    Parameters
    ----------
    section : Section
        That of `audit_logs`.
    audit : MarkerAudit
        What `audit_markers` returned.

    Returns
    -------
    Section
        Both in one.
    """
    own = audit.section()
    return replace(
        section,
        answer=f"{section.answer} {own.answer}",
        assumption=f"{section.assumption} Markers: {own.assumption}",
        numbers={**section.numbers, **own.numbers},
        tables={**section.tables, **own.tables},
        figures=(*section.figures, *own.figures),
        findings=(*section.findings, *own.findings),
    )


def _estimate_effects(
    logs: Logs, markers: TextMarkers, features: np.ndarray | None, seed: int, progress: bool
) -> MarkerContrasts:
    together = logs.clusters
    if together is None:
        together = logs.codes_of(logs.roles.completion)
    folds = None
    if features is not None:
        folds = group_folds(together, min(FOLDS, len(np.unique(together))), seed)
    outcome = logs.outcome
    part = confounder_part(
        outcome,
        expand_curves(logs.confounders),
        features=features,
        folds=folds,
        weights=logs.weights,
    )
    blocks = []
    with show_progress("markers tested", len(markers), progress) as advance:
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
    return join_blocks(blocks)


def _choose_leads(markers: TextMarkers, distance: Estimates, discoveries: int) -> tuple[int, ...]:
    """Return the discoveries that share few texts with others for which more speaks.

    Of "happy monday" and the longer phrases that begin with it, the one with the largest ratio of
    distance to error.
    """
    present = markers.is_presence
    rows = sparse.csc_array(markers.columns[:, :discoveries])
    both = (rows.T @ rows).toarray()
    size = both.diagonal()
    chosen: list[int] = []
    for i in np.argsort(
        -np.abs(distance.estimate[:discoveries]) / distance.error[:discoveries], kind="stable"
    ):
        shared = [both[i, j] / min(size[i], size[j]) for j in chosen if present[i] and present[j]]
        if not shared or max(shared) <= SAME_STORY:
            chosen.append(int(i))
    return tuple(sorted(chosen))


def _check_markers(
    markers: TextMarkers,
    effects: MarkerContrasts,
    leads: Sequence[int],
    rare: int,
    level: float,
    with_text: bool,
) -> tuple[Finding, ...]:
    names = [printable(n, 40) for n in markers.names]
    at = list(leads)
    r2 = effects.r2_on_confounders
    fixed = [int(i) for i in np.argsort(-r2) if r2[i] > confounding.STANDS_FOR]
    return (
        confounding.spurious_markers(
            [names[i] for i in at],
            effects.naive.estimate[at],
            effects.deconfounded.estimate[at],
            len(names),
            level,
        ),
        confounding.markers_that_stand_for_confounders([names[i] for i in fixed], r2[fixed]),
        confounding.markers_tested(len(names), markers.left_out, rare, with_text),
    )


def _with_interval(name: str, estimates: Estimates) -> dict[str, object]:
    lower, upper = estimates.interval()
    return {name: estimates.estimate, f"{name} lower": lower, f"{name} upper": upper}


def _join_names(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"
