"""What the audit of markers found: effects as logged and without the confounders, and its words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from causalign.audit.vocabulary import TextMarkers
from causalign.checks.confounding import Judged, write_alike
from causalign.figures import Drawing, draw_figures, forest, printable
from causalign.results import Finding, Result, Section
from causalign.stats.estimates import Estimates, q_values
from causalign.stats.marker_effects import MarkerContrasts

SHOWN = 300
DRAWN = 12


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class MarkerAudit(Result):
    """Hold m markers with their effects, sorted: discoveries first, then by distance.

    The naive effect is the difference of the outcome between texts with the marker and without;
    the deconfounded one is that difference in ``y - ĥ(C)``, where h is estimated with the text
    features partialled out, cross-fitted. A marker is called spurious where the two differ, at a
    false-discovery rate of ``level`` under any dependence of the tests, and only where a confounder
    confounds (CF101). A phrase is a marker of its own only if the two differ beyond what its words
    explain; else it is a variant of one of them.

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
        Of the distance between naive and deconfounded effect (of phrases, beyond that of their
        words); a discovery has ``q <= level``. One where no confounder confounds.
    p_value : (m,) array
        Of the same test, by itself.
    level : float
        The false-discovery rate.
    outcome : str
        The name of the outcome's column.
    confounders : tuple of str
        The confounders that confound.
    leads : tuple of int
        The discoveries that do not share most of their texts with one for which more speaks.
    judged : tuple of Judged
        Which confounders confound, by the rule that decides for the whole audit.
    findings : tuple of Finding
        What was checked.
    """

    markers: TextMarkers
    effects: MarkerContrasts
    q_value: NDArray[np.float64]
    p_value: NDArray[np.float64]
    level: float
    outcome: str
    confounders: tuple[str, ...]
    leads: tuple[int, ...]
    judged: tuple[Judged, ...]
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
            "variants": [printable(", ".join(v), 200) for v in self.markers.variants],
            "texts": self.markers.rows,
            "spurious": [bool(q <= self.level) for q in self.q_value],
            # Not one of many that occur in the same texts.
            "leading": [place in self.leads for place in range(len(names))],
        }
        columns |= _with_interval("naive", self.effects.naive)
        columns |= _with_interval("deconfounded", self.effects.deconfounded)
        columns |= _with_interval("distance", self.effects.distance)
        columns |= {"p": self.p_value, "q": self.q_value}
        columns["naive q"] = q_values(self.effects.naive.p_value)
        if self.effects.alone is not None:
            columns |= _with_interval("alone", self.effects.alone)
            columns["left beside the text"] = self.effects.left
        columns["R² on confounders"] = self.effects.r2_on_confounders
        columns["kind"] = list(self.markers.kinds)
        columns["unit"] = list(self.markers.unit)
        return pa.table(columns)

    def answer(self) -> str:
        """Return in a sentence or two which markers are spurious."""
        count = len(self.spurious)
        if not len(self.markers):
            return self.findings[-1].explanation
        unknown = [j.name for j in self.judged if j.confounds is None]
        if unknown and not self.confounders:
            return f"None of {len(self.markers)} markers shows what {_join_names(unknown)} does."
        if not self.confounders:
            return (
                f"None of {len(self.markers)} markers is paid for what it travels with: no "
                "confounder both shows in the text and moves the outcome."
            )
        if not count:
            return (
                f"None of {len(self.markers)} markers by itself is seen to travel with "
                f"{_join_names(self.confounders)}."
            )
        naive, after = self.effects.naive.estimate, self.effects.deconfounded.estimate
        named = "; ".join(
            "“{}” seems to add {} and adds {}".format(
                printable(self.markers.names[i], 40), *write_alike(naive[i], after[i])
            )
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
        table = self.table()
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
            figures=draw_figures(self.drawing()),
            findings=self.findings,
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


def _with_interval(name: str, estimates: Estimates) -> dict[str, object]:
    lower, upper = estimates.interval()
    return {name: estimates.estimate, f"{name} lower": lower, f"{name} upper": upper}


def _join_names(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"
