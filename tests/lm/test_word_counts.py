"""Encoders that count words: equal to scikit-learn's, saved without pickles, never cached."""

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from causalign.errors import ArtifactError, InputError, SettingsError
from causalign.lm import EmbeddingCache, embed, load_encoder
from causalign.lm.word_counts import HashingEncoder, fit_tfidf, load_tfidf

TEXTS = ["free mugs today", "free returns today, free mugs", "rain and more rain", "Mugs!"]


def test_tfidf_equals_scikit_learn():
    vectors = load_encoder("tfidf", training_texts=TEXTS).encode(TEXTS)
    peer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(TEXTS)
    np.testing.assert_allclose(vectors, peer.transform(TEXTS).toarray(), atol=1e-6)


def test_tfidf_by_hand():
    encoder = fit_tfidf(["a1 b1", "a1"])
    assert encoder.vocabulary == ("a1", "a1 b1", "b1")
    rare, common = 1 + np.log(3 / 2), 1 + np.log(3 / 3)
    assert encoder.idf == pytest.approx((common, rare, rare))
    (vector,) = encoder.encode(["a1 a1 a1 unknown"])
    assert vector == pytest.approx([1.0, 0.0, 0.0])
    assert (encoder.encode(["unknown", ""]) == 0).all()


def test_columns_are_the_most_frequent_words():
    assert set(fit_tfidf(TEXTS, columns=2).vocabulary) == {"free", "mugs"}


def test_the_revision_follows_what_was_learnt():
    assert fit_tfidf(TEXTS).revision == fit_tfidf(TEXTS).revision
    assert fit_tfidf(TEXTS).revision != fit_tfidf([*TEXTS, "rain"]).revision


def test_a_saved_encoder_is_the_same(tmp_path):
    fitted = fit_tfidf(TEXTS)
    fitted.save(tmp_path / "encoder")
    loaded = load_encoder(tmp_path / "encoder")
    assert loaded.revision == fitted.revision
    assert (loaded.encode(TEXTS) == fitted.encode(TEXTS)).all()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 9},
        {"format": "other"},
        {"idf": [1.0]},
        {"vocabulary": []},
        {"idf": None},
        {"vocabulary": None},
    ],
)
def test_a_damaged_encoder_is_refused(tmp_path, change):
    fit_tfidf(TEXTS).save(tmp_path)
    path = tmp_path / "tfidf.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ArtifactError, match="(?i)fit the encoder again"):
        load_tfidf(tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    fit_tfidf(TEXTS).save(tmp_path)
    path = tmp_path / "tfidf.json"
    content = json.loads(path.read_text())
    content["idf"][0] = float("nan")
    path.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match="finite"):
        load_tfidf(tmp_path)


def test_texts_without_words_teach_nothing():
    with pytest.raises(InputError, match="no words"):
        fit_tfidf(["", "!!"])
    with pytest.raises(InputError, match="not a text"):
        fit_tfidf(["a", None])
    with pytest.raises(SettingsError, match="training_texts"):
        load_encoder("tfidf")


def test_hashing_needs_no_training():
    encoder = load_encoder("hashing")
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (4, encoder.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] > 0.3 > abs(vectors[0] @ vectors[2])
    assert encoder.revision != HashingEncoder(16).revision
    assert encoder.encode([]).shape == (0, encoder.dimension)


def test_what_is_quicker_than_the_disk_is_not_cached(tmp_path):
    for encoder in (load_encoder("hashing"), fit_tfidf(TEXTS)):
        for _ in range(2):
            assert embed(TEXTS, encoder, EmbeddingCache(tmp_path)).cached == 0
    assert not list(tmp_path.iterdir())


def test_words_are_counted_without_torch(tmp_path):
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name in ('torch', 'transformers', 'peft'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "from causalign.lm import load_encoder\n"
        "for name in ('hashing', 'tfidf'):\n"
        "    print(load_encoder(name, training_texts=['a mug']).encode(['a mug']).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["(1, 2048)", "(1, 1)"]
