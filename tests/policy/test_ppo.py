"""PPO against numbers worked by hand, and against a bandit whose rewards are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from causalign.errors import InputError, SettingsError
from causalign.lm.completions import Completions
from causalign.lm.language_model import Lora, load_language_model
from causalign.lm.layout import lay_out
from causalign.lm.logprob import token_logprobs
from causalign.lm.value_head import (
    add_value_head,
    remove_value_head,
    token_logprobs_and_values,
)
from causalign.policy import PPO, Training
from causalign.policy.findings import clipped_ratios, divergence, equal_groups, value_head
from causalign.policy.ppo_task import (
    ProximalPolicy,
    adapt_price,
    estimate_advantages,
    explained_variance,
    shape_rewards,
    whiten,
)
from causalign.policy.rollout import Rollout, collapse_reason
from causalign.policy.rows import shuffle_passes
from causalign.results import Verdict

TWO = np.array([2])


def test_two_tokens_by_hand():
    """Score 1, price 0.1, log-ratios .5 and −.2, values .4 and .6, γ = .9, λ = .5."""
    rewards = shape_rewards(np.array([1.0]), np.array([0.5, -0.2]), TWO, kl=0.1)
    assert np.allclose(rewards, [-0.05, 1.02])  # −.1 × .5; −.1 × −.2 + 1
    values = np.array([0.4, 0.6])
    found = estimate_advantages(rewards, values, TWO, gamma=0.9, gae_lambda=0.5)
    # δ₂ = 1.02 − .6 = .42; δ₁ = −.05 + .9 × .6 − .4 = .09; A₁ = .09 + .45 × .42
    assert np.allclose(found, [0.279, 0.42])
    assert np.allclose(found + values, [0.679, 1.02])
    assert np.allclose(whiten(found), [-1.0, 1.0])


def by_hand():
    """Ratios .7 and 1.5 with advantages −1 and 1; values went from .4, .6 to .7, .5."""
    logprob = torch.tensor([0.35, 0.30], dtype=torch.float64).log().requires_grad_()
    value = torch.tensor([0.7, 0.5], dtype=torch.float64, requires_grad=True)
    batch = {
        "old_logprob": torch.tensor([0.5, 0.2]).double().log(),
        "advantage": torch.tensor([-1.0, 1.0]).double(),
        "old_value": torch.tensor([0.4, 0.6]).double(),
        "returned": torch.tensor([0.679, 1.02]).double(),
        "share": torch.tensor([0.5, 0.5]).double(),
    }
    return logprob, value, batch


def test_the_loss_of_two_tokens_by_hand():
    logprob, value, batch = by_hand()
    loss, metrics = ProximalPolicy(0.2, 0.2, 0.5)(logprob, value, batch)
    # max(.7, .8) and max(−1.5, −1.2), halved
    assert metrics["policy_loss"] == pytest.approx(0.5 * (0.8 - 1.2), abs=1e-6)
    # max((.7 − .679)², (.6 − .679)²) / 2 and (.5 − 1.02)² / 2, halved
    assert metrics["value_loss"] == pytest.approx(0.5 * (0.0031205 + 0.1352), abs=1e-6)
    assert loss.item() == pytest.approx(-0.2 + 0.5 * 0.06916025, abs=1e-6)
    assert metrics["clip_share"] == (2, 2)
    # (.7 − 1 − log .7 + 1.5 − 1 − log 1.5) / 2
    assert metrics["approx_kl"] == pytest.approx(0.5 * (0.2 - np.log(0.7 * 1.5)), abs=1e-6)
    loss.backward()
    assert logprob.grad.abs().max() == 0  # both have left in the direction that A asks for
    assert value.grad[0] == 0
    assert value.grad[1].item() == pytest.approx(0.5 * 0.5 * (0.5 - 1.02))


def test_a_clipped_token_that_went_the_wrong_way_still_teaches():
    logprob, value, batch = by_hand()
    loss, _ = ProximalPolicy()(logprob, value, batch | {"advantage": -batch["advantage"]})
    loss.backward()
    assert logprob.grad.tolist() == pytest.approx([-0.5 * 0.7, 0.5 * 1.5])


def test_gradients_equal_finite_differences():
    rng = torch.Generator().manual_seed(0)
    draw = lambda: torch.randn(12, generator=rng, dtype=torch.float64)  # noqa: E731
    logprob, value = (draw() - 2).requires_grad_(), draw().requires_grad_()
    batch = {
        "old_logprob": logprob.detach() + 0.3 * draw(),
        "advantage": draw(),
        "old_value": value.detach() + 0.3 * draw(),
        "returned": draw(),
        "share": torch.full((12,), 1 / 12),
    }
    objective = ProximalPolicy()
    clipped, tokens = objective(logprob, value, batch)[1]["clip_share"]
    assert 0 < clipped < tokens == 12
    assert torch.autograd.gradcheck(lambda a, b: objective(a, b, batch)[0], (logprob, value))


def test_texts_of_different_lengths_do_not_mix():
    lengths = np.array([1, 3, 2])
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=6), rng.normal(size=6)
    together = estimate_advantages(rewards, values, lengths, gamma=0.9, gae_lambda=0.7)
    apart = [
        estimate_advantages(r, v, np.array([len(r)]), gamma=0.9, gae_lambda=0.7)
        for r, v in zip(np.split(rewards, [1, 4]), np.split(values, [1, 4]), strict=True)
    ]
    assert np.allclose(together, np.concatenate(apart))
    full = estimate_advantages(rewards, values, lengths, gamma=1.0, gae_lambda=1.0)
    assert (full + values)[1] == pytest.approx(rewards[1:4].sum())  # the return that followed
    assert whiten(np.ones(4)).tolist() == [0, 0, 0, 0]
    assert np.isnan(explained_variance(np.ones(4), np.zeros(4)))
    assert explained_variance(np.arange(4.0), np.arange(4.0)) == 1


def test_the_value_head_reads_the_state_before_each_token(tiny_lm_folder):
    model = load_language_model(tiny_lm_folder)
    texts = Completions(((1, 5), (1, 5, 6)), ((7, 8, 2), (9, 2)), np.zeros(2, dtype=bool))
    batch = lay_out(texts, share_prompts=False)
    plain = token_logprobs(model.model, batch)
    head = add_value_head(model)
    torch.nn.init.normal_(head.weight)
    logprob, value = token_logprobs_and_values(model.model, batch)
    assert torch.equal(logprob, plain)
    with torch.no_grad():
        ids = torch.tensor([[1, 5, 7, 8, 2]])
        hidden = model.model.model(input_ids=ids).last_hidden_state[0]
        assert torch.allclose(value[:3], head(hidden[1:4])[:, 0], atol=1e-5)
    assert value.requires_grad
    remove_value_head(model)
    assert not any("value_head" in name for name, _ in model.model.named_parameters())


def test_each_pass_reads_every_text_once():
    order = shuffle_passes(8, 20, seed=0)
    assert sorted(order[:8]) == sorted(order[8:16]) == list(range(8))
    assert len(order) == 20
    assert (order[:8] != order[8:16]).any()


ARMS = ["a", "b", "c", "d", "e", "f", "g"]
REWARDS = dict(zip(ARMS, [0.1, 0.5, 0.3, 0.9, 0.2, 0.6, 0.4], strict=True)) | {"": 0.0}


@pytest.fixture(scope="module")
def bandit(tmp_path_factory):
    """A random model of eight tokens: the end and seven arms."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("bandit")
    words = {word: i for i, word in enumerate(["<end>", *ARMS])}
    tokenizer = Tokenizer(models.WordLevel(words, "<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", bos_token="<end>", unk_token="<end>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def known_reward(scale=1.0):
    def reward(completions, prompts):
        return scale * np.array([REWARDS[text.strip()] for text in completions])

    return reward


def probabilities(model):
    with torch.no_grad():
        logits = model.model(input_ids=torch.tensor([[0]])).logits[0, -1]
    return dict(zip(["", *ARMS], logits.softmax(0).tolist(), strict=True))


def player(folder, **changes):
    settings = {
        "model": str(folder),
        "lora": None,
        "training": Training(steps=120, batch_size=16, learning_rate=1e-2, save_every=60),
        "rollout_size": 64,
        "num_ppo_epochs": 2,
        "max_new_tokens": 1,
        "kl_coef": 0.0,
    }
    return PPO(**settings | changes)


def test_the_bandit_is_solved(bandit, tmp_path):
    assert max(probabilities(load_language_model(bandit)).values()) < 0.3
    fit = player(bandit).fit(None, tmp_path / "run", reward=known_reward())
    assert probabilities(fit.language_model())["d"] > 0.9
    assert fit.numbers["reward_after"] > 0.85 > 0.6 > fit.numbers["reward_before"]
    found = {f.code: f.verdict for f in fit.findings}
    assert found["PO108"] is Verdict.PASS
    assert found["PO110"] is Verdict.PASS
    assert set(found) == {*("PO105", "PO108", "PO109", "PO110", "PO111", "PO112", "PO131", "PO134")}


def test_the_price_of_divergence_gives_the_known_optimum(bandit, tmp_path):
    """The best policy with a price κ is π_ref exp(R/κ), normalised: a finite sum."""
    price = 0.3
    start = probabilities(load_language_model(bandit))
    best = {arm: p * np.exp(REWARDS[arm] / price) for arm, p in start.items()}
    best = {arm: p / sum(best.values()) for arm, p in best.items()}
    method = player(bandit, kl_coef=price, evaluation_texts=0, rollout_size=128)
    fit = method.fit(None, tmp_path / "run", reward=known_reward())
    reached = probabilities(fit.language_model())
    assert max(abs(reached[arm] - best[arm]) for arm in best) < 0.1
    assert abs(start["d"] - best["d"]) > 0.3  # else the test could not fail


def test_the_unit_of_the_reward_does_not_matter(bandit, tmp_path):
    short = Training(steps=12, batch_size=16, learning_rate=1e-2)
    reached = []
    for scale in (1.0, 1024.0):
        method = player(bandit, kl_coef=0.1 * scale, training=short, evaluation_texts=0)
        fit = method.fit(None, tmp_path / str(scale), reward=known_reward(scale))
        reached.append(np.array(list(probabilities(fit.language_model()).values())))
    assert np.allclose(*reached, atol=1e-4)


def test_the_price_of_divergence_adapts_by_hand():
    """A rollout of 64 texts, half of a horizon of 128; errors count between −.2 and .2."""
    assert adapt_price(0.1, 9 / 6 - 1, 0.5) == pytest.approx(0.1 * 1.1)
    assert adapt_price(0.1, 6.6 / 6 - 1, 0.5) == pytest.approx(0.1 * 1.05)
    assert adapt_price(0.1, -1.0, 0.5) == pytest.approx(0.1 * 0.9)
    assert adapt_price(0.1, 0.0, 0.5) == 0.1


def test_an_adaptive_price_holds_the_divergence_where_a_fixed_one_does_not(bandit, tmp_path):
    training = Training(steps=320, batch_size=16, learning_rate=1e-2, save_every=160)
    reached = {}
    for target in (None, 0.4):
        method = player(
            bandit,
            kl_coef=0.02,
            kl_target=target,
            kl_horizon=64,
            training=training,
            evaluation_texts=0,
        )
        fit = method.fit(None, tmp_path / str(target), reward=known_reward())
        reached[target] = fit.curve["kl"].to_numpy()[-80:].mean()
        prices = fit.curve["kl_coef"].to_numpy()
        assert prices[0] == 0.02
        assert (np.ptp(prices) > 0) == (target is not None)
    assert reached[0.4] == pytest.approx(0.4, abs=0.15)
    assert reached[None] > 0.9


def test_texts_without_an_end_earn_less(bandit, tmp_path):
    """One word earns 1, two earn 2 and leave no room for the end; the penalty turns it round."""

    def words(completions, prompts):
        return np.array([float(len(text.split())) for text in completions])

    cut = {}
    settings = {"free": {}, "less": {"missing_eos_penalty": 2.0}, "fixed": {"missing_eos_score": 0}}
    for name, changes in settings.items():
        method = player(bandit, max_new_tokens=2, **changes)
        fit = method.fit(None, tmp_path / name, reward=words)
        cut[name] = fit.curve["cut_share"].to_numpy()[-8:].mean()
        # What is told of the reward is the reward.
        after = fit.numbers["reward_after"]
        assert after == pytest.approx(1 if changes else 2, abs=0.2)
    assert cut["free"] > 0.9
    assert max(cut["less"], cut["fixed"]) < 0.2


def test_each_prompt_is_asked_as_often_as_the_others(tiny_lm_folder, tmp_path):
    asked = []

    def remember(completions, prompts):
        asked.append(list(prompts))
        return es(completions, prompts)

    method = PPO(
        model=str(tiny_lm_folder),
        training=Training(steps=6, batch_size=4),
        rollout_size=8,
        num_ppo_epochs=1,
        max_new_tokens=2,
        evaluation_texts=0,
    )
    prompts = ["One ", "Two ", "Three "]
    method.fit(prompts, tmp_path / "run", reward=remember)
    told = [prompt for rows in asked if len(rows) == 8 for prompt in rows]
    assert [told.count(prompt) for prompt in prompts] == [8, 8, 8]


def es(completions, prompts):
    return np.array([float(text.count("e")) for text in completions])


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, Lora(rank=4)])
def test_a_run_that_died_ends_like_one_that_did_not(tiny_lm_folder, tmp_path, killing, lora):
    """A checkpoint in the middle of a rollout: texts, values, units and price must survive."""
    method = PPO(
        model=str(tiny_lm_folder),
        lora=lora,
        kl_target=0.5,
        kl_horizon=16,
        training=Training(steps=11, batch_size=4, learning_rate=1e-2, save_every=3),
        rollout_size=8,
        num_ppo_epochs=2,
        max_new_tokens=5,
        evaluation_texts=4,
    )
    prompts = ["Say three words: ", "Say: ", "Write "]
    whole = method.fit(prompts, tmp_path / "whole", reward=es)
    with killing(8):
        method.fit(prompts, tmp_path / "died", reward=es)
    resumed = method.fit(prompts, tmp_path / "died", reward=es)
    kept = [n for n in whole.curve.column_names if n != "grad_norm"]
    assert resumed.curve.select(kept).equals(whole.curve.select(kept))
    one, other = (dict(f.language_model().model.named_parameters()) for f in (whole, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not any("value_head" in name for name in one)
    assert resumed.numbers == whole.numbers


def test_micro_batches_add_up(tiny_lm_folder, tmp_path):
    moved = []
    for micro in (8, 2):
        training = Training(steps=4, batch_size=8, micro_batch_size=micro, learning_rate=1e-3)
        method = PPO(
            model=str(tiny_lm_folder),
            training=training,
            rollout_size=16,
            max_new_tokens=6,
            evaluation_texts=0,
        )
        fit = method.fit(["Say "], tmp_path / str(micro), reward=es)
        moved.append(fit.curve["loss"].to_numpy())
    assert np.allclose(*moved, atol=1e-5)


def test_a_policy_that_runs_away_is_stopped_and_the_best_is_kept(bandit, tmp_path):
    training = Training(steps=60, batch_size=16, learning_rate=5e-2, save_every=4)
    method = player(bandit, training=training, stop_kl=0.2)
    fit = method.fit(None, tmp_path / "run", reward=known_reward())
    found = {f.code: f for f in fit.findings}
    assert found["PO108"].verdict is Verdict.FAIL
    assert "nats" in found["PO108"].explanation
    assert fit.curve.num_rows < 60
    assert fit.numbers["kl_after"] < 0.4


def test_a_policy_that_writes_nothing_is_stopped(bandit, tmp_path):
    """The reward pays for silence."""

    def silence(completions, prompts):
        return np.array([float(not text.strip()) for text in completions])

    training = Training(steps=200, batch_size=16, learning_rate=2e-2, save_every=8)
    fit = player(bandit, training=training).fit(None, tmp_path / "run", reward=silence)
    found = {f.code: f for f in fit.findings}
    assert "empty" in found["PO108"].explanation
    assert found["PO109"].verdict is Verdict.WARN


def rollout(log_ratio, empty=0):
    size = len(log_ratio)
    texts = Completions(((0,),) * size, ((1,),) * size, np.zeros(size, dtype=bool))
    zeros = np.zeros(size)
    return Rollout(texts, zeros, zeros, np.array(log_ratio), zeros, empty)


def test_collapse_and_findings_turn_with_their_numbers():
    assert collapse_reason(rollout([1.0, 3.0]), 2.5) is None
    assert "3 nats" in collapse_reason(rollout([2.0, 4.0]), 2.5)
    assert "empty" in collapse_reason(rollout([0.0, 0.0], empty=2), 2.5)
    assert [divergence(x, 100).verdict for x in (5, 50, 200)] == [
        Verdict.PASS,
        Verdict.WARN,
        Verdict.FAIL,
    ]
    assert [clipped_ratios(x, 0.2).verdict for x in (0.1, 0.5)] == [Verdict.PASS, Verdict.WARN]
    assert [value_head(x).verdict for x in (0.4, -0.3, np.nan)] == [
        Verdict.PASS,
        Verdict.WARN,
        Verdict.NOT_APPLICABLE,
    ]
    assert [equal_groups(x).verdict for x in (0.2, 0.8)] == [Verdict.PASS, Verdict.WARN]


def test_what_cannot_be_is_refused(bandit, tmp_path):
    for changes in (
        {"rollout_size": 7},
        {"clip_range": 0},
        {"kl_coef": -1},
        {"gae_lambda": 1.5},
        {"evaluation_texts": 1},
        {"kl_target": 0.0, "kl_coef": 0.1},
        {"kl_target": 1.0},
        {"kl_horizon": 63},
        {"missing_eos_penalty": -1.0},
        {"missing_eos_penalty": 1.0, "missing_eos_score": -1.0},
    ):
        with pytest.raises(SettingsError):
            player(bandit, **changes)
    long = replace(player(bandit), training=Training(batch_size=16))
    with pytest.raises(SettingsError, match="how long to train"):
        long.fit(None, tmp_path, reward=es)
    for prompts, said in (([], "no prompts"), (["a", " "], "row 1")):
        with pytest.raises(InputError, match=said):
            long.fit(prompts, tmp_path, reward=es)
    with pytest.raises(InputError, match="finite numbers"):
        player(bandit).fit(None, tmp_path / "nan", reward=lambda c, p: np.full(len(c), np.nan))
