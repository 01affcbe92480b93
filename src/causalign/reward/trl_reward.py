"""Let a reward model score completions inside TRL's trainers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from causalign.errors import InputError
from causalign.lm.cache import EmbeddingCache
from causalign.reward.model import RewardModel

Message = Mapping[str, Any]
Text = str | Sequence[Message]


def trl_reward_function(
    model: RewardModel, cache: EmbeddingCache | None = None
) -> Callable[..., list[float]]:
    """Return ``f(prompts, completions, **columns) -> list of rewards`` for ``reward_funcs``.

    TRL gives prompts and completions as texts or as conversations; a conversation is read as the
    contents of its messages, a blank line between them, without system messages, which logs do not
    hold. Further columns of the data set are ignored. TRL logs it as ``causalign_reward``.

    Parameters
    ----------
    model : RewardModel
    cache : EmbeddingCache, optional
        Helps only where texts repeat.

    Returns
    -------
    callable
        It raises ``InputError`` for a message that holds something other than text.

    References
    ----------
    TRL's documentation of ``GRPOTrainer``, version 1.16.
    """

    def causalign_reward(
        prompts: Sequence[Text], completions: Sequence[Text], **columns: object
    ) -> list[float]:
        del columns  # what else the data set holds, and the trainer's state
        asked = [_text(prompt) for prompt in prompts] if model.reads_prompt else None
        texts = [_text(completion) for completion in completions]
        return [float(r) for r in model(texts, asked, cache)]

    return causalign_reward


def _text(given: Text) -> str:
    if isinstance(given, str):
        return given
    return "\n\n".join(_content(m) for m in given if m.get("role") != "system")


def _content(message: Message) -> str:
    content = message.get("content")
    if content is None:  # a message that only calls tools
        return ""
    if isinstance(content, str):
        return content
    kinds = [part.get("type") for part in content]
    if any(kind != "text" for kind in kinds):
        raise InputError(f"A reward of texts cannot score a message that holds {kinds}.")
    return "".join(part["text"] for part in content)
