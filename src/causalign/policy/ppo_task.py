"""The task of PPO: write texts, go over them a few times in small batches, write new ones."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalign.lm.language_model import LanguageModel
from causalign.lm.layout import Batch, lay_out
from causalign.lm.trainer import Metrics
from causalign.lm.value_head import token_logprobs_and_values
from causalign.policy.rollout import Rollout, collapse_reason
from causalign.policy.rows import Columns, Network, tensors

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ProximalPolicy:
    """Minimise the clipped surrogate of the policy plus the clipped error of its value head.

    For each token t, with ρ = π(y_t | ·) / π_old(y_t | ·), advantage A and return G::

        L = Σ_t s [ max(−A ρ, −A clip(ρ, 1 − ε, 1 + ε))
                    + c/2 max((V − G)², (V_old + clip(V − V_old, −ε_v, ε_v) − G)²) ]

    Where ρ has left the interval in the direction that A asks for, the maximum is flat and nothing
    more is learned from the token until texts are drawn anew. At ρ = 1 the gradient is −A ∇log π,
    the policy gradient.

    Columns, all (N,): ``old_logprob``, ``advantage``, ``old_value``, ``returned`` G (values and
    returns in the same units), ``share`` s.

    Parameters
    ----------
    clip_range : float
        ε.
    clip_range_value : float
        ε_v, in units of the values.
    vf_coef : float
        c.

    Notes
    -----
    Assumption: the texts were drawn from π_old, and π is still close to it.

    References
    ----------
    Schulman et al. (2017), arXiv 1707.06347.
    """

    clip_range: float = 0.2
    clip_range_value: float = 0.2
    vf_coef: float = 0.5

    def __call__(self, logprob: Tensor, value: Tensor, batch: Batch) -> tuple[Tensor, Metrics]:
        """Return the loss and its metrics; ``logprob`` and ``value`` are (N,)."""
        advantage, old_logprob, old_value, returned, share = (
            batch[name].to(logprob)
            for name in ("advantage", "old_logprob", "old_value", "returned", "share")
        )
        ratio = (logprob - old_logprob).exp()  # (N,)
        bounded = ratio.clamp(1 - self.clip_range, 1 + self.clip_range)
        surrogate = torch.maximum(-advantage * ratio, -advantage * bounded)
        near = old_value + (value - old_value).clamp(-self.clip_range_value, self.clip_range_value)
        missed = 0.5 * torch.maximum((value - returned) ** 2, (near - returned) ** 2)
        policy_loss, value_loss = (share * surrogate).sum(), (share * missed).sum()
        return policy_loss + self.vf_coef * value_loss, {
            "policy_loss": policy_loss.item(),
            "value_loss": value_loss.item(),
            "clip_share": ((ratio != bounded).sum().item(), ratio.numel()),
            "approx_kl": (share * (ratio - 1 - (logprob - old_logprob))).sum().item(),
            "ratio_max": ratio.detach().max().item(),
        }


@dataclass(slots=True)
class ProximalTask:
    """Train on rollouts: ``write(step)`` lets the policy write one, ``evaluate()`` other texts.

    ``order`` walks several times through each rollout, which lasts ``updates`` steps. The value
    head predicts returns in units of their own: minus ``centre``, by ``scale``, both of the first
    rollout. So nothing depends on the unit of the reward. A text without an end earns
    ``missing_eos_penalty`` less, or ``missing_eos_score`` instead. Divergence costs ``kl_coef``;
    with a ``kl_target`` this price follows, and checkpoints are still ranked by the price at the
    start, so that they compare.
    """

    language_model: LanguageModel
    head: Network
    objective: ProximalPolicy
    kl_coef: float
    kl_target: float | None
    kl_horizon: int
    missing_eos_penalty: float
    missing_eos_score: float | None
    gamma: float
    gae_lambda: float
    stop_kl: float
    write: Callable[[int], Rollout]
    evaluate: Callable[[], Rollout] | None
    order: NDArray[np.int64]
    updates: int
    share_prompts: bool
    rollout: Rollout | None = None
    step_of_rollout: int = -1
    centre: float = 0.0
    scale: float = 0.0
    reason: str | None = None
    price: float = field(init=False)
    _columns: dict[str, Floats] = field(default_factory=dict)
    _metrics: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.price = self.kl_coef

    def batch(self, positions: NDArray[np.int64], step: int) -> Batch:
        """Return the texts of the rollout at these positions, with the columns of their tokens."""
        if step % self.updates == 0 and self.step_of_rollout != step:
            if self.rollout is not None and self.kl_target is not None:
                error = float(self.rollout.log_ratio.mean()) / self.kl_target - 1
                share = len(self.rollout.score) / self.kl_horizon
                self.price = adapt_price(self.price, error, share)
            self.step_of_rollout, self.rollout = step, self.write(step)
            self._credit(self.rollout)
        assert self.rollout is not None
        rows = self.order[positions]
        tokens = self.rollout.tokens(rows)
        columns = {name: value[tokens] for name, value in self._columns.items()}
        # The mean length of the rollout, not of the batch: batches of any size then add up.
        each = len(rows) * self.rollout.completions.lengths.mean()
        columns["share"] = np.full(len(tokens), 1.0 / each)
        laid = lay_out(self.rollout.completions.take(rows), share_prompts=self.share_prompts)
        return laid | tensors(columns)

    def loss(self, model: Network, batch: Batch) -> tuple[Tensor, Metrics]:
        """Return the objective, without dropout: the ratio compares policies, not masks."""
        model.eval()
        logprob, value = token_logprobs_and_values(model, batch)
        loss, metrics = self.objective(logprob, value, batch)
        return loss, {**metrics, **self._metrics}

    def stop_reason(self) -> str | None:
        """Return why training must stop: the policy has run away, or writes nothing."""
        if self.reason is None and self.rollout is not None:
            self.reason = collapse_reason(self.rollout, self.stop_kl)
        return self.reason

    def validation_score(self) -> float | None:
        """Return what new texts earn, less the price of divergence and one standard error.

        Nothing is returned for a policy that has collapsed.
        """
        if self.evaluate is None:
            return None
        rollout = self.evaluate()
        self.reason = self.reason or collapse_reason(rollout, self.stop_kl)
        if self.reason is not None:
            return None
        earned = self._earned(rollout) - self.kl_coef * rollout.log_ratio
        return float(earned.mean() - earned.std() / np.sqrt(len(earned)))

    def _earned(self, rollout: Rollout) -> Floats:
        """Return the scores ``(n,)``, less or another for texts without an end."""
        if self.missing_eos_score is not None:
            return np.where(rollout.completions.cut, self.missing_eos_score, rollout.score)
        return rollout.score - self.missing_eos_penalty * rollout.completions.cut

    def _credit(self, rollout: Rollout) -> None:
        """Turn scores into advantages and returns."""
        lengths, earned = rollout.completions.lengths, self._earned(rollout)
        rewards = shape_rewards(earned, rollout.divergence, lengths, self.price)
        if self.scale == 0:
            self.centre, self.scale = float(earned.mean()), float(earned.std()) or 1.0
        values = self.centre + self.scale * rollout.value

        def estimate(gae_lambda: float) -> Floats:
            return estimate_advantages(
                rewards, values, lengths, gamma=self.gamma, gae_lambda=gae_lambda
            )

        advantages = estimate(self.gae_lambda)
        returns = estimate(1.0) + values  # what really followed
        self._columns = {
            "old_logprob": rollout.logprob,
            "advantage": whiten(advantages),
            "old_value": rollout.value,
            "returned": (advantages + values - self.centre) / self.scale,
        }
        self._metrics = {
            "reward": float(rollout.score.mean()),
            "kl": float(rollout.log_ratio.mean()),
            "kl_coef": self.price,
            "cut_share": float(rollout.completions.cut.mean()),
            "explained_variance": explained_variance(returns, values),
        }

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return the rollout, the value head, the units of its values and the price."""
        state: dict[str, NDArray[np.generic]] = {
            f"head_{n}": t.detach().cpu().numpy() for n, t in self.head.named_parameters()
        }
        state["units"] = np.array([self.centre, self.scale, self.price])
        state["reason"] = np.frombuffer((self.reason or "").encode(), dtype=np.uint8)
        if self.rollout is not None:
            state |= self.rollout.state() | {"step": np.array([self.step_of_rollout])}
        return state

    def restore(self, state: Columns) -> None:
        """Take up what :meth:`state` returned."""
        for name, value in self.head.named_parameters():
            value.data.copy_(tensors({name: state[f"head_{name}"]})[name].view_as(value))
        self.centre, self.scale, self.price = (float(number) for number in state["units"])
        self.reason = state["reason"].tobytes().decode() or None
        if "step" in state:
            self.step_of_rollout, self.rollout = int(state["step"][0]), Rollout.of(state)
            self._credit(self.rollout)


def adapt_price(price: float, error: float, share: float) -> float:
    """Return the price of divergence after a rollout whose divergence missed the target.

    ``error`` is KL / target − 1, of which at most a fifth counts either way; ``share`` how much of
    the horizon the rollout was. Reference: Ziegler et al. (2019), arXiv 1909.08593, section 2.2.
    """
    return price * (1 + float(np.clip(error, -0.2, 0.2)) * share)


def shape_rewards(
    score: Floats, divergence: Floats, lengths: NDArray[np.int64], kl: float
) -> Floats:
    """Return the reward of each token ``(N,)``: ``−κ log π/π_ref``, and the score at the end.

    ``score`` (n,) belongs to whole texts, ``divergence`` (N,) is log π/π_ref of each token, the
    tokens of a text following each other; ``lengths`` (n,) are at least one. The rewards of a text
    add up to its score minus κ times its log-ratio, whose mean is the divergence KL(π, π_ref).
    """
    rewards = -kl * divergence
    rewards[np.cumsum(lengths) - 1] += score
    return rewards


def estimate_advantages(
    rewards: Floats,
    values: Floats,
    lengths: NDArray[np.int64],
    *,
    gamma: float,
    gae_lambda: float,
) -> Floats:
    """Return ``A_t = δ_t + γλ A_{t+1}`` with ``δ_t = r_t + γ V_{t+1} − V_t``, ``(N,)``.

    V_t is the value before token t is written; after the last token there is none. λ trades
    bias for variance: 1 is the return that followed minus the value, 0 one step of it.
    ``A + V`` is the return that the value head should have predicted.

    Reference: Schulman et al. (2015), arXiv 1506.02438.
    """
    advantages = np.zeros_like(rewards)
    for end, length in zip(np.cumsum(lengths), lengths, strict=True):
        advantage = following = 0.0
        for t in range(end - 1, end - length - 1, -1):
            surprise = rewards[t] + gamma * following - values[t]
            advantage = surprise + gamma * gae_lambda * advantage
            advantages[t], following = advantage, values[t]
    return advantages


def whiten(advantages: Floats) -> Floats:
    """Return the advantages with mean zero and variance one; zeros if they are all alike."""
    spread = advantages.std()
    centred = advantages - advantages.mean()
    return centred / spread if spread > 1e-12 else np.zeros_like(centred)


def explained_variance(returns: Floats, values: Floats) -> float:
    """Return ``1 − Var(G − V) / Var(G)``, or nan where the returns do not vary."""
    total = returns.var()
    return float(1 - (returns - values).var() / total) if total > 1e-12 else float("nan")
