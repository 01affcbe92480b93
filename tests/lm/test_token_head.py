"""Log-probabilities straight from hidden states equal those from all logits, with gradients."""

import pytest
import torch

from causalign.lm import logprob
from causalign.lm.completions import tokenize
from causalign.lm.language_model import Lora, add_lora, load_language_model
from causalign.lm.layout import lay_out
from causalign.lm.logprob import sequence_logprobs
from causalign.lm.token_head import ROWS_AT_ONCE, target_logprobs

ROWS = 2 * ROWS_AT_ONCE + 3  # three slices, the last one short


def drawn(bias, dtype, size=ROWS):
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(5, 11, bias=bias, dtype=dtype)
    hidden = torch.randn(size, 5, generator=generator).to(dtype).requires_grad_()
    return hidden, head, torch.randint(11, (size,), generator=generator)


def plainly(hidden, head, target, temperature):
    logits = head(hidden) / temperature
    return logits.log_softmax(dim=1).gather(1, target[:, None])[:, 0]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_value_and_gradients_are_those_of_all_logits(bias, temperature):
    hidden, head, target = drawn(bias, torch.float64)
    factor = torch.linspace(-2, 3, ROWS, dtype=torch.float64)
    found = []
    for compute in (target_logprobs, plainly):
        hidden.grad = None
        head.zero_grad()
        value = compute(hidden, head, target, temperature)
        (factor * value**2).sum().backward()
        found.append([value.detach(), hidden.grad, *(p.grad.clone() for p in head.parameters())])
    for ours, plain in zip(*found, strict=True):
        assert torch.allclose(ours, plain, atol=1e-10)


def test_finite_differences_agree():
    hidden, head, target = drawn(True, torch.float64, size=6)
    assert torch.autograd.gradcheck(lambda h: target_logprobs(h, head, target), (hidden,))


def test_what_does_not_learn_costs_nothing_and_gets_nothing():
    hidden, head, target = drawn(True, torch.float32)
    head.requires_grad_(False)
    target_logprobs(hidden, head, target).sum().backward()
    assert head.weight.grad is None
    assert hidden.grad is not None
    with torch.no_grad():
        assert not target_logprobs(hidden, head, target).requires_grad


def test_bfloat16_adds_up_in_float32():
    hidden, head, target = drawn(False, torch.bfloat16)
    found = target_logprobs(hidden, head, target)
    assert found.dtype == torch.float32
    assert torch.allclose(found, plainly(hidden, head, target, 1.0).float(), atol=0.05)


def test_autocast_computes_as_the_layer_would():
    hidden, head, target = drawn(False, torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = target_logprobs(hidden, head, target)
        logits = head(hidden)
    assert torch.allclose(found, logits.float().log_softmax(1)[torch.arange(ROWS), target])
    found.sum().backward()
    assert hidden.grad.dtype == head.weight.grad.dtype == torch.float32


@pytest.fixture
def batch(tiny_lm_folder):
    tiny = load_language_model(tiny_lm_folder)
    texts = tokenize(tiny.tokenizer, ["Hi"] * 3, ["good morning", "you", "a day"], max_length=64)
    return tiny, lay_out(texts, share_prompts=False)


def both_ways(model, batch, monkeypatch):
    """Return log-probabilities, those from all logits, and whether the first came from them."""
    shapes = []
    with model.get_output_embeddings().register_forward_hook(
        lambda _layer, _inputs, output: shapes.append(output.shape[-1])
    ):
        short = sequence_logprobs(model, batch)
    monkeypatch.setattr(logprob, "_from_hidden", lambda *_: None)
    return short, sequence_logprobs(model, batch), shapes[-1] != 1


def test_an_adapter_elsewhere_does_not_matter(batch, monkeypatch):
    tiny, texts = batch
    short, plain, all_logits = both_ways(add_lora(tiny, Lora(), seed=0).model, texts, monkeypatch)
    assert not all_logits
    assert torch.allclose(short, plain, atol=1e-5)


def test_a_model_that_bends_its_logits_computes_them_all(batch, monkeypatch):
    tiny, texts = batch

    def capped(_network, _inputs, output):
        output["logits"] = 5 * torch.tanh(output.logits / 5)
        return output

    tiny.model.register_forward_hook(capped)
    short, plain, all_logits = both_ways(tiny.model, texts, monkeypatch)
    assert all_logits
    assert torch.equal(short, plain)


def test_an_adapter_on_the_last_layer_computes_all_logits(batch, monkeypatch):
    tiny, texts = batch
    adapted = add_lora(tiny, Lora(targets=("lm_head",), dropout=0.0), seed=0)
    with torch.no_grad():
        for name, value in adapted.model.named_parameters():
            if "lora_B" in name:
                value.fill_(0.1)
    short, plain, all_logits = both_ways(adapted.model, texts, monkeypatch)
    assert all_logits
    assert torch.equal(short, plain)
    assert short.requires_grad
