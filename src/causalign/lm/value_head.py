"""A value head: what a text will have earned, predicted before each of its tokens."""

from collections.abc import MutableMapping

import torch
from torch import Tensor

from causalign.lm.language_model import LanguageModel, unwrap
from causalign.lm.layout import Batch
from causalign.lm.logprob import token_logprobs

NAME = "value_head"


def add_value_head(language_model: LanguageModel) -> torch.nn.Linear:
    """Put a linear layer on the last hidden state, at first zero, and return it.

    It is a part of the network, so that one optimiser trains both; peft does not save it with an
    adapter.
    """
    network = language_model.model
    width = network.get_output_embeddings().in_features
    head = torch.nn.Linear(width, 1, device=network.device, dtype=torch.float32)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    network.add_module(NAME, head)
    return head


def remove_value_head(language_model: LanguageModel) -> None:
    """Leave the network as it was before :func:`add_value_head`."""
    if hasattr(language_model.model, NAME):
        delattr(language_model.model, NAME)


def token_logprobs_and_values(model: torch.nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return ``log π(y_t | x, y_<t)`` and ``V(x, y_<t)`` of every completion token, both ``(N,)``.

    One forward pass gives both. The values leave the network among its outputs, where the wrappers
    of several processes look for what has a gradient.
    """
    network = unwrap(model)
    values: list[Tensor] = []

    def predict(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        hidden = inputs[0]  # (r, t, d)
        predictors = hidden.reshape(-1, hidden.shape[-1])[batch["source"]]  # (N, d)
        head = getattr(network, NAME)
        values.append(head(predictors.to(head.weight.dtype))[:, 0])

    def add_values(
        _network: object, _inputs: object, output: MutableMapping[str, object]
    ) -> object:
        output["hidden_states"] = (values[0],)  # a field that all outputs have, here unused
        return output

    with (
        network.get_output_embeddings().register_forward_pre_hook(predict),
        network.register_forward_hook(add_values),
    ):
        logprob = token_logprobs(model, batch)
    return logprob, values[0].to(logprob.dtype)
