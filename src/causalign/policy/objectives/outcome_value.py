"""The policy's value from weighted rows: importance-weighted, from a model, or doubly robust."""

from dataclasses import dataclass

import torch
from torch import Tensor

from causalign.lm.layout import Batch

__all__ = ["OutcomeValue"]


@dataclass(frozen=True, slots=True)
class OutcomeValue:
    """Minimise minus the estimated value of the policy, ``V(π) = E_{T∼π}[Y(T)]``.

    Rows come from two places and are weighted back to π in the same way::

        V̂ = Σ_i s_i [ w_i (y_i − κ_i log π/π_ref (T_i) − b_i) + b_i ],   w_i = π(T_i) / q_i(T_i)

    - *logged* rows: y = Y, q = P_R, s = 1/n. Alone they are the importance-weighted estimate.
    - *sampled* rows: y = ĝ, q = the policy they were drawn from, s = 1/m. Alone they are the
      estimate of the outcome model.
    - both, with y = Y − ĝ on the logged ones: the doubly robust estimate, unbiased if P_R is right
      or ĝ is.

    The gradient is that of the unclipped estimate, ``Σ s w (y − κ log π/π_ref − b) ∇log π``: a
    changed weight multiplies the score function, so that a clipped row still teaches. The baseline
    b changes neither expectation, since E_q[w] = 1 and E_q[w ∇log π] = 0.

    Weights are ``exp(e (log π − log q) − log Z)``, clipped at ``clip``. e is 1, or one over the
    number of tokens; Z is a running mean of weights (self-normalised) or 1.

    Columns, all (n,): ``share`` s, ``outcome`` y, ``proposal_logprob`` log q; optional
    ``baseline`` b, ``exponent`` e, ``log_normaliser`` log Z, ``log_adjustment`` (smoothed minus
    raw log-weight), ``kl`` κ with ``reference_logprob``.

    Reference: Lin, Ben-Michael and Morency (2024), arXiv 2402.14979 (their CPO, OO-RLHF, DR-CPO).
    """

    clip: float | None = None

    def __call__(self, logprob: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and its metrics; ``logprob`` is (n,)."""
        fixed = logprob.detach()
        exponent = batch["exponent"].to(fixed) if "exponent" in batch else torch.ones_like(fixed)
        log_weight = exponent * (fixed - batch["proposal_logprob"].to(fixed))
        for name, sign in (("log_normaliser", -1), ("log_adjustment", 1)):
            if name in batch:
                log_weight = log_weight + sign * batch[name].to(fixed)
        weight = log_weight.exp()
        clipped = weight if self.clip is None else weight.clamp(max=self.clip)
        outcome = batch["outcome"].to(fixed)
        if "kl" in batch:
            outcome = outcome - batch["kl"].to(fixed) * (
                fixed - batch["reference_logprob"].to(fixed)
            )
        baseline = batch["baseline"].to(fixed) if "baseline" in batch else torch.zeros_like(fixed)
        # One in value, with the gradient of the exponent times the log-probability.
        one = (exponent * (logprob - fixed)).exp()
        terms = clipped * one * (outcome - baseline) + baseline
        value = (batch["share"].to(fixed) * terms).sum()
        return -value, {
            "value": value.item(),
            "log_weight_min": log_weight.min().item(),
            "log_weight_max": log_weight.max().item(),
            "clipped_share": (weight > clipped).float().mean().item(),
        }
