"""Turn texts into token ids so that a control token which somebody typed stays plain characters.

Tokenizers read ``<|im_end|>`` inside a text as the token that ends a turn. In a log it is what a
stranger typed: read as a token it would end the text there, or open a turn of its own.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from causalign.errors import InputError, SettingsError
from causalign.lm.chat_template import (
    find_closing,
    render,
    template_text,
)
from causalign.logs.preferences import Message, message_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

Ids = tuple[int, ...]
# Private characters around what was typed, while the template writes the text where it likes.
_OPEN, _CLOSE = "\U000f0000", "\U000f0001"
_MARKED = re.compile(f"{_OPEN}(.*?){_CLOSE}|[{_OPEN}{_CLOSE}]", re.DOTALL)
_NEVER = re.compile(r"(?!)")
# Nothing added, and names of control tokens read as such, whatever the tokenizer's own settings.
_AS_WRITTEN = {"add_special_tokens": False, "verbose": False, "split_special_tokens": False}


@dataclass(frozen=True, slots=True)
class ControlTokens:
    """The tokens of a tokenizer that no text may hold, and a pattern that finds their names.

    The token of ``unknown`` characters, and its name, is none of ``ids``: a text may hold it that
    nobody typed.
    """

    ids: frozenset[int]
    names: re.Pattern[str]
    unknown: tuple[int, str] | None

    def among(self, ids: Sequence[int]) -> bool:
        """Return whether any of them is among the ids."""
        return not self.ids.isdisjoint(ids)

    def typed_in(self, text: str, ids: Sequence[int]) -> bool:
        """Return whether a text names one that became a token, the unknown one included."""
        named = self.unknown is not None and self.unknown[1] in text
        return self.among(ids) or (named and self.unknown is not None and self.unknown[0] in ids)


@dataclass(frozen=True, slots=True)
class Ending:
    """How texts end: ``text`` and ``token`` close what is learned, ``stops`` end what is written.

    ``strips`` says that the template takes spaces away from both ends of an answer.
    """

    text: str
    token: int
    stops: tuple[int, ...]
    strips: bool = False


def control_tokens(tokenizer: "Tokenizer") -> ControlTokens:
    """Return the special tokens, and what else the chat template writes to steer the model.

    The token of unknown characters is apart from them, unless it also starts or ends texts.
    """
    added = {number: str(token) for number, token in tokenizer.added_tokens_decoder.items()}
    special = {n for n, token in tokenizer.added_tokens_decoder.items() if token.special}
    names = {number: added[number] for number in special}
    names |= {n: str(tokenizer.convert_ids_to_tokens(n)) for n in tokenizer.all_special_ids}
    written = _template_words(tokenizer)
    names |= {
        number: name
        for number, name in added.items()
        if name in written and not name.isspace() and not name.isalnum()
    }
    longest_first = sorted(filter(str.strip, names.values()), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)
    number, unknown = tokenizer.unk_token_id, None
    if number in names and number not in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        unknown = number, names.pop(number)
    return ControlTokens(frozenset(names), pattern if longest_first else _NEVER, unknown)


def _template_words(tokenizer: "Tokenizer") -> str:
    """Return the template and what it makes of a short conversation."""
    template = template_text(tokenizer)
    messages = [{"role": role, "content": "Hello"} for role in ("user", "assistant", "user")]
    try:
        return f"{template}\n{render(tokenizer, messages, reply=True)}"
    except (InputError, SettingsError):
        return template


def encode_plain(
    tokenizer: "Tokenizer", texts: Sequence[str]
) -> tuple[list[Ids], NDArray[np.bool_]]:
    """Return the ids of texts, nothing added, and which texts name a control token ``(n,)``.

    Those are spelled out in characters. Raises ``InputError`` where the tokenizer cannot.
    """
    if not len(texts):
        return [], np.zeros(0, dtype=bool)
    controls = control_tokens(tokenizer)
    try:
        read = tokenizer(list(texts), **_AS_WRITTEN)["input_ids"]
    except (TypeError, UnicodeError) as failure:  # half of a surrogate pair, which is no character
        raise InputError(
            f"A text cannot be turned into tokens: {failure}. Every text must be valid Unicode."
        ) from failure
    typed = np.array([controls.typed_in(*row) for row in zip(texts, read, strict=True)], dtype=bool)
    ids = [tuple(row) for row in read]
    for row in np.flatnonzero(typed).tolist():
        ids[row] = _spell_out(tokenizer, texts[row], controls)
    return ids, typed


def encode_conversation(
    tokenizer: "Tokenizer", messages: Sequence[Message], controls: ControlTokens
) -> tuple[Ids, bool]:
    """Return the ids of a conversation up to where the answer begins; was a control token typed?

    Only the template's own control tokens are tokens. Raises as `render` does, and ``InputError``
    for a control token where the template expects none but its own: in a role, say.
    """
    turns = [{**message, "content": message_text(message)} for message in messages]
    for message in turns:
        for field, value in _texts(message):
            if field != "content" and controls.names.search(value):
                raise InputError(f"The {field} of a message holds a control token: {value[:60]!r}.")
    contents = [message["content"] for message in turns]
    read = tokenizer(contents, **_AS_WRITTEN)["input_ids"]
    if not any(controls.typed_in(*row) for row in zip(contents, read, strict=True)):
        written = render(tokenizer, turns, reply=True)
        return tuple(_encode_part(tokenizer, written, inside=False)), False
    turns = [{**m, "content": _mark_all(tokenizer, m["content"], controls)} for m in turns]
    parts = _MARKED.split(render(tokenizer, turns, reply=True))
    ids: list[int] = []
    for number, part in enumerate(parts):
        if part and number % 2:
            ids += _spell_out(tokenizer, part, controls, inside=True)
        elif part:
            ids += _encode_part(tokenizer, part, inside=number > 0)
    return tuple(ids), True


def find_ending(tokenizer: "Tokenizer", *, chat: bool) -> Ending:
    """Return how texts end: as the chat template closes an answer, else by the end-of-text token.

    Raises ``SettingsError`` where the tokenizer has no end-of-text token.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise SettingsError(
            "The tokenizer has no end-of-text token, so no completion would ever end. Set "
            "`eos_token` in its tokenizer_config.json."
        )
    plain = Ending("", int(end), (int(end),))
    controls = control_tokens(tokenizer)
    closing = find_closing(tokenizer, controls.names) if chat else None
    token = closing and tokenizer.convert_tokens_to_ids(closing.token)
    if closing is None or token not in controls.ids:
        return plain
    return Ending(closing.text, token, tuple(dict.fromkeys((token, int(end)))), closing.strips)


def read_ends(named: int | Sequence[int] | None, tokenizer: "Tokenizer") -> tuple[int, ...]:
    """Return the ends that a model's settings name, ``eos_token_id``, and the tokenizer's own.

    A number that is no control token of the tokenizer is left out: it belongs to another one.
    """
    listed = () if named is None else (named,) if isinstance(named, int) else tuple(named)
    controls = control_tokens(tokenizer)
    known = controls.ids | ({controls.unknown[0]} if controls.unknown else set())
    ends = tuple(int(token) for token in listed if token in known)
    own = tokenizer.eos_token_id
    return ends if own is None or own in ends else (int(own), *ends)


def _texts(message: Message) -> Iterator[tuple[str, str]]:
    """Yield every text of a message with the field that it stands in."""
    for field, value in message.items():
        waiting = [value]
        while waiting:
            here = waiting.pop()
            if isinstance(here, str):
                yield field, here
            elif isinstance(here, dict):
                waiting += [*here.keys(), *here.values()]
            elif isinstance(here, (list, tuple)):
                waiting += here


def _mark(text: str, controls: ControlTokens) -> str:
    text = text.replace(_OPEN, "").replace(_CLOSE, "")
    return controls.names.sub(lambda name: f"{_OPEN}{name.group()}{_CLOSE}", text)


def _mark_all(tokenizer: "Tokenizer", text: str, controls: ControlTokens) -> str:
    """Mark the control tokens in a text; raise ``InputError`` where one has another spelling."""
    marked = _mark(text, controls)
    for part in _MARKED.split(marked)[::2]:
        if controls.among(_encode_part(tokenizer, part, inside=False)):
            raise InputError(
                f"The message {text[:60]!r} holds a control token in a spelling of its own, which "
                "cannot be kept apart from the chat template's. Remove it."
            )
    return marked


def _spell_out(
    tokenizer: "Tokenizer", text: str, controls: ControlTokens, *, inside: bool = False
) -> Ids:
    """Return the ids of a text in which control tokens are characters; ``inside`` another one."""
    ids = tuple(_encode_part(tokenizer, text, inside=inside, split_special_tokens=True))
    if not controls.among(ids):
        return ids
    # The tokenizer goes on seeing them: show it their characters one at a time.
    spelled: list[int] = []
    for part in _MARKED.split(_mark(text, controls)):
        for piece in part if part and controls.names.fullmatch(part) else [part]:
            behind = inside or bool(spelled)
            if piece:
                spelled += _encode_part(tokenizer, piece, inside=behind, split_special_tokens=True)
    if controls.among(spelled):
        token = next(number for number in spelled if number in controls.ids)
        raise InputError(
            f"The text {text[:60]!r} cannot be read as plain characters: the tokenizer makes the "
            f"control token {tokenizer.convert_ids_to_tokens(token)!r} of it. Remove it."
        )
    return tuple(spelled)


def _encode_part(
    tokenizer: "Tokenizer", text: str, *, inside: bool, split_special_tokens: bool = False
) -> list[int]:
    """Encode a part of a text; ``inside`` it, a tokenizer must not put a space in front."""
    how = _AS_WRITTEN | {"split_special_tokens": split_special_tokens}
    if inside:
        before: list[int] = tokenizer("\n", **how)["input_ids"]
        ids: list[int] = tokenizer(f"\n{text}", **how)["input_ids"]
        if before and ids[: len(before)] == before:
            return ids[len(before) :]
    return list(tokenizer(text, **how)["input_ids"])
