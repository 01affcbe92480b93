"""Log-probabilities of completions given their prompts, with exact gradients."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalign.lm.completions import Completions
from causalign.lm.language_model import LanguageModel, shares_prompts
from causalign.lm.layout import Batch, laid_out
from causalign.lm.processes import all_of, count, rank
from causalign.lm.progress import progress_of
from causalign.lm.token_head import target_logprobs

__all__ = ["completion_logprobs", "sequence_logprobs", "token_logprobs"]

TOKENS_IN_BATCH = 2048


def sequence_logprobs(model: Any, batch: Batch, temperature: float = 1.0) -> Tensor:
    """Return ``log π(completion | prompt) = Σ_t log π(y_t | x, y_<t)``, ``(n,)``.

    ``batch`` comes from :func:`causalign.lm.layout.laid_out`. ``temperature`` divides the logits,
    as it does in sampling.
    """
    tokens = token_logprobs(model, batch, temperature)  # (N,)
    total = tokens.new_zeros(len(batch["length"]))
    return total.index_add(0, batch["owner"], tokens)


def token_logprobs(model: Any, batch: Batch, temperature: float = 1.0) -> Tensor:
    """Return ``log π(y_t | x, y_<t)`` of every completion token, ``(N,)``, in float32 or better.

    Hidden states are taken to the vocabulary only where a completion token is predicted, and only
    some at a time: see :mod:`causalign.lm.token_head`. A model that does something to its logits
    (scaling, soft caps), or whose last layer carries an adapter, gets them all at once.
    """
    network = model
    while hasattr(network, "module"):  # wrapped for several processes
        network = network.module
    head = network.get_output_embeddings()

    def keep_predictors(_layer: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = inputs[0]  # (r, t, d)
        kept = hidden.reshape(-1, hidden.shape[-1])[batch["source"]]
        return (kept[None], *inputs[1:])  # (1, N, d)

    inputs: dict[str, Any] = {"input_ids": batch["input_ids"], "use_cache": False}
    if "segment" in batch:
        inputs["position_ids"] = batch["position_ids"]
        inputs["attention_mask"] = _mask(batch["segment"], network.dtype)
    with head.register_forward_pre_hook(keep_predictors):
        if type(head) is torch.nn.Linear:
            found = _from_hidden(model, network, head, inputs, batch["target"], temperature)
            if found is not None:
                return found
        logits = model(**inputs).logits[0]  # (N, v)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if temperature != 1.0:
        logits = logits / temperature
    return -torch.nn.functional.cross_entropy(logits, batch["target"], reduction="none")


def _from_hidden(
    model: Any, network: Any, head: Any, inputs: Any, target: Tensor, temperature: float
) -> Tensor | None:
    """Let the last layer return log-probabilities; None if the model then changes them."""
    given: list[Tensor] = []
    returned: list[Tensor] = []

    def in_place_of_logits(hidden: Tensor) -> Tensor:
        given.append(target_logprobs(hidden[0], head, target, temperature)[None, :, None])
        return given[0]

    def read(_network: Any, _inputs: Any, output: Any) -> None:
        returned.append(output.logits)

    head.forward = in_place_of_logits
    try:
        with network.register_forward_hook(read):
            output = model(**inputs)
    finally:
        del head.forward
    return output.logits[0, :, 0] if returned[0] is given[0] else None


def completion_logprobs(
    language_model: LanguageModel,
    completions: Completions,
    *,
    temperature: float = 1.0,
    progress: bool = False,
) -> NDArray[np.float64]:
    """Return log-probabilities ``(n,)`` without gradients and without dropout.

    Several processes take a share of the batches each, and all get the whole result.
    """
    model = language_model.model
    found = np.zeros(len(completions))
    share = shares_prompts(model)
    training = model.training
    model.eval()
    try:
        with (
            torch.inference_mode(),
            progress_of("Scoring texts", len(completions), progress) as advance,
        ):
            for rows in _batches(completions.sizes)[rank() :: count()]:
                batch = laid_out(completions.take(rows), share_prompts=share)
                batch = {name: value.to(model.device) for name, value in batch.items()}
                found[rows] = sequence_logprobs(model, batch, temperature).double().cpu().numpy()
                advance(len(rows))
    finally:
        model.train(training)
    return np.sum(all_of(found), axis=0)


def _mask(segment: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what to add to attention scores, ``(r, 1, t, t)``: a part sees itself and part 0."""
    width = segment.shape[1]
    causal = torch.ones(width, width, dtype=torch.bool, device=segment.device).tril()
    same = segment[:, :, None] == segment[:, None, :]
    seen = causal & (same | (segment[:, None, :] == 0))  # (r, t, t)
    hidden = torch.zeros(seen.shape, dtype=dtype, device=segment.device)
    return hidden.masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def _batches(sizes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Cut rows, longest first, into batches of at most ``TOKENS_IN_BATCH`` with their padding."""
    order = np.argsort(-sizes, kind="stable")
    batches, start = [], 0
    while start < len(order):
        count = max(1, TOKENS_IN_BATCH // int(sizes[order[start]]))
        batches.append(order[start : start + count])
        start += count
    return batches
