"""The proximal objective at its start has the gradient of the policy's value."""

import torch

from causalign.lm.logprob import token_logprobs
from causalign.policy import ProximalPolicy
from causalign.policy.ppo_task import estimate_advantages, shape_rewards


def by_word(logprob):
    """Return log-probabilities of each word given those before it, (192,), from sentences (64,)."""
    whole = logprob.reshape(4, 4, 4)
    two = whole.logsumexp(2, keepdim=True)
    one = two.logsumexp(1, keepdim=True)
    steps = (one.expand(4, 4, 4), (two - one).expand(4, 4, 4), whole - two)
    return torch.stack(steps, dim=-1).ravel()


def test_the_first_gradient_is_that_of_the_value_less_the_price_of_divergence(language):
    """Σ π(t) Σ_t ∇(−A ρ) at ρ = 1, against −∇ Σ π(t) (E[Y | t] − κ log π/π_ref (t)).

    Values leave the gradient alone as long as they depend on what stands before the word only.
    """
    price = 0.3
    fixed = token_logprobs(language.policy, language.batch).detach()  # (192,)
    assert torch.allclose(by_word(language.logprob().detach()), fixed, atol=1e-10)
    divergence = fixed - by_word(language.reference)
    lengths = language.batch["length"].numpy()
    rewards = shape_rewards(language.outcome.numpy(), divergence.numpy(), lengths, kl=price)
    zeros = torch.zeros(192, dtype=torch.float64)
    own = language.logprob()
    exact = (own.exp() * (language.outcome - price * (own - language.reference))).sum()
    expected = -language.gradient(exact)
    value_alone = -language.gradient((language.logprob().exp() * language.outcome).sum())
    assert (expected - value_alone).abs().max() > 1e-2  # the price shows
    for values in (zeros, torch.tensor([0.3, -1.2, 0.7]).double().repeat(64)):
        advantage = estimate_advantages(rewards, values.numpy(), lengths, gamma=1.0, gae_lambda=1.0)
        batch = {
            "old_logprob": fixed,
            "advantage": torch.from_numpy(advantage),
            "old_value": zeros,
            "returned": zeros,
            "share": own.detach().exp().repeat_interleave(3),
        }
        now = token_logprobs(language.policy, language.batch)
        loss, metrics = ProximalPolicy()(now, zeros, batch)
        assert metrics["clip_share"][0] == 0
        assert (language.gradient(loss) - expected).abs().max() < 1e-6
