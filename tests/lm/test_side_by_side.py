"""Encoders side by side: scaled blocks, cached apart, saved with a reward."""

import json

import numpy as np
import pyarrow as pa
import pytest

from causalign import Logs, Roles
from causalign.errors import ArtifactError, SettingsError
from causalign.lm import EmbeddingCache, embed, load_encoder
from causalign.reward import RewardModel, Ridge

TEXTS = [
    "Why wait? Buy the mug now!",
    "The mug is here, and it is yours.",
    "Rain today (again).",
] * 4


def test_each_block_has_the_same_weight_and_the_vectors_are_its_own():
    both = load_encoder("tfidf+style", training_texts=TEXTS)
    words, style = (load_encoder(name, training_texts=TEXTS) for name in ("tfidf", "style"))
    V = both.encode(TEXTS)
    assert both.dimension == V.shape[1] == words.dimension + style.dimension
    for part, alone in ((V[:, : words.dimension], words), (V[:, words.dimension :], style)):
        centred = alone.encode(TEXTS) - alone.encode(TEXTS).mean(axis=0)
        assert np.square(part).sum(axis=1).mean() == pytest.approx(1, abs=1e-5)
        assert part == pytest.approx(centred / np.sqrt(np.square(centred).sum(axis=1).mean()))


def test_blocks_are_cached_apart(tiny_encoder_folder, tmp_path):
    cache = EmbeddingCache(tmp_path)
    alone = embed(TEXTS, load_encoder(tiny_encoder_folder), cache)
    both = load_encoder(f"{tiny_encoder_folder}+style", training_texts=TEXTS)
    again = embed(TEXTS, both.blocks[0], cache)
    assert (alone.cached, again.cached) == (0, len(TEXTS))
    assert np.array_equal(embed(TEXTS, both, cache).vectors, both.encode(TEXTS))


def test_a_reward_carries_it_along(tmp_path):
    texts = [f"{text} No. {row}" for row, text in enumerate(TEXTS)]
    table = pa.table({"text": texts, "y": np.arange(12) % 3 * 1.0})
    fit = Ridge().fit(Logs.of(table, Roles("text", "y")), "tfidf+style")
    fit.save(tmp_path)
    model = RewardModel.load(tmp_path / "model")
    assert model.encoder_name == "tfidf+style"
    assert np.array_equal(model(TEXTS), fit.predict(TEXTS))
    other = load_encoder("tfidf+style", training_texts=TEXTS[:2])
    with pytest.raises(SettingsError):
        RewardModel.load(tmp_path / "model", encoder=other)


def test_a_damaged_folder_is_refused(tmp_path):
    load_encoder("tfidf+style", training_texts=TEXTS).save(tmp_path)
    path = tmp_path / "side-by-side.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"scales": [1.0]}))
    with pytest.raises(ArtifactError, match="does not fit"):
        load_encoder(tmp_path)
    path.write_text(json.dumps(content | {"blocks": ["tfidf"]}))
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_encoder(tmp_path)


def test_a_folder_whose_name_holds_a_plus_is_one_encoder(tiny_encoder_folder, tmp_path):
    place = tmp_path / "my+encoder"
    place.symlink_to(tiny_encoder_folder, target_is_directory=True)
    assert load_encoder(f"{place}").dimension == 32
    assert load_encoder(f"{place}:mean").dimension == 32


def test_what_cannot_stand_side_by_side_is_refused():
    with pytest.raises(SettingsError, match="'style' twice"):
        load_encoder("style+style", training_texts=TEXTS)
    with pytest.raises(SettingsError, match="no encoder named ''"):
        load_encoder("tfidf+", training_texts=TEXTS)
    with pytest.raises(SettingsError, match="learns from training texts"):
        load_encoder("minilm+style")


def test_a_block_that_is_constant_counts_as_nothing():
    texts = ["mug one", "mug two", "mug six"]
    both = load_encoder("tfidf+style", training_texts=texts)
    assert both.scales[1] == 0
    words = both.encode(["mug one", "MUG ONE!"])
    assert np.array_equal(words[0], words[1])
    assert not load_encoder("tfidf+style", training_texts=["the mug"] * 4).encode(["a"]).any()
