"""A score head: one number for a whole text, read from the state of its last token."""

from collections.abc import Mapping, MutableMapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from causalign.errors import SettingsError
from causalign.lm.language_model import LanguageModel, suspend_training, unwrap
from causalign.lm.layout import Batch

NAME = "score_head"


class ScoreHead(torch.nn.Module):
    """Score a state h as ``((h/‖h‖ - center) / scale)'w + b``.

    ``center`` ``(d,)`` and the number ``scale`` stay as they are: entries of size one let one
    learning rate serve the head and the adapter. ``w`` ``(d,)`` and ``b`` are where learning
    starts.
    """

    def __init__(
        self,
        center: NDArray[np.float64],
        scale: float,
        weight: NDArray[np.float64],
        bias: float,
    ) -> None:
        super().__init__()
        self.register_buffer("center", torch.as_tensor(center, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float32))
        self.weight = torch.nn.Parameter(torch.as_tensor(weight, dtype=torch.float32))
        self.bias = torch.nn.Parameter(torch.tensor(bias, dtype=torch.float32))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the scores ``(n,)`` of states ``(n, d)``."""
        unit = torch.nn.functional.normalize(hidden.to(self.weight.dtype), dim=-1)
        center, scale = self.get_buffer("center"), self.get_buffer("scale")
        return ((unit - center) / scale) @ self.weight + self.bias

    def fold(self) -> tuple[NDArray[np.float64], float]:
        """Fold center and scale in: the same score as ``h/‖h‖'coefficients + intercept``."""
        parts = [self.weight, self.bias, self.get_buffer("center"), self.get_buffer("scale")]
        weight, bias, center, scale = (p.detach().double().cpu().numpy() for p in parts)
        coefficients = weight / scale
        return coefficients, float(bias - center @ coefficients)


def check_states(language_model: LanguageModel, ids: Sequence[int]) -> None:
    """Raise ``SettingsError`` where what enters the last layer is not the state of a token.

    Training reads states there, scoring reads them where the body ends; the head of a masked model
    that was made to write, for instance, turns them into others in between.
    """
    network = language_model.model
    tokens = torch.tensor([list(ids)], device=network.device)
    entering: list[Tensor] = []

    def note(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        entering.append(inputs[0])

    with suspend_training(network), network.get_output_embeddings().register_forward_pre_hook(note):
        network(input_ids=tokens)
        leaving = network.get_base_model().base_model(input_ids=tokens).last_hidden_state
    last = (entering[0][0, -1].float(), leaving[0, -1].float())
    same = last[0].shape == last[1].shape
    if not same or torch.nn.functional.cosine_similarity(*last, dim=0) < 0.99:
        raise SettingsError(
            f"The language model {language_model.name!r} changes the states of tokens before its "
            "last layer, so a reward cannot be read from them. Choose another model."
        )


def add_score_head(language_model: LanguageModel, head: ScoreHead) -> None:
    """Make the head a part of the network, so that one optimiser trains both.

    peft does not save it with an adapter.
    """
    network = language_model.model
    network.add_module(NAME, head.to(network.device))


def remove_score_head(language_model: LanguageModel) -> None:
    """Leave the network as it was before :func:`add_score_head`."""
    if hasattr(language_model.model, NAME):
        delattr(language_model.model, NAME)


def lay_out_texts(
    tokens: Sequence[Sequence[int]], columns: Mapping[str, NDArray[np.float64]]
) -> Batch:
    """Lay out ``input_ids`` (n, t), the position ``last`` (n,) of each last token, and columns.

    Padding stands on the right, where causal attention never looks, so no row needs a mask.
    """
    lengths = np.array([len(ids) for ids in tokens], dtype=np.int64)
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(t) for t in tokens], batch_first=True)
    batch = {"input_ids": ids, "last": torch.from_numpy(lengths - 1)}
    return batch | {name: torch.from_numpy(v.astype(np.float32)) for name, v in columns.items()}


def text_scores(model: torch.nn.Module, batch: Batch) -> Tensor:
    """Return the score of each text ``(n,)``, with its gradient.

    The scores leave the network among its outputs, where the wrappers of several processes look for
    what has a gradient. Only one state goes on to the vocabulary, which nobody reads.
    """
    network = unwrap(model)
    read: list[Tensor] = []

    def score(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden = inputs[0]  # (n, t, d)
        rows = torch.arange(len(hidden), device=hidden.device)
        read.append(getattr(network, NAME)(hidden[rows, batch["last"]]))
        return (hidden[:1, :1], *inputs[1:])

    def add_scores(
        _network: object, _inputs: object, output: MutableMapping[str, Tensor]
    ) -> object:
        output[NAME] = read[0]
        return output

    with (
        network.get_output_embeddings().register_forward_pre_hook(score),
        network.register_forward_hook(add_scores),
    ):
        scores: Tensor = model(input_ids=batch["input_ids"], use_cache=False)[NAME]
    return scores
