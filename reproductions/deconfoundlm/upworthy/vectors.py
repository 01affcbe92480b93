"""Vectors of headlines: one file for each encoder, all scaled to a mean squared length of one."""

import os
import tempfile
from pathlib import Path

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from causalign.lm import EmbeddingCache, embed, load_encoder

# Frozen language models, by what they cost: 23 and 135 million parameters.
TRANSFORMERS = {
    "minilm": "minilm",
    "smollm2-last": "smollm2:last",
    "smollm2-mean": "smollm2:mean",
}
TOPICS = 300


def vectors(encoder: str, texts: list[str], train: np.ndarray, folder: Path) -> np.ndarray:
    """Return vectors (n, d); ``train`` marks the texts that an encoder without weights learns from.

    "tfidf" is words and pairs of words, reduced to 300 topics by a singular value decomposition.
    """
    if encoder == "tfidf":
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        words.fit([text for text, kept in zip(texts, train, strict=True) if kept])
        counts = words.transform(texts)
        size = min(TOPICS, counts.shape[1] - 1, int(train.sum()) - 1)
        found = TruncatedSVD(size, random_state=0).fit(counts[train]).transform(counts)
    else:
        found = _stored(encoder, texts, folder)
    about = found.astype(np.float64) - found[train].mean(axis=0)
    return about / np.sqrt(np.mean(np.sum(about[train] ** 2, axis=1)))


def _stored(encoder: str, texts: list[str], folder: Path) -> np.ndarray:
    """Read the vectors of all texts, or encode them and keep them in the run's folder."""
    path = folder / "vectors" / f"{encoder}.npy"
    if not path.exists():
        model = load_encoder(TRANSFORMERS[encoder])
        found = embed(texts, model, EmbeddingCache(), progress=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".npy")
        with os.fdopen(handle, "wb") as file:
            np.save(file, found.vectors)
        os.replace(temporary, path)
    return np.load(path)
