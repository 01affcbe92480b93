"""The losses of SFT, DPO and KTO are those of TRL on the same batch, in value and gradient."""

import numpy as np
import pytest
import torch

from causalign.lm.completions import tokenize
from causalign.lm.language_model import load_language_model
from causalign.lm.layout import lay_out
from causalign.lm.logprob import completion_logprobs, sequence_logprobs
from causalign.policy import DirectPreference, KahnemanTversky, Supervised
from causalign.policy.kto import ExchangedTexts

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


def move(model):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))


def trainer_of_pairs(tiny, reference, folder, chosen, rejected, **settings):
    rows = [
        {"prompt": p, "chosen": c, "rejected": r}
        for p, c, r in zip(PROMPTS, chosen, rejected, strict=True)
    ]
    trainer = trl.DPOTrainer(
        model=tiny.model,
        ref_model=reference.model,
        args=arguments(trl.DPOConfig, folder, max_length=64, **settings),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tiny.tokenizer,
    )
    tiny.model.eval()
    return trainer


def laid_pairs(tiny, reference, *, share):
    """Return the pairs as the objective reads them, and their log-probabilities before."""
    both = [text for pair in zip(CHOSEN, REJECTED, strict=True) for text in pair]
    texts = tokenize(tiny.tokenizer, [p for p in PROMPTS for _ in (0, 1)], both, max_length=64)
    before = completion_logprobs(reference, texts)
    assert np.abs(before - completion_logprobs(tiny, texts)).max() > 0.1  # else all is log 2
    return lay_out(texts, share_prompts=share) | {
        "reference_logprob": torch.from_numpy(before),
        "weight": torch.ones(4),
        "margin": torch.zeros(4),
    }


SETTINGS = [
    {"beta": 0.1},
    {"beta": 1.0},
    {"beta": 0.1, "loss": "ipo"},
    {"beta": 2.0, "loss": "ipo"},
    {"beta": 0.5, "loss": "robust", "label_smoothing": 0.2},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))
def test_preference_loss_equals_trl(tiny, tmp_path, settings, tiny_lm_folder):
    reference = load_language_model(tiny_lm_folder, device="cpu")
    move(tiny.model)
    theirs = {"loss_type" if name == "loss" else name: value for name, value in settings.items()}
    trainer = trainer_of_pairs(tiny, reference, tmp_path, CHOSEN, REJECTED, **theirs)
    for share in (False, True):
        laid = laid_pairs(tiny, reference, share=share)
        ours, _ = DirectPreference(**settings)(sequence_logprobs(tiny.model, laid), laid)
        loss = trainer.compute_loss(tiny.model, batch_of(trainer))
        assert_equal(ours, loss, tiny.model)


def test_label_smoothing_mixes_the_loss_of_trl_with_that_of_the_turned_pairs(
    tiny, tmp_path, tiny_lm_folder
):
    """TRL knows smoothing for other losses only: its own one, on the pairs and turned round."""
    reference = load_language_model(tiny_lm_folder, device="cpu")
    move(tiny.model)
    losses = []
    for sides in ((CHOSEN, REJECTED), (REJECTED, CHOSEN)):
        trainer = trainer_of_pairs(tiny, reference, tmp_path, *sides, beta=0.5)
        losses.append(trainer.compute_loss(tiny.model, batch_of(trainer)))
    laid = laid_pairs(tiny, reference, share=False)
    objective = DirectPreference(beta=0.5, label_smoothing=0.2)
    ours, _ = objective(sequence_logprobs(tiny.model, laid), laid)
    assert abs(losses[0].item() - losses[1].item()) > 0.01
    assert_equal(ours, 0.8 * losses[0] + 0.2 * losses[1], tiny.model)


@pytest.mark.parametrize("moved", ["reference", "policy"])
def test_unpaired_loss_equals_trl(tiny, tmp_path, tiny_lm_folder, moved):
    """Desirable and undesirable texts, and the divergence on completions that were exchanged."""
    reference = load_language_model(tiny_lm_folder, device="cpu")
    move(tiny.model if moved == "policy" else reference.model)
    answers, good = [*CHOSEN[:2], *REJECTED[2:]], [True, True, False, False]
    rows = [
        {"prompt": p, "completion": c, "label": label}
        for p, c, label in zip(PROMPTS, answers, good, strict=True)
    ]
    weights = {"desirable_weight": 1.5, "undesirable_weight": 0.5}
    trainer = trl.KTOTrainer(
        model=tiny.model,
        ref_model=reference.model,
        args=arguments(trl.KTOConfig, tmp_path, max_length=64, beta=0.5, **weights),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tiny.tokenizer,
    )
    tiny.model.eval()
    theirs = trainer.compute_loss(tiny.model, batch_of(trainer))
    texts = tokenize(tiny.tokenizer, PROMPTS, answers, max_length=64)
    exchanged = tokenize(tiny.tokenizer, PROMPTS, [answers[-1], *answers[:-1]], max_length=64)
    before = completion_logprobs(reference, exchanged)
    measured = ExchangedTexts(exchanged, before, np.ones(4)).measure(tiny, np.arange(4))
    laid = lay_out(texts, share_prompts=False) | {
        "reference_logprob": torch.from_numpy(completion_logprobs(reference, texts)),
        "weight": torch.ones(4),
        "desirable": torch.tensor(good),
        "divergence": torch.tensor([measured["divergence"]]),
    }
    ours, _ = KahnemanTversky(0.5, **weights)(sequence_logprobs(tiny.model, laid), laid)
    assert_equal(ours, theirs, tiny.model)
    kl = trainer._metrics["eval"]["kl"][-1]
    assert measured["divergence"] == pytest.approx(kl, abs=TOLERANCE)
    assert (kl > 0.1) == (moved == "policy")  # where it is negative, zero stands for it
