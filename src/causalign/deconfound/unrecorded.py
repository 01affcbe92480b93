"""Tell in the section of a fit what something that nobody recorded could change about it."""

from dataclasses import replace

import numpy as np

from causalign.deconfound.sensitivity import Sensitivity, UnrecordedConfounding
from causalign.errors import NotIdentified
from causalign.logs import Logs
from causalign.results import Section

__all__ = ["with_sensitivity"]

# The analysis is of a regression on confounders and text; instruments answer another question.
REGRESSIONS = ("ordinary", "additive", "double-ml")


def with_sensitivity(
    section: Section, logs: Logs, text_features: np.ndarray | None = None
) -> Section:
    """Return the section of a fit with table, figure and finding for each numeric confounder.

    Assumption and reference are those of `UnrecordedConfounding`. Fits that are no regression, and
    confounders that the regression cannot tell from the text, are left as they are.
    """
    if section.details.get("method") not in REGRESSIONS:
        return section
    numeric = [c.name for c in logs.confounders if not c.is_categorical]
    found = [one for name in numeric if (one := _sensitivity(name, logs, text_features))]
    return replace(
        section,
        tables={**section.tables, **{f"unrecorded {s.confounder}": s.table() for s in found}},
        figures=(
            *section.figures,
            *(replace(s.plot(), name=f"unrecorded-{s.confounder}") for s in found),
        ),
        findings=(*section.findings, *(f for s in found for f in s.findings)),
    )


def _sensitivity(name: str, logs: Logs, text_features: np.ndarray | None) -> Sensitivity | None:
    try:
        return UnrecordedConfounding(name).fit(logs, text_features)
    except NotIdentified:
        # The fit itself says which columns are redundant; there is no effect to be sensitive.
        return None
