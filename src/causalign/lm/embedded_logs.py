"""Turn the texts of logs into vectors with an encoder, or with one that is named."""

import logging
from collections.abc import Sequence

from causalign.lm.cache import EmbeddingCache
from causalign.lm.embeddings import Embeddings, embed
from causalign.lm.encoder import Encoder
from causalign.lm.encoders import load_encoder
from causalign.logs import Logs

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
