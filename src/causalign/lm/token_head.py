"""Log-probabilities of tokens straight from hidden states, never all logits at once."""

from typing import Any

import torch
from torch import Tensor

ROWS_AT_ONCE = 128  # logits of so many tokens exist at a time: 25 MB for 49,152 words in float32


def target_logprobs(
    hidden: Tensor, head: torch.nn.Linear, target: Tensor, temperature: float = 1.0
) -> Tensor:
    """Return ``log softmax((W h_t + b) / τ)[y_t]`` without all logits.

    Value and gradient are those of the plain computation, whose N v logits would be the largest
    thing in memory.

    Parameters
    ----------
    hidden : (N, d)
        The state before each token.
    head : torch.nn.Linear
        W (v, d) and b (v,), onto v words.
    target : (N,) integers
        The tokens.
    temperature : float
        τ.

    Returns
    -------
    (N,) tensor
        In float32 or better.
    """
    dtype = head.weight.dtype
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
    bias = None if head.bias is None else head.bias.to(dtype)
    logprobs: Tensor = _TargetLogprobs.apply(  # type: ignore[no-untyped-call]
        hidden.to(dtype), head.weight.to(dtype), bias, target, temperature
    )
    return logprobs


class _TargetLogprobs(torch.autograd.Function):
    """Walk over the rows, some at a time.

    A row has one output, so its gradient ``∂ log p / ∂h = (W_y − Σ_v p_v W_v) / τ`` is known up to
    a factor in the forward pass already and nothing is computed twice. Only the gradient of W, if
    the head is trained, needs the probabilities again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        temperature: float,
    ) -> Tensor:
        precise = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        logprobs = torch.empty(len(hidden), dtype=precise, device=hidden.device)
        slope = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for rows in _slices(len(hidden)):
            log_p = _log_probabilities(hidden[rows], weight, bias, temperature, precise)
            logprobs[rows] = log_p.gather(1, target[rows, None])[:, 0]
            if slope is not None:
                slope[rows] = _missing(log_p, target[rows]).to(hidden.dtype) @ weight / temperature
        trained = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        ctx.save_for_backward(slope, *((hidden, weight, bias, target) if trained else ()))
        ctx.temperature = temperature
        return logprobs

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        slope, *rest = ctx.saved_tensors
        by_hidden = None if slope is None else given[:, None].to(slope.dtype) * slope
        by_weight = by_bias = None
        if rest:
            hidden, weight, bias, target = rest
            by_weight = torch.zeros_like(weight)
            by_bias = None if bias is None else torch.zeros_like(bias)
            for rows in _slices(len(hidden)):
                log_p = _log_probabilities(hidden[rows], weight, bias, ctx.temperature, given.dtype)
                factor = given[rows, None] / ctx.temperature
                part = (_missing(log_p, target[rows]) * factor).to(weight.dtype)  # (n, v)
                by_weight.addmm_(part.T, hidden[rows])
                if by_bias is not None:
                    by_bias += part.sum(dim=0)
        return by_hidden, by_weight, by_bias, None, None


def _slices(size: int) -> list[slice]:
    return [slice(start, start + ROWS_AT_ONCE) for start in range(0, size, ROWS_AT_ONCE)]


def _log_probabilities(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, temperature: float, dtype: torch.dtype
) -> Tensor:
    logits = torch.nn.functional.linear(hidden, weight, bias).to(dtype)
    if temperature != 1.0:
        logits /= temperature
    return logits.sub_(logits.logsumexp(dim=1, keepdim=True))


def _missing(log_p: Tensor, target: Tensor) -> Tensor:
    """Return one-hot targets minus probabilities, ``(n, v)``; overwrites ``log_p``."""
    missing = log_p.exp_().neg_()
    missing[torch.arange(len(target), device=target.device), target] += 1
    return missing
