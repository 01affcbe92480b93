"""Texts from one policy, and what each of their tokens is credited with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from causalign.lm.completions import Completions
from causalign.lm.generate import Writer, sample
from causalign.lm.language_model import LanguageModel, shares_prompts
from causalign.lm.layout import laid_out
from causalign.lm.logprob import token_logprobs
from causalign.lm.processes import all_of, count, once, rank
from causalign.lm.value_head import token_logprobs_and_values
from causalign.policy.outcome_model import OutcomeModel, predicted
from causalign.policy.packed_texts import packed, unpacked

__all__ = ["Rollout", "prompts_drawn", "rolled_out"]

Floats = NDArray[np.float64]
TEXTS_IN_BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """Hold n texts of N tokens that a policy wrote.

    ``score`` (n,) is the reward of whole texts; all else is (N,), text after text: ``logprob`` and
    ``value`` of the policy that wrote them, in units of its head, ``divergence`` log π/π_ref.
    ``empty`` counts the texts that say nothing.
    """

    completions: Completions
    score: Floats
    logprob: Floats
    divergence: Floats
    value: Floats
    empty: int

    @property
    def log_ratio(self) -> Floats:
        """Return ``log π/π_ref`` of each text, ``(n,)``; its mean estimates KL(π, π_ref)."""
        return np.add.reduceat(self.divergence, self._starts())

    def tokens(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the positions in (N,) of the tokens of some texts."""
        starts, lengths = self._starts(), self.completions.lengths
        return np.concatenate([starts[row] + np.arange(lengths[row]) for row in rows])

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the rollout as arrays."""
        names = ("score", "logprob", "divergence", "value")
        return packed(self.completions, "rollout") | {
            **{f"rollout_{name}": getattr(self, name) for name in names},
            "rollout_empty": np.array([self.empty]),
        }

    @staticmethod
    def of(state: Mapping[str, NDArray[Any]]) -> "Rollout":
        """Return the rollout that :meth:`state` made arrays of."""
        names = ("score", "logprob", "divergence", "value")
        arrays = {name: state[f"rollout_{name}"] for name in names}
        completions = unpacked(state, "rollout")
        return Rollout(completions, **arrays, empty=int(state["rollout_empty"][0]))

    def _starts(self) -> NDArray[np.int64]:
        lengths = self.completions.lengths
        return np.cumsum(lengths) - lengths


def rolled_out(
    language_model: LanguageModel,
    reference_model: Any,
    asked: Sequence[str | None],
    reward: OutcomeModel,
    *,
    max_new_tokens: int,
    seed: int,
    chat: bool,
    values: bool = True,
    writer: Writer | None = None,
) -> Rollout:
    """Let the policy write one text for each prompt, and score policy, reference and text.

    Without ``values`` the network needs no value head, and the values are zero. A ``writer`` writes
    in the policy's place.
    """
    drawn = sample(
        language_model, asked, max_new_tokens=max_new_tokens, seed=seed, chat=chat, writer=writer
    )
    texts = drawn.completions
    logprob, value = _scored(language_model, texts, values)
    with reference_model() as reference:
        known, _ = _scored(reference, texts, False)
    prompts = [text for text in asked if text is not None] or None
    return Rollout(
        texts,
        once(lambda: predicted(reward, prompts, drawn.texts)),
        logprob,
        logprob - known,
        value,
        sum(not text.strip() for text in drawn.texts),
    )


def prompts_drawn(
    prompts: Sequence[str] | None, count: int, generator: np.random.Generator
) -> list[str | None]:
    """Return so many prompts, drawn evenly with replacement; Nones where there are none."""
    if prompts is None:
        return [None] * count
    return [prompts[row] for row in generator.integers(len(prompts), size=count)]


def _scored(
    language_model: LanguageModel, texts: Completions, values: bool
) -> tuple[Floats, Floats]:
    """Return log-probability and value of each token ``(N,)``, without dropout or gradients."""
    model = language_model.model
    share, training = shares_prompts(model), model.training
    found: dict[int, tuple[Floats, Floats]] = {}
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(rank() * TEXTS_IN_BATCH, len(texts), count() * TEXTS_IN_BATCH):
                rows = np.arange(start, min(start + TEXTS_IN_BATCH, len(texts)))
                batch = laid_out(texts.take(rows), share_prompts=share)
                batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
                if values:
                    logprob, value = token_logprobs_and_values(model, batch)
                else:
                    logprob = token_logprobs(model, batch)
                    value = torch.zeros_like(logprob)
                found[start] = (logprob.double().cpu().numpy(), value.double().cpu().numpy())
    finally:
        model.train(training)
    for part in all_of(found):
        found.update(part)
    logprobs, predictions = zip(*(found[start] for start in sorted(found)), strict=True)
    return np.concatenate(logprobs), np.concatenate(predictions)
