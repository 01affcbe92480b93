"""A tokenizer learned from texts, weights that know nothing, and bits of a byte."""

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from causalign.errors import InputError, SettingsError
from causalign.lm import SmallModel, bits_per_byte
from causalign.lm.language_model import load_language_model

WORDS = [
    *("mugs", "free", "returns", "monday", "happy", "new", "offer"),
    *("today", "only", "for", "you", "and", "friends"),
]
SHAPE = SmallModel(vocabulary=300, width=32, layers=2, heads=2, window=64)


def sentences(count, seed=0):
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, 12)) + f" {n}." for n in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return SHAPE.make(sentences(400), tmp_path_factory.mktemp("cache"))


def test_it_is_a_folder_that_transformers_reads(folder):
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert model.config.model_type == "llama"
    assert len(tokenizer) == model.config.vocab_size == 300
    text = "Ünïcode, \n\ttabs and 😀"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_default_has_two_million_weights(tmp_path):
    texts = [" ".join(np.random.default_rng(n).choice(WORDS, 40)) + str(n) for n in range(2000)]
    model = load_language_model(SmallModel().make(texts, tmp_path)).model
    # Fewer pieces are found in twelve words than 2,048; the layers are the default's.
    layers = sum(p.numel() for p in model.model.layers.parameters())
    assert layers == 4 * (4 * 192**2 + 3 * 192 * 512 + 2 * 192)
    assert 1.7e6 < layers + 2048 * 192 < 6e6


def test_weights_that_know_nothing_need_the_bits_of_an_even_choice(folder):
    model = load_language_model(folder)
    texts = sentences(50, seed=1)
    tokens = sum(len(model.tokenizer(text)["input_ids"]) + 1 for text in texts)
    size = sum(len(text.encode()) for text in texts)
    assert bits_per_byte(model, texts) == pytest.approx(np.log2(300) * tokens / size, rel=0.01)


def test_the_same_texts_give_the_same_folder_and_no_work(folder):
    before = folder.stat().st_mtime_ns
    assert SHAPE.make(sentences(400), folder.parents[1]) == folder
    assert folder.stat().st_mtime_ns == before


def test_other_texts_and_other_seeds_give_other_folders(folder):
    cache = folder.parents[1]
    assert SHAPE.make(sentences(401), cache) != folder
    other = SmallModel(300, 32, 2, 2, 64, seed=1).make(sentences(400), cache)
    first, second = (load_language_model(path).model for path in (folder, other))
    assert not torch.equal(first.lm_head.weight, second.lm_head.weight)


def test_too_few_texts_are_told_how_many_are_needed(tmp_path):
    with pytest.raises(InputError, match=r"needs 6,000 tokens of text, which are some \d+ texts"):
        SHAPE.make(sentences(20), tmp_path)
    with pytest.raises(InputError, match="found 0 texts"):
        SHAPE.make([], tmp_path)
    assert not list((tmp_path / "models").iterdir())


@pytest.mark.parametrize(
    "settings", [{"vocabulary": 200}, {"layers": 0}, {"window": 4}, {"width": 30}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(SettingsError):
        SmallModel(**settings)
