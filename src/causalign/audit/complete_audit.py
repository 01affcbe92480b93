"""The complete audit of a log: what it supports, and which markers travel with confounders."""

from collections.abc import Sequence

import numpy as np

from causalign.audit.basis import WIDEST
from causalign.audit.confounders import audit_logs
from causalign.audit.marker_audit import add_markers
from causalign.audit.spurious_markers import audit_markers
from causalign.lm.embedded_logs import embed_logs
from causalign.lm.encoder import Encoder
from causalign.logs import Logs
from causalign.results import Section
from causalign.stats.marker_effects import leading_components


def audit_with_markers(
    logs: Logs,
    encoder: str | Encoder | None = None,
    *,
    markers: bool = True,
    attributes: Sequence[str] = (),
    sentiment: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> Section:
    """Audit the confounders and, where there are any, the markers; as command line and recipe do.

    Parameters
    ----------
    logs : Logs
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
        Of the folds.
    progress : bool
        Whether a bar shows how far it is.

    Returns
    -------
    Section
        Both parts in one.
    """
    features = logs.features
    if encoder is not None or features is None:
        embeddings = embed_logs(logs, encoder, progress=progress)
        # Reduced once for both parts, which read no more than so many columns.
        features = leading_components(embeddings.vectors.astype(np.float64), WIDEST)
    if not (markers and logs.roles.confounders):
        return audit_logs(logs, text_features=features, seed=seed).section()
    audited = audit_markers(
        logs,
        text_features=features,
        attributes=attributes,
        sentiment=sentiment,
        seed=seed,
        progress=progress,
    )
    audit = audit_logs(logs, text_features=features, seed=seed, judged=audited.judged)
    return add_markers(audit.section(), audited)
