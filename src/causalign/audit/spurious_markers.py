"""Find by itself the words that seem to move the outcome because they travel with confounders."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from causalign.audit.basis import expand_curves, read_text_features
from causalign.audit.judging import cut_folds, in_blocks, judge_confounders
from causalign.audit.marker_audit import MarkerAudit
from causalign.audit.nested_markers import fold, merge_variants, parts_within
from causalign.audit.vocabulary import Attribute, TextMarkers, read_attributes, text_markers
from causalign.checks import confounding
from causalign.checks.confounding import STANDS_FOR, Judged
from causalign.errors import SettingsError
from causalign.figures import printable
from causalign.lm.encoder import Encoder
from causalign.lm.progress import show_progress
from causalign.logs import Logs
from causalign.results import Finding
from causalign.stats.marker_effects import (
    LITTLE,
    ConfounderPart,
    Estimates,
    MarkerContrasts,
    confounder_part,
    marker_effects,
    q_values,
)
from causalign.stats.nested_columns import beyond_parts

# Discoveries are told as one when more of the rarer one's texts than this hold the other too.
SAME_STORY = 0.5


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
        read = text_markers(logs.completions, *settings)
    markers = merge_variants(read.in_enough_clusters(logs.cluster_ways))
    judged = judge_confounders(logs, features, markers, seed=seed)
    return _Test(logs, features, judged, rare, level, seed, progress).run(markers)


@dataclass(frozen=True, slots=True)
class _Test:
    """Hold what the test of the markers reads."""

    logs: Logs
    features: np.ndarray | None
    judged: Sequence[Judged]
    rare: int
    level: float
    seed: int
    progress: bool

    def run(self, markers: TextMarkers) -> MarkerAudit:
        """Test merged markers, tell phrases with their words, estimate effects, sort."""
        confounders = tuple(j.name for j in self.judged if j.confounds)
        folds = None if self.features is None else cut_folds(self.logs, seed=self.seed)
        part = confounder_part(
            self.logs.outcome,
            expand_curves(self.logs.confounders),
            features=self.features,
            folds=folds,
            weights=self.logs.weights,
        )
        parts = parts_within(markers)
        distance = self._test_beyond(markers, parts, part)
        p = distance.p_value
        q = q_values(p) if confounders else np.ones(len(p))
        alone = np.array([not of for of in parts], dtype=bool)
        # A phrase without an error of its own says nothing beyond its words.
        known = (q <= self.level) & (distance.error > 0)
        reach = np.abs(distance.estimate)
        strength = np.divide(reach, distance.error, out=np.full(len(p), -1.0), where=known)
        stays = alone | (q <= self.level)
        markers = fold(markers, parts, stays, strength)
        p, q = p[stays], q[stays]
        effects = self._estimate(markers, part, folds)
        rest = np.where(q <= self.level, 0, 1)
        # Rounded, so that the last bits of a sum do not order markers that are equally far.
        size = np.abs(np.nan_to_num(effects.distance.estimate))
        order = np.lexsort((-_round(size), rest))
        markers, effects, p, q = markers.take(order), effects.take(order), p[order], q[order]
        leads = _choose_leads(markers, effects.distance, int((rest == 0).sum()))
        findings = _check_markers(markers, effects, leads, confounders, self)
        roles = self.logs.roles
        return MarkerAudit(
            markers,
            effects,
            q,
            p,
            self.level,
            roles.outcome,
            confounders,
            leads,
            tuple(self.judged),
            findings,
        )

    def _test_beyond(
        self, markers: TextMarkers, parts: Sequence[Sequence[int]], part: ConfounderPart
    ) -> Estimates:
        """Return the distance of each marker beyond its parts; NaN where its parts hold it."""
        beyond, left = beyond_parts(markers.columns, parts, self.logs.weights)
        columns = sparse.csc_array(markers.columns @ beyond)

        def test(start: int, stop: int) -> MarkerContrasts:
            block = columns[:, start:stop].toarray()
            block[:, left[start:stop] < LITTLE] = 0.0
            return marker_effects(block, self.logs.outcome, part, clusters=self.logs.cluster_ways)

        return self._in_blocks(markers, test, "markers tested").distance

    def _estimate(
        self, markers: TextMarkers, part: ConfounderPart, folds: np.ndarray | None
    ) -> MarkerContrasts:
        def estimate(start: int, stop: int) -> MarkerContrasts:
            return marker_effects(
                markers.dense(start, stop),
                self.logs.outcome,
                part,
                clusters=self.logs.cluster_ways,
                features=self.features,
                folds=folds,
            )

        return self._in_blocks(markers, estimate, "effects estimated")

    def _in_blocks(
        self, markers: TextMarkers, do: Callable[[int, int], MarkerContrasts], words: str
    ) -> MarkerContrasts:
        return in_blocks(len(markers), len(self.logs), do, words, self.progress)


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
    confounders: Sequence[str],
    test: _Test,
) -> tuple[Finding, ...]:
    names = [printable(n, 40) for n in markers.names]
    at = list(leads)
    r2 = effects.r2_on_confounders
    fixed = [int(i) for i in np.argsort(-_round(r2), kind="stable") if r2[i] > STANDS_FOR]
    same = len(names) == 0 and len(set(test.logs.completions)) == 1
    return (
        confounding.spurious_markers(
            [names[i] for i in at],
            effects.naive.estimate[at],
            effects.deconfounded.estimate[at],
            len(names),
            test.level,
            confounded=bool(confounders),
        ),
        confounding.markers_that_stand_for_confounders(
            [names[i] for i in fixed], r2[fixed], len(names)
        ),
        confounding.markers_tested(
            len(names),
            sum(map(len, markers.variants)),
            markers.left_out,
            test.rare,
            with_text=test.features is not None,
            same_texts=same,
        ),
    )
