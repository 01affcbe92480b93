"""Which confounders confound? The one rule, on the features of the texts and on their words."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from causalign.audit.audited_rows import AuditedRows
from causalign.audit.basis import expand_curves
from causalign.audit.nested_markers import SEEN, merge_variants
from causalign.audit.vocabulary import TextMarkers, text_markers
from causalign.checks.confounding import SIGNIFICANCE, Judged, judge
from causalign.figures import printable
from causalign.lm.progress import show_progress
from causalign.logs import Logs
from causalign.logs.covariates import Covariate
from causalign.stats.confounder_part import ConfounderPart, confounder_parts
from causalign.stats.confounding import confounding_tests, outcome_scales
from causalign.stats.fold_ridge import FoldRidge
from causalign.stats.marker_effects import MarkerContrasts, join_blocks, marker_effects

# Markers at once: so many numbers that a block of them and its copies fit into some 500 MB.
NUMBERS_AT_ONCE = 20_000_000
NUMBERS_FOR_A_COLUMN = 8


def judge_confounders(rows: AuditedRows, markers: TextMarkers | None = None) -> tuple[Judged, ...]:
    """Return for each confounder that varies whether it confounds.

    What the features of the texts do not show, their words may: features need not hold every word,
    and a reward may read others. So for a confounder that moves the outcome and does not show in
    the features, each marker is asked (Bonferroni). ``markers`` are merged ones of the rows, read
    here when they are needed and not given.
    """
    logs = rows.logs
    varying = [c for c in logs.confounders if np.ptp(c.values) > 0]
    tests = confounding_tests(
        [expand_curves([c], rows_for_a_level=2) for c in varying],
        logs.outcome,
        rows.groups,
        text=rows.text,
        folds=rows.folds,
        seed=rows.seed,
    )
    judged = list(judge([c.name for c in varying], tests))
    open_places = [j for j, one in enumerate(judged) if one.moves and not one.confounds]
    if open_places and markers is None:
        read = text_markers(logs.completions, seed=rows.seed)
        markers = merge_variants(read.in_enough_clusters(logs.cluster_ways))
    text = rows.weighted_text if open_places else None
    for j in open_places:
        p, word = _shown_by_a_word(logs, varying[j], text, markers)
        if p * len(open_places) < SIGNIFICANCE:
            judged[j] = replace(judged[j], word=word)
    return tuple(judged)


def in_blocks(
    entries: NDArray[np.int64],
    width: int,
    estimate: Callable[[int, int], MarkerContrasts],
    words: str = "",
    progress: bool = False,
) -> MarkerContrasts:
    """Join what ``estimate(start, stop)`` returns for some markers at a time, as memory allows.

    For each marker its ``entries (m,)`` that are not zero are held, and a few numbers for each of
    the ``width`` columns of the confounders' basis.
    """
    blocks = []
    block = np.cumsum(entries + NUMBERS_FOR_A_COLUMN * width) // NUMBERS_AT_ONCE
    with show_progress(words, len(entries), progress) as advance:
        starts = np.r_[0, np.flatnonzero(np.diff(block)) + 1]
        for start, stop in pairwise([*starts.tolist(), len(entries)]):
            blocks.append(estimate(start, stop))
            advance(stop - start)
    return join_blocks(blocks)


def _shown_by_a_word(
    logs: Logs, confounder: Covariate, text: FoldRidge | None, markers: TextMarkers | None
) -> tuple[float, str]:
    """Return the p-value of "no marker travels with what the confounder does", and the best."""
    if markers is None or not len(markers):
        return 1.0, ""
    scales = outcome_scales(logs.outcome)
    basis, adjusted = expand_curves([confounder]), []
    parts = confounder_parts(scales, basis, text=text, weights=logs.weights)
    for outcome, part in zip(scales.T, parts, strict=True):

        def estimate(
            start: int, stop: int, outcome: np.ndarray = outcome, part: ConfounderPart = part
        ) -> MarkerContrasts:
            block = markers.columns[:, start:stop]
            return marker_effects(block, outcome, part, clusters=logs.cluster_ways)

        p = in_blocks(markers.rows, basis.shape[1], estimate).distance.p_value
        adjusted.append(np.where(np.isfinite(p), p, 1.0) * len(markers) * len(scales.T))
    p = np.minimum(np.min(adjusted, axis=0), 1.0)
    # Of several that show it, a word says more to a reader than a length.
    names = np.array([kind in SEEN for kind in markers.kinds])
    place = int(np.lexsort((p, ~(names & (p < SIGNIFICANCE))))[0])
    return float(p[place]), printable(markers.names[place], 40)
