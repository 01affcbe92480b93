"""What the audit regresses on: indicators and smooth curves of confounders, features of texts."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from causalign.lm.embedded_logs import embed_logs
from causalign.lm.encoder import Encoder
from causalign.logs import Logs
from causalign.logs.covariates import Covariate
from causalign.stats.marker_effects import leading_components

# Wider text features are replaced by so many principal components: as wide as the default encoder.
WIDEST = 384
LARGEST_BASIS = 200
ROWS_FOR_A_LEVEL = 20
FEW_VALUES = 10


def read_text_features(
    logs: Logs, encoder: str | Encoder | None, given: ArrayLike | None
) -> np.ndarray | None:
    """Return the features given, else of the encoder, else of the role; None without any.

    Of wide ones the 384 leading principal components.
    """
    if given is None and encoder is not None:
        given = embed_logs(logs, encoder).vectors
    features = logs.features if given is None else np.asarray(given)
    return None if features is None else leading_components(features, WIDEST)


def expand_curves(
    covariates: Sequence[Covariate], *, rows_for_a_level: int = ROWS_FOR_A_LEVEL
) -> np.ndarray:
    """Return columns whose sum can be any category effects and smooth curves, ``(n, k)``.

    Numbers give themselves and cubic splines of their ranks; rare categories share one level, the
    one without an indicator.
    """
    # Here, because both take a while to import.
    from scipy.stats import rankdata
    from sklearn.preprocessing import SplineTransformer

    parts = []
    for c in covariates:
        if c.is_categorical:
            common = common_levels(c, rows_for_a_level)
            parts.append((c.values[:, None] == common).astype(np.float64))
        elif np.ptp(c.values) > 0:
            parts.append((c.values[:, None] - c.values.mean()) / c.values.std())
            if len(np.unique(c.values)) >= FEW_VALUES:
                rank = rankdata(c.values)[:, None] / len(c.values)
                parts.append(SplineTransformer(n_knots=6).fit_transform(rank))
    return np.hstack([*parts, np.zeros((len(covariates[0].values), 1))])


def common_levels(covariate: Covariate, rows: int) -> np.ndarray:
    """Return the codes of the levels with at least so many rows, the most frequent 200 at most."""
    size = np.bincount(covariate.values, minlength=len(covariate.levels))
    frequent = np.argsort(-size, kind="stable")[:LARGEST_BASIS]
    return np.sort(frequent[size[frequent] >= rows])


def merge_rare_levels(covariate: Covariate) -> np.ndarray:
    """Return codes ``(n,)`` from 0; levels of a single row, or beyond 200, share one."""
    common = common_levels(covariate, 2)
    code = np.full(len(covariate.levels), len(common))
    code[common] = np.arange(len(common))
    return np.unique(code[covariate.values], return_inverse=True)[1]
