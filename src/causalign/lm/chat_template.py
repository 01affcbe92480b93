"""Write conversations as a model's chat template does, on the same day every day."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from causalign.errors import InputError, SettingsError
from causalign.logs.preferences import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase as Tokenizer

# Templates that write today's date write this one: the same texts have the same tokens tomorrow.
TODAY = datetime(2024, 7, 26)
_CLOCK = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)")
# Stands for a message while the template is looked at; no template has a rule for it.
_WORD = "Zqxj"


class Closing(NamedTuple):
    """How a template closes an answer: ``text``, then the control token ``token``.

    ``strips`` says whether the template takes spaces away from both ends of the answer.
    """

    text: str
    token: str
    strips: bool


def render(tokenizer: "Tokenizer", messages: Sequence[Message], *, reply: bool) -> str:
    """Return the conversation in the template, with the opening of an answer where one is asked.

    Raises ``SettingsError`` where there is no template, ``InputError`` where it refuses the
    conversation.
    """
    template = template_text(tokenizer)
    if not template:
        raise SettingsError(
            "The tokenizer has no chat template. Use chat=False with prompts that are texts, or a "
            "model that was tuned on conversations."
        )
    try:
        written = tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            chat_template=stop_clock(template),
            add_generation_prompt=reply,
            tokenize=False,
        )
    except Exception as failure:  # a template raises what it likes: it is a program
        raise InputError(
            f"The model's chat template refuses the conversation {str(messages)[:80]}: {failure}"
        ) from failure
    return str(written)


def template_text(tokenizer: "Tokenizer") -> str:
    """Return the template that conversations are written in, or nothing where there is none."""
    if not tokenizer.chat_template:
        return ""
    try:
        return str(tokenizer.get_chat_template())
    except ValueError:  # several templates, and none of them the default
        return ""


def stop_clock(template: str) -> str:
    """Return the template with ``TODAY`` in place of the date on which it is rendered."""
    return _CLOCK.sub(lambda call: json.dumps(TODAY.strftime(call[2])), template)


def reads_clock(tokenizer: "Tokenizer") -> bool:
    """Return whether the template writes the date of the day."""
    return "strftime_now" in template_text(tokenizer)


def find_closing(tokenizer: "Tokenizer", controls: re.Pattern[str]) -> Closing | None:
    """Return how the template closes an answer, or None: no template, or no control token there.

    ``controls`` matches the control tokens of the tokenizer.
    """
    if not template_text(tokenizer):
        return None
    try:
        plain, spaced = (_render_answer(tokenizer, text) for text in (_WORD, f" {_WORD} "))
    except InputError:
        return None
    if plain.count(_WORD) != 1 or (closing := controls.search(plain.partition(_WORD)[2])) is None:
        return None
    before = plain.partition(_WORD)[2][: closing.start()]
    return Closing(before, closing.group(), spaced == plain)


def _render_answer(tokenizer: "Tokenizer", text: str) -> str:
    asked = {"role": "user", "content": "Hello"}
    return render(tokenizer, [asked, {"role": "assistant", "content": text}], reply=False)
