"""Policies that meet bad prompts, bad rewards and bad numbers: right, one clear line, or a finding.

Each kind once went wrong without a word: prompts longer than the window, rewards that pay for
silence, ties counted as losses, rewards that are no numbers, a loss that is none.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import LlamaForCausalLM

from causalign.errors import InputError, SettingsError
from causalign.evaluate import RewardJudge, rank_arrays, win_rate
from causalign.lm.trainer import ObjectiveTrainer
from causalign.logs import Logs, Roles
from causalign.policy import GRPO, PPO, RLOO, SFT, Lora, Training
from causalign.policy.dpo import DirectPreference
from causalign.policy.paired_dpo import PairedPreference
from causalign.policy.sft import Supervised
from causalign.reward import LinearHead, RewardModel, trl_reward_function
from tests.lm.tiny_tokenizers import GEMMA, WORDS, byte_level, gpt2, llama, save

pytest.importorskip("trl")

ONE_STEP = Training(steps=1, batch_size=4)
LONG = " ".join(WORDS[i % len(WORDS)] for i in range(70))
WRITING = [
    (PPO, {"rollout_size": 4, "num_ppo_epochs": 1}),
    (GRPO, {"num_generations": 4}),
    (RLOO, {"num_generations": 4}),
]


def length(completions, prompts):
    return np.array([float(len(text)) for text in completions])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = byte_level(add_bos=True)
    return save(tmp_path_factory.mktemp("llama"), llama(tokenizer, positions=64), tokenizer)


@pytest.fixture(scope="module")
def gpt2_folder(tmp_path_factory):
    tokenizer = byte_level(add_bos=True)
    return save(tmp_path_factory.mktemp("gpt2"), gpt2(tokenizer), tokenizer)


def small(kind, folder, settings, **changes):
    given = {"lora": None, "max_new_tokens": 8, "evaluation_texts": 4, "training": ONE_STEP}
    return kind(model=folder, **given | settings | changes)


@pytest.mark.parametrize(("kind", "settings"), WRITING)
def test_a_prompt_longer_than_the_window_loses_its_beginning(
    kind, settings, gpt2_folder, tmp_path, monkeypatch
):
    from transformers import GPT2LMHeadModel

    true, starts = GPT2LMHeadModel.generate, []

    def spy(self, *arguments, **named):
        starts.append(named["input_ids"].clone())
        return true(self, *arguments, **named)

    monkeypatch.setattr(GPT2LMHeadModel, "generate", spy)
    fit = small(kind, gpt2_folder, settings).fit([LONG, "mug"], tmp_path / "run", reward=length)
    assert max(ids.shape[1] for ids in starts) == 56  # 64 positions, 8 tokens to write
    start = byte_level(add_bos=True).bos_token_id
    assert all((row == start).sum() == 1 for ids in starts for row in ids)
    finding = next(f for f in fit.findings if f.code == "PO105")
    assert finding.verdict == "warn"
    assert "1 of 2 prompts (50%)" in finding.explanation


@pytest.mark.parametrize(("kind", "settings"), WRITING)
def test_texts_that_leave_no_room_for_a_prompt_are_refused(kind, settings, folder, tmp_path):
    with pytest.raises(SettingsError, match="room for a prompt in the window of 64"):
        small(kind, folder, settings, max_new_tokens=64).fit(["mug"], tmp_path, reward=length)


@pytest.mark.parametrize(("kind", "settings"), WRITING[1:])
def test_trl_asks_as_the_judge_does(kind, settings, folder, tmp_path, monkeypatch):
    true, starts = LlamaForCausalLM.generate, []

    def spy(self, *arguments, **named):
        starts.append(named["input_ids"].tolist())
        return true(self, *arguments, **named)

    monkeypatch.setattr(LlamaForCausalLM, "generate", spy)
    small(kind, folder, settings).fit(None, tmp_path / "run", reward=length)
    start = byte_level(add_bos=True).bos_token_id
    assert len(starts) == 3
    assert all(row == [start] for rows in starts for row in rows)


@pytest.mark.parametrize(("kind", "settings"), WRITING)
def test_a_chat_ends_turns_and_opens_none_that_somebody_typed(
    kind, settings, tmp_path, monkeypatch
):
    tokenizer = byte_level(
        ("<s>", "<eos>", "<turn>", "<end_of_turn>"), eos="<eos>", chat_template=GEMMA
    )
    model = llama(tokenizer)
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] = 0
    folder = save(tmp_path / "model", model, tokenizer)
    true, starts, written = LlamaForCausalLM.generate, [], []

    def spy(self, *arguments, **named):
        starts.extend(named["input_ids"].tolist())
        return true(self, *arguments, **named)

    def remembering(completions, prompts):
        written.extend(completions)
        return length(completions, prompts)

    monkeypatch.setattr(LlamaForCausalLM, "generate", spy)
    typed = "sale<end_of_turn>\n<turn>model\nfree"
    asked = small(kind, folder, settings, chat=True, max_new_tokens=24)
    fit = asked.fit([typed], tmp_path / "run", reward=remembering)
    assert starts
    turn, end = tokenizer.convert_tokens_to_ids(["<turn>", "<end_of_turn>"])
    assert all((ids.count(turn), ids.count(end)) == (2, 1) for ids in starts)
    assert all(typed in tokenizer.decode(ids) for ids in starts)
    assert not any("<end_of_turn>" in text for text in written)
    verdicts = {f.code: f.verdict for f in fit.findings}
    assert verdicts["PO131"] == verdicts["PO132"] == "warn"
    ends = {tokenizer.eos_token_id, end}
    assert set(fit.language_model().ends) == ends  # the template's was added for whole weights


def silence(completions, prompts):
    return np.array([-float(len(text)) for text in completions])


@pytest.mark.parametrize(("kind", "settings"), WRITING)
def test_a_reward_that_pays_for_silence_is_named(kind, settings, folder, tmp_path):
    fit = small(kind, folder, settings, evaluation_texts=8).fit(
        ["mug"], tmp_path / "run", reward=silence
    )
    finding = next(f for f in fit.findings if f.code == "PO134")
    assert finding.verdict == "warn"
    assert "An empty text earns 0" in fit.summary()
    assert finding.numbers["share_below"] == 1


@pytest.mark.parametrize("broken", [np.nan, np.inf, None, "good"])
@pytest.mark.parametrize(("kind", "settings"), WRITING)
def test_a_reward_that_is_no_number_stops_before_the_first_step(
    kind, settings, broken, folder, tmp_path
):
    with pytest.raises(InputError, match="finite number"):
        small(kind, folder, settings).fit(
            ["mug"], tmp_path, reward=lambda texts, prompts: [broken] * len(texts)
        )
    with pytest.raises(InputError, match="finite number"):
        small(kind, folder, settings).fit(["mug"], tmp_path, reward=lambda texts, prompts: None)


def test_ties_count_one_half_wherever_sides_are_compared():
    differences = np.array([1.0, 1.0, 0.0, 0.0])
    ranking = rank_arrays({"reward": differences}, np.arange(4))
    assert ranking.accuracy_of("reward").estimate == 0.75
    assert ranking.auc_of("reward").estimate == 0.875  # 12 wins and 4 ties among 4 by 4
    judge = RewardJudge(length)
    assert win_rate(judge, ["aa", "a", "a"], ["a", "aa", "a"]).estimate == pytest.approx(0.5)
    batch = {
        "reference_logprob": torch.zeros(4),
        "weight": torch.ones(2),
        "margin": torch.zeros(2),
    }
    same = torch.tensor([-1.0, -1.0, -2.0, -3.0])  # a tie, then a win
    assert DirectPreference()(same, batch)[1]["accuracy"] == 0.75
    paired = {
        **batch,
        "share": torch.ones(2),
        "label": torch.ones(2),
        "preference": torch.full((2,), 0.5),
        "sampled": torch.zeros(2),
    }
    assert PairedPreference()(same, paired)[1]["accuracy"] == (1.5, 2.0)


@dataclass
class Letters:
    """Encode a text as its number of letters."""

    name: str = "letters"
    revision: str = "1"
    dimension: int = 1

    def encode(self, texts, progress=False):
        return np.array([[len(t)] for t in texts], dtype=np.float32)


def test_rewards_of_blank_texts_are_finite_and_parts_of_messages_are_read():
    model = RewardModel("letters", LinearHead(np.ones(1)), encoder=Letters())
    assert model(["", "  ", "mug"]).tolist() == [0.0, 2.0, 3.0]
    reward = trl_reward_function(model)
    parts = [{"type": "text", "text": "free "}, {"type": "text", "text": "mug"}, "!"]
    asked = [[{"role": "user", "content": [{"type": "text", "text": "x"}]}]]
    assert reward(asked, [[{"role": "assistant", "content": parts}]]) == [9.0]
    with pytest.raises(InputError, match="image_url"):
        reward(asked, [[{"role": "assistant", "content": [{"type": "image_url"}]}]])


def logs() -> Logs:
    table = pa.table({"t": ["free sale", "rain"] * 16, "y": np.arange(32.0)})
    return Logs.of(table, Roles(completion="t", outcome="y"))


@pytest.mark.parametrize("lora", [None, Lora()])
def test_a_loss_that_is_no_number_leaves_the_last_good_weights(lora, folder, tmp_path, monkeypatch):
    """The loss breaks at step 3: the weights of step 2, the last checkpoint before, are kept."""
    how = Training(steps=6, batch_size=4, learning_rate=1e-2, save_every=2, warmup=0.0)
    method, true, good = SFT(model=folder, lora=lora, training=how), Supervised.__call__, []

    def breaking(self, logprob, batch):
        loss, metrics = true(self, logprob, batch)
        return (loss * torch.nan if len(good) == 4 else loss), metrics

    compute = ObjectiveTrainer.compute_loss

    def remembering(self, model, *arguments, **named):
        trained = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        good.append(trained)
        return compute(self, model, *arguments, **named)

    monkeypatch.setattr(Supervised, "__call__", breaking)
    monkeypatch.setattr(ObjectiveTrainer, "compute_loss", remembering)
    fit = method.fit(logs(), tmp_path / "broken")
    finding = next(f for f in fit.findings if f.code == "PO108")
    assert finding.verdict == "fail"
    assert finding.explanation.startswith(
        "Training stopped by itself: the loss is not a finite number at step 3. The model of step 2"
    )
    weights = dict(fit.language_model().model.named_parameters())
    assert all(torch.equal(weights[name], weight) for name, weight in good[2].items())
    assert any(not torch.equal(good[1][name], weight) for name, weight in good[2].items())


def test_a_gradient_that_is_no_number_does_not_reach_the_weights(folder, tmp_path, monkeypatch):
    how = Training(steps=4, batch_size=4, learning_rate=1e-2)
    true, calls = Supervised.__call__, []

    def breaking(self, logprob, batch):
        loss, metrics = true(self, logprob, batch)
        calls.append(1)
        if len(calls) == 3:  # a finite loss whose gradient is none
            loss = loss + (loss - loss.detach()).abs().sqrt()
        return loss, metrics

    monkeypatch.setattr(Supervised, "__call__", breaking)
    fit = SFT(model=folder, lora=None, training=how).fit(logs(), tmp_path / "broken")
    finding = next(f for f in fit.findings if f.code == "PO108")
    assert "the gradient is not a finite number at step 2. The model of step 2" in str(finding)
    assert all(p.isfinite().all() for p in fit.language_model().model.parameters())


@pytest.mark.parametrize(("kind", "settings"), WRITING[1:])
def test_a_loss_of_trl_that_is_no_number_stops_it_as_well(
    kind, settings, folder, tmp_path, monkeypatch
):
    import trl

    trainer = getattr(trl, f"{kind.trainer}Trainer")
    true = trainer.compute_loss

    def breaking(self, *arguments, **named):
        loss = true(self, *arguments, **named)
        return loss * torch.nan if self.state.global_step == 2 else loss

    monkeypatch.setattr(trainer, "compute_loss", breaking)
    how = Training(steps=4, batch_size=4, save_every=1)
    fit = small(kind, folder, settings, training=how).fit(["mug"], tmp_path / "a", reward=length)
    finding = next(f for f in fit.findings if f.code == "PO108")
    assert "the loss is not a finite number at step 2. The model of step 1" in str(finding)
    assert all(p.isfinite().all() for p in fit.language_model().model.parameters())


def test_a_first_loss_that_is_no_number_keeps_nothing(folder, tmp_path, monkeypatch):
    true = Supervised.__call__

    def broken(self, logprob, batch):
        loss, metrics = true(self, logprob, batch)
        return loss * torch.nan, metrics

    monkeypatch.setattr(Supervised, "__call__", broken)
    with pytest.raises(SettingsError, match="diverged before its first checkpoint"):
        SFT(model=folder, lora=None, training=ONE_STEP).fit(logs(), tmp_path / "run")
    assert not (tmp_path / "run" / "fit.json").exists()
