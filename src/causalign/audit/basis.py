"""What the audit regresses on: indicators and smooth curves of confounders, features of texts."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from causalign.errors import InputError
from causalign.lm.embedded_logs import embed_texts, learn_encoder
from causalign.lm.encoder import Encoder
from causalign.lm.progress import show_progress
from causalign.lm.vector_block import EncodesSparsely, encode_block
from causalign.logs import Logs
from causalign.logs.covariates import Covariate
from causalign.stats.row_blocks import RowBlocks, leading_components, row_slices

# Wider text features are replaced by so many principal components: as wide as the default encoder.
WIDEST = 384
LARGEST_BASIS = 200
ROWS_FOR_A_LEVEL = 20
FEW_VALUES = 10


def read_text_features(
    logs: Logs,
    encoder: str | Encoder | None,
    given: ArrayLike | None,
    progress: bool = False,
) -> RowBlocks | None:
    """Return the features given, else of the encoder, else of the role; None without any.

    Of wide ones the 384 leading principal components.
    """
    if given is None and encoder is not None:
        return encode_features(logs, encoder, progress)
    features = logs.features if given is None else np.asarray(given)
    if features is None:
        return None
    if features.ndim != 2 or len(features) != len(logs) or not features.shape[1]:
        raise InputError(
            f"Text features must be one row of numbers for each of {len(logs)} texts; their shape "
            f"is {features.shape}."
        )
    return leading_components(features, WIDEST)


def encode_features(
    logs: Logs, encoder: str | Encoder | None = None, progress: bool = False
) -> RowBlocks:
    """Return the leading components of the texts' vectors, by the default encoder unless named."""
    texts, encoder = logs.texts, learn_encoder(logs, encoder)
    first = encode_block(encoder, texts[:1]) if isinstance(encoder, EncodesSparsely) else None
    if first is None or isinstance(first.values, np.ndarray):
        return leading_components(embed_texts(texts, encoder, progress=progress).vectors, WIDEST)
    blocks = []
    with show_progress(f"Encoding texts with {encoder.name}", len(texts), progress) as advance:
        for rows in row_slices(len(texts)):
            blocks.append(encode_block(encoder, texts[rows]).values)
            advance(len(texts[rows]))
    # Without the shift that all rows have: components are about the mean.
    return leading_components(sparse.vstack(blocks, format="csr"), WIDEST)


def expand_curves(
    covariates: Sequence[Covariate], *, rows_for_a_level: int = ROWS_FOR_A_LEVEL
) -> RowBlocks:
    """Return columns whose sum can be any category effects and smooth curves, ``(n, k)``.

    Numbers give themselves and cubic splines of their ranks; rare categories share one level, the
    one without an indicator.
    """
    parts = []
    for c in covariates:
        if c.is_categorical:
            parts.append(indicators(c.values, common_levels(c, rows_for_a_level)))
        elif np.ptp(c.values) > 0:
            parts.append(RowBlocks.of(_curves(c.values)))
    return RowBlocks.side_by_side(*parts, _nothing(len(covariates[0].values)))


def indicators(codes: np.ndarray, levels: np.ndarray) -> RowBlocks:
    """Return for each level which rows ``codes (n,)`` have it, 0 or 1."""

    def read(rows: slice) -> np.ndarray:
        return np.asarray(codes[rows, None] == levels, dtype=np.float64)

    return RowBlocks((len(codes), len(levels)), read)


def _curves(values: np.ndarray) -> np.ndarray:
    # Here, because both take a while to import.
    from scipy.stats import rankdata
    from sklearn.preprocessing import SplineTransformer

    columns = [(values[:, None] - values.mean()) / values.std()]
    if len(np.unique(values)) >= FEW_VALUES:
        rank = rankdata(values)[:, None] / len(values)
        columns.append(SplineTransformer(n_knots=6).fit_transform(rank))
    return np.hstack(columns)


def _nothing(n: int) -> RowBlocks:
    return RowBlocks((n, 1), lambda rows: np.zeros((len(range(n)[rows]), 1)))


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
