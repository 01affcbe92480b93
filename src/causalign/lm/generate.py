"""Sample completions from a language model: ids, texts, and how likely each was to be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from causalign.errors import SettingsError
from causalign.lm.completions import Completions, Ids, Prompt, tokenize_prompts
from causalign.lm.language_model import LanguageModel, suspend_training
from causalign.lm.logprob import completion_logprobs
from causalign.lm.processes import run_once
from causalign.lm.progress import show_progress


class Writer(Protocol):
    """What writes a completion for each prompt in a model's place."""

    def write(self, prompts: Sequence[Ids], seed: int) -> list[Ids]:
        """Return one completion for each prompt, as ids."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Completions that a model wrote, n of them.

    Parameters
    ----------
    texts : n strings
    completions : Completions
        Their ids and those of the prompts. One that did not end within its budget has no
        end-of-text token and counts as ``cut``.
    logprob : (n,)
        Under the distribution that they were drawn from, temperature included.
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
    before = tokenize_prompts(language_model.tokenizer, prompts, chat=chat)
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
        after = run_once(lambda: _draw(language_model, before, *how))
    else:
        after = [_end(ids, end) for ids in writer.write(before, seed)]
    cut = np.array([ids[-1] != end for ids in after], dtype=bool)
    completions = Completions(tuple(before), tuple(after), cut)
    texts = language_model.tokenizer.batch_decode(
        [list(ids) for ids in after], skip_special_tokens=True
    )
    logprob = completion_logprobs(language_model, completions, temperature=temperature)
    return Samples(texts, completions, logprob)


def _draw(
    language_model: LanguageModel,
    before: list[Ids],
    max_new_tokens: int,
    seed: int,
    temperature: float,
    batch_size: int,
    progress: bool,
) -> list[Ids]:
    order = np.argsort([len(ids) for ids in before], kind="stable")
    completions: dict[int, Ids] = {}
    with (
        torch.random.fork_rng(),
        suspend_training(language_model.model),
        show_progress("Writing texts", len(before), progress) as advance,
    ):
        torch.manual_seed(seed)
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            ids = [before[row] for row in rows]
            texts = _write(language_model, ids, max_new_tokens, temperature)
            completions.update(zip(rows.tolist(), texts, strict=True))
            advance(len(rows))
    return [completions[row] for row in range(len(before))]


def _write(
    language_model: LanguageModel, ids: list[Ids], max_new_tokens: int, temperature: float
) -> list[Ids]:
    end = language_model.tokenizer.eos_token_id
    model = language_model.model
    width = max(map(len, ids))
    # Padding stands on the left: what is written comes behind the prompt.
    tokens = torch.tensor([(end,) * (width - len(prompt)) + prompt for prompt in ids])
    mask = torch.tensor([(0,) * (width - len(prompt)) + (1,) * len(prompt) for prompt in ids])
    output = model.generate(
        input_ids=tokens.to(model.device),
        attention_mask=mask.to(model.device),
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_new_tokens,
        eos_token_id=end,
        pad_token_id=end,
    )
    return [_end(row, end) for row in output[:, width:].tolist()]


def _end(ids: Sequence[int], end: int) -> Ids:
    """Cut the ids: those up to and with the first end-of-text token."""
    return tuple(ids[: ids.index(end) + 1] if end in ids else ids)
