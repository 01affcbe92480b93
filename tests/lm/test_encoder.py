import json
import shutil

import numpy as np
import pytest

from causalign.errors import ArtifactError, ExtraNotInstalled, InputError, SettingsError
from causalign.lm import default_encoder, embed, load_encoder, model_files, transformer_encoder
from causalign.lm.transformer_encoder import _batches

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

WORDS = ["the", "a", "price", "of", "this", "house", "is", "low"]
WORDS += ["high", "and", "old", "new", "was", "not"]
TEXTS = ["the house is old", "a new price", "", "this house was not the price of a house", "old"]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Write a randomly initialised one-layer BERT with a tokenizer of a few words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("tiny")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: number for number, word in enumerate(special + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=16
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def by_hand(encoder, text):
    ids = torch.tensor([encoder.tokenizer(text, truncation=True, max_length=16)["input_ids"]])
    with torch.no_grad():
        mean = encoder.model(input_ids=ids).last_hidden_state[0].mean(dim=0)
    return (mean / mean.norm()).numpy()


def test_vectors_are_the_normalised_mean_of_each_text_alone(tiny):
    encoder = load_encoder(tiny)
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (5, encoder.dimension) == (5, 16)
    assert vectors.dtype == np.float32
    for vector, text in zip(vectors, TEXTS, strict=True):
        np.testing.assert_allclose(vector, by_hand(encoder, text), atol=1e-6)


def test_products_of_onednn_give_the_same_vectors(tiny, monkeypatch):
    vectors = {}
    for faster in (False, True):
        monkeypatch.setattr(
            transformer_encoder, "_multiplies_faster_in_onednn", lambda faster=faster: faster
        )
        encoder = load_encoder(tiny)
        replaced = "forward" in vars(encoder.model.encoder.layer[0].output.dense)
        assert replaced is faster
        vectors[faster] = encoder.encode(TEXTS)
    np.testing.assert_allclose(vectors[True], vectors[False], atol=1e-6)


def test_equal_texts_are_encoded_once_and_order_is_kept(tiny, monkeypatch):
    encoder = load_encoder(tiny)
    seen = []
    forward = type(encoder)._forward
    monkeypatch.setattr(
        type(encoder), "_forward", lambda self, t: (seen.extend(t), forward(self, t))[1]
    )
    vectors = encoder.encode(["old", "a new price", "old"])
    assert len(seen) == 2
    assert (vectors[0] == vectors[2]).all()
    assert (vectors[0] != vectors[1]).any()


def test_texts_longer_than_the_limit_are_counted(tiny):
    encoder = load_encoder(tiny)
    long = "house " * 40
    assert encoder.max_tokens == 16
    assert encoder.too_long([long, "old", "the " * 14]).tolist() == [True, False, False]
    assert embed([long, "old", long], encoder).truncated == 2
    np.testing.assert_allclose(encoder.encode([long])[0], by_hand(encoder, long), atol=1e-6)


def test_the_revision_follows_weights_and_precision(tiny, tmp_path):
    encoder = load_encoder(tiny)
    assert encoder.revision == load_encoder(tiny).revision
    assert encoder.revision != load_encoder(tiny, precision="bfloat16").revision
    other = shutil.copytree(tiny, tmp_path / "other")
    config = transformers.BertConfig.from_pretrained(other)
    transformers.BertModel(config).save_pretrained(other)
    assert encoder.revision != load_encoder(other).revision


def test_values_that_are_not_finite_are_refused(tiny):
    encoder = load_encoder(tiny)
    with torch.no_grad():
        encoder.model.embeddings.word_embeddings.weight[4] = float("nan")
    with pytest.raises(SettingsError, match="not finite"):
        encoder.encode(["the house"])


@pytest.mark.parametrize("texts", [["a", None], [1.5], "one text"])
def test_what_is_no_text_is_refused(tiny, texts):
    with pytest.raises(InputError):
        embed(texts, load_encoder(tiny))


def test_no_texts_give_no_vectors(tiny):
    assert load_encoder(tiny).encode([]).shape == (0, 16)
    assert embed([], load_encoder(tiny)).vectors.shape == (0, 16)


def test_a_folder_that_cannot_be_loaded_is_refused(tiny, tmp_path):
    with pytest.raises(SettingsError, match="minilm"):
        load_encoder("minilmm")
    with pytest.raises(SettingsError, match="precision"):
        load_encoder(tiny, precision="int4")
    without = shutil.copytree(tiny, tmp_path / "without")
    (without / "model.safetensors").unlink()
    with pytest.raises(ArtifactError):
        load_encoder(without)
    damaged = shutil.copytree(tiny, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ArtifactError):
        load_encoder(damaged)


def test_another_pooling_is_refused(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "cls")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 16, "pooling_mode_cls_token": True})
    )
    with pytest.raises(SettingsError, match="pools by .cls."):
        load_encoder(folder)


def test_the_folder_of_a_policy_is_told_from_that_of_an_encoder(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "causalign.json").write_text(json.dumps({"base": "smollm2", "method": "sft"}))
    with pytest.raises(SettingsError, match="a policy that sft tuned.* from, 'smollm2'"):
        load_encoder(tmp_path)
    (tmp_path / "causalign.json").write_text(json.dumps({"format": "causalign-adapted-encoder"}))
    with pytest.raises(ArtifactError, match="version None"):
        load_encoder(tmp_path)
    (tmp_path / "causalign.json").write_text("{")
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_encoder(tmp_path)


def test_a_missing_library_names_the_extra(tiny, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ExtraNotInstalled, match=r"causalign\[lm\]"):
        load_encoder(tiny)


def test_a_missing_wheel_names_the_extra(monkeypatch):
    def missing(name):
        raise model_files.PackageNotFoundError(name)

    monkeypatch.setattr(model_files, "distribution", missing)
    with pytest.raises(ExtraNotInstalled, match=r"causalign\[lm\]"):
        load_encoder("minilm")


def test_the_default_is_said_where_a_sentence_encoder_is_not_installed(monkeypatch, caplog):
    assert default_encoder() == "minilm+style"
    monkeypatch.setattr("causalign.lm.encoders.find_spec", lambda name: None)
    assert load_encoder(training_texts=TEXTS).name.startswith("tfidf")
    assert "The encoder is tfidf+style: minilm+style needs `pip install" in caplog.text


def test_progress_is_told_in_lines_where_there_is_no_terminal(tiny, capsys, monkeypatch):
    embed(TEXTS, load_encoder(tiny), progress=True)
    assert capsys.readouterr().err == ""  # it took less than a second
    monkeypatch.setattr("causalign.lm.progress._SHORTEST_SECONDS", 0.0)
    embed(TEXTS, load_encoder(tiny), progress=True)
    assert "5 of 5" in capsys.readouterr().err


def test_batches_keep_to_the_budget():
    lengths = [5, 100, 3, 3, 60, 0]
    batches = _batches(lengths, 64)
    assert sorted(np.concatenate(batches)) == list(range(6))
    for rows in batches:
        assert len(rows) == 1 or len(rows) * max(lengths[r] for r in rows) <= 64


def test_minilm_knows_paraphrases_and_equals_mean_pooling():
    try:
        encoder = load_encoder("minilm")
    except ExtraNotInstalled as missing:
        pytest.skip(str(missing))
    texts = ["A man is playing the guitar.", "Someone plays a guitar.", "Bees make honey."]
    vectors = encoder.encode(texts)
    tokens = encoder.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = encoder.model(**tokens).last_hidden_state
    mask = tokens["attention_mask"][:, :, None].float()
    mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
    expected = torch.nn.functional.normalize(mean, dim=1).numpy()
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert vectors[0] @ vectors[1] > 0.6 > 0.2 > vectors[0] @ vectors[2]
    quick = load_encoder("minilm", precision="bfloat16").encode(texts)
    assert (quick * vectors).sum(axis=1).min() > 0.999


def test_reprs_are_short(tiny):
    encoder = load_encoder(tiny)
    assert repr(encoder) == f"TransformerEncoder({encoder.name!r}, dimension=16)"
    lines = repr(embed(TEXTS, encoder)).splitlines()
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 100
    assert "from the cache: 0" in repr(embed(TEXTS, load_encoder("hashing")))
