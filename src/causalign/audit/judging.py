"""Which confounders confound? The one rule, on the features of the texts and on their words."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from causalign.audit.basis import expand_curves
from causalign.audit.nested_markers import SEEN, merge_variants
from causalign.audit.vocabulary import TextMarkers, text_markers
from causalign.checks.confounding import SIGNIFICANCE, Judged, judge
from causalign.figures import printable
from causalign.lm.progress import show_progress
from causalign.logs import Logs
from causalign.logs.covariates import Covariate
from causalign.stats.confounding import confounding_tests, outcome_scales
from causalign.stats.folds import group_folds
from causalign.stats.marker_effects import (
    ConfounderPart,
    MarkerContrasts,
    confounder_part,
    join_blocks,
    marker_effects,
)

FOLDS = 5
FEWEST_TEXTS = 50
# Markers at once: so many numbers that a block of them fits into 200 MB.
NUMBERS_AT_ONCE = 25_000_000
MOST_AT_ONCE = 512


def judge_confounders(
    logs: Logs,
    features: np.ndarray | None,
    markers: TextMarkers | None = None,
    *,
    folds: int = FOLDS,
    seed: int = 0,
) -> tuple[Judged, ...]:
    """Return for each confounder that varies whether it confounds.

    What the features ``(n, d)`` of the texts do not show, their words may: features need not hold
    every word, and a reward may read others. So for a confounder that moves the outcome and does
    not show in the features, each marker is asked (Bonferroni). ``markers`` are merged ones, read
    here when they are needed and not given.
    """
    varying = [c for c in logs.confounders if np.ptp(c.values) > 0]
    tests = confounding_tests(
        [expand_curves([c], rows_for_a_level=2) for c in varying],
        logs.outcome,
        independent_groups(logs),
        features=features,
        folds=folds,
        seed=seed,
    )
    judged = list(judge([c.name for c in varying], tests))
    open_places = [j for j, one in enumerate(judged) if one.moves and not one.confounds]
    if open_places and markers is None:
        read = text_markers(logs.completions, seed=seed)
        markers = merge_variants(read.in_enough_clusters(logs.cluster_ways))
    for j in open_places:
        p, word = _shown_by_a_word(logs, varying[j], features, markers, folds, seed)
        if p * len(open_places) < SIGNIFICANCE:
            judged[j] = replace(judged[j], word=word)
    return tuple(judged)


def independent_groups(logs: Logs) -> np.ndarray:
    """Return clusters, else texts, else rows: what folds keep together and errors share ``(n,)``.

    Texts where no cluster is declared, or fewer than three; rows where there are fewer than fifty
    texts. Few texts are templates, each in many rows: what a template does is then estimated from
    its other rows, while from the other templates nobody could know it.
    """
    clusters = logs.clusters
    if clusters is not None and len(np.unique(clusters)) >= 3:
        return clusters
    texts = logs.codes_of(logs.roles.completion)
    return texts if len(np.unique(texts)) >= FEWEST_TEXTS else np.arange(len(logs))


def cut_folds(logs: Logs, folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """Return the fold of each row, ``(n,)``, from 0; at least three."""
    together = independent_groups(logs)
    return group_folds(together, max(3, min(folds, len(np.unique(together)))), seed)


def in_blocks(
    markers: int,
    rows: int,
    estimate: Callable[[int, int], MarkerContrasts],
    words: str = "",
    progress: bool = False,
) -> MarkerContrasts:
    """Join what ``estimate(start, stop)`` returns for some markers at a time, as memory allows."""
    blocks = []
    with show_progress(words, markers, progress) as advance:
        at_once = min(max(NUMBERS_AT_ONCE // rows, 1), MOST_AT_ONCE)
        for start in range(0, max(markers, 1), at_once):
            stop = min(start + at_once, markers)
            blocks.append(estimate(start, stop))
            advance(stop - start)
    return join_blocks(blocks)


def _shown_by_a_word(
    logs: Logs,
    confounder: Covariate,
    features: np.ndarray | None,
    markers: TextMarkers | None,
    folds: int,
    seed: int,
) -> tuple[float, str]:
    """Return the p-value of "no marker travels with what the confounder does", and the best."""
    if markers is None or not len(markers):
        return 1.0, ""
    scales = outcome_scales(logs.outcome)
    adjusted = []
    for outcome in scales.T:
        part = confounder_part(
            outcome,
            expand_curves([confounder]),
            features=features,
            folds=None if features is None else cut_folds(logs, folds, seed),
            weights=logs.weights,
        )

        def estimate(
            start: int, stop: int, outcome: np.ndarray = outcome, part: ConfounderPart = part
        ) -> MarkerContrasts:
            block = markers.dense(start, stop)
            return marker_effects(block, outcome, part, clusters=logs.cluster_ways)

        p = in_blocks(len(markers), len(logs), estimate).distance.p_value
        adjusted.append(np.where(np.isfinite(p), p, 1.0) * len(markers) * len(scales.T))
    p = np.minimum(np.min(adjusted, axis=0), 1.0)
    # Of several that show it, a word says more to a reader than a length.
    names = np.array([kind in SEEN for kind in markers.kinds])
    place = int(np.lexsort((p, ~(names & (p < SIGNIFICANCE))))[0])
    return float(p[place]), printable(markers.names[place], 40)
