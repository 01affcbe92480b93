"""Folders of sentence-transformers: its vectors, or a refusal that names what is not supported."""

import json
import shutil

import numpy as np
import pytest

from causalign.errors import ArtifactError, CausalignError, SettingsError
from causalign.lm import EmbeddingCache, embed, load_encoder
from tests.lm.tiny import WORDS, bert, byte_pairs, llama, save

torch = pytest.importorskip("torch")
peer = pytest.importorskip("sentence_transformers")
modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")

TEXTS = ["Free mug sale TODAY", "rain", " ".join(WORDS * 2), "the blue mugs only one two", ""]
OLD_MEAN = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True}


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    closed = byte_pairs(ends=True)
    save(folder / "bert", bert(closed), closed)
    left = byte_pairs(ends=True)
    left.padding_side = "left"
    save(folder / "llama", llama(left), left)
    return folder


def build(base, folder, *after, pooling="mean", limit=None, **settings):
    """Save an encoder with the installed sentence-transformers; return its folder."""
    torch.manual_seed(0)
    first = modules.Transformer(str(base), **({} if limit is None else {"max_seq_length": limit}))
    pool = modules.Pooling(32, pooling_mode=pooling)
    made = peer.SentenceTransformer(modules=[first, pool, *after], device="cpu", **settings)
    made.save(str(folder))
    return folder


def change(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def agrees(folder, texts=TEXTS, name=None):
    """Compare with the vectors of sentence-transformers; return the encoder."""
    model = peer.SentenceTransformer(str(folder), device="cpu")
    expected = model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
    encoder = load_encoder(name or folder)
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=2e-5)
    return encoder


def dense(width=16, **settings):
    return modules.Dense(32, width, **settings)


@pytest.mark.parametrize(
    "after",
    [
        [],
        [modules.Normalize()],
        [dense()],
        [dense(32, bias=False, activation_function=torch.nn.Identity())],
        [modules.Normalize(), dense(48), modules.Dense(48, 8), modules.LayerNorm(8)],
        [modules.Dropout(0.5), dense(activation_function=torch.nn.GELU()), modules.Normalize()],
    ],
    ids=["mean", "normalised", "dense", "square", "chain", "gelu"],
)
def test_modules_after_the_pooling_are_applied(bases, tmp_path, after):
    folder = build(bases / "bert", tmp_path / "st", *after)
    encoder = agrees(folder)
    layers = [module for module in after if hasattr(module, "out_features")]
    assert encoder.dimension == ([32] + [module.out_features for module in layers])[-1]


@pytest.mark.parametrize("limit", [12, 100])
def test_texts_are_cut_where_the_folder_says(bases, tmp_path, limit):
    """Also where the limit lies beside a tokenizer that says more, as older versions wrote it."""
    folder = build(bases / "bert", tmp_path / "st", limit=limit)
    cut = int(limit == 12)
    assert agrees(folder).too_long(TEXTS).tolist() == [0, 0, cut, 0, 0]
    path = folder / "sentence_bert_config.json"
    path.write_text(json.dumps({"max_seq_length": limit, "do_lower_case": False}))
    change(folder / "tokenizer_config.json", model_max_length=512)
    encoder = agrees(folder)
    assert encoder.max_tokens == limit
    assert embed(TEXTS, encoder).truncated == cut


def test_a_folder_of_sentence_transformers_is_read_as_far_as_it_reads(bases, tmp_path):
    """Its limit is that of the model, 130 tokens or more, and no default of ours below it."""
    closed = byte_pairs(ends=True)
    base = save(tmp_path / "long", bert(closed, max_position_embeddings=600), closed)
    folder = build(base, tmp_path / "st", limit=500)
    long = " ".join(WORDS * 12)
    assert agrees(folder, [long, "rain"]).max_tokens == 500
    assert load_encoder(base).max_tokens == 256


def test_default_prompts_lower_case_and_shortened_vectors(bases, tmp_path):
    prompts = {"query": "free : ", "passage": "rain : "}
    folder = build(
        bases / "bert",
        tmp_path / "st",
        prompts=prompts,
        default_prompt_name="query",
        truncate_dim=8,
    )
    assert agrees(folder).dimension == 8
    change(folder / "sentence_bert_config.json", do_lower_case=True)
    lowered = agrees(folder).encode(TEXTS)
    np.testing.assert_array_equal(lowered, load_encoder(folder).encode([t.lower() for t in TEXTS]))
    change(folder / "config_sentence_transformers.json", default_prompt_name=None)
    assert np.abs(agrees(folder).encode(TEXTS) - lowered).max() > 0.01
    change(folder / "config_sentence_transformers.json", default_prompt_name="none of them")
    with pytest.raises(ArtifactError, match="none of them"):
        load_encoder(folder)


def test_pooling_of_older_versions_and_of_folders_without_a_list(bases, tmp_path):
    folder = build(bases / "bert", tmp_path / "st")
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(OLD_MEAN))
    before = agrees(folder).encode(TEXTS)
    (folder / "modules.json").unlink()
    np.testing.assert_array_equal(load_encoder(folder).encode(TEXTS), before)


def test_the_last_token_of_a_causal_model_whatever_the_side_of_padding(bases, tmp_path):
    folder = build(bases / "llama", tmp_path / "st", dense(), pooling="lasttoken")
    assert agrees(folder).pooling == "last"
    agrees(folder, name=f"{folder}:last")
    with pytest.raises(SettingsError, match="made for pooling 'last'"):
        load_encoder(f"{folder}:mean")


@pytest.mark.parametrize("pooling", ["cls", "max", "weightedmean", ("mean", "max")])
def test_other_poolings_are_named(bases, tmp_path, pooling):
    folder = build(bases / "bert", tmp_path / "st", pooling=pooling)
    named = pooling if isinstance(pooling, str) else "'mean' and 'max'"
    with pytest.raises(SettingsError, match=f"pools by .*{named}"):
        load_encoder(folder)


def test_a_transformer_in_a_folder_below(bases, tmp_path):
    """The layout of the first versions."""
    folder = build(bases / "bert", tmp_path / "st", limit=12)
    below = folder / "0_Transformer"
    below.mkdir()
    for path in list(folder.iterdir()):
        above = ("modules.json", "README.md", "config_sentence_transformers.json")
        if path.is_file() and path.name not in above:
            path.rename(below / path.name)
    listed = json.loads((folder / "modules.json").read_text())
    listed[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(listed))
    before = agrees(folder)
    assert before.max_tokens == 12
    change(below / "tokenizer_config.json", note="edited")
    assert load_encoder(folder).revision != before.revision


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_in_the_file_is_read_as_float32(bases, tmp_path, dtype):
    folder = build(bases / "bert", tmp_path / "st", dense())
    made = peer.SentenceTransformer(str(folder), device="cpu").to(dtype)
    made.save(str(folder))
    whole = peer.SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": torch.float32}
    )
    expected = whole.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(load_encoder(folder).encode(TEXTS), expected, atol=2e-5)


def listed(kind, path="2_Own"):
    def work(folder):
        content = json.loads((folder / "modules.json").read_text())
        content.append({"idx": 2, "name": "2", "path": path, "type": kind})
        (folder / "modules.json").write_text(json.dumps(content))
        if not path.startswith(".."):
            (folder / path).mkdir(exist_ok=True)

    return work


def set_in(name, **changes):
    return lambda folder: change(folder / name, **changes)


OWN = "sentence_transformers.models."
REFUSED = {
    "a module of another package": (listed("own_code.Pooler"), "own_code.Pooler"),
    "a module that is not supported": (listed(f"{OWN}LSTM"), "LSTM"),
    "a second pooling": (
        listed(f"{OWN}Pooling", "1_Pooling"),
        "Transformer, Pooling, Dense, Pooling",
    ),
    "a path outside": (listed(f"{OWN}Dense", "../other"), "outside"),
    "a layer for tokens": (
        set_in("2_Dense/config.json", module_input_name="token_embeddings"),
        "token_embeddings",
    ),
    "a residual": (set_in("2_Dense/config.json", use_residual=True), "residual"),
    "an activation of its own": (
        set_in("2_Dense/config.json", activation_function="own.Act"),
        "own.Act",
    ),
    "a layer as an activation": (
        set_in("2_Dense/config.json", activation_function="torch.nn.modules.linear.Linear"),
        "activation torch.nn.modules.linear.Linear",
    ),
    "a layer of another width": (set_in("2_Dense/config.json", in_features=31), "does not fit"),
    "chat messages": (
        set_in("sentence_bert_config.json", modality_config={"text": {}, "message": {}}),
        "chat template",
    ),
    "settings of the model": (
        set_in("sentence_bert_config.json", model_args={"num_hidden_layers": 1}),
        "num_hidden_layers",
    ),
    "a cross-encoder": (
        set_in("config_sentence_transformers.json", model_type="CrossEncoder"),
        "CrossEncoder",
    ),
    "a prompt outside the mean": (
        lambda folder: (
            change(
                folder / "config_sentence_transformers.json",
                prompts={"q": "free"},
                default_prompt_name="q",
            ),
            change(folder / "1_Pooling" / "config.json", include_prompt=False),
        ),
        "leaves out",
    ),
    "no weights of a layer": (
        lambda folder: (folder / "2_Dense" / "model.safetensors").rename(
            folder / "2_Dense" / "pytorch_model.bin"
        ),
        "can run code",
    ),
    "a torn list": (lambda folder: (folder / "modules.json").write_text("[{"), "cannot be read"),
    "no list": (lambda folder: (folder / "modules.json").write_text("{}"), "lists nothing"),
    "a list of other things": (
        lambda folder: (folder / "modules.json").write_text('["a"]'),
        "cannot be read",
    ),
}


@pytest.fixture(scope="module")
def with_layer(bases, tmp_path_factory):
    return build(bases / "bert", tmp_path_factory.mktemp("layer") / "st", dense())


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_supported_is_refused_in_words(with_layer, tmp_path, what):
    folder = shutil.copytree(with_layer, tmp_path / "st")
    work, word = REFUSED[what]
    work(folder)
    with pytest.raises(CausalignError, match=word) as raised:
        load_encoder(folder)
    assert len(str(raised.value).splitlines()) <= 3


def test_the_cache_knows_every_file_that_decides_a_vector(with_layer, tmp_path):
    """An edited tokenizer, prompt, limit or layer gives new vectors, not those of before."""
    folder = shutil.copytree(with_layer, tmp_path / "st")
    cache = EmbeddingCache(tmp_path / "cache")
    before = embed(TEXTS, load_encoder(folder), cache).vectors
    assert embed(TEXTS, load_encoder(folder), cache).cached == len(TEXTS)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    edits = {
        "tokenizer.json": {"normalizer": {"type": "Replace", **_replace("mug", "rain")}},
        "config_sentence_transformers.json": {"prompts": {"q": "x"}, "default_prompt_name": "q"},
        "sentence_bert_config.json": {"max_seq_length": 5},
        "2_Dense/config.json": {"activation_function": "torch.nn.modules.linear.Identity"},
    }
    assert tokenizer["normalizer"] is None
    for name, changes in edits.items():
        change(folder / name, **changes)
        fresh = embed(TEXTS, load_encoder(folder), cache)
        assert fresh.cached == 0, name
        assert np.abs(fresh.vectors - before).max() > 1e-3, name
        before = fresh.vectors


def _replace(old, new):
    return {"pattern": {"String": old}, "content": new}


def test_a_model_of_a_hub_is_read_with_its_modules(with_layer, tmp_path, monkeypatch):
    """As a folder is: here from the copy that the hub's library keeps."""
    from huggingface_hub import constants

    home = tmp_path / "hub" / "models--owner--name"
    shutil.copytree(with_layer, home / "snapshots" / ("0" * 40))
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    encoder = load_encoder("owner/name")
    assert (encoder.name, encoder.dimension) == ("owner/name:mean:float32", 16)
    np.testing.assert_array_equal(encoder.encode(TEXTS), load_encoder(with_layer).encode(TEXTS))
    with pytest.raises(ArtifactError, match="cannot be fetched from the hub"):
        load_encoder("owner/other")
