"""What does the text give away of each confounder? One cross-fit answers for all."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from causalign.audit.basis import merged
from causalign.covariates import Covariate
from causalign.stats.counterparts import Overlap, condition_overlap, number_overlap
from causalign.stats.predictability import Predictability, cross_fitted, scored
from causalign.stats.strata import quantile_strata

__all__ = ["FromText", "given_away"]

CLASSES = 4


@dataclass(frozen=True, slots=True)
class FromText:
    """Hold how well the text predicts a covariate, and what overlap that leaves, if known."""

    told: Predictability
    overlap: Overlap | None


def given_away(
    covariates: Sequence[Covariate],
    features: np.ndarray,
    groups: np.ndarray,
    *,
    folds: int = 5,
    seed: int = 0,
) -> tuple[FromText | None, ...]:
    """Predict every covariate from text features ``(n, d)``, rows of a group in one fold.

    Categories and truth values are predicted level by level (the rare ones share a level), numbers
    as they are and, for the overlap, cut at their quartiles. Ridge takes the cross products of the
    features once for all targets. None for a covariate none of whose values occurs twice.
    """
    codes = [merged(c) if c.is_categorical else _classes(c) for c in covariates]
    parts = []
    for c, code in zip(covariates, codes, strict=True):
        parts.append((code[:, None] == np.arange(code.max() + 1)).astype(np.float64))
        if _is_number(c):
            parts.append(c.values[:, None].astype(np.float64))
    predicted = cross_fitted(features, np.hstack(parts), groups, folds=folds, seed=seed)
    draws, start = len(np.unique(groups)), 0
    found: list[FromText | None] = []
    for c, code in zip(covariates, codes, strict=True):
        stop = start + int(code.max()) + 1
        scores, start = predicted[:, start:stop], stop
        if _is_number(c):
            own, start = predicted[:, stop], stop + 1
            overlap = number_overlap(own, c.values, scores, code, groups)
            found.append(FromText(scored(own[:, None], c.values, draws), overlap))
        elif code.max() == 0:
            found.append(None)
        else:
            told = scored(scores, code, draws, classes=int(code.max()) + 1)
            found.append(FromText(told, condition_overlap(scores, code, groups)))
    return tuple(found)


def _is_number(covariate: Covariate) -> bool:
    return covariate.kind in ("numeric", "datetime")


def _classes(covariate: Covariate) -> np.ndarray:
    if covariate.kind == "boolean":
        return covariate.values.astype(np.int64)
    cut = quantile_strata(covariate.values, CLASSES)
    # Where most rows share the smallest value, quartiles cut nothing: that value against the rest.
    return cut if cut.max() > 0 else (covariate.values > covariate.values.min()).astype(np.int64)
