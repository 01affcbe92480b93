"""Sample completions from a language model: ids, texts, and how likely each was to be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from causalign.errors import SettingsError
from causalign.lm.completions import Completions, Ids, Prompt, prompt_ids
from causalign.lm.language_model import LanguageModel
from causalign.lm.logprob import completion_logprobs
from causalign.lm.processes import once
from causalign.lm.progress import progress_of

__all__ = ["Samples", "Writer", "sample"]


class Writer(Protocol):
    """Write a completion for each prompt in a model's place."""

    def write(self, prompts: Sequence[Ids], seed: int) -> list[Ids]:
        """Return one completion for each prompt, as ids."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Hold n completions that a model wrote.

    ``logprob`` ``(n,)`` is under the distribution they were drawn from, temperature included. A
    completion that did not end within its budget has no end-of-text token and counts as ``cut``
    in ``completions``.
    """

    texts: list[str]
    completions: Completions
    logprob: NDArray[np.float64]


def sample(
    language_model: LanguageModel,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    seed: int,
    temperature: float = 1.0,
    batch_size: int = 16,
    chat: bool = False,
    progress: bool = False,
    writer: Writer | None = None,
) -> Samples:
    """Draw one completion for each prompt ``(n,)`` from ``π(y | x)^(1/temperature)``, normalised.

    Nothing else bends the distribution: no top-k, no top-p, no penalties. The same seed, prompts
    and batch size give the same completions, and the global random state is left as it was.
    Of several processes the main one writes, and all get the texts. A prompt of None asks for a
    text of its own. A ``writer`` that knows the model's weights writes in its place; the
    log-probabilities are the model's own, and temperature and batch size are the writer's. Raises
    ``SettingsError`` for settings out of range.
    """
    if temperature <= 0 or max_new_tokens < 1 or batch_size < 1:
        raise SettingsError(
            "Sampling needs temperature > 0, max_new_tokens >= 1 and batch_size >= 1; found "
            f"{temperature}, {max_new_tokens} and {batch_size}."
        )
    before = prompt_ids(language_model.tokenizer, prompts, chat=chat)
    room = language_model.window - max_new_tokens
    if room < 1:
        raise SettingsError(
            f"max_new_tokens must leave room for a prompt in the window of "
            f"{language_model.window} tokens; found {max_new_tokens}."
        )
    before = [ids[-room:] for ids in before]
    how = (max_new_tokens, seed, temperature, batch_size, progress)
    end = language_model.tokenizer.eos_token_id
    if writer is None:
        drawn = once(lambda: _drawn(language_model, before, *how))
    else:
        drawn = [_ended(ids, end) for ids in writer.write(before, seed)]
    completions = Completions(
        tuple(before), tuple(drawn), np.array([ids[-1] != end for ids in drawn], dtype=bool)
    )
    texts = language_model.tokenizer.batch_decode(
        [list(ids) for ids in drawn], skip_special_tokens=True
    )
    logprob = completion_logprobs(language_model, completions, temperature=temperature)
    return Samples(texts, completions, logprob)


def _drawn(
    language_model: LanguageModel,
    before: list[Ids],
    max_new_tokens: int,
    seed: int,
    temperature: float,
    batch_size: int,
    progress: bool,
) -> list[Ids]:
    model = language_model.model
    order = np.argsort([len(ids) for ids in before], kind="stable")
    found: dict[int, Ids] = {}
    training = model.training
    model.eval()
    try:
        with (
            torch.random.fork_rng(),
            torch.inference_mode(),
            progress_of("Writing texts", len(before), progress) as advance,
        ):
            torch.manual_seed(seed)
            for start in range(0, len(order), batch_size):
                rows = order[start : start + batch_size]
                ids = [before[row] for row in rows]
                written = _written(language_model, ids, max_new_tokens, temperature)
                found.update(zip(rows.tolist(), written, strict=True))
                advance(len(rows))
    finally:
        model.train(training)
    return [found[row] for row in range(len(before))]


def _written(
    language_model: LanguageModel, ids: list[Ids], max_new_tokens: int, temperature: float
) -> list[Ids]:
    end = language_model.tokenizer.eos_token_id
    width = max(len(prompt) for prompt in ids)
    tokens = np.full((len(ids), width), end, dtype=np.int64)
    mask = np.zeros((len(ids), width), dtype=np.int64)
    for row, prompt in enumerate(ids):
        tokens[row, width - len(prompt) :] = prompt
        mask[row, width - len(prompt) :] = 1
    model: Any = language_model.model
    output = model.generate(
        input_ids=torch.from_numpy(tokens).to(model.device),
        attention_mask=torch.from_numpy(mask).to(model.device),
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_new_tokens,
        eos_token_id=end,
        pad_token_id=end,
    )
    return [_ended(row, end) for row in output[:, width:].tolist()]


def _ended(ids: Sequence[int], end: int) -> Ids:
    """Return the ids up to and with the first end-of-text token."""
    return tuple(ids[: ids.index(end) + 1] if end in ids else ids)
