"""Supervised fine-tuning: make the logged texts likely, each as much as its weight asks."""

from dataclasses import dataclass

from torch import Tensor

from causalign.lm.layout import Batch

__all__ = ["Supervised"]


@dataclass(frozen=True, slots=True)
class Supervised:
    """Minimise the weighted cross-entropy of a token.

    ``L = − Σ_i v_i log π(T_i) / Σ_i |T_i|`` with row weights v, of mean one over the data, and |T|
    the tokens of a completion. With equal weights it is the mean over completion tokens.

    Columns: ``weight`` (n,), ``length`` (n,); optional ``mean_length``, the mean of ``length`` over
    the batch that these rows are a part of.
    """

    def __call__(self, logprob: Tensor, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and its metrics; ``logprob`` is (n,)."""
        weight = batch["weight"].to(logprob)  # (n,)
        length = batch.get("mean_length", batch["length"]).to(logprob).mean()
        loss = -(weight * logprob).mean() / length
        return loss, {"token_loss": -(logprob.detach().mean() / length).item()}
