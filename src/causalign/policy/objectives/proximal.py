"""Proximal policy optimisation: the clipped surrogate, and what the value head misses."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from causalign.lm.layout import Batch

__all__ = ["ProximalPolicy"]


@dataclass(frozen=True, slots=True)
class ProximalPolicy:
    """Minimise the clipped surrogate of the policy plus the clipped error of its value head.

    For each token t, with ρ = π(y_t | ·) / π_old(y_t | ·), advantage A and return G::

        L = Σ_t s [ max(−A ρ, −A clip(ρ, 1 − ε, 1 + ε))
                    + c/2 max((V − G)², (V_old + clip(V − V_old, −ε_v, ε_v) − G)²) ]

    Where ρ has left the interval in the direction that A asks for, the maximum is flat and the
    token teaches nothing more until texts are drawn anew. At ρ = 1 the gradient is −A ∇log π, the
    policy gradient.

    Assumption: the texts were drawn from π_old, and π is still close to it.

    Columns, all (N,): ``old_logprob``, ``advantage``, ``old_value``, ``returned`` G (values and
    returns in the same units), ``share`` s.

    Reference: Schulman et al. (2017), arXiv 1707.06347.
    """

    clip: float = 0.2
    value_clip: float = 0.2
    value_weight: float = 0.5

    def __call__(
        self, logprob: Tensor, value: Tensor, batch: Batch
    ) -> tuple[Tensor, dict[str, Any]]:
        """Return the loss and its metrics; ``logprob`` and ``value`` are (N,)."""
        advantage, old_logprob, old_value, returned, share = (
            batch[name].to(logprob)
            for name in ("advantage", "old_logprob", "old_value", "returned", "share")
        )
        ratio = (logprob - old_logprob).exp()  # (N,)
        bounded = ratio.clamp(1 - self.clip, 1 + self.clip)
        surrogate = torch.maximum(-advantage * ratio, -advantage * bounded)
        near = old_value + (value - old_value).clamp(-self.value_clip, self.value_clip)
        missed = 0.5 * torch.maximum((value - returned) ** 2, (near - returned) ** 2)
        policy_loss, value_loss = (share * surrogate).sum(), (share * missed).sum()
        return policy_loss + self.value_weight * value_loss, {
            "policy_loss": policy_loss.item(),
            "value_loss": value_loss.item(),
            "clip_share": ((ratio != bounded).sum().item(), ratio.numel()),
            "ratio_max": ratio.detach().max().item(),
        }
