"""Sparse vectors are the dense ones: of words and signs, alone and side by side."""

import numpy as np
import pytest
from scipy import sparse

from causalign.errors import InputError, SettingsError
from causalign.lm import encode_block, load_encoder

TEXTS = [
    "Happy Monday! You will LOVE these 3 offers, won't you?",
    "An affordable flat; quiet, near the river.",
    "Schöne Grüße — „ganz“ ohne ASCII… 😀",
    "",
    "the the THE (and) so: what\nis this?",
] * 8


@pytest.mark.parametrize("name", ["hashing", "tfidf", "style", "hashing+style", "tfidf+style"])
def test_sparse_and_dense_vectors_are_one(name):
    encoder = load_encoder(name, training_texts=TEXTS)
    block = encode_block(encoder, TEXTS)
    assert sparse.issparse(block.values)
    np.testing.assert_allclose(block.dense(), encoder.encode(TEXTS), atol=1e-6)
    blocks = getattr(encoder, "blocks", None)
    if blocks:
        joined = encoder.join([b.encode(TEXTS) for b in blocks])
        np.testing.assert_allclose(block.dense(), joined, atol=1e-6)


def test_an_encoder_without_zeros_stays_dense():
    class Dense:
        name, revision, dimension = "dense", "1", 3

        def encode(self, texts, progress=False):
            return np.arange(3.0 * len(texts)).reshape(-1, 3)

    block = encode_block(Dense(), ["a", "b"])
    assert isinstance(block.values, np.ndarray)
    assert not block.shift.any()
    with pytest.raises(InputError, match="Row 1"):
        encode_block(Dense(), ["a", None])
    Dense.dimension = 4
    with pytest.raises(SettingsError, match=r"\(2, 4\)"):
        encode_block(Dense(), ["a", "b"])
