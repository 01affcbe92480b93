"""Causal language models as encoders: the last real token or the mean, whatever stands beside."""

import json
import shutil

import numpy as np
import pytest

from causalign.errors import ArtifactError, SettingsError
from causalign.lm import EmbeddingCache, embed, load_encoder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXTS = ["Happy Monday!", "Our new mugs, with free returns.", "a", "", "Ünïcode 😀 too", "bb"]


@pytest.fixture(scope="module")
def last(tiny_lm_folder):
    return load_encoder(tiny_lm_folder)


def states(encoder, text):
    ids = torch.tensor([encoder.tokenizer(text, truncation=True, max_length=256)["input_ids"]])
    with torch.no_grad():
        return encoder.model(input_ids=ids).last_hidden_state[0]


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_vectors_are_those_of_each_text_alone(tiny_lm_folder, pooling):
    encoder = load_encoder(f"{tiny_lm_folder}:{pooling}")
    vectors = encoder.encode(TEXTS)
    for vector, text in zip(vectors, TEXTS, strict=True):
        if not text:  # no tokens, no direction
            assert (vector == 0).all()
            continue
        found = states(encoder, text)
        found = found[-1] if pooling == "last" else found.mean(dim=0)
        np.testing.assert_allclose(vector, (found / found.norm()).numpy(), atol=1e-6)


def test_a_causal_model_gives_its_last_token_unless_told_otherwise(tiny_lm_folder, last):
    assert last.name == f"{tiny_lm_folder}:last:float32"
    assert last.pooling == "last"
    mean = load_encoder(f"{tiny_lm_folder}:mean")
    assert mean.revision != last.revision
    assert np.abs(mean.encode(TEXTS) - last.encode(TEXTS)).max() > 0.01


def test_padded_batches_of_transformers_agree(last):
    """A peer's way: pad on the right, mask, pick the last real token."""
    texts = [text for text in TEXTS if text]
    given = last.tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    with torch.no_grad():
        hidden = last.model(**given).last_hidden_state
    picked = hidden[torch.arange(len(texts)), given["attention_mask"].sum(dim=1) - 1]
    expected = torch.nn.functional.normalize(picked, dim=1).numpy()
    np.testing.assert_allclose(last.encode(texts), expected, atol=1e-6)


def test_a_vector_does_not_depend_on_the_texts_beside_it(last, tmp_path):
    """So work that was cut short ends with the same numbers: on one thread, bit by bit."""
    texts = [f"{'word ' * (i % 9)}number {i}" for i in range(90)]
    several = last.encode(texts)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = last.encode(texts)
        parts = np.concatenate([last.encode(texts[i : i + 7]) for i in range(0, 90, 7)])
        embed(texts[::3], last, EmbeddingCache(tmp_path))  # all that a killed process had stored
        continued = embed(texts, last, EmbeddingCache(tmp_path))
    finally:
        torch.set_num_threads(threads)
    assert (whole == parts).all()
    assert continued.cached == 30
    assert (continued.vectors == whole).all()
    np.testing.assert_allclose(several, whole, atol=1e-6)


def test_a_name_leads_back_to_the_same_vectors(last):
    again = load_encoder(last.name)
    assert (again.revision, again.name) == (last.revision, last.name)


def test_long_texts_are_cut_and_counted(last):
    long = "Happy Monday! " * 200
    found = embed([long, "short"], last)
    assert found.truncated == 1
    np.testing.assert_allclose(
        found.vectors[0], (lambda h: h / h.norm())(states(last, long)[-1]).numpy(), atol=1e-6
    )


def test_a_tokenizer_without_a_token_for_padding_will_do(tiny_lm_folder, last, tmp_path):
    folder = shutil.copytree(tiny_lm_folder, tmp_path / "no-pad")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            kept = json.loads((folder / name).read_text())
            kept.pop("pad_token", None)
            (folder / name).write_text(json.dumps(kept))
    encoder = load_encoder(folder)
    assert encoder.tokenizer.pad_token is None
    assert (encoder.encode(TEXTS) == last.encode(TEXTS)).all()


def test_values_that_are_not_finite_are_refused(tiny_lm_folder):
    encoder = load_encoder(tiny_lm_folder)
    with torch.no_grad():
        encoder.model.norm.weight[0] = float("inf")
    with pytest.raises(SettingsError, match="not finite"):
        embed(["Happy Monday!"], encoder)


def test_the_last_token_of_a_model_that_reads_both_ways_is_refused(tiny_encoder_folder):
    with pytest.raises(SettingsError, match="both directions"):
        load_encoder(f"{tiny_encoder_folder}:last")


def test_name_and_precision_must_agree(tiny_lm_folder):
    with pytest.raises(SettingsError, match="contradict"):
        load_encoder(f"{tiny_lm_folder}:float32", precision="bfloat16")
    assert load_encoder(tiny_lm_folder, precision="bfloat16").name.endswith(":last:bfloat16")


def test_pickled_weights_are_refused_unread(tiny_lm_folder, tmp_path):
    folder = shutil.copytree(tiny_lm_folder, tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match=r"pytorch_model\.bin.*can run code"):
        load_encoder(folder)


def test_code_that_comes_with_a_model_is_refused(tiny_lm_folder, tmp_path):
    folder = shutil.copytree(tiny_lm_folder, tmp_path / "code")
    witness = tmp_path / "witness"
    (folder / "own.py").write_text(
        f"import pathlib\npathlib.Path({str(witness)!r}).touch()\n"
        "from transformers import LlamaConfig, LlamaModel\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class OwnModel(LlamaModel):\n    config_class = OwnConfig\n"
    )
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        load_encoder(folder)
    assert not witness.exists()


def test_a_model_with_encoder_and_decoder_is_refused(tiny_lm_folder, tmp_path):
    folder = shutil.copytree(tiny_lm_folder, tmp_path / "t5")
    config = transformers.T5Config(
        vocab_size=512, d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2
    )
    transformers.T5Model(config).save_pretrained(folder)
    with pytest.raises(SettingsError, match="encoder and a decoder"):
        load_encoder(folder)
