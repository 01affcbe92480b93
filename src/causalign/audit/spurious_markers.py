"""Find by itself the words that seem to move the outcome because they travel with confounders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from causalign.audit.audited_rows import MARKER_ROWS, SAMPLE, AuditedRows, hold_logs
from causalign.audit.basis import expand_curves, read_text_features
from causalign.audit.judging import in_blocks, judge_confounders
from causalign.audit.marker_audit import SHOWN, MarkerAudit
from causalign.audit.nested_markers import fold, merge_variants, parts_within
from causalign.audit.vocabulary import Attribute, TextMarkers, read_attributes, text_markers
from causalign.checks import confounding
from causalign.checks.confounding import STANDS_FOR, Judged
from causalign.errors import SettingsError
from causalign.figures import printable
from causalign.lm.encoder import Encoder
from causalign.lm.progress import show_progress
from causalign.logs import Logs, LogScan
from causalign.results import Finding
from causalign.stats.confounder_part import ConfounderPart, confounder_part
from causalign.stats.estimates import Estimates, q_values
from causalign.stats.marker_alone import LITTLE, marker_alone
from causalign.stats.marker_effects import MarkerContrasts, marker_effects
from causalign.stats.nested_columns import beyond_parts

# Discoveries are told as one when more of the rarer one's texts than this hold the other too.
SAME_STORY = 0.5


def audit_markers(
    logs: Logs | LogScan,
    encoder: str | Encoder | None = None,
    *,
    text_features: ArrayLike | None = None,
    attributes: Mapping[str, Attribute] | Sequence[str] = (),
    sentiment: bool = False,
    rare: int = 20,
    most: int = 2000,
    level: float = 0.05,
    seed: int = 0,
    sample: int = SAMPLE,
    marker_rows: int = MARKER_ROWS,
    progress: bool = False,
) -> MarkerAudit:
    """Test every marker of the texts for an effect that is the confounders': see `MarkerAudit`.

    Parameters
    ----------
    logs : Logs or LogScan
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
    seed : int
        Of the folds and the samples.
    sample : int
        Which confounders confound is decided on about so many rows.
    marker_rows : int
        Markers are tested on all rows of logs in memory, and on about so many of a scan, which are
        drawn by a hash of their units: errors need rows, and each takes some hundred bytes.
    progress : bool
        Whether a bar shows how far it is.
    """
    logs, encoder = hold_logs(logs, encoder, marker_rows, seed)
    logs.require("confounders")
    features = read_text_features(logs, encoder, text_features, progress)
    rows = AuditedRows(logs, features, len(logs), seed=seed)
    settings = MarkerSettings(attributes, sentiment, rare, most, level, progress)
    return find_spurious(rows, rows.draw(sample), settings)


@dataclass(frozen=True, slots=True)
class MarkerSettings:
    """Hold what `audit_markers` was asked for."""

    attributes: Mapping[str, Attribute] | Sequence[str] = ()
    sentiment: bool = False
    rare: int = 20
    most: int = 2000
    level: float = 0.05
    progress: bool = False

    def __post_init__(self) -> None:
        if self.rare < 2 or self.most < 1 or not 0 < self.level < 1:
            raise SettingsError(
                "rare must be at least 2, most at least 1 and level between 0 and 1."
            )


def find_spurious(rows: AuditedRows, drawn: AuditedRows, settings: MarkerSettings) -> MarkerAudit:
    """Test the markers of all rows, with what was ``drawn`` of them to judge confounders."""
    logs = rows.logs
    with show_progress("markers read", len(logs), settings.progress) as advance:
        read = text_markers(
            logs.completions,
            settings.rare,
            settings.most,
            read_attributes(logs, settings.attributes),
            settings.sentiment,
            rows.seed,
            advance,
        )
    markers = merge_variants(read.in_enough_clusters(logs.cluster_ways))
    seen = markers if drawn.places is None else markers.in_rows(drawn.places)
    return _Test(rows, judge_confounders(drawn, seen), settings).run(markers)


@dataclass(frozen=True, slots=True)
class _Test:
    """Hold what the test of the markers reads."""

    rows: AuditedRows
    judged: Sequence[Judged]
    settings: MarkerSettings

    def run(self, markers: TextMarkers) -> MarkerAudit:
        """Test merged markers, tell phrases with their words, estimate effects, sort."""
        confounders = tuple(j.name for j in self.judged if j.confounds)
        logs, level = self.rows.logs, self.settings.level
        part = confounder_part(
            logs.outcome,
            expand_curves(logs.confounders),
            text=self.rows.weighted_text,
            weights=logs.weights,
        )
        parts = parts_within(markers)
        effects, distance = self._estimate(markers, parts, part)
        p = distance.p_value
        q = q_values(p) if confounders else np.ones(len(p))
        alone = np.array([not of for of in parts], dtype=bool)
        # A phrase without an error of its own says nothing beyond its words.
        known = (q <= level) & (distance.error > 0)
        reach = np.abs(distance.estimate)
        strength = np.divide(reach, distance.error, out=np.full(len(p), -1.0), where=known)
        stays = alone | (q <= level)
        markers = fold(markers, parts, stays, strength)
        effects, p, q = effects.take(np.flatnonzero(stays)), p[stays], q[stays]
        rest = np.where(q <= level, 0, 1)
        # Rounded, so that the last bits of a sum do not order markers that are equally far.
        size = np.abs(np.nan_to_num(effects.distance.estimate))
        order = np.lexsort((-_round(size), rest))
        markers, effects, p, q = markers.take(order), effects.take(order), p[order], q[order]
        effects = self._add_alone(markers, effects, part)
        leads = _choose_leads(markers, effects.distance, int((rest == 0).sum()))
        findings = _check_markers(markers, effects, leads, confounders, self)
        return MarkerAudit(
            markers,
            effects,
            q,
            p,
            level,
            logs.roles.outcome,
            confounders,
            leads,
            tuple(self.judged),
            findings,
        )

    def _estimate(
        self, markers: TextMarkers, parts: Sequence[Sequence[int]], part: ConfounderPart
    ) -> tuple[MarkerContrasts, Estimates]:
        """Return the effects of all markers, and the distance of each beyond its parts.

        The latter is NaN where the parts hold a marker.
        """
        logs, columns, m = self.rows.logs, markers.columns, len(markers)
        beyond, left = beyond_parts(columns, parts, logs.weights)
        nested = [j for j, of in enumerate(parts) if of]
        beyond = beyond[:, nested] @ sparse.diags_array((left[nested] >= LITTLE) * 1.0)
        count = markers.rows
        entries = [*count, *(count[j] + count[list(parts[j])].sum() for j in nested)]

        def estimate(start: int, stop: int) -> MarkerContrasts:
            whole = columns[:, min(start, m) : min(stop, m)]
            rest = columns @ beyond[:, max(start - m, 0) : max(stop - m, 0)]
            some = sparse.hstack([whole, rest], format="csr")
            return marker_effects(some, logs.outcome, part, clusters=logs.cluster_ways)

        width, words = part.basis.shape[1], "markers tested"
        both = in_blocks(np.array(entries), width, estimate, words, self.settings.progress)
        effects, rest = both.take(np.arange(m)), both.distance.take(np.arange(m, len(entries)))
        return effects, effects.distance.replace_at(np.array(nested, dtype=np.int64), rest)

    def _add_alone(
        self, markers: TextMarkers, effects: MarkerContrasts, part: ConfounderPart
    ) -> MarkerContrasts:
        """Add the effects alone of the markers that are shown, and of attributes asked about."""
        if part.text is None or not len(markers):
            return effects
        asked = np.array([kind == "attribute" for kind in markers.kinds])
        asked[:SHOWN] = True
        places, m = np.flatnonzero(asked), len(markers)
        columns = markers.columns[:, places]
        alone, left = marker_alone(columns, part, clusters=self.rows.logs.cluster_ways)
        every = np.full(m, np.nan)
        every[places] = left
        return replace(effects, alone=alone.spread(places, m), left=every)


def _round(values: np.ndarray) -> np.ndarray:
    """Return the values to ten significant digits."""
    size = np.floor(np.log10(np.where(values > 0, values, 1.0)))
    unit = 10.0 ** (size - 9)
    return np.asarray(np.round(values / unit) * unit)


def _choose_leads(markers: TextMarkers, distance: Estimates, discoveries: int) -> tuple[int, ...]:
    """Return the discoveries that share few texts with others for which more speaks.

    Of "happy monday" and the longer phrases that begin with it, the one with the largest ratio of
    distance to error.
    """
    present = markers.is_presence[:discoveries]
    rows = sparse.csc_array(markers.columns[:, :discoveries])
    both = sparse.csr_array(rows.T @ rows)
    size, lead = both.diagonal(), np.zeros(discoveries, dtype=bool)
    strength = np.abs(distance.estimate[:discoveries]) / distance.error[:discoveries]
    for i in np.argsort(-strength, kind="stable"):
        inside = slice(both.indptr[i], both.indptr[i + 1])
        at, shared = both.indices[inside], both.data[inside]
        both_lead = lead[at] & present[at] & present[i]
        lead[i] = not (
            shared[both_lead] > SAME_STORY * np.minimum(size[at[both_lead]], size[i])
        ).any()
    return tuple(int(i) for i in np.flatnonzero(lead))


def _check_markers(
    markers: TextMarkers,
    effects: MarkerContrasts,
    leads: Sequence[int],
    confounders: Sequence[str],
    test: _Test,
) -> tuple[Finding, ...]:
    names = [printable(n, 40) for n in markers.names]
    at = list(leads)
    r2 = effects.r2_on_confounders
    fixed = [int(i) for i in np.argsort(-_round(r2), kind="stable") if r2[i] > STANDS_FOR]
    same = len(names) == 0 and len(set(test.rows.logs.completions)) == 1
    return (
        confounding.spurious_markers(
            [names[i] for i in at],
            effects.naive.estimate[at],
            effects.deconfounded.estimate[at],
            len(names),
            test.settings.level,
            confounded=bool(confounders),
        ),
        confounding.markers_that_stand_for_confounders(
            [names[i] for i in fixed], r2[fixed], len(names)
        ),
        confounding.markers_tested(
            len(names),
            sum(map(len, markers.variants)),
            markers.left_out,
            test.settings.rare,
            with_text=test.rows.features is not None,
            same_texts=same,
        ),
    )
