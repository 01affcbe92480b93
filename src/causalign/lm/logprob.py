"""Log-probabilities of completions given their prompts, with exact gradients."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalign.lm.completions import Completions
from causalign.lm.language_model import (
    CausalNetwork,
    LanguageModel,
    shares_prompts,
    suspend_training,
    unwrap,
)
from causalign.lm.layout import Batch, lay_out
from causalign.lm.processes import gather, process_count, process_rank
from causalign.lm.progress import show_progress
from causalign.lm.token_head import target_logprobs

TOKENS_IN_BATCH = 2048


def sequence_logprobs(model: torch.nn.Module, batch: Batch, temperature: float = 1.0) -> Tensor:
    """Return ``log π(completion | prompt) = Σ_t log π(y_t | x, y_<t)``, ``(n,)``.

    ``batch`` comes from :func:`causalign.lm.layout.lay_out`. ``temperature`` divides the logits,
    as it does in sampling.
    """
    tokens = token_logprobs(model, batch, temperature)  # (N,)
    total = tokens.new_zeros(len(batch["length"]))
    return total.index_add(0, batch["owner"], tokens)


def token_logprobs(model: torch.nn.Module, batch: Batch, temperature: float = 1.0) -> Tensor:
    """Return ``log π(y_t | x, y_<t)`` of every completion token, ``(N,)``, in float32 or better.

    Hidden states are taken to the vocabulary only where a completion token is predicted, and only
    some at a time: see :mod:`causalign.lm.token_head`. A model that does something to its logits
    (scaling, soft caps), or whose last layer carries an adapter, gets them all at once.
    """
    network = unwrap(model)
    head = network.get_output_embeddings()

    def keep_predictors(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = inputs[0]  # (r, t, d)
        predictors = hidden.reshape(-1, hidden.shape[-1])[batch["source"]]
        return (predictors[None], *inputs[1:])  # (1, N, d)

    inputs: dict[str, Tensor | bool] = {"input_ids": batch["input_ids"], "use_cache": False}
    if "segment" in batch:
        inputs["position_ids"] = batch["position_ids"]
        inputs["attention_mask"] = _mask(batch["segment"], network.dtype)
    with head.register_forward_pre_hook(keep_predictors):
        if type(head) is torch.nn.Linear:
            logprobs = _from_hidden(model, network, head, inputs, batch["target"], temperature)
            if logprobs is not None:
                return logprobs
        logits: Tensor = model(**inputs).logits[0]  # (N, v)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    if temperature != 1.0:
        logits = logits / temperature
    return -torch.nn.functional.cross_entropy(logits, batch["target"], reduction="none")


class _WithLogits(Protocol):
    logits: Tensor


def _from_hidden(
    model: torch.nn.Module,
    network: CausalNetwork,
    head: torch.nn.Linear,
    inputs: Mapping[str, Tensor | bool],
    target: Tensor,
    temperature: float,
) -> Tensor | None:
    """Let the last layer return log-probabilities; None if the model then changes them."""
    given: list[Tensor] = []
    returned: list[Tensor] = []

    def in_place_of_logits(hidden: Tensor) -> Tensor:
        given.append(target_logprobs(hidden[0], head, target, temperature)[None, :, None])
        return given[0]

    def read(_network: object, _inputs: object, output: _WithLogits) -> None:
        returned.append(output.logits)

    vars(head)["forward"] = in_place_of_logits
    try:
        with network.register_forward_hook(read):
            logits: Tensor = model(**inputs).logits
    finally:
        del vars(head)["forward"]
    return logits[0, :, 0] if returned[0] is given[0] else None


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
    logprobs = np.zeros(len(completions))
    share = shares_prompts(model)
    with (
        suspend_training(model),
        show_progress("Scoring texts", len(completions), progress) as advance,
    ):
        for rows in _batches(completions.sizes)[process_rank() :: process_count()]:
            batch = lay_out(completions.take(rows), share_prompts=share)
            batch = {name: value.to(model.device) for name, value in batch.items()}
            scores = sequence_logprobs(model, batch, temperature)
            logprobs[rows] = scores.double().cpu().numpy()
            advance(len(rows))
    return np.asarray(np.sum(gather(logprobs), axis=0))


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
        size = max(1, TOKENS_IN_BATCH // int(sizes[order[start]]))
        batches.append(order[start : start + size])
        start += size
    return batches
