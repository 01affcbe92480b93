"""The complete audit of a log: what it supports, and which markers travel with confounders."""

from collections.abc import Sequence
from dataclasses import replace

from causalign.audit.audited_rows import MARKER_ROWS, SAMPLE, AuditedRows, hold_logs
from causalign.audit.basis import encode_features, read_text_features
from causalign.audit.confounders import judge_logs
from causalign.audit.judging import judge_confounders
from causalign.audit.marker_audit import add_markers
from causalign.audit.markers_by_audience import compare_audiences
from causalign.audit.spurious_markers import MarkerSettings, find_spurious
from causalign.lm.encoder import Encoder
from causalign.logs import Logs, LogScan
from causalign.results import Section


def audit_with_markers(
    logs: Logs | LogScan,
    encoder: str | Encoder | None = None,
    *,
    markers: bool = True,
    attributes: Sequence[str] = (),
    sentiment: bool = False,
    seed: int = 0,
    sample: int = SAMPLE,
    marker_rows: int = MARKER_ROWS,
    progress: bool = False,
) -> Section:
    """Audit the confounders and, where there are any, the markers; as command line and recipe do.

    With the role ``audience`` markers are compared between audiences too (MK104).

    Parameters
    ----------
    logs : Logs or LogScan
        The log.
    encoder : str or Encoder, optional
        What turns texts into features; without one the columns of the role ``features`` are read,
        and "minilm+style" where there are none.
    markers : bool
        Whether markers are tested.
    attributes : sequence of str
        Columns to test as markers too.
    sentiment : bool
        Test the sentiment of the texts too; needs the extra of that name.
    seed : int
        Of the folds and the samples.
    sample : int
        Of logs with more rows, what is said of confounders is judged by about so many.
    marker_rows : int
        Of a scan with more rows, markers are tested on about so many.
    progress : bool
        Whether a bar shows how far it is.

    Returns
    -------
    Section
        Both parts in one.
    """
    markers, rows = markers and bool(logs.roles.confounders), len(logs)
    logs, encoder = hold_logs(logs, encoder, marker_rows if markers else sample, seed)
    features = read_text_features(logs, encoder, None, progress)
    if features is None:
        features = encode_features(logs, progress=progress)
    held = AuditedRows(logs, features, rows, seed=seed)
    drawn = held.draw(sample)
    if not markers:
        return judge_logs(logs, drawn, judge_confounders(drawn)).section()
    settings = MarkerSettings(attributes, sentiment, progress=progress)
    audited = find_spurious(held, drawn, settings)
    section = add_markers(judge_logs(logs, drawn, audited.judged).section(), audited)
    if logs.roles.audience:
        section = compare_audiences(held, audited.markers).add_to(section)
    if len(logs) == rows:
        return section
    about = f"Markers are tested on {len(logs):,} of {rows:,} rows, drawn by a hash of their units."
    return replace(section, assumption=f"{section.assumption} {about}")
