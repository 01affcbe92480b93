"""Embed texts with an encoder, taking from the cache what was encoded before."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalign.errors import ArtifactError
from causalign.lm.cache import EmbeddingCache, Stored, text_keys
from causalign.lm.encoder import Encoder, JoinsBlocks, NoticesLongTexts, check_texts
from causalign.lm.progress import show_progress
from causalign.lm.vector_block import VectorBlock, encode_block, is_sparse
from causalign.results import card

# What a killed process loses at most, and how often the bar moves.
_TEXTS_IN_CHUNK = 512


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Embeddings:
    """Vectors of n texts, and how they came about.

    Parameters
    ----------
    vectors : (n, d)
    truncated : int
        Texts whose end the encoder did not read.
    cached : int
        Texts whose vector came from the cache.
    encoder : Encoder
        The one that encoded.
    cache_problem : str, optional
        Why the cache could not be used, if it could not.
    """

    vectors: NDArray[np.float32]
    truncated: int
    cached: int
    encoder: Encoder
    cache_problem: str | None = None

    def __repr__(self) -> str:
        rows, dimension = self.vectors.shape
        problem = () if self.cache_problem is None else (self.cache_problem,)
        counts = f"from the cache: {self.cached:,}; not read to their end: {self.truncated:,}"
        return card(
            "Embeddings",
            (f"vectors of {rows:,} by {dimension:,}, made by {self.encoder!r}", counts, *problem),
        )


def embed(
    texts: Sequence[str],
    encoder: Encoder,
    cache: EmbeddingCache | None = None,
    progress: bool = False,
) -> Embeddings:
    """Turn texts into vectors, encoding each distinct text at most once.

    Parameters
    ----------
    texts : n strings
    encoder : Encoder
    cache : EmbeddingCache, optional
        Known texts are read from it and new ones stored chunk by chunk, so that work cut short is
        not lost. One that cannot be used never stops the work: see ``cache_problem``.
    progress : bool
        Report progress on standard error.

    Returns
    -------
    Embeddings

    Raises
    ------
    InputError
        If something is not a text.
    SettingsError
        If the encoder returns vectors of the wrong shape or values that are not finite.
    """
    if isinstance(encoder, JoinsBlocks):
        parts = [embed(texts, block, cache, progress) for block in encoder.blocks]
        return _join(encoder.join([part.vectors for part in parts]), encoder, parts)
    store = cache if getattr(encoder, "worth_caching", True) else None
    distinct = list(dict.fromkeys(check_texts(texts)))
    keys = text_keys(encoder.name, encoder.revision, encoder.dimension, distinct)
    key_of = dict(zip(distinct, keys, strict=True))
    stored: dict[bytes, Stored] = {}
    problem: str | None = None
    try:
        if store is not None:
            stored = store.get(keys, encoder.dimension)
    except ArtifactError as failure:
        problem = str(failure)
    missing = [text for text in distinct if key_of[text] not in stored]
    cached = sum(key_of[text] in stored for text in texts)
    # Longest first: memory runs out at once or never, and batches hold texts of one length.
    missing.sort(key=lambda text: -len(text))
    with show_progress(f"Encoding texts with {encoder.name}", len(missing), progress) as advance:
        for start in range(0, len(missing), _TEXTS_IN_CHUNK):
            chunk = missing[start : start + _TEXTS_IN_CHUNK]
            vectors, cut = _encode(encoder, chunk)
            chunk_keys = [key_of[text] for text in chunk]
            stored |= {k: (v, bool(c)) for k, v, c in zip(chunk_keys, vectors, cut, strict=True)}
            try:
                if store is not None and problem is None:
                    store.put(chunk_keys, vectors, cut)
            except ArtifactError as failure:
                problem = str(failure)
            advance(len(chunk))
    rows = [stored[key_of[text]] for text in texts]
    whole = np.array([vector for vector, _ in rows], dtype=np.float32)
    return Embeddings(
        whole.reshape(len(texts), encoder.dimension),
        sum(is_cut for _, is_cut in rows),
        cached,
        encoder,
        problem,
    )


def embed_block(
    texts: Sequence[str], encoder: Encoder, cache: EmbeddingCache | None = None
) -> VectorBlock:
    """Turn a batch of many into vectors: sparse ones anew each time, others by way of the cache.

    Parameters
    ----------
    texts, encoder, cache
        As in `embed`, which says what is raised.

    Returns
    -------
    VectorBlock
    """
    if is_sparse(encoder):
        return encode_block(encoder, texts)
    read = embed(texts, encoder, cache)
    return VectorBlock(read.vectors, np.zeros(encoder.dimension), read.truncated)


def _join(vectors: NDArray[np.float32], encoder: Encoder, parts: list[Embeddings]) -> Embeddings:
    """Return what is known of vectors that stand side by side."""
    problems = [part.cache_problem for part in parts if part.cache_problem is not None]
    return Embeddings(
        vectors,
        max(part.truncated for part in parts),
        min(part.cached for part in parts),
        encoder,
        problems[0] if problems else None,
    )


def _encode(encoder: Encoder, texts: list[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    vectors = encode_block(encoder, texts).dense()
    if isinstance(encoder, NoticesLongTexts):
        return vectors, encoder.too_long(texts)
    return vectors, np.zeros(len(texts), dtype=bool)
