"""The task of PPO: write texts, go over them a few times in small batches, write new ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from causalign.lm.language_model import LanguageModel
from causalign.lm.layout import Batch, laid_out
from causalign.lm.value_head import token_logprobs_and_values
from causalign.policy.advantages import (
    explained_variance,
    generalised_advantages,
    shaped_rewards,
    whitened,
)
from causalign.policy.objectives.proximal import ProximalPolicy
from causalign.policy.rollout import Rollout
from causalign.policy.rows import tensors
from causalign.policy.written import collapsed

__all__ = ["ProximalTask"]

Floats = NDArray[np.float64]


@dataclass(slots=True)
class ProximalTask:
    """Train on rollouts: ``settings`` are those of PPO, ``write(step)`` lets the policy write.

    ``order`` walks several times through each rollout, which lasts ``updates`` steps. The value
    head predicts returns in units of their own: minus ``centre``, by ``scale``, both of the first
    rollout. So nothing depends on the unit of the reward.
    """

    language_model: LanguageModel
    head: Any
    settings: Any
    write: Callable[[int], Rollout]
    judge: Callable[[], Rollout] | None
    order: NDArray[np.int64]
    updates: int
    share_prompts: bool
    rollout: Rollout | None = None
    drawn_at: int = -1
    centre: float = 0.0
    scale: float = 0.0
    reason: str | None = None
    _columns: dict[str, Floats] = field(default_factory=dict)
    _measured: dict[str, float] = field(default_factory=dict)

    def batch(self, positions: NDArray[np.int64], step: int) -> Batch:
        """Return the texts of the rollout at these positions, with the columns of their tokens."""
        if step % self.updates == 0 and self.drawn_at != step:
            self.drawn_at, self.rollout = step, self.write(step)
            self._credit(self.rollout)
        assert self.rollout is not None
        rows = self.order[positions]
        tokens = self.rollout.tokens(rows)
        columns = {name: value[tokens] for name, value in self._columns.items()}
        # The mean length of the rollout, not of the batch: batches of any size then add up.
        each = len(rows) * self.rollout.completions.lengths.mean()
        columns["share"] = np.full(len(tokens), 1.0 / each)
        laid = laid_out(self.rollout.completions.take(rows), share_prompts=self.share_prompts)
        return laid | tensors(columns)

    def loss(self, model: Any, batch: Batch) -> tuple[Tensor, Mapping[str, float]]:
        """Return the objective, without dropout: the ratio compares policies, not masks."""
        model.eval()
        logprob, value = token_logprobs_and_values(model, batch)
        settings = self.settings
        objective = ProximalPolicy(settings.clip, settings.value_clip, settings.value_weight)
        loss, metrics = objective(logprob, value, batch)
        return loss, {**metrics, **self._measured}

    def trouble(self) -> str | None:
        """Return why training must stop: the policy has run away, or writes nothing."""
        if self.reason is None and self.rollout is not None:
            self.reason = collapsed(self.rollout, self.settings.stop_kl)
        return self.reason

    def standing(self) -> float | None:
        """Return what texts for judging earn, less the price of divergence and one error.

        Nothing is returned for a policy that has collapsed.
        """
        if self.judge is None:
            return None
        rollout = self.judge()
        self.reason = self.reason or collapsed(rollout, self.settings.stop_kl)
        if self.reason is not None:
            return None
        earned = rollout.score - self.settings.kl * rollout.log_ratio
        return float(earned.mean() - earned.std() / np.sqrt(len(earned)))

    def _credit(self, rollout: Rollout) -> None:
        """Turn scores into advantages and returns."""
        lengths, settings = rollout.completions.lengths, self.settings
        rewards = shaped_rewards(rollout.score, rollout.divergence, lengths, settings.kl)
        if self.scale == 0:
            self.centre = float(rollout.score.mean())
            self.scale = float(rollout.score.std()) or 1.0
        values = self.centre + self.scale * rollout.value

        def advantages(trace: float) -> Floats:
            return generalised_advantages(
                rewards, values, lengths, discount=settings.discount, trace=trace
            )

        found = advantages(settings.trace)
        returns = advantages(1.0) + values  # what really followed
        self._columns = {
            "old_logprob": rollout.logprob,
            "advantage": whitened(found),
            "old_value": rollout.value,
            "returned": (found + values - self.centre) / self.scale,
        }
        self._measured = {
            "reward": float(rollout.score.mean()),
            "kl": float(rollout.log_ratio.mean()),
            "explained_variance": explained_variance(returns, values),
        }

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the rollout, the value head and the units of its values."""
        kept = {f"head_{n}": t.detach().cpu().numpy() for n, t in self.head.named_parameters()}
        kept["units"] = np.array([self.centre, self.scale])
        kept["reason"] = np.frombuffer((self.reason or "").encode(), dtype=np.uint8)
        if self.rollout is not None:
            kept |= self.rollout.state() | {"drawn_at": np.array([self.drawn_at])}
        return kept

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what :meth:`state` returned."""
        for name, value in self.head.named_parameters():
            value.data.copy_(tensors({name: state[f"head_{name}"]})[name].view_as(value))
        self.centre, self.scale = (float(number) for number in state["units"])
        self.reason = state["reason"].tobytes().decode() or None
        if "drawn_at" in state:
            self.drawn_at, self.rollout = int(state["drawn_at"][0]), Rollout.of(state)
            self._credit(self.rollout)
