"""Check whether the confounders vary enough for their effects to be told apart."""

from collections.abc import Sequence

import numpy as np

from causalign.covariates import Covariate
from causalign.results import Finding, Verdict

__all__ = ["categories_seen_once"]


def categories_seen_once(covariates: Sequence[Covariate]) -> Finding:
    """Find categories that hold a single row: their effect is that row's own noise (DE101)."""
    title = "Categories seen once"
    categorical = [c for c in covariates if c.is_categorical]
    if not categorical:
        return Finding("DE101", title, Verdict.NOT_APPLICABLE, "No confounder is a category.")
    single = {c.name: int((np.bincount(c.values) == 1).sum()) for c in categorical}
    rows = sum(single.values())
    levels = sum(len(c.levels) for c in categorical)
    numbers: dict[str, float | str] = {"categories": levels, "seen_once": rows}
    if not rows:
        explanation = f"Each of the {levels} categories holds at least two rows."
        return Finding("DE101", title, Verdict.PASS, explanation, numbers)
    where = ", ".join(f"{name} ({count})" for name, count in single.items() if count)
    return Finding(
        "DE101",
        title,
        Verdict.WARN,
        f"{rows} of {levels} categories hold a single row: {where}. Their effect cannot be told "
        "from that row's noise. Merge rare categories, or use a coarser column.",
        numbers,
    )
