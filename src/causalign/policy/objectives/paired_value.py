"""A doubly robust DPO: the preference model or the propensities may be wrong, not both."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from causalign.lm.layout import Batch
from causalign.policy.objectives.direct_preference import reward_difference

__all__ = ["PairedPreference"]


@dataclass(frozen=True, slots=True)
class PairedPreference:
    """Minimise the DPO loss over the pairs that a fixed policy would write.

    The target is ``L = E_{(T,T')∼ν}[ℓ(p(T,T'), Δ)]`` with p the probability that T is preferred
    and ``ℓ(p, Δ) = −p log σ(βΔ) − (1 − p) log σ(−βΔ) = softplus(βΔ) − p β Δ``, which is linear in
    p. Labels come from pairs drawn from q instead of ν. With ω = ν/q and a model p̂ of p::

        L̂ = Σ_{logged} s ω (p̂ − label) β Δ  +  Σ_{sampled} s (softplus(βΔ) − p̂ β Δ)

    Value and gradient are unbiased at every π if ω is right, whatever p̂, and if p̂ = p, whatever
    ω. The proof is in docs/methods/dpo.md.

    Columns, pairs in the order of alternating texts: ``reference_logprob`` (2p,); ``share`` s,
    ``weight`` ω (1 for sampled pairs), ``label`` (the label of a logged pair; 0 for sampled ones),
    ``preference`` p̂, ``sampled`` (1 or 0), all (p,).

    Reference: after Xu et al. (2025), arXiv 2506.01183, who estimate a preference value instead
    of the DPO loss.
    """

    beta: float = 0.1

    def __call__(self, logprob: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Any]]:
        """Return the loss and its metrics; ``logprob`` is (2p,)."""
        logit = self.beta * reward_difference(logprob, batch)  # (p,)
        share, weight, label, preference, sampled = (
            batch[name].to(logprob)
            for name in ("share", "weight", "label", "preference", "sampled")
        )
        corrected = weight * (preference - label) * logit
        modelled = torch.nn.functional.softplus(logit) - preference * logit
        terms = torch.where(sampled > 0, modelled, corrected)
        loss = (share * terms).sum()
        with torch.no_grad():
            right = ((logit > 0) == (label > 0.5)).to(share)
            logged = (sampled == 0).to(share)
        return loss, {
            "accuracy": ((right * logged).sum().item(), logged.sum().item()),
            "correction": (share * corrected * (1 - sampled)).sum().item(),
            "reward_difference": logit.detach().mean().item(),
        }
