"""Log-probabilities: equal to a plain forward pass, in value and gradient, however laid out."""

import numpy as np
import pytest
import torch

from causalign.errors import ArtifactError, InputError, SettingsError
from causalign.lm.completions import Completions, tokenize, tokenize_prompts
from causalign.lm.generate import sample
from causalign.lm.language_model import (
    LanguageModel,
    Lora,
    add_lora,
    load_language_model,
    shares_prompts,
)
from causalign.lm.layout import lay_out, order_rows
from causalign.lm.logprob import completion_logprobs, sequence_logprobs
from causalign.lm.reference import reference_logprobs

MESSAGES = [{"role": "user", "content": "Write a mail."}]


@pytest.fixture
def tiny(tiny_lm_folder) -> LanguageModel:
    return load_language_model(tiny_lm_folder)


def plainly(model, completions: Completions, temperature: float = 1.0):
    """One text at a time, logits everywhere, then pick."""
    found = []
    for prompt, completion in zip(completions.prompts, completions.completions, strict=True):
        ids = torch.tensor([[*prompt, *completion]])
        logits = model(input_ids=ids).logits[0].float() / temperature
        logp = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        found.append(logp.gather(1, torch.tensor(completion)[:, None]).sum())
    return torch.stack(found)


def pairs(tiny, prompt="Happy Monday to all of you, dear readers, and a good week") -> Completions:
    texts = ["good morning", "a much longer answer than that", "hello you", "the week begins"]
    return tokenize(tiny.tokenizer, [prompt, prompt, "Hi.", "Hi."], texts, max_length=200)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_value_and_gradient_equal_those_of_plain_forward_passes(tiny, share, temperature):
    completions = pairs(tiny)
    batch = lay_out(completions, share_prompts=share)
    assert ("segment" in batch) == share
    weight = torch.tensor([1.0, -2.0, 0.5, 3.0])
    gradients = []
    for score in (
        sequence_logprobs(tiny.model, batch, temperature),
        plainly(tiny.model, completions, temperature),
    ):
        tiny.model.zero_grad()
        (score * weight).sum().backward()
        gradients.append([p.grad.clone() for p in tiny.model.parameters()])
        values = score.detach()
    assert torch.allclose(sequence_logprobs(tiny.model, batch, temperature), values, atol=1e-4)
    for ours, plain in zip(*gradients, strict=True):
        assert torch.allclose(ours, plain, atol=1e-4)


def test_logits_are_computed_only_where_a_completion_token_is_predicted(tiny):
    batch = lay_out(pairs(tiny), share_prompts=True)
    seen = []
    head = tiny.model.get_output_embeddings()
    with head.register_forward_hook(lambda _m, _i, out: seen.append(out.shape[:-1].numel())):
        sequence_logprobs(tiny.model, batch)
    assert seen == [int(batch["length"].sum())]


def test_a_shared_prompt_is_stored_once_only_when_that_is_smaller(tiny):
    long = lay_out(pairs(tiny), share_prompts=True)
    assert long["input_ids"].shape[0] == 2
    alone = lay_out(pairs(tiny, prompt="A"), share_prompts=True)
    assert (
        alone["input_ids"].numel()
        <= lay_out(pairs(tiny, prompt="A"), share_prompts=False)["input_ids"].numel()
    )


def test_batches_do_not_change_the_scores(tiny):
    completions = pairs(tiny)
    whole = completion_logprobs(tiny, completions)
    single = [completion_logprobs(tiny, completions.take([row]))[0] for row in range(4)]
    assert np.allclose(whole, single, atol=1e-4)


def test_bfloat16_agrees_roughly_and_takes_shared_prompts(tiny_lm_folder):
    exact, rough = (
        load_language_model(tiny_lm_folder, precision=p) for p in ("float32", "bfloat16")
    )
    completions = pairs(exact)
    assert np.allclose(
        completion_logprobs(exact, completions), completion_logprobs(rough, completions), rtol=0.01
    )


def test_grouped_query_attention_and_eager_attention_share_prompts(tiny):
    tiny.model.set_attn_implementation("eager")
    assert shares_prompts(tiny.model)
    completions = pairs(tiny)
    eager = sequence_logprobs(tiny.model, lay_out(completions, share_prompts=True))
    assert torch.allclose(eager, plainly(tiny.model, completions), atol=1e-4)


def test_sliding_windows_do_not_share_prompts(tiny):
    tiny.model.config.sliding_window = 16
    assert not shares_prompts(tiny.model)


def test_completions_end_and_a_long_pair_loses_prompt_first_then_its_end(tiny):
    end = tiny.tokenizer.eos_token_id
    short, long = tokenize(
        tiny.tokenizer, ["p " * 50, "p " * 50], ["yes", "word " * 60], max_length=32
    ).completions
    assert short[-1] == end
    assert len(long) == 16
    assert long[-1] != end
    found = tokenize(tiny.tokenizer, ["p " * 50] * 2, ["yes", "word " * 60], max_length=32)
    assert found.cut.tolist() == [False, True]
    assert found.sizes.tolist() == [32, 32]
    whole = tokenize_prompts(tiny.tokenizer, ["p " * 50])[0]
    assert found.prompts[0] == whole[-len(found.prompts[0]) :]


def test_conversations_go_through_the_chat_template(tiny):
    ids = tokenize_prompts(tiny.tokenizer, [MESSAGES])[0]
    assert tiny.tokenizer.decode(ids).endswith("<|im_start|>assistant\n")
    assert tokenize_prompts(tiny.tokenizer, ["Write a mail."], chat=True)[0] == ids
    assert tokenize_prompts(tiny.tokenizer, ["Write a mail."])[0] != ids
    assert tokenize_prompts(tiny.tokenizer, [None])[0] == (tiny.tokenizer.bos_token_id,)


def test_a_tokenizer_without_template_pad_or_end_says_so(tiny):
    tiny.tokenizer.chat_template = None
    with pytest.raises(SettingsError, match="no chat template"):
        tokenize_prompts(tiny.tokenizer, [MESSAGES])
    tiny.tokenizer.pad_token = None
    assert len(tokenize(tiny.tokenizer, ["a"], ["b"], max_length=16)) == 1
    tiny.tokenizer.eos_token = None
    with pytest.raises(SettingsError, match="no end-of-text token"):
        tokenize(tiny.tokenizer, ["a"], ["b"], max_length=16)


@pytest.mark.parametrize("text", ["", "  ", None])
def test_empty_completions_are_refused(tiny, text):
    with pytest.raises(InputError, match="row 1"):
        tokenize(tiny.tokenizer, None, ["fine", text], max_length=16)


def test_sampling_is_repeatable_and_leaves_the_random_state_alone(tiny):
    before = torch.random.get_rng_state()
    ask = ["Happy Monday", None, "Hi", MESSAGES]
    first, again, other = (
        sample(tiny, ask, max_new_tokens=8, seed=seed, batch_size=2) for seed in (1, 1, 2)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    assert first.completions.completions == again.completions.completions
    assert first.completions.completions != other.completions.completions
    assert np.array_equal(first.logprob, again.logprob)


def test_reference_scores_are_read_back_unless_damaged(tiny, tmp_path):
    completions = pairs(tiny)
    expected = completion_logprobs(tiny, completions)
    np.testing.assert_array_equal(reference_logprobs(tiny, completions, cache=tmp_path), expected)
    (path,) = (tmp_path / "logprobs").iterdir()
    np.save(path, expected + 1)
    np.testing.assert_array_equal(
        reference_logprobs(tiny, completions, cache=tmp_path), expected + 1
    )
    path.write_bytes(b"no array")
    np.testing.assert_array_equal(reference_logprobs(tiny, completions, cache=tmp_path), expected)
    reference_logprobs(tiny, completions.take([0, 1]), cache=tmp_path)
    assert len(list((tmp_path / "logprobs").iterdir())) == 2


def test_the_hash_tells_tokens_and_columns_apart(tiny):
    completions, column = pairs(tiny), np.arange(4.0)
    known = {
        completions.hash(),
        completions.take([1, 0, 2, 3]).hash(),
        completions.hash({"a": column}),
        completions.hash({"b": column}),
        completions.hash({"a": column.astype("f4")}),
        completions.hash({"a": column + 1}),
    }
    assert len(known) == 6
    assert completions.hash({"a": column, "b": column}) == completions.hash(
        {"b": column, "a": column}
    )


def test_samples_follow_the_distribution_whose_log_probability_is_reported(tiny):
    """Two tokens of a tiny vocabulary: frequencies match exp(logprob), temperature included."""
    likely = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    tiny.model.lm_head.weight.data[3:8] = likely
    drawn = sample(tiny, ["Hi"] * 4000, max_new_tokens=1, seed=0, temperature=2.0, batch_size=4000)
    counts: dict = {}
    probability: dict = {}
    for ids, logprob in zip(drawn.completions.completions, drawn.logprob, strict=True):
        counts[ids] = counts.get(ids, 0) + 1
        probability[ids] = np.exp(logprob)
    for ids, p in probability.items():
        if p > 0.02:
            assert abs(counts[ids] / 4000 - p) < 5 * np.sqrt(p * (1 - p) / 4000)
    assert max(probability.values()) > 0.1


def test_an_adapter_starts_as_the_base_and_remembers_it(tiny):
    completions = pairs(tiny)
    before = completion_logprobs(tiny, completions)
    adapted = add_lora(tiny, Lora(), seed=0)
    assert np.allclose(completion_logprobs(adapted, completions), before, atol=1e-6)
    for name, parameter in adapted.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_()
    assert not np.allclose(completion_logprobs(adapted, completions), before, atol=1e-2)
    with adapted.reference():
        assert np.allclose(completion_logprobs(adapted, completions), before, atol=1e-6)


def test_adapters_of_another_base_are_refused(tiny, tiny_lm_folder, tmp_path):
    adapted = add_lora(tiny, Lora(rank=2), seed=0)
    adapted.model.save_pretrained(tmp_path, save_embedding_layers=False)
    assert load_language_model(tiny_lm_folder, adapter=tmp_path).has_adapter
    (tmp_path / "causalign.json").write_text('{"base_revision": "other"}')
    with pytest.raises(ArtifactError, match="another base model"):
        load_language_model(tiny_lm_folder, adapter=tmp_path)
    with pytest.raises(ArtifactError, match="no adapter"):
        load_language_model(tiny_lm_folder, adapter=tmp_path / "nothing")


def test_unknown_models_layers_and_precisions_are_refused(tiny, tmp_path):
    with pytest.raises(SettingsError, match="smollm2"):
        load_language_model("smollm")
    with pytest.raises(SettingsError, match="precision"):
        load_language_model("smollm2", precision="int3")
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        load_language_model(tmp_path)
    with pytest.raises(SettingsError, match="Lora"):
        add_lora(tiny, Lora(targets=("nothing",)), seed=0)


def test_pickled_weights_are_refused(tiny, tiny_lm_folder, tmp_path):
    for path in tiny_lm_folder.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save(tiny.model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match="a format that can run code"):
        load_language_model(tmp_path)


def test_order_reads_every_row_once_in_batches_of_like_lengths():
    sizes = np.random.default_rng(0).integers(1, 200, 256)
    order = order_rows(sizes, batch_size=8, steps=64, seed=0)
    assert sorted(order[:256]) == list(range(256)) == sorted(order[256:])
    spread = np.ptp(sizes[order].reshape(-1, 8), axis=1).mean()
    assert spread < np.ptp(sizes) / 10
    assert np.array_equal(order, order_rows(sizes, batch_size=8, steps=64, seed=0))
    assert len(order_rows(sizes[:3], batch_size=8, steps=2, seed=0)) == 16
