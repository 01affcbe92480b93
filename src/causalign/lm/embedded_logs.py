"""Turn the texts of logs into vectors with an encoder, or with one that is named."""

import logging
from collections.abc import Sequence

from causalign.lm.cache import EmbeddingCache
from causalign.lm.embeddings import Embeddings, embed
from causalign.lm.encoder import Encoder
from causalign.lm.encoders import load_encoder
from causalign.logs import Logs, LogScan

# Words, how rare they are, and the scales of blocks are known well enough from so many texts.
TEXTS_LEARNT = 100_000

logger = logging.getLogger(__name__)


def embed_logs(
    logs: Logs, encoder: str | Encoder | None = None, *, progress: bool = False
) -> Embeddings:
    """Turn the texts of logs into vectors, below their prompts if there are any.

    Vectors are kept in the cache on disk. Raises as `load_encoder` and `embed` do.

    Parameters
    ----------
    logs : Logs
    encoder : str or Encoder, optional
        One that is named ("minilm+style" unless given) is loaded; what it learns, it learns from
        these texts.
    progress : bool
        Report progress on standard error.

    Returns
    -------
    Embeddings
    """
    return embed_texts(logs.texts, encoder, progress=progress)


def learn_encoder(logs: Logs | LogScan, encoder: str | Encoder | None = None) -> Encoder:
    """Load an encoder that is named; what it learns, it learns from the texts of the logs.

    Of a scan it learns from some 100,000 rows, drawn by a hash of their units. Raises as
    `load_encoder` does.

    Parameters
    ----------
    logs : Logs or LogScan
    encoder : str or Encoder, optional
        "minilm+style" unless given.
    """
    if not (encoder is None or isinstance(encoder, str)):
        return encoder
    some = logs.sample(TEXTS_LEARNT) if isinstance(logs, LogScan) else logs
    return load_encoder(encoder, training_texts=some.texts)


def embed_texts(
    texts: Sequence[str], encoder: str | Encoder | None = None, *, progress: bool = False
) -> Embeddings:
    """Turn texts into vectors as `embed_logs` does those of logs."""
    if encoder is None or isinstance(encoder, str):
        encoder = load_encoder(encoder, training_texts=texts)
    embeddings = embed(texts, encoder, EmbeddingCache(), progress)
    logger.info(
        "%d texts read by %s, %d of them before", len(texts), encoder.name, embeddings.cached
    )
    if embeddings.cache_problem is not None:
        logger.warning(embeddings.cache_problem)
    return embeddings
