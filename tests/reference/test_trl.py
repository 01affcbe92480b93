"""The losses of SFT and DPO are those of TRL on the same batch, in value and gradient."""

import numpy as np
import pytest
import torch

from causalign.lm.completions import tokenize
from causalign.lm.language_model import load_language_model
from causalign.lm.layout import lay_out
from causalign.lm.logprob import completion_logprobs, sequence_logprobs
from causalign.policy import DirectPreference, Supervised

trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")

TOLERANCE = 1e-5
PROMPTS = ["Say good morning to all of you:", "Hi", "What a day, dear readers, was it?", "Hi"]
CHOSEN = [" good morning", " you", " a fine day it was", " hello to all"]
REJECTED = [" no", " a long and boring answer", " bad", " what"]


@pytest.fixture
def tiny(tiny_lm_folder):
    return load_language_model(tiny_lm_folder, device="cpu")


def arguments(config, folder, **more):
    return config(
        output_dir=str(folder),
        per_device_train_batch_size=4,
        report_to="none",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        remove_unused_columns=False,
        **more,
    )


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def assert_equal(ours, theirs, model):
    assert abs(ours.item() - theirs.item()) < TOLERANCE
    for one, other in zip(gradients(model, ours), gradients(model, theirs), strict=True):
        assert torch.allclose(one, other, atol=TOLERANCE)


def batch_of(trainer):
    (batch,) = list(trainer.get_train_dataloader())
    return batch


def test_supervised_loss_equals_trl(tiny, tmp_path):
    rows = [{"prompt": p, "completion": c} for p, c in zip(PROMPTS, CHOSEN, strict=True)]
    trainer = trl.SFTTrainer(
        model=tiny.model,
        args=arguments(trl.SFTConfig, tmp_path, max_length=64),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tiny.tokenizer,
    )
    tiny.model.eval()
    theirs = trainer.compute_loss(tiny.model, batch_of(trainer))
    texts = tokenize(tiny.tokenizer, PROMPTS, CHOSEN, max_length=64)
    laid = lay_out(texts, share_prompts=False)
    logprob = sequence_logprobs(tiny.model, laid)
    ours, _ = Supervised()(logprob, laid | {"weight": torch.ones(4)})
    assert_equal(ours, theirs, tiny.model)


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_preference_loss_equals_trl(tiny, tmp_path, beta, tiny_lm_folder):
    reference = load_language_model(tiny_lm_folder, device="cpu")
    with torch.no_grad():
        for parameter in tiny.model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    rows = [
        {"prompt": p, "chosen": c, "rejected": r}
        for p, c, r in zip(PROMPTS, CHOSEN, REJECTED, strict=True)
    ]
    trainer = trl.DPOTrainer(
        model=tiny.model,
        ref_model=reference.model,
        args=arguments(trl.DPOConfig, tmp_path, max_length=64, beta=beta),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tiny.tokenizer,
    )
    tiny.model.eval()
    theirs = trainer.compute_loss(tiny.model, batch_of(trainer))
    both = [text for pair in zip(CHOSEN, REJECTED, strict=True) for text in pair]
    texts = tokenize(tiny.tokenizer, [p for p in PROMPTS for _ in (0, 1)], both, max_length=64)
    before = completion_logprobs(reference, texts)
    for share in (False, True):
        laid = lay_out(texts, share_prompts=share)
        columns = {
            "reference_logprob": torch.from_numpy(before),
            "weight": torch.ones(4),
            "margin": torch.zeros(4),
        }
        logprob = sequence_logprobs(tiny.model, laid)
        ours, _ = DirectPreference(beta)(logprob, laid | columns)
        theirs = trainer.compute_loss(tiny.model, batch_of(trainer))
        assert_equal(ours, theirs, tiny.model)
    assert np.abs(before - completion_logprobs(tiny, texts)).max() > 0.1  # the loss is not log 2
