"""GRPO and RLOO through TRL: the reward rises, and what TRL is told is what was asked for."""

import builtins

import numpy as np
import pytest
import torch

from causalign.errors import ExtraNotInstalled, InputError, SettingsError
from causalign.lm import trainer as ours
from causalign.lm.language_model import Lora, load_language_model
from causalign.policy import GRPO, RLOO, PolicyFit, Training
from causalign.policy.grpo import _trl_settings
from causalign.policy.rollout import read_asked
from causalign.policy.trl_training import TrlRun
from tests.lm.tiny_tokenizers import byte_level, gpt2, llama, logprob_alone, save

pytest.importorskip("trl")


def es(completions, prompts):
    return np.array([float(text.count("e")) for text in completions])


def method(folder, kind=GRPO, **changes):
    settings = {
        "model": str(folder),
        "lora": None,
        "training": Training(steps=24, batch_size=16, learning_rate=3e-2, save_every=10),
        "num_generations": 8,
        "max_new_tokens": 6,
        "evaluation_texts": 64,
    }
    return kind(**settings | changes)


@pytest.mark.parametrize("kind", [GRPO, RLOO])
def test_the_reward_rises(tiny_lm_folder, tmp_path, kind):
    prompts = ["Say three words: ", "Write: ", "Say: "]
    state = torch.random.get_rng_state()
    fit = method(tiny_lm_folder, kind, kl_coef=0.01).fit(prompts, tmp_path / "run", reward=es)
    assert torch.equal(torch.random.get_rng_state(), state)
    before, after = fit.numbers["reward_before"], fit.numbers["reward_after"]
    error = np.hypot(fit.numbers["reward_before_error"], fit.numbers["reward_after_error"])
    assert after > before + 4 * error
    curve = fit.curve["reward"].to_numpy()
    assert curve[-5:].mean() > curve[:5].mean() + 0.5
    assert {f.code for f in fit.findings} == {
        *("PO105", "PO108", "PO109", "PO110", "PO113", "PO131", "PO132", "PO134")
    }
    assert fit.numbers["kl_after"] > 0
    assert PolicyFit.load(tmp_path / "run").summary() == fit.summary()


def run_of(folder, reward, prompts, **changes):
    """What is handed to TRL for these prompts."""
    asked, model = method(folder, **changes), load_language_model(folder)
    ids = read_asked(asked, model, prompts).prompts
    settings = {"num_generations": asked.num_generations}
    return TrlRun(
        "GRPO", settings, model, asked.training, prompts, ids, reward, asked.chat, 1, False
    )


def test_the_reward_reads_what_was_asked_and_what_was_written(tiny_lm_folder):
    seen = {}

    def reward(completions, prompts):
        seen.update(prompts=prompts, completions=completions)
        return np.arange(len(completions))

    run = run_of(tiny_lm_folder, reward, ["a", "b"])
    tokenizer, end = run.model.tokenizer, run.model.tokenizer.eos_token_id
    ids = [[*tokenizer("x y")["input_ids"], end], tokenizer("é")["input_ids"][:1]]
    told = {"completions": ["as TRL", "reads them"], "completion_ids": ids, "trainer_state": None}
    assert run.score(prompts=["a", "b"], **told) == [0.0, 1.0]
    assert seen == {"prompts": ["a", "b"], "completions": ["x y", ""]}  # half a letter is none
    run_of(tiny_lm_folder, reward, None).score(prompts=["", ""], **told)
    assert seen["prompts"] is None
    for broken in ([np.nan] * 2, [None, 1.0], [1.0], None, ["good", "bad"], [[1.0], [2.0]]):
        with pytest.raises(InputError, match="finite numbers"):
            run_of(tiny_lm_folder, lambda c, p, it=broken: it, ["a"]).score(["a", "b"], **told)


def test_trl_asks_for_at_least_one_batch(tiny_lm_folder):
    assert run_of(tiny_lm_folder, es, None).rows() == [{"prompt": ""}] * 2  # a batch: two groups
    assert run_of(tiny_lm_folder, es, ["a", "b", "c"]).rows()[2] == {"prompt": "c"}


@pytest.mark.parametrize("build", [gpt2, llama])
def test_texts_behind_padded_prompts_have_the_probability_of_their_own(
    build, tmp_path, monkeypatch
):
    """TRL pads prompts on the left and gives no positions: GPT-2 would read the text shifted."""
    trl = pytest.importorskip("trl")
    tokenizer = byte_level(add_bos=True)
    folder = save(tmp_path / "model", build(tokenizer), tokenizer)
    true, scored = trl.GRPOTrainer._get_per_token_logps_and_entropies, []

    def spy(self, model, ids, mask, keep, *arguments, **named):
        logprobs, *more = true(self, model, ids, mask, keep, *arguments, **named)
        scored.append((ids.clone(), mask.clone(), keep, logprobs.detach().clone()))
        return logprobs, *more

    monkeypatch.setattr(trl.GRPOTrainer, "_get_per_token_logps_and_entropies", spy)
    short = Training(steps=1, batch_size=8)
    prompts = ["mug", "the free red mug of today only"]
    asked = method(folder, training=short, num_generations=4, evaluation_texts=0)
    asked.fit(prompts, tmp_path / "run", reward=es)
    plain = build(tokenizer)
    ids, mask, keep, logprobs = scored[0]
    assert (mask[:, 0] == 0).any()  # some prompts are padded
    for row in range(len(ids)):
        written = ids[row, -keep:][mask[row, -keep:] == 1].tolist()
        prompt = ids[row, :-keep][mask[row, :-keep] == 1].tolist()
        alone = logprob_alone(plain, prompt, written)
        assert abs(float(logprobs[row, : len(written)].sum()) - alone) < 1e-3


def test_settings_arrive_at_trl(tiny_lm_folder, tmp_path):
    trl = pytest.importorskip("trl")
    asked = method(
        tiny_lm_folder,
        kl_coef=0.3,
        clip_range=0.1,
        num_iterations=2,
        vllm="http://localhost:8000",
        training=Training(batch_size=16, micro_batch_size=4, seed=7, report_to=("tensorboard",)),
    )
    model = load_language_model(tiny_lm_folder)
    for config in (trl.GRPOConfig, trl.RLOOConfig):
        shared = ours.training_arguments(model, asked.training, 5, tmp_path)
        found = config(**shared | _trl_settings(asked))
        assert (found.beta, found.epsilon, found.num_iterations) == (0.3, 0.1, 2)
        assert (found.num_generations, found.max_completion_length) == (8, 6)
        assert (found.per_device_train_batch_size, found.gradient_accumulation_steps) == (4, 4)
        assert (found.use_vllm, found.vllm_mode) == (True, "server")
        assert found.vllm_server_base_url == "http://localhost:8000"
        assert (found.seed, found.report_to, found.max_steps) == (7, ["tensorboard"], 5)
        assert (found.temperature, found.top_k, found.top_p) == (1.0, 0, 1.0)


@pytest.mark.slow
def test_a_run_that_died_goes_on_from_its_checkpoint(tiny_lm_folder, tmp_path, killed):
    short = Training(steps=6, batch_size=8, learning_rate=1e-2, save_every=2)
    asked = method(
        tiny_lm_folder,
        training=short,
        num_generations=4,
        evaluation_texts=8,
        lora=Lora(),
        kl_coef=0.1,
    )
    whole = asked.fit(["Say "], tmp_path / "whole", reward=es)
    calls = []

    def dying(completions, prompts):
        calls.append(1)
        if len(calls) == 5:
            raise killed
        return es(completions, prompts)

    with pytest.raises(killed):
        asked.fit(["Say "], tmp_path / "died", reward=dying)
    calls.extend([1] * 10)
    resumed = asked.fit(["Say "], tmp_path / "died", reward=dying)
    assert resumed.curve["step"].to_pylist() == [1, 2, 3, 4, 5, 6]
    # The empty text, four steps after the checkpoint, then before and after.
    assert len(calls) == 15 + 1 + 4 + 2
    assert np.allclose(resumed.curve["loss"].to_numpy(), whole.curve["loss"].to_numpy(), atol=1e-6)
    assert np.allclose(resumed.curve["reward"].to_numpy(), whole.curve["reward"].to_numpy())
    # TRL keeps a copy of the adapter as its reference; it is no part of the result.
    assert not any(path.is_dir() for path in resumed.model_folder.iterdir())
    assert list(resumed.language_model().model.peft_config) == ["default"]


def test_without_trl_the_extra_is_named(tiny_lm_folder, tmp_path, monkeypatch):
    true = builtins.__import__

    def without(name, *arguments, **more):
        if name == "trl":
            raise ModuleNotFoundError("No module named 'trl'", name="trl")
        return true(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for kind in (GRPO, RLOO):
        with pytest.raises(ExtraNotInstalled, match=r"needs trl.*causalign\[lm,rl\]"):
            method(tiny_lm_folder, kind).fit(["Say "], tmp_path, reward=es)


def test_settings_that_cannot_be_are_refused(tiny_lm_folder):
    for changes in (
        {"num_generations": 1},
        {"num_generations": 3},
        {"num_iterations": 0},
        {"clip_range": 0},
        {"kl_coef": -1},
    ):
        for kind in (GRPO, RLOO):
            with pytest.raises(SettingsError):
                method(tiny_lm_folder, kind, **changes)
