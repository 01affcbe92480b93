"""Embed texts with an encoder, taking from the cache what was encoded before."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from causalign.errors import ArtifactError, SettingsError
from causalign.lm.cache import EmbeddingCache, Stored, text_keys
from causalign.lm.encoder import Encoder, NoticesLongTexts, checked_texts
from causalign.lm.progress import progress_of

__all__ = ["Embeddings", "embed"]

# What a killed process loses at most, and how often the bar moves.
_TEXTS_IN_CHUNK = 512


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Hold the vectors ``(n, d)`` of ``n`` texts and how they came about.

    ``truncated`` counts texts whose end the encoder did not read; ``cached`` texts whose vector
    came from the cache; ``cache_problem`` says why the cache could not be used, if so.
    """

    vectors: NDArray[np.float32]
    truncated: int
    cached: int
    cache_problem: str | None = None


def embed(
    texts: Sequence[str],
    encoder: Encoder,
    cache: EmbeddingCache | None = None,
    progress: bool = False,
) -> Embeddings:
    """Return the vectors of ``texts``, encoding each distinct text at most once.

    With a ``cache``, known texts are read and new ones stored chunk by chunk, so that work cut
    short is not lost. A cache that cannot be used never stops the work: see ``cache_problem``.

    Raises ``InputError`` if something is not a text, ``SettingsError`` if the encoder returns
    vectors of the wrong shape or values that are not finite.
    """
    if not getattr(encoder, "worth_caching", True):
        cache = None
    distinct = list(dict.fromkeys(checked_texts(texts)))
    keys = text_keys(encoder.name, encoder.revision, encoder.dimension, distinct)
    known, problem = _read(cache, keys, encoder.dimension)
    missing = [(text, key) for text, key in zip(distinct, keys, strict=True) if key not in known]
    # Longest first: memory runs out at once or never, and batches hold texts of one length.
    missing.sort(key=lambda pair: -len(pair[0]))
    new: dict[bytes, Stored] = {}
    with progress_of(f"Encoding texts with {encoder.name}", len(missing), progress) as advance:
        for start in range(0, len(missing), _TEXTS_IN_CHUNK):
            chunk = missing[start : start + _TEXTS_IN_CHUNK]
            vectors, cut = _encode(encoder, [text for text, _ in chunk])
            chunk_keys = [key for _, key in chunk]
            new |= {k: (v, bool(c)) for k, v, c in zip(chunk_keys, vectors, cut, strict=True)}
            if problem is None:
                problem = _write(cache, chunk_keys, vectors, cut)
            advance(len(chunk))
    return _gather(texts, dict(zip(distinct, keys, strict=True)), known, new, encoder, problem)


def _gather(
    texts: Sequence[str],
    key_of: dict[str, bytes],
    known: dict[bytes, Stored],
    new: dict[bytes, Stored],
    encoder: Encoder,
    problem: str | None,
) -> Embeddings:
    vectors = np.empty((len(texts), encoder.dimension), dtype=np.float32)
    truncated = cached = 0
    for row, text in enumerate(texts):
        key = key_of[text]
        vectors[row], cut = known[key] if key in known else new[key]
        truncated += cut
        cached += key in known
    return Embeddings(vectors, truncated, cached, problem)


def _encode(encoder: Encoder, texts: list[str]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    vectors = np.asarray(encoder.encode(texts), dtype=np.float32)
    if vectors.shape != (len(texts), encoder.dimension) or not np.isfinite(vectors).all():
        raise SettingsError(
            f"The encoder {encoder.name!r} must return ({len(texts)}, {encoder.dimension}) finite "
            f"numbers; it returned shape {vectors.shape}"
            f"{'' if np.isfinite(vectors).all() else ' with values that are not finite'}."
        )
    if isinstance(encoder, NoticesLongTexts):
        return vectors, encoder.too_long(texts)
    return vectors, np.zeros(len(texts), dtype=bool)


def _read(
    cache: EmbeddingCache | None, keys: list[bytes], dimension: int
) -> tuple[dict[bytes, Stored], str | None]:
    if cache is None:
        return {}, None
    try:
        return cache.get(keys, dimension), None
    except ArtifactError as failure:
        return {}, str(failure)


def _write(
    cache: EmbeddingCache | None,
    keys: list[bytes],
    vectors: NDArray[np.float32],
    truncated: NDArray[np.bool_],
) -> str | None:
    if cache is None:
        return None
    try:
        cache.put(keys, vectors, truncated)
    except ArtifactError as failure:
        return str(failure)
    return None
