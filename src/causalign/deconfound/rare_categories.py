"""Check whether the confounders vary enough for their effects to be told apart."""

from collections.abc import Sequence

import numpy as np

from causalign.checks.check import Check
from causalign.logs.covariates import Covariate
from causalign.results import Finding


def categories_seen_once(covariates: Sequence[Covariate]) -> Finding:
    """Find categories that hold a single row: their effect is that row's own noise (DE101)."""
    title = "Categories seen once"
    categorical = [c for c in covariates if c.is_categorical]
    if not categorical:
        return Check("DE101", title).does_not_apply("No confounder is a category.")
    single = {c.name: int((np.bincount(c.values) == 1).sum()) for c in categorical}
    rows = sum(single.values())
    levels = sum(len(c.levels) for c in categorical)
    check = Check("DE101", title, categories=levels, seen_once=rows)
    if not rows:
        return check.passes(f"Each of the {levels} categories holds at least two rows.")
    where = ", ".join(f"{name} ({count})" for name, count in single.items() if count)
    return check.warns(
        f"{rows} of {levels} categories hold a single row: {where}. Their effect cannot be told "
        "from that row's noise. Merge rare categories, or use a coarser column."
    )
