"""A small model of the texts at hand, trained by the one trainer and kept by the hash of texts."""

import numpy as np
import pytest

import causalign as ca
from causalign.errors import InputError, SettingsError
from causalign.lm import SmallModel, Training, bits_per_byte
from causalign.lm.generate import sample
from causalign.lm.language_model import load_language_model
from causalign.policy import DPO, SFT, Pretraining

SHAPE = SmallModel(vocabulary=300, width=32, layers=2, heads=2, window=64)
FAST = Training(steps=60, batch_size=16, learning_rate=1e-2, max_length=64)


def mails(count):
    """Return texts of a language of two words that follow each other."""
    random = np.random.default_rng(0)
    return [
        f"Offer {random.integers(900)}: " + "new mugs " * int(random.integers(2, 8)) + "today."
        for _ in range(count)
    ]


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    return Pretraining(SHAPE, training=FAST).fit(mails(600), tmp_path_factory.mktemp("small"))


def test_it_learns_the_language(fit):
    before = np.log2(300)
    assert fit.numbers["held_out_bits_per_byte"] < 0.3 * before
    texts = sample(fit.language_model(), [None] * 20, max_new_tokens=40, seed=0).texts
    assert np.mean([text.startswith("Offer") for text in texts]) > 0.8


def test_its_quality_is_measured_on_texts_that_it_never_saw(fit):
    texts = list(dict.fromkeys(mails(600)))
    order = np.random.default_rng(FAST.seed).permutation(len(texts))
    aside = [texts[row] for row in order[: round(0.05 * len(texts))]]
    found = bits_per_byte(fit.language_model(), aside, max_length=64)
    assert fit.numbers["held_out_bits_per_byte"] == pytest.approx(found, rel=1e-6)
    assert fit.numbers["rows"] + len(aside) == len(texts)
    assert type(fit).load(fit.folder).numbers == fit.numbers


def test_every_method_takes_its_folder(fit, tmp_path):
    logs = ca.simulate.Newsletter(rows=60).simulate().logs
    whole = SFT(model=str(fit.model_folder), lora=None, training=Training(steps=2, batch_size=2))
    assert not (whole.fit(logs, tmp_path / "sft").model_folder / "adapter_config.json").exists()
    even = np.ones(4)
    pairs = ca.Pairs(["new mugs today."] * 4, ["today mugs new."] * 4, even, even, np.arange(4.0))
    method = DPO(training=Training(steps=2, batch_size=2)).continue_from(fit)
    assert method.fit(pairs, tmp_path / "dpo").language_model().has_adapter


def test_neither_card_nor_settings_tell_where_it_was_made(fit):
    card = (fit.model_folder / "README.md").read_text("utf-8")
    assert "untrained" not in card
    assert fit.answer().startswith("In 60 steps of pretraining on a small model of these texts")
    assert "A byte of unseen texts takes 0." in fit.answer()


def test_without_a_folder_the_cache_keeps_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CAUSALIGN_CACHE", str(tmp_path / "cache"))
    method = Pretraining(SHAPE, training=Training(steps=2, batch_size=4, max_length=64))
    first = method.fit(mails(600))
    weights = first.model_folder / "model.safetensors"
    written = weights.stat().st_mtime_ns
    again = method.fit(mails(600))
    assert again.model_folder == first.model_folder
    assert weights.stat().st_mtime_ns == written
    assert method.fit(mails(590)).model_folder != first.model_folder


def test_prompts_of_logs_are_texts_too(tmp_path):
    texts = mails(600)
    frame = {"mail": texts, "asked": [f"Write about {t}" for t in texts], "y": list(range(600))}
    logs = ca.Logs.of(frame, ca.Roles("mail", "y", prompt="asked"))
    method = Pretraining(SHAPE, training=Training(steps=1, batch_size=2, max_length=64))
    fit = method.fit(logs, tmp_path)
    unique = len(set(texts)) * 2
    assert fit.numbers["rows"] == unique - round(0.05 * unique)


def test_what_is_missing_in_a_column_is_no_text(tmp_path):
    method = Pretraining(SHAPE, training=Training(steps=1, batch_size=2, max_length=64))
    fit = method.fit([None, float("nan"), " ", *mails(600)], tmp_path)
    unique = len(set(mails(600)))
    assert fit.numbers["rows"] == unique - round(0.05 * unique)


def test_few_texts_are_read_at_most_twenty_times(tmp_path):
    training = Training(batch_size=200, learning_rate=1e-2, max_length=64)
    fit = Pretraining(SHAPE, tokens=10**9, training=training).fit(mails(600), tmp_path)
    rows = fit.numbers["rows"]
    assert fit.curve.num_rows == round(20 * rows / 200)


def test_too_few_texts_are_told_how_many(tmp_path):
    with pytest.raises(InputError, match="which are some"):
        Pretraining(SHAPE).fit(mails(10), tmp_path)
    with pytest.raises(SettingsError, match="tokens"):
        Pretraining(tokens=0)


def test_the_model_loads_like_any_other(fit):
    assert load_language_model(fit.model_folder).window == 64
