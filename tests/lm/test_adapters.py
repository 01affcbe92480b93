"""An adapter goes, whole, on the model that it was trained for, or is refused in one line."""

import json
import shutil

import numpy as np
import pytest

from causalign.errors import ArtifactError, CausalignError, SettingsError
from causalign.lm.completions import tokenize
from causalign.lm.language_model import load_language_model
from causalign.lm.logprob import completion_logprobs
from tests.lm.tiny import byte_pairs, llama, logprob_alone, save

torch = pytest.importorskip("torch")
tf = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    tokenizer = byte_pairs()
    save(folder / "a", llama(tokenizer, seed=0), tokenizer)
    save(folder / "b", llama(tokenizer, seed=1), tokenizer)
    return folder


def write_adapter(base, folder, **settings):
    """Train nothing: put random numbers into an adapter of peft and save it."""
    given = {"task_type": "CAUSAL_LM", "r": 4, "target_modules": ["q_proj", "v_proj"], **settings}
    network = tf.AutoModelForCausalLM.from_pretrained(base)
    model = peft.get_peft_model(network, peft.LoraConfig(**given))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                parameter.add_(torch.randn_like(parameter) * 0.2)
    words = {"lm_head", "embed_tokens"} & set(given["target_modules"])
    model.save_pretrained(str(folder), save_embedding_layers=bool(words))
    return folder


def change(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"modules_to_save": ["lm_head"]},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"use_dora": True},
        {"rank_pattern": {"q_proj": 2}, "use_rslora": True},
    ],
)
def test_adapters_of_peft_give_the_numbers_of_peft(bases, tmp_path, settings):
    folder = write_adapter(bases / "a", tmp_path / "adapter", **settings)
    loaded = load_language_model(bases / "a", adapter=folder)
    rows = tokenize(loaded.tokenizer, ["mug"] * 2, ["free sale", "rain"], max_length=50)
    network = tf.AutoModelForCausalLM.from_pretrained(bases / "a")
    plain = peft.PeftModel.from_pretrained(network, str(folder)).eval()
    pairs = zip(rows.prompts, rows.completions, strict=True)
    expected = [logprob_alone(plain, *pair) for pair in pairs]
    np.testing.assert_allclose(completion_logprobs(loaded, rows), expected, atol=1e-4)


def rename(folder):
    edit(folder, lambda weights: {f"module.{name}": value for name, value in weights.items()})


def halve(folder):
    edit(folder, lambda weights: dict(list(weights.items())[:3]))


def spoil(folder):
    edit(folder, lambda weights: {name: value * float("nan") for name, value in weights.items()})


def edit(folder, work):
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    save_file(work(load_file(path)), path)


FAULTS = {
    "names that the model does not know": (rename, "have no place in it"),
    "a part of the weights": (halve, "are missing"),
    "values that are not finite": (spoil, "not finite"),
    "another rank": (lambda f: change(f / "adapter_config.json", r=8), "size mismatch"),
    "fewer layers": (
        lambda f: change(f / "adapter_config.json", target_modules=["q_proj"]),
        "have no place",
    ),
    "other layers": (
        lambda f: change(f / "adapter_config.json", target_modules=["query"]),
        "does not fit",
    ),
    "another base on the hub": (
        lambda f: change(f / "adapter_config.json", base_model_name_or_path="owner/other"),
        None,
    ),
    "a torn description": (lambda f: (f / "adapter_config.json").write_text("{"), "cannot be read"),
    "torn weights": (
        lambda f: (f / "adapter_model.safetensors").write_bytes(b"xx"),
        "does not fit",
    ),
    "no weights": (lambda f: (f / "adapter_model.safetensors").unlink(), "is missing"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_adapter_that_does_not_fit_is_refused(bases, tmp_path, fault):
    folder = write_adapter(bases / "a", tmp_path / "adapter")
    work, word = FAULTS[fault]
    work(folder)
    if word is None:  # the folder may hold that very model
        assert load_language_model(bases / "a", adapter=folder).has_adapter
        return
    with pytest.raises(ArtifactError, match=word) as raised:
        load_language_model(bases / "a", adapter=folder)
    assert len(str(raised.value).replace(str(tmp_path), "")) < 500
    assert "\n" not in str(raised.value)


def test_an_adapter_of_another_model_of_the_same_shape_is_refused(bases, tmp_path):
    folder = write_adapter(bases / "a", tmp_path / "adapter")
    with pytest.raises(ArtifactError, match="another base model than"):
        load_language_model(bases / "b", adapter=folder)
    twin = shutil.copytree(bases / "a", tmp_path / "twin")
    assert load_language_model(twin, adapter=folder).has_adapter


def test_an_adapter_of_another_public_model_is_refused(tmp_path, tiny_lm_folder, monkeypatch):
    from causalign.lm import language_model

    folder = write_adapter(tiny_lm_folder, tmp_path / "adapter")
    change(folder / "adapter_config.json", base_model_name_or_path="HuggingFaceTB/SmolLM2-135M")
    monkeypatch.setattr(language_model, "smollm2_folder", lambda: tiny_lm_folder)
    with pytest.raises(ArtifactError, match="another base model than 'smollm2'"):
        load_language_model("smollm2", adapter=folder)
    name = "HuggingFaceTB/SmolLM2-135M-Instruct"
    change(folder / "adapter_config.json", base_model_name_or_path=name)
    assert load_language_model("smollm2", adapter=folder).has_adapter


def test_adapters_and_models_are_not_taken_for_each_other(bases, tmp_path):
    folder = write_adapter(bases / "a", tmp_path / "adapter")
    with pytest.raises(ArtifactError, match="holds an adapter, not a model"):
        load_language_model(folder)
    with pytest.raises(ArtifactError, match="holds a whole model: name that as the model"):
        load_language_model(bases / "a", adapter=bases / "b")
    merged = peft.PeftModel.from_pretrained(
        tf.AutoModelForCausalLM.from_pretrained(bases / "a"), str(folder)
    ).merge_and_unload()
    save(tmp_path / "merged", merged, byte_pairs())
    assert not load_language_model(tmp_path / "merged").has_adapter
    shutil.copy(folder / "adapter_config.json", tmp_path / "merged")
    with pytest.raises(ArtifactError, match="holds an adapter"):  # which of the two?
        load_language_model(tmp_path / "merged")


def test_other_kinds_of_adapters_are_refused(bases, tmp_path):
    network = tf.AutoModelForCausalLM.from_pretrained(bases / "a")
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    peft.get_peft_model(network, config).save_pretrained(str(tmp_path / "prompt"))
    with pytest.raises(SettingsError, match="PROMPT_TUNING"):
        load_language_model(bases / "a", adapter=tmp_path / "prompt")
    judge = tf.AutoModelForSequenceClassification.from_pretrained(bases / "a")
    config = peft.LoraConfig(task_type="SEQ_CLS", target_modules=["q_proj"])
    peft.get_peft_model(judge, config).save_pretrained(str(tmp_path / "judge"))
    with pytest.raises(CausalignError, match="does not fit"):
        load_language_model(bases / "a", adapter=tmp_path / "judge")


def test_an_adapter_beside_another_tokenizer_is_refused(bases, tmp_path):
    folder = write_adapter(bases / "a", tmp_path / "adapter")
    byte_pairs().save_pretrained(folder)
    assert load_language_model(bases / "a", adapter=folder).has_adapter
    byte_pairs(extra=("<new>",)).save_pretrained(folder)
    with pytest.raises(ArtifactError, match="another tokenizer"):
        load_language_model(bases / "a", adapter=folder)


def test_the_revision_follows_the_settings_of_an_adapter(bases, tmp_path):
    folder = write_adapter(bases / "a", tmp_path / "adapter")
    before = load_language_model(bases / "a", adapter=folder).revision
    change(folder / "adapter_config.json", lora_alpha=99)
    assert load_language_model(bases / "a", adapter=folder).revision != before
