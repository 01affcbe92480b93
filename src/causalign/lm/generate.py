"""Sample completions from a language model: ids, texts, and how likely each was to be drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from causalign.errors import SettingsError
from causalign.lm.completions import (
    Completions,
    Ids,
    Prompt,
    decode_texts,
    holds_messages,
    read_prompts,
)
from causalign.lm.language_model import LanguageModel, suspend_training
from causalign.lm.logprob import completion_logprobs
from causalign.lm.plain_text import find_ending
from causalign.lm.processes import run_once, set_threads, thread_count
from causalign.lm.progress import show_progress
from causalign.logs.workers import Engine, map_on_workers


class Sampler(Protocol):
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
        token that ends it and counts as ``cut``.
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
    sampler: Sampler | None = None,
) -> Samples:
    """Draw one completion for each prompt ``(n,)`` from ``π(y | x)^(1/temperature)``, normalised.

    Nothing else bends the distribution: no top-k, no top-p, no penalties. A text ends at any of
    `LanguageModel.ends`, and in the chat template where that closes a turn. A prompt that leaves
    no room for ``max_new_tokens`` in the window loses its beginning. The same seed, prompts
    and batch size give the same completions, and the global random state is left as it was.
    Of several processes the main one writes, and all get the texts. A prompt of None asks for a
    text of its own. A ``sampler`` that knows the model's weights writes in its place; the
    log-probabilities are the model's own, and temperature and batch size are the sampler's. Raises
    ``SettingsError`` for settings out of range.
    """
    if temperature <= 0 or max_new_tokens < 1 or batch_size < 1:
        raise SettingsError(
            "Sampling needs temperature > 0, max_new_tokens >= 1 and batch_size >= 1; found "
            f"{temperature}, {max_new_tokens} and {batch_size}."
        )
    tokenizer = language_model.tokenizer
    ending = find_ending(tokenizer, chat=chat or holds_messages(prompts))
    stops = tuple(dict.fromkeys((*ending.stops, *language_model.ends)))
    room = room_for_prompts(language_model, max_new_tokens)
    before, remarks = read_prompts(tokenizer, prompts, room, chat=chat)
    how = (stops, max_new_tokens, seed, temperature, batch_size, progress)
    if sampler is None:
        after = run_once(lambda: _draw(language_model, before, *how))
    else:
        after = [_end(ids, stops) for ids in sampler.write(before, seed)]
    cut = np.array([ids[-1] not in stops for ids in after], dtype=bool)
    completions = Completions(tuple(before), tuple(after), cut, remarks)
    texts = decode_texts(tokenizer, after, stops, ending.text)
    logprob = completion_logprobs(language_model, completions, temperature=temperature)
    return Samples(texts, completions, logprob)


def sample_on(
    engine: Engine,
    load: Callable[[], LanguageModel],
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    seed: int,
    batch_size: int,
    chat: bool = False,
    progress: bool = False,
) -> Samples:
    """Draw one completion for each prompt ``(n,)``, in this process or on Ray's workers.

    ``load`` is called once by whoever writes. Each batch of prompts, in their order, is a job with
    a seed of its own, so the engine and the number of workers change nothing. Raises what `sample`
    and `map_on_workers` do.
    """
    jobs = [
        (prompts[first : first + batch_size], np.random.default_rng([seed, first]))
        for first in range(0, len(prompts), batch_size)
    ]
    threads = thread_count()

    def make() -> Callable[[tuple[Sequence[Prompt], np.random.Generator]], Samples]:
        set_threads(threads)
        model = load()
        return lambda job: sample(
            model,
            job[0],
            max_new_tokens=max_new_tokens,
            seed=int(job[1].integers(2**63)),
            batch_size=batch_size,
            chat=chat,
        )

    drawn = []
    with show_progress("Writing texts", len(prompts), progress) as advance:
        for samples in (
            map_on_workers(make, jobs, threads) if engine == "ray" else map(make(), jobs)
        ):
            drawn.append(samples)
            advance(len(samples.texts))
    return Samples(
        [text for samples in drawn for text in samples.texts],
        Completions.concatenate([samples.completions for samples in drawn]),
        np.concatenate([samples.logprob for samples in drawn]),
    )


def room_for_prompts(language_model: LanguageModel, max_new_tokens: int) -> int:
    """Return how many tokens of a prompt fit the window before a text of ``max_new_tokens``.

    Raises ``SettingsError`` where none does.
    """
    room = language_model.window - max_new_tokens
    if room < 1:
        raise SettingsError(
            f"max_new_tokens must leave room for a prompt in the window of "
            f"{language_model.window} tokens; found {max_new_tokens}."
        )
    return room


def _draw(
    language_model: LanguageModel,
    before: list[Ids],
    stops: tuple[int, ...],
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
            texts = _write(language_model, ids, stops, max_new_tokens, temperature)
            completions.update(zip(rows.tolist(), texts, strict=True))
            advance(len(rows))
    return [completions[row] for row in range(len(before))]


def _write(
    language_model: LanguageModel,
    ids: list[Ids],
    stops: tuple[int, ...],
    max_new_tokens: int,
    temperature: float,
) -> list[Ids]:
    model, pad = language_model.model, stops[0]
    width = max(map(len, ids))
    # Padding stands on the left: what is written comes behind the prompt.
    tokens = torch.tensor([(pad,) * (width - len(prompt)) + prompt for prompt in ids])
    mask = torch.tensor([(0,) * (width - len(prompt)) + (1,) * len(prompt) for prompt in ids])
    output = model.generate(
        input_ids=tokens.to(model.device),
        attention_mask=mask.to(model.device),
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(stops),
        pad_token_id=pad,
    )
    return [_end(row, stops) for row in output[:, width:].tolist()]


def _end(ids: Sequence[int], stops: Sequence[int]) -> Ids:
    """Cut the ids: those up to and with the first that ends a text."""
    end = next((place for place, token in enumerate(ids) if token in stops), len(ids))
    return tuple(ids[: end + 1])
