"""Turn prompts and completions into token ids: what is conditioned on, what has a probability."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, SettingsError
from causalign.lm.plain_text import (
    Ending,
    control_tokens,
    encode_conversation,
    encode_plain,
    find_ending,
)
from causalign.lm.plain_text import Ids as Ids
from causalign.logs.long_texts import CHARACTERS_A_TOKEN

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

Bools = NDArray[np.bool_]
# A text, a conversation as chat messages, or nothing: the completion is then a text of its own.
Prompt = str | Sequence[Mapping[str, str]] | None
_BROKEN = "\ufffd"  # what a decoder writes for tokens that are a part of a character


@dataclass(frozen=True, slots=True, eq=False)
class Completions:
    """Token ids of n completions and of the prompts before them.

    Parameters
    ----------
    prompts, completions : n tuples of ids
    cut : (n,) booleans
        Where the end of a completion did not fit the window, so that its log-probability is that
        of its beginning.
    remarks : mapping of str to (n,) booleans
        What else happened to a text on its way to ids: ``shortened``, the beginning of its prompt
        did not fit; ``typed``, it or its prompt names a control token, read as characters;
        ``altered``, its tokens do not give the completion back.
    """

    prompts: tuple[Ids, ...]
    completions: tuple[Ids, ...]
    cut: Bools
    remarks: Mapping[str, Bools] = field(default_factory=dict)

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
            {name: flags[np.asarray(rows, dtype=np.int64)] for name, flags in self.remarks.items()},
        )

    def count(self, remark: str) -> int:
        """Return of how many texts something is remarked."""
        return int(self.remarks[remark].sum()) if remark in self.remarks else 0

    @staticmethod
    def concatenate(parts: "Sequence[Completions]") -> "Completions":
        """Put several sets of completions behind one another."""
        return Completions(
            tuple(ids for part in parts for ids in part.prompts),
            tuple(ids for part in parts for ids in part.completions),
            np.concatenate([part.cut for part in parts]),
            {
                name: np.concatenate(
                    [part.remarks.get(name, np.zeros(len(part), dtype=bool)) for part in parts]
                )
                for name in dict.fromkeys(name for part in parts for name in part.remarks)
            },
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
    side_by_side: int = 1,
) -> Completions:
    """Turn prompts and completions into ids, each completion closed by the end-of-text token.

    With that token the probabilities of all completions of a prompt sum to one. In the chat
    template it is the one that closes a turn. Prompt and completion are tokenised apart, as they
    are when the model writes. Control tokens that somebody typed are characters; the start before
    a prompt and the end behind a completion are written once, whether the text has them or not.

    A pair longer than ``max_length`` tokens loses the beginning of its prompt, down to half of the
    window, then the end of its completion. ``side_by_side`` completions that follow each other are
    compared: their prompt loses the same.

    ``chat`` puts string prompts into the tokenizer's chat template as the user's message; prompts
    that are messages go there in any case. Raises ``InputError`` when lengths differ or a
    completion is no text, ``SettingsError`` when a template is asked for and there is none.
    """
    if prompts is not None and len(prompts) != len(completions):
        raise InputError(f"There are {len(prompts)} prompts for {len(completions)} completions.")
    if max_length < 4:
        raise SettingsError(f"max_length must be at least 4 tokens; found {max_length}.")
    asked = prompts or [None] * len(completions)
    ending = find_ending(tokenizer, chat=chat or holds_messages(asked))
    before, typed_before, far_before = _encode_prompts(tokenizer, asked, chat=chat, room=max_length)
    given = [
        _check_completion(tokenizer, text, row, ending) for row, text in enumerate(completions)
    ]
    texts = [_cut_text(tokenizer, text, max_length) for text in given]
    far = _differ(given, texts)
    plain, typed = encode_plain(
        tokenizer, [text if on else text + ending.text for text, on in zip(texts, far, strict=True)]
    )
    # A beginning has no end, but something must have a probability.
    whole = [
        ids if on and ids else (*ids, ending.token) for ids, on in zip(plain, far, strict=True)
    ]
    rooms = _rooms_for_prompts(before, whole, max_length, side_by_side)
    fitting = shorten_prompts(tokenizer, before, rooms)
    after = [
        _cut_end(tokenizer, ids, max_length - len(prompt))
        for ids, prompt in zip(whole, fitting, strict=True)
    ]
    back = decode_texts(tokenizer, whole, ending.stops, ending.text)
    return Completions(
        tuple(fitting),
        tuple(after),
        _differ(whole, after) | far,
        {
            "shortened": _differ(before, fitting) | far_before,
            "typed": typed | typed_before,
            "altered": _differ(texts, back),
        },
    )


def tokenize_prompts(
    tokenizer: "Tokenizer", prompts: Sequence[Prompt], *, chat: bool = False
) -> list[Ids]:
    """Turn each prompt into ids, never none: the first token of a text needs a condition."""
    return _encode_prompts(tokenizer, prompts, chat=chat)[0]


def read_prompts(
    tokenizer: "Tokenizer", prompts: Sequence[Prompt], room: int, *, chat: bool = False
) -> tuple[list[Ids], dict[str, Bools]]:
    """Turn prompts into ids of at most ``room``; return them with what is remarked of each.

    See `Completions` for the remarks.
    """
    whole, typed, far = _encode_prompts(tokenizer, prompts, chat=chat, room=room)
    fitting = shorten_prompts(tokenizer, whole, [room] * len(whole))
    return fitting, {"shortened": _differ(whole, fitting) | far, "typed": typed}


def shorten_prompts(
    tokenizer: "Tokenizer", prompts: Sequence[Ids], rooms: Sequence[int]
) -> list[Ids]:
    """Return the last ids of each prompt that fit its room, behind the token that starts it."""
    starts = control_tokens(tokenizer).ids
    fitting = []
    for ids, room in zip(prompts, rooms, strict=True):
        head = ids[:1] if ids[0] in starts else ()
        tail = ids[len(ids) - (room - len(head)) :]
        fitting.append(ids if len(ids) <= room else head + _drop_broken_start(tokenizer, tail))
    return fitting


def decode_texts(
    tokenizer: "Tokenizer", completions: Sequence[Ids], stops: Sequence[int], closing: str = ""
) -> list[str]:
    """Return what completions say, without the end and ``closing``, the characters before it."""
    ended = [bool(ids) and ids[-1] in stops for ids in completions]
    words = [list(ids[:-1] if end else ids) for ids, end in zip(completions, ended, strict=True)]
    texts = tokenizer.batch_decode(
        words, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    return [
        text.removesuffix(closing) if end else text.rstrip(_BROKEN)
        for text, end in zip(texts, ended, strict=True)
    ]


def holds_messages(prompts: Sequence[Prompt]) -> bool:
    """Return whether any of the prompts is a conversation."""
    return any(prompt is not None and not isinstance(prompt, str) for prompt in prompts)


def _encode_prompts(
    tokenizer: "Tokenizer", prompts: Sequence[Prompt], *, chat: bool, room: int | None = None
) -> tuple[list[Ids], Bools, Bools]:
    """Return the ids of each prompt, which of them name a control token, and which go on before.

    Of a text that is far longer than its ``room``, in tokens, the end. Both are ``(n,)``.
    """
    controls, opening = control_tokens(tokenizer), _opening(tokenizer)
    texts = list(dict.fromkeys(prompt for prompt in prompts if isinstance(prompt, str)))
    known: dict[str | None, tuple[Ids, bool]] = {None: (opening or _start(tokenizer), False)}
    read = texts if room is None else [_cut_text(tokenizer, t, room, keep_end=True) for t in texts]
    if chat:
        for text, end in zip(texts, read, strict=True):
            message = {"role": "user", "content": end}
            known[text] = encode_conversation(tokenizer, [message], controls)
    else:
        start = tokenizer.bos_token if tokenizer.bos_token_id in opening else None
        plain, typed = encode_plain(tokenizer, [end.removeprefix(start or "") for end in read])
        for text, ids, named in zip(texts, plain, typed, strict=True):
            known[text] = (opening + ids or _start(tokenizer), bool(named))
    encoded = []
    for row, prompt in enumerate(prompts):
        if prompt is None or isinstance(prompt, str):
            encoded.append(known[prompt])
        elif all(isinstance(turn, Mapping) and {"role", "content"} <= set(turn) for turn in prompt):
            encoded.append(encode_conversation(tokenizer, prompt, controls))
        else:
            raise InputError(
                f"The prompt in row {row} is {str(prompt)[:60]!r}. A prompt is a text, or a list "
                "of messages that each have 'role' and 'content'."
            )
    named = np.array([named for _, named in encoded], dtype=bool)
    longer = {text for text, end in zip(texts, read, strict=True) if text != end}
    far = [isinstance(prompt, str) and prompt in longer for prompt in prompts]
    return [ids for ids, _ in encoded], named, np.array(far, dtype=bool)


def _opening(tokenizer: "Tokenizer") -> Ids:
    """Return what the tokenizer writes before a text by itself, a repeated start token once."""
    plain: list[int] = tokenizer("a", add_special_tokens=False)["input_ids"]
    added: list[int] = tokenizer("a")["input_ids"]
    places = range(len(added) - len(plain) + 1)
    place = next((at for at in places if added[at : at + len(plain)] == plain), 0)
    return tuple(dict.fromkeys(added[:place]))


def _start(tokenizer: "Tokenizer") -> Ids:
    """Return the token before a text without a prompt: the start token, else the end token."""
    for token in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token is not None:
            return (int(token),)
    raise SettingsError(
        "The tokenizer has neither a start nor an end token. Set `bos_token` or `eos_token` in "
        "its tokenizer_config.json."
    )


def _check_completion(tokenizer: "Tokenizer", text: object, row: int, ending: Ending) -> str:
    """Return the text without an end that it brings along; raise where it says nothing."""
    words = text if isinstance(text, str) else ""
    for name in tokenizer.convert_ids_to_tokens(list(ending.stops)):
        if words.rstrip().endswith(name):
            words = words.rstrip().removesuffix(name)
    if not words.strip():
        raise InputError(
            f"The completion in row {row} is {text!r}. Every row needs a text; remove the row "
            "or fill it in."
        )
    return words.strip() if ending.strips else words


def _cut_text(tokenizer: "Tokenizer", text: str, tokens: int, *, keep_end: bool = False) -> str:
    """Return so much of a text that it still has more tokens than are read, or the text.

    Some signs make no token at all, such as line ends, or many of them one: of those no more is
    read than sixteen times the usual, which says as little as all of them.
    """
    usual = CHARACTERS_A_TOKEN * tokens
    sizes = [size for size in (usual, 4 * usual, 16 * usual) if size < len(text)]
    for size in sizes:
        part = text[-size:] if keep_end else text[:size]
        if len(encode_plain(tokenizer, [part])[0][0]) > tokens:
            return part
    return text if len(sizes) < 3 else part


def _rooms_for_prompts(
    prompts: Sequence[Ids], completions: Sequence[Ids], window: int, side_by_side: int
) -> list[int]:
    """Return how many tokens of each prompt fit before the longest completion beside it."""
    rooms: list[int] = []
    for first in range(0, len(prompts), side_by_side):
        longest = max(len(ids) for ids in completions[first : first + side_by_side])
        rooms += [max(window - longest, window // 2)] * side_by_side
    return rooms[: len(prompts)]


def _drop_broken_start(tokenizer: "Tokenizer", ids: Ids) -> Ids:
    """Return the ids from the first whole character on; one may be up to four tokens."""
    for _ in range(3):
        if len(ids) > 1 and str(tokenizer.decode(list(ids[:4]))).startswith(_BROKEN):
            ids = ids[1:]
    return ids


def _cut_end(tokenizer: "Tokenizer", ids: Ids, room: int) -> Ids:
    """Return the first ids that fit the room, whole characters."""
    if len(ids) <= room:
        return ids
    ids = ids[:room]
    for _ in range(3):
        if len(ids) > 1 and str(tokenizer.decode(list(ids[-4:]))).endswith(_BROKEN):
            ids = ids[:-1]
    return ids


def _differ(first: Sequence[object], second: Sequence[object]) -> Bools:
    return np.array([one != other for one, other in zip(first, second, strict=True)], dtype=bool)
