"""A folder gives the model that it holds, or one clear line."""

import json
import shutil

import numpy as np
import pytest

from causalign.errors import CausalignError, SettingsError
from causalign.lm import load_encoder
from causalign.lm.completions import tokenize, tokenize_prompts
from causalign.lm.language_model import load_language_model
from causalign.lm.logprob import completion_logprobs
from causalign.lm.model_checks import check_finite, fix_clock, position_limit, shorten
from causalign.lm.model_files import hash_model_folder
from tests.lm.tiny import bert, byte_pairs, llama, logprob_alone, save, sizes, widen

torch = pytest.importorskip("torch")
tf = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Write a causal and a two-directional model once; tests copy them."""
    folder = tmp_path_factory.mktemp("models")
    tokenizer = byte_pairs()
    save(folder / "llama", llama(tokenizer), tokenizer)
    save(folder / "bert", bert(tokenizer), tokenizer)
    return folder


def copy(made, name, tmp_path):
    return shutil.copytree(made / name, tmp_path / name)


def change(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refusal(load, folder):
    """Return the error's text, which is short and names no trace of a library."""
    with pytest.raises(CausalignError) as raised:
        load(folder)
    text = str(raised.value)
    assert len(text.replace(str(folder), "FOLDER")) < 420, text
    assert "\n" not in text.strip()
    return text


def test_a_tied_head_need_not_lie_in_the_file(tmp_path):
    tokenizer = byte_pairs()
    folder = save(tmp_path / "tied", llama(tokenizer, tie=True), tokenizer)
    plain = tf.AutoModelForCausalLM.from_pretrained(folder).eval()
    loaded = load_language_model(folder)
    rows = tokenize(loaded.tokenizer, ["mug"], ["free sale"], max_length=50)
    alone = logprob_alone(plain, rows.prompts[0], rows.completions[0])
    assert completion_logprobs(loaded, rows)[0] == pytest.approx(alone, abs=1e-4)


def test_heads_and_layers_that_would_be_left_out_are_named(tmp_path):
    """A reward model on tied embeddings lacks nothing, but its head would be dropped."""
    tokenizer = byte_pairs()
    config = llama(tokenizer, tie=True).config
    folder = save(tmp_path / "reward", tf.LlamaForSequenceClassification(config), tokenizer)
    assert "score.weight would be left out" in refusal(load_language_model, folder)
    assert load_encoder(f"{folder}:mean").dimension == 32  # vectors need no head
    deep = save(tmp_path / "deep", bert(tokenizer), tokenizer)
    change(deep / "config.json", num_hidden_layers=1)
    assert "encoder.layer.1" in refusal(load_encoder, deep)


def test_a_head_of_unknown_kind_is_no_known_head(made, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copy(made, "bert", tmp_path)
    path = folder / "model.safetensors"
    save_file({**load_file(path), "linear.weight": torch.ones(2, 2)}, path, {"format": "pt"})
    change(folder / "config.json", architectures=["OwnRetriever"])
    assert "linear.weight would be left out" in refusal(load_encoder, folder)


def test_a_masked_body_without_a_pooler_is_whole(tmp_path):
    tokenizer = byte_pairs()
    folder = save(tmp_path / "body", bert(tokenizer), tokenizer)
    small = tf.BertModel.from_pretrained(folder, add_pooling_layer=False)
    assert not any("pooler" in key for key in small.state_dict())
    before = load_encoder(folder).encode(["free mug"])
    save(folder, small, tokenizer)
    np.testing.assert_array_equal(load_encoder(folder).encode(["free mug"]), before)


def test_shapes_that_differ_from_the_settings_are_told(made, tmp_path):
    folder = copy(made, "llama", tmp_path)
    change(folder / "config.json", intermediate_size=48)
    text = refusal(load_language_model, folder)
    assert "(64, 32), not (48, 32)" in text or "(32, 64), not (32, 48)" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("load", [load_language_model, load_encoder])
def test_values_that_are_not_finite_are_refused_before_anything_is_computed(tmp_path, load, value):
    tokenizer = byte_pairs()
    model = llama(tokenizer)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 2] = value
    folder = save(tmp_path / "bad", model, tokenizer)
    assert "1 values that are not finite in" in refusal(load, folder)


def test_large_weights_are_finite():
    check_finite({"w": torch.full((4, 4), 3e38)}, "The model")


def test_float16_and_shards_are_read_as_plain_transformers_reads_them(tmp_path):
    tokenizer = byte_pairs(ends=True)
    for name, model in {"llama": llama(tokenizer), "bert": bert(tokenizer)}.items():
        whole = save(tmp_path / f"{name}-whole", model.half().float(), tokenizer)
        model.half().save_pretrained(tmp_path / name, max_shard_size="30KB")
        tokenizer.save_pretrained(tmp_path / name)
        assert len(list((tmp_path / name).glob("*.safetensors"))) > 2
        texts = ["free mug", "rain and sun"]
        sharded = load_encoder(tmp_path / name).encode(texts)
        np.testing.assert_allclose(sharded, load_encoder(whole).encode(texts), atol=1e-6)


def test_a_lost_shard_is_missed(tmp_path):
    tokenizer = byte_pairs()
    llama(tokenizer).save_pretrained(tmp_path / "cut", max_shard_size="30KB")
    tokenizer.save_pretrained(tmp_path / "cut")
    sorted((tmp_path / "cut").glob("*.safetensors"))[1].unlink()
    refusal(load_language_model, tmp_path / "cut")


@pytest.mark.parametrize(
    ("kept", "word"),
    [
        ("model.gguf", "model.gguf"),
        ("onnx/model.onnx", "model.onnx"),
        ("tf_model.h5", "tf_model.h5"),
        ("pytorch_model.bin", "can run code"),
        ("README.md", "no model.safetensors"),
    ],
)
def test_weights_in_other_formats_are_named(made, tmp_path, kept, word):
    folder = copy(made, "bert", tmp_path)
    (folder / kept).parent.mkdir(exist_ok=True)
    (folder / "model.safetensors").rename(folder / kept)
    assert word in refusal(load_encoder, folder)
    (folder / "config.json").unlink()
    assert word in refusal(load_encoder, folder) or kept == "README.md"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised"),
        ({"auto_map": {"AutoModel": "own.Model"}}, "auto_map"),
        ({"vision_config": {"hidden_size": 8}}, "images or sound"),
        ({"model_type": "no-such-model"}, "cannot be loaded"),
    ],
)
@pytest.mark.parametrize(("load", "name"), [(load_language_model, "llama"), (load_encoder, "bert")])
def test_other_kinds_of_model_are_refused(made, tmp_path, changes, word, load, name):
    folder = copy(made, name, tmp_path)
    change(folder / "config.json", **changes)
    assert word in refusal(load, folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_torn_files_are_refused(made, tmp_path, name):
    folder = copy(made, "llama", tmp_path)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    refusal(load_language_model, folder)
    (folder / name).write_bytes(b"")
    refusal(load_encoder, folder)


def test_a_model_with_encoder_and_decoder_is_no_policy(tmp_path):
    tokenizer = byte_pairs()
    config = tf.T5Config(vocab_size=len(tokenizer), d_model=16, d_ff=16, d_kv=8, num_layers=1)
    folder = save(tmp_path / "t5", tf.T5ForConditionalGeneration(config), tokenizer)
    assert "an encoder and a decoder" in refusal(load_language_model, folder)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_whether_a_model_looks_ahead_is_measured(tmp_path, precision):
    """A masked model is refused; told to be a decoder, the same class has probabilities."""
    tokenizer = byte_pairs()
    for decodes in (False, True):
        config = tf.BertConfig(**sizes(tokenizer, is_decoder=decodes))
        folder = save(tmp_path / str(decodes), widen(tf.BertLMHeadModel(config)), tokenizer)
        if decodes:
            assert load_language_model(folder, precision=precision).window == 130
        else:
            with pytest.raises(SettingsError, match="both directions"):
                load_language_model(folder, precision=precision)


def test_a_causal_body_may_give_its_last_token(tmp_path):
    tokenizer = byte_pairs()
    folder = save(tmp_path / "body", llama(tokenizer).model, tokenizer)
    assert load_encoder(f"{folder}:last").pooling == "last"
    change(folder / "config.json", architectures=None)
    assert load_encoder(folder).pooling == "mean"


def test_a_tokenizer_that_does_not_fit_the_embeddings_is_refused(made, tmp_path):
    folder = copy(made, "llama", tmp_path)
    byte_pairs(extra=("<new>",)).save_pretrained(folder)
    assert "embeddings have" in refusal(load_language_model, folder)
    added = byte_pairs()
    added.add_tokens(["mugfreesale"])
    added.save_pretrained(folder)
    assert "embeddings have" in refusal(load_encoder, folder)
    wide = byte_pairs()
    save(folder, llama(wide, vocab_size=1000), wide)
    assert "another model" in refusal(load_encoder, folder)
    save(folder, llama(wide, vocab_size=400), wide)  # padded, as tables often are
    assert load_encoder(folder).dimension == 32


def test_a_folder_without_a_tokenizer_is_refused(made, tmp_path):
    folder = copy(made, "llama", tmp_path)
    (folder / "tokenizer.json").unlink()
    assert "holds no tokenizer" in refusal(load_language_model, folder)
    (folder / "tokenizer_config.json").unlink()
    assert "holds no tokenizer" in refusal(load_encoder, folder)


TEMPLATE = (
    "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% endif %} "
    "{{ strftime_now( \"%Y-%m-%d\" ) }} {% for m in messages %}{{ m['content'] }}{% endfor %}"
)


def test_a_chat_template_that_asks_the_clock_names_one_day(made, tmp_path):
    """The same prompt has the same tokens tomorrow, also in what is saved."""
    folder = copy(made, "llama", tmp_path)
    change(folder / "tokenizer_config.json", chat_template=TEMPLATE)
    tokenizer = load_language_model(folder).tokenizer
    ids = tokenize_prompts(tokenizer, ["free mug"], chat=True)[0]
    assert "26 Jul 2024 2024-07-26 free mug" in tokenizer.decode(ids)
    tokenizer.save_pretrained(tmp_path / "saved")
    again = tf.AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert tuple(tokenize_prompts(again, ["free mug"], chat=True)[0]) == tuple(ids)
    tokenizer.chat_template = {"default": TEMPLATE}
    fix_clock(tokenizer, "The model")
    assert "strftime_now(" not in tokenizer.chat_template["default"].replace(" ", "")


@pytest.mark.parametrize("call", ["strftime_now(form)", "[1, 2] | random"])
def test_a_chat_template_that_cannot_be_fixed_is_refused(made, tmp_path, call):
    folder = copy(made, "llama", tmp_path)
    template = f"{{% set form = '%d' %}}{{{{ {call} }}}}"
    change(folder / "tokenizer_config.json", chat_template=template)
    assert "reads the clock" in refusal(load_language_model, folder)


def test_the_hash_of_a_folder_follows_all_that_is_read(made, tmp_path):
    folder = copy(made, "bert", tmp_path)
    (folder / "1_Pooling").mkdir()
    (folder / "modules.json").write_text(json.dumps([{"path": "1_Pooling"}]))
    names = [
        *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "merges.txt"),
        *("config.json", "modules.json", "sentence_bert_config.json", "added_tokens.json"),
        *("config_sentence_transformers.json", "chat_template.jinja", "sentencepiece.bpe.model"),
        *("1_Pooling/config.json", "model.safetensors"),
    ]
    known = {hash_model_folder(folder)}
    for count, name in enumerate(names, start=2):
        with (folder / name).open("ab") as file:
            file.write(b" ")
        known.add(hash_model_folder(folder))
        assert len(known) == count, name
    for name in ("README.md", "causalign.json", "model.onnx"):
        (folder / name).write_text("{}")
    assert hash_model_folder(folder) in known


def test_short_words_for_long_messages():
    assert shorten(ValueError("first: \n second")) == "first."
    assert shorten(KeyError()) == "KeyError."
    assert len(shorten(ValueError("x" * 999))) < 250


def test_position_limits():
    tokenizer = byte_pairs()
    assert position_limit(bert(tokenizer)) == 130
    assert position_limit(tf.RobertaModel(tf.RobertaConfig(**sizes(tokenizer)))) == 128


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_small_numbers_without_their_scales_are_refused(made, tmp_path, dtype):
    """They would be taken for the weights themselves."""
    from safetensors.torch import load_file, save_file

    folder = copy(made, "llama", tmp_path)
    path = folder / "model.safetensors"
    small = {name: value.mul(10).to(dtype) for name, value in load_file(path).items()}
    save_file(small, path, metadata={"format": "pt"})
    assert "is quantised" in refusal(load_language_model, folder)


@pytest.mark.parametrize("name", ["XLNetLMHeadModel", "BertLMHeadModel", "MixtralForCausalLM"])
def test_before_it_has_learned_anything_a_model_shows_whether_it_looks_ahead(name):
    """With the small weights that networks start from, and experts that share their tokens."""
    from causalign.lm.model_checks import first_states, looks_ahead

    torch.manual_seed(0)
    small = {"vocab_size": 300, "num_attention_heads": 4, "hidden_size": 32}
    settings = {
        "XLNetLMHeadModel": {"vocab_size": 300, "d_model": 32, "n_layer": 1, "n_head": 4},
        "BertLMHeadModel": {**small, "num_hidden_layers": 1, "intermediate_size": 64},
        "MixtralForCausalLM": {**small, "num_key_value_heads": 2, "intermediate_size": 64},
    }
    network = getattr(tf, name)
    model = network(network.config_class(**settings[name])).eval()
    assert looks_ahead(first_states(model, "The model")) == (name != "MixtralForCausalLM")
