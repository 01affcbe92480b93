"""Direct preference optimisation, with margins and row weights."""

from dataclasses import dataclass

import torch
from torch import Tensor

from causalign.lm.layout import Batch

__all__ = ["DirectPreference", "reward_difference"]


@dataclass(frozen=True, slots=True)
class DirectPreference:
    """Minimise the Bradley-Terry loss of the policy's own reward.

    ``L = − mean_i v_i log σ(β Δ_i − γ m_i)`` with
    ``Δ = log π/π_ref (chosen) − log π/π_ref (rejected)``, row weights v, of mean one over the data,
    and margins m in units of the outcome. γ asks for a larger difference where the outcomes differ
    more; γ = 0 is DPO.

    Assumption: preferences follow Bradley-Terry, and the winner was decided by the texts: pairs of
    an experiment, or of deconfounded outcomes.

    Columns: ``reference_logprob`` (2p,), ``weight`` (p,), ``margin`` (p,). Texts alternate:
    chosen, rejected, chosen, ... Reference: Rafailov et al. (2023), arXiv 2305.18290; the offset
    is that of Amini et al. (2024), arXiv 2402.10571.
    """

    beta: float = 0.1
    margin_scale: float = 0.0

    def __call__(self, logprob: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and its metrics; ``logprob`` is (2p,)."""
        difference = self.beta * reward_difference(logprob, batch)  # (p,)
        weight = batch["weight"].to(logprob)
        logit = difference - self.margin_scale * batch["margin"].to(logprob)
        loss = -(weight * torch.nn.functional.logsigmoid(logit)).mean()
        return loss, {
            "accuracy": (difference.detach() > 0).double().mean().item(),
            "reward_difference": difference.detach().mean().item(),
            "chosen_logprob": logprob.detach()[0::2].mean().item(),
            "rejected_logprob": logprob.detach()[1::2].mean().item(),
        }


def reward_difference(logprob: Tensor, batch: Batch) -> Tensor:
    """Return ``Δ`` of each pair, ``(p,)``, from log-probabilities of alternating texts (2p,)."""
    ratio = logprob - batch["reference_logprob"].to(logprob)
    return ratio[0::2] - ratio[1::2]
