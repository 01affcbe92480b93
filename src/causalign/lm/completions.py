"""Turn prompts and completions into token ids: what is conditioned on, what has a probability."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, SettingsError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

Ids = tuple[int, ...]
# A text, a conversation as chat messages, or nothing: the completion is then a text of its own.
Prompt = str | Sequence[Mapping[str, str]] | None


@dataclass(frozen=True, slots=True, eq=False)
class Completions:
    """Token ids of n completions and of the prompts before them.

    Parameters
    ----------
    prompts, completions : n tuples of ids
    cut : (n,) booleans
        Where the end of a completion did not fit the window, so that its log-probability is that
        of its beginning.
    """

    prompts: tuple[Ids, ...]
    completions: tuple[Ids, ...]
    cut: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.completions)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The numbers of tokens ``(n,)`` of the completions."""
        return np.array([len(ids) for ids in self.completions], dtype=np.int64)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The numbers of tokens ``(n,)`` of prompts and completions together."""
        before = np.array([len(ids) for ids in self.prompts], dtype=np.int64)
        return self.lengths + before

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "Completions":
        """Return the completions at the given positions."""
        return Completions(
            tuple(self.prompts[row] for row in rows),
            tuple(self.completions[row] for row in rows),
            self.cut[np.asarray(rows, dtype=np.int64)],
        )

    @staticmethod
    def concatenate(parts: "Sequence[Completions]") -> "Completions":
        """Put several sets of completions behind one another."""
        return Completions(
            tuple(ids for part in parts for ids in part.prompts),
            tuple(ids for part in parts for ids in part.completions),
            np.concatenate([part.cut for part in parts]),
        )

    def hash(self, columns: Mapping[str, NDArray[np.generic]] | None = None) -> str:
        """Return a SHA-256 of every token, and of columns of numbers beside them."""
        total = hashlib.sha256()
        for ids in (*self.prompts, *self.completions):
            total.update(len(ids).to_bytes(4, "little") + np.array(ids, dtype="<i4").tobytes())
        for name, column in sorted((columns or {}).items()):
            value = np.ascontiguousarray(column)
            total.update(f"{name}:{value.dtype}:{value.shape}".encode() + value.tobytes())
        return total.hexdigest()


def tokenize(
    tokenizer: "Tokenizer",
    prompts: Sequence[Prompt] | None,
    completions: Sequence[str],
    *,
    max_length: int,
    chat: bool = False,
) -> Completions:
    """Turn prompts and completions into ids, each completion closed by the end-of-text token.

    With that token the probabilities of all completions of a prompt sum to one. Prompt and
    completion are tokenised apart, as they are when the model writes. A pair longer than
    ``max_length`` tokens loses the beginning of its prompt, down to half of the window, then the
    end of its completion.

    ``chat`` puts string prompts into the tokenizer's chat template as the user's message; prompts
    that are messages go there in any case. Raises ``InputError`` when lengths differ or a
    completion is no text, ``SettingsError`` when a template is asked for and there is none.
    """
    if prompts is not None and len(prompts) != len(completions):
        raise InputError(f"There are {len(prompts)} prompts for {len(completions)} completions.")
    if max_length < 4:
        raise SettingsError(f"max_length must be at least 4 tokens; found {max_length}.")
    if tokenizer.eos_token_id is None:
        raise SettingsError(
            "The tokenizer has no end-of-text token, so no completion would ever end. Set "
            "`eos_token` in its tokenizer_config.json."
        )
    before = tokenize_prompts(tokenizer, prompts or [None] * len(completions), chat=chat)
    for row, text in enumerate(completions):
        if not isinstance(text, str) or not text.strip():
            raise InputError(
                f"The completion in row {row} is {text!r}. Every row needs a text; remove the row "
                "or fill it in."
            )
    after = tokenizer(list(completions), add_special_tokens=False, verbose=False)["input_ids"]
    fits = [
        _fit(prompt, (*ids, tokenizer.eos_token_id), max_length)
        for prompt, ids in zip(before, after, strict=True)
    ]
    return Completions(
        tuple(prompt for prompt, _, _ in fits),
        tuple(ids for _, ids, _ in fits),
        np.array([cut for _, _, cut in fits], dtype=bool),
    )


def tokenize_prompts(
    tokenizer: "Tokenizer", prompts: Sequence[Prompt], *, chat: bool = False
) -> list[Ids]:
    """Turn each prompt into ids, never none: the first token of a text needs a condition."""
    start = start_of_text(tokenizer)
    prompt_ids: list[Ids] = []
    known: dict[str, Ids] = {}
    for row, prompt in enumerate(prompts):
        if isinstance(prompt, str):
            if prompt not in known:
                known[prompt] = (
                    _conversation(tokenizer, [{"role": "user", "content": prompt}])
                    if chat
                    else _plain(tokenizer, prompt)
                ) or (start,)
            prompt_ids.append(known[prompt])
        elif prompt is None:
            prompt_ids.append((start,))
        elif all(isinstance(turn, Mapping) and {"role", "content"} <= set(turn) for turn in prompt):
            prompt_ids.append(_conversation(tokenizer, [dict(turn) for turn in prompt]))
        else:
            raise InputError(
                f"The prompt in row {row} is {str(prompt)[:60]!r}. A prompt is a text, or a list "
                "of messages that each have 'role' and 'content'."
            )
    return prompt_ids


def start_of_text(tokenizer: "Tokenizer") -> int:
    """Return the token before a text without a prompt: the start token, else the end token."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    raise SettingsError(
        "The tokenizer has neither a start nor an end token. Set `bos_token` or `eos_token` in "
        "its tokenizer_config.json."
    )


def _plain(tokenizer: "Tokenizer", prompt: str) -> Ids:
    ids = tokenizer(prompt, verbose=False)["input_ids"]
    return tuple(ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids)


def _conversation(tokenizer: "Tokenizer", messages: list[dict[str, str]]) -> Ids:
    if not tokenizer.chat_template:
        raise SettingsError(
            "The tokenizer has no chat template. Use chat=False with prompts that are texts, or a "
            "model that was tuned on conversations."
        )
    return tuple(
        tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False
        )
    )


def _fit(prompt: Ids, completion: Ids, window: int) -> tuple[Ids, Ids, bool]:
    before = max(min(len(prompt), window - len(completion)), min(len(prompt), window // 2))
    room = window - before
    return prompt[len(prompt) - before :], completion[:room], len(completion) > room
