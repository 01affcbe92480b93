"""Small models of many architectures: the numbers of plain transformers, peft and the encoders'.

What is compared is computed by the other library from the same folder, each text alone.
"""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from causalign.lm import load_encoder, transformer_encoder
from causalign.lm.adapted_encoder import AdaptedEncoder
from causalign.lm.completions import tokenize
from causalign.lm.language_model import (
    Lora,
    add_lora,
    load_language_model,
    shares_prompts,
    write_adapter,
)
from causalign.lm.logprob import completion_logprobs
from tests.lm.tiny import WORDS, byte_pairs, last_state, logprob_alone, save, sizes, widen

torch = pytest.importorskip("torch")
tf = pytest.importorskip("transformers")

# Five completions of two prompts: where a model takes them side by side, they are laid out so.
PROMPTS = [" ".join(WORDS[:12])] * 3 + ["rain"] * 2
COMPLETIONS = ["free mug today", "rain and sun", "buy now one two three", "free sale", "four"]
TEXTS = ["free mug sale today", "rain", " the blue  mugs only", " ".join(WORDS * 6)]


@pytest.fixture(autouse=True)
def multiply_in_onednn(monkeypatch):
    """Encode on every processor as on those where it is faster: it asks more of a model."""
    if torch.backends.mkldnn.is_available():
        monkeypatch.setattr(transformer_encoder, "_multiplies_faster_in_onednn", lambda: True)


@dataclass(frozen=True)
class Kind:
    """An architecture: its classes, and what its configuration calls things."""

    network: str
    config: str
    settings: dict
    targets: tuple[str, ...] | None = None  # layers for LoRA where peft knows none
    quick: bool = False
    plain: bool = False  # its configuration has names of its own


HEADS = {"num_key_value_heads": 2}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
WRITERS = {
    "llama": Kind("LlamaForCausalLM", "LlamaConfig", HEADS, quick=True),
    "gpt2": Kind("GPT2LMHeadModel", "GPT2Config", GPT2, quick=True, plain=True),
    "gpt_neox": Kind("GPTNeoXForCausalLM", "GPTNeoXConfig", {}),
    "gpt_neo": Kind(
        "GPTNeoForCausalLM",
        "GPTNeoConfig",
        {
            **{"hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": 4},
            **{"attention_types": [[["global", "local"], 1]], "max_position_embeddings": 128},
        },
        quick=True,
        plain=True,
    ),
    "gptj": Kind("GPTJForCausalLM", "GPTJConfig", {**GPT2, "rotary_dim": 4}, plain=True),
    "qwen2": Kind("Qwen2ForCausalLM", "Qwen2Config", HEADS, quick=True),
    "qwen3": Kind("Qwen3ForCausalLM", "Qwen3Config", {**HEADS, "head_dim": 8}),
    "mistral": Kind("MistralForCausalLM", "MistralConfig", {**HEADS, "sliding_window": 4}),
    "mixtral": Kind(
        "MixtralForCausalLM", "MixtralConfig", {**HEADS, "num_local_experts": 4}, ("q_proj",)
    ),
    "gemma": Kind("GemmaForCausalLM", "GemmaConfig", {**HEADS, "head_dim": 8}),
    "gemma2": Kind(
        "Gemma2ForCausalLM", "Gemma2Config", {**HEADS, "head_dim": 8, "sliding_window": 4}
    ),
    "gemma3": Kind(
        "Gemma3ForCausalLM", "Gemma3TextConfig", {**HEADS, "head_dim": 8, "sliding_window": 4}
    ),
    "phi": Kind("PhiForCausalLM", "PhiConfig", {}),
    "phi3": Kind("Phi3ForCausalLM", "Phi3Config", HEADS, ("qkv_proj",)),
    "opt": Kind(
        "OPTForCausalLM",
        "OPTConfig",
        {
            **{"hidden_size": 32, "word_embed_proj_dim": 16, "num_hidden_layers": 2},
            **{"num_attention_heads": 4, "ffn_dim": 64, "max_position_embeddings": 128},
        },
        quick=True,
        plain=True,
    ),
    "bloom": Kind(
        "BloomForCausalLM",
        "BloomConfig",
        {"hidden_size": 32, "n_layer": 2, "n_head": 4},
        quick=True,
        plain=True,
    ),
    "falcon": Kind("FalconForCausalLM", "FalconConfig", {}),
    "falcon_alibi": Kind(
        "FalconForCausalLM", "FalconConfig", {"alibi": True, "multi_query": False}, quick=True
    ),
    "stablelm": Kind("StableLmForCausalLM", "StableLmConfig", HEADS),
    "olmo": Kind("OlmoForCausalLM", "OlmoConfig", HEADS, ("q_proj",)),
    "smollm3": Kind("SmolLM3ForCausalLM", "SmolLM3Config", HEADS, ("q_proj",)),
    "granite": Kind(
        "GraniteForCausalLM", "GraniteConfig", {**HEADS, "logits_scaling": 2.0}, ("q_proj",)
    ),
    "cohere": Kind("CohereForCausalLM", "CohereConfig", {**HEADS, "logit_scale": 0.3}, ("q_proj",)),
    "starcoder2": Kind("Starcoder2ForCausalLM", "Starcoder2Config", HEADS, ("q_proj",)),
    "roberta_decoder": Kind(
        "RobertaForCausalLM", "RobertaConfig", {"is_decoder": True}, quick=True
    ),
    "mamba": Kind(
        "MambaForCausalLM",
        "MambaConfig",
        {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
        ("x_proj",),
        plain=True,
    ),
    "lfm2": Kind("Lfm2ForCausalLM", "Lfm2Config", HEADS, ("q_proj",)),
}
DISTIL = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 128}
RELATIVE = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}
READERS = {
    "bert": Kind("BertModel", "BertConfig", {}, quick=True),
    "bert_with_a_masked_head": Kind("BertForMaskedLM", "BertConfig", {}, quick=True),
    "bert_with_a_classifier": Kind("BertForSequenceClassification", "BertConfig", {}),
    "roberta": Kind("RobertaModel", "RobertaConfig", {}, quick=True),
    "xlm_roberta": Kind("XLMRobertaForMaskedLM", "XLMRobertaConfig", {}, quick=True),
    "camembert": Kind("CamembertModel", "CamembertConfig", {}),
    "mpnet": Kind("MPNetModel", "MPNetConfig", {}, quick=True),
    "distilbert": Kind("DistilBertForMaskedLM", "DistilBertConfig", DISTIL, plain=True),
    "modernbert": Kind("ModernBertModel", "ModernBertConfig", {"local_attention": 8}),
    "electra": Kind("ElectraForPreTraining", "ElectraConfig", {"embedding_size": 16}),
    "albert": Kind("AlbertModel", "AlbertConfig", {"embedding_size": 16}),
    "deberta_v2": Kind("DebertaV2Model", "DebertaV2Config", RELATIVE),
    "nomic_bert": Kind("NomicBertModel", "NomicBertConfig", {}),
    "eurobert": Kind("EuroBertModel", "EuroBertConfig", {}),
    "gte": Kind("GteModel", "GteConfig", {}),
    "xlnet": Kind(
        "XLNetModel",
        "XLNetConfig",
        {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
        plain=True,
    ),
    # Its configuration takes the token that ends a text for padding.
    "flaubert": Kind(
        "FlaubertModel",
        "FlaubertConfig",
        {"emb_dim": 32, "n_layers": 2, "n_heads": 4},
        quick=True,
        plain=True,
    ),
    "gemma3_in_both_directions": Kind(
        "Gemma3TextModel",
        "Gemma3TextConfig",
        {**HEADS, "head_dim": 8, "sliding_window": 4, "use_bidirectional_attention": True},
    ),
    "llama_without_head": Kind("LlamaModel", "LlamaConfig", HEADS),
}


def pick(kinds):
    """Return the names as parameters; all but the quick ones are slow together."""
    slow = pytest.mark.slow
    return [pytest.param(name, marks=() if k.quick else slow) for name, k in kinds.items()]


def write(kind, folder, tokenizer):
    """Write a small model of a kind with random weights; return its folder."""
    if not hasattr(tf, kind.network):
        pytest.skip(f"this transformers knows no {kind.network}")
    known = sizes(tokenizer) if not kind.plain else {"vocab_size": len(tokenizer)}
    torch.manual_seed(0)
    config = getattr(tf, kind.config)(**{**known, **kind.settings})
    return save(folder, widen(getattr(tf, kind.network)(config), 3.0), tokenizer)


@pytest.mark.parametrize("name", pick(WRITERS))
def test_what_writes_has_the_probabilities_and_states_of_plain_libraries(name, tmp_path):
    peft = pytest.importorskip("peft")
    kind = WRITERS[name]
    folder = write(kind, tmp_path / "model", byte_pairs())
    loaded = load_language_model(folder)
    both = tokenize(loaded.tokenizer, PROMPTS, COMPLETIONS, max_length=100)
    rows = list(zip(both.prompts, both.completions, strict=True))
    plain = tf.AutoModelForCausalLM.from_pretrained(folder).eval()
    before = completion_logprobs(loaded, both)
    np.testing.assert_allclose(before, [logprob_alone(plain, *row) for row in rows], atol=1e-3)
    ids = loaded.tokenizer(TEXTS[:3])["input_ids"]
    expected = [last_state(plain, one) for one in ids]
    np.testing.assert_allclose(load_encoder(folder).encode(TEXTS[:3]), expected, atol=1e-5)

    tuned = add_lora(loaded, Lora(rank=2, dropout=0.0, targets=kind.targets), seed=0)
    with torch.no_grad():
        for key, parameter in tuned.model.named_parameters():
            if "lora_B" in key:
                parameter.normal_(0, 0.3)
    write_adapter(tuned, tmp_path / "adapter")
    adapted = peft.PeftModel.from_pretrained(plain, str(tmp_path / "adapter")).eval()
    again = load_language_model(folder, adapter=tmp_path / "adapter")
    after = completion_logprobs(again, both)
    np.testing.assert_allclose(after, [logprob_alone(adapted, *row) for row in rows], atol=1e-3)
    assert np.abs(after - before).max() > 0.01
    expected = [last_state(adapted, one) for one in ids]
    np.testing.assert_allclose(AdaptedEncoder(again, 100).encode(TEXTS[:3]), expected, atol=1e-5)


@pytest.mark.parametrize("name", pick(READERS))
def test_what_reads_gives_the_vectors_of_sentence_transformers(name, tmp_path):
    peer = pytest.importorskip("sentence_transformers")
    folder = write(READERS[name], tmp_path / "model", byte_pairs(ends=True))
    encoder = load_encoder(f"{folder}:mean")
    model = peer.SentenceTransformer(str(folder), device="cpu")
    model.max_seq_length = encoder.max_tokens
    expected = model.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)


def test_models_that_count_positions_in_their_own_way_get_rows_of_their_own(tmp_path):
    """Side by side, the second completion would stand at other positions than alone."""
    shared = {"llama": True, "gpt2": True, "opt": True}
    shared |= {"gpt_neo": False, "falcon_alibi": False, "roberta_decoder": False, "bloom": False}
    for name, expected in shared.items():
        model = load_language_model(write(WRITERS[name], tmp_path / name, byte_pairs())).model
        assert shares_prompts(model) == expected, name


@pytest.mark.parametrize("name", ["roberta", "xlm_roberta", "mpnet"])
def test_positions_that_no_token_can_have_do_not_count(name, tmp_path):
    """A table of 130 rows that counts from the sign for padding, row 1, has room for 128."""
    folder = write(READERS[name], tmp_path / "model", byte_pairs(ends=True))
    encoder = load_encoder(folder)
    assert encoder.max_tokens == 128
    long = " ".join(WORDS * 8)
    assert encoder.too_long([long, "rain"]).tolist() == [True, False]
    assert np.isfinite(encoder.encode([long])).all()


def test_a_model_whose_positions_have_no_end_has_a_wide_window(tmp_path):
    bloom = load_language_model(write(WRITERS["bloom"], tmp_path / "bloom", byte_pairs()))
    assert bloom.window > 100_000
    path = tmp_path / "bloom" / "tokenizer_config.json"
    config = json.loads(path.read_text()) | {"model_max_length": 40}
    path.write_text(json.dumps(config))
    assert load_encoder(tmp_path / "bloom").max_tokens == 40
