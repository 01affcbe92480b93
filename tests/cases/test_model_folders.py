"""Folders of models: weights filled at random, modules ignored, positions, what is written back.

Right is what plain transformers, peft and sentence-transformers compute from the same folder, or an
error before anything is trained or scored.
"""

import json

import numpy as np
import pyarrow as pa
import pytest

from causalign import Logs, Roles
from causalign.errors import ArtifactError, CausalignError, SettingsError
from causalign.lm import load_encoder
from causalign.lm.completions import tokenize
from causalign.lm.language_model import Lora, load_language_model
from causalign.lm.logprob import completion_logprobs
from causalign.lm.training import Training
from tests.lm.tiny import WORDS, bert, byte_pairs, last_state, llama, logprob_alone, save

torch = pytest.importorskip("torch")
tf = pytest.importorskip("transformers")

SHORT = Training(steps=4, batch_size=4, learning_rate=1e-2)


def rows():
    table = {
        "prompt": ["mug", "sale"] * 8,
        "text": ["free sale", "rain"] * 8,
        "y": np.arange(16.0),
    }
    return Logs.of(pa.table(table), Roles("text", "y", prompt="prompt"))


def reward(completions, _prompts=None):
    return np.array([float(len(text)) for text in completions])


def sft(folder, out, **more):
    from causalign.policy import SFT

    return SFT(model=str(folder), lora=None, training=SHORT, **more).fit(rows(), out)


def ppo(folder, out):
    from causalign.policy import PPO

    small = {"rollout_size": 8, "evaluation_texts": 4, "max_new_tokens": 4}
    method = PPO(model=str(folder), lora=None, training=SHORT, **small)
    return method.fit(["mug", "sale"], out, reward=reward)


def grpo(folder, out):
    pytest.importorskip("trl")
    from causalign.policy import GRPO

    small = {"num_generations": 4, "evaluation_texts": 4, "max_new_tokens": 4}
    method = GRPO(model=str(folder), lora=None, training=SHORT, **small)
    return method.fit(["mug", "sale"], out, reward=reward)


def test_a_folder_without_the_head_of_a_language_model_is_refused(tmp_path):
    """The head would be drawn at random, anew at each loading."""
    tokenizer = byte_pairs()
    whole = llama(tokenizer)
    judge = tf.LlamaForSequenceClassification(whole.config)
    for name, model in {"reward model": judge, "body": whole.model}.items():
        folder = save(tmp_path / name, model, tokenizer)
        with pytest.raises(ArtifactError, match=r"lm_head\.weight .* random numbers"):
            load_language_model(folder)


def test_an_encoder_with_a_half_of_its_layers_is_refused(tmp_path):
    tokenizer = byte_pairs()
    folder = save(tmp_path / "half", bert(tokenizer), tokenizer)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 4}))
    with pytest.raises(ArtifactError, match=r"encoder\.layer\.2.* and 31 more weights"):
        load_encoder(folder)


def test_weights_saved_from_a_wrapped_network_are_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    tokenizer = byte_pairs()
    folder = save(tmp_path / "wrapped", llama(tokenizer), tokenizer)
    path = folder / "model.safetensors"
    renamed = {f"module.{name}": value for name, value in load_file(path).items()}
    save_file(renamed, path, metadata={"format": "pt"})
    for load in (load_language_model, load_encoder):
        with pytest.raises(ArtifactError, match="random numbers"):
            load(folder)


def test_a_masked_model_is_no_policy(tmp_path):
    tokenizer = byte_pairs()
    config = bert(tokenizer).config
    folder = save(tmp_path / "masked", tf.BertForMaskedLM(config), tokenizer)
    with pytest.raises(SettingsError, match="both directions"):
        sft(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("method", [sft, ppo, grpo])
def test_a_model_with_a_value_that_is_not_finite_is_refused_before_training(tmp_path, method):
    tokenizer = byte_pairs()
    model = llama(tokenizer)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    folder = save(tmp_path / "nan", model, tokenizer)
    with pytest.raises(CausalignError, match=r"not finite in model\.layers\.0\.mlp\.up_proj"):
        method(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


WHOLE = [
    pytest.param(sft, True, id="sft-tied"),
    pytest.param(ppo, False, id="ppo-untied"),
    pytest.param(grpo, True, id="grpo-tied"),
    pytest.param(sft, False, id="sft-untied", marks=pytest.mark.slow),
    pytest.param(ppo, True, id="ppo-tied", marks=pytest.mark.slow),
    pytest.param(grpo, False, id="grpo-untied", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("method", "tie"), WHOLE)
def test_whole_weights_are_written_as_they_were_tuned(tmp_path, method, tie):
    """Float16 shards are read; plain transformers gives the numbers of the fit; the rest stays."""
    tokenizer = byte_pairs()
    model = llama(tokenizer, tie=tie)
    folder = save(tmp_path / "base", model, tokenizer)
    for path in folder.glob("*.safetensors"):
        path.unlink()
    model.half().save_pretrained(folder, max_shard_size="30KB")
    author = {"temperature": 0.6, "do_sample": True, "eos_token_id": [2, 3], "max_new_tokens": 9}
    (folder / "generation_config.json").write_text(json.dumps(author))
    written = method(folder, tmp_path / "out").model_folder

    both = tokenize(tokenizer, ["mug"], ["free sale"], max_length=50)
    pair = both.prompts[0], both.completions[0]
    plain = tf.AutoModelForCausalLM.from_pretrained(written, dtype=torch.float32).eval()
    ours = completion_logprobs(load_language_model(written), both)[0]
    before = completion_logprobs(load_language_model(folder), both)[0]
    assert ours == pytest.approx(logprob_alone(plain, *pair), abs=1e-4)
    assert abs(ours - before) > 1e-5 or method is ppo  # which keeps its start if that was best
    again = tf.AutoTokenizer.from_pretrained(written)
    assert again("mug sale")["input_ids"] == tokenizer("mug sale")["input_ids"]
    assert json.loads((written / "generation_config.json").read_text()) == author


KINDS_OF_END = {
    "pad is eos": {"pad": "</s>"},
    "no pad": {"pad": None},
    "eos appended": {"pad": "</s>", "ends": True},
}


@pytest.mark.parametrize("kind", KINDS_OF_END)
def test_a_reward_reads_the_last_token_whatever_stands_for_padding(tmp_path, kind):
    """``r = head(h_T / |h_T|)`` of each text alone, as plain peft gives the state."""
    peft = pytest.importorskip("peft")
    from causalign.reward import LanguageModelReward, RewardModel

    tokenizer = byte_pairs(**KINDS_OF_END[kind])
    folder = save(tmp_path / "base", llama(tokenizer), tokenizer)
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(1, 15))) for _ in range(32)]
    outcome = [text.count("free") + text.count("mug") for text in texts]
    method = LanguageModelReward(
        model=str(folder),
        lora=Lora(rank=4, dropout=0.0),
        training=Training(steps=4, batch_size=16, learning_rate=3e-3, save_every=2),
    )
    method.fit_texts(texts, outcome, tmp_path / "out")
    model = RewardModel.load(tmp_path / "out" / "model")
    scores = model(texts[:6])
    np.testing.assert_allclose(scores, np.concatenate([model([t]) for t in texts[:6]]), atol=1e-5)
    adapter = next((tmp_path / "out" / "model").rglob("adapter_config.json")).parent
    base = tf.AutoModelForCausalLM.from_pretrained(folder)
    plain = peft.PeftModel.from_pretrained(base, str(adapter)).eval()
    states = np.stack([last_state(plain, tokenizer(text)["input_ids"]) for text in texts[:6]])
    np.testing.assert_allclose(scores, model.head(states.astype(np.float32)), atol=1e-4)


def test_a_reward_needs_the_states_that_it_is_trained_on(tmp_path):
    """The head of a masked model changes them before its last layer, whose input is trained on."""
    from causalign.reward import LanguageModelReward

    tokenizer = byte_pairs()
    config = bert(tokenizer, is_decoder=True).config
    folder = save(tmp_path / "decoder", tf.BertLMHeadModel(config), tokenizer)
    method = LanguageModelReward(model=str(folder), training=SHORT)
    texts = [f"{word} mug" for word in WORDS[:20]]
    with pytest.raises(SettingsError, match="before its last layer"):
        method.fit_texts(texts, np.arange(20.0), tmp_path / "out")


def test_a_reward_sees_that_the_folder_of_its_encoder_was_edited(tmp_path):
    """Its scores would be those of other vectors."""
    from causalign.reward import RewardModel, Ridge

    tokenizer = byte_pairs(ends=True)
    folder = save(tmp_path / "encoder", bert(tokenizer), tokenizer)
    texts = [f"{word} mug" for word in WORDS[:20]]
    logs = Logs.of(pa.table({"text": texts, "y": np.arange(20.0)}), Roles("text", "y"))
    Ridge().fit(logs, encoder=str(folder)).model.save(tmp_path / "reward")
    scores = RewardModel.load(tmp_path / "reward")(texts)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": 3}))
    Ridge().fit(logs, encoder=str(folder)).model.save(tmp_path / "other")
    assert np.abs(RewardModel.load(tmp_path / "other")(texts) - scores).max() > 1e-6
    with pytest.raises(SettingsError, match="whose vectors differ"):
        RewardModel.load(tmp_path / "reward")(texts)
