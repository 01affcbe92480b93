"""Let a reward model score completions inside TRL's trainers."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from causalign.lm.cache import EmbeddingCache
from causalign.logs.preferences import Message, read_messages
from causalign.reward.model import RewardModel
from causalign.reward.served_reward import ServedReward

Text = str | Sequence[Message]


def trl_reward_function(
    model: RewardModel | ServedReward, cache: EmbeddingCache | None = None
) -> Callable[..., list[float]]:
    """Return ``f(prompts, completions, **columns) -> list of rewards`` for ``reward_funcs``.

    TRL gives prompts and completions as texts or as conversations; a conversation is read as the
    contents of its messages, a blank line between them, without system messages, which logs do not
    hold. Further columns of the data set are ignored. TRL logs it as ``causalign_reward``.

    Parameters
    ----------
    model : RewardModel or ServedReward
    cache : EmbeddingCache, optional
        Helps only where texts repeat; a served reward has none.

    Returns
    -------
    callable
        It raises ``InputError`` for a message that holds something other than text.

    References
    ----------
    TRL's documentation of ``GRPOTrainer``, version 1.16.
    """

    if isinstance(model, RewardModel):
        model = replace(model, cache=cache or model.cache)

    def causalign_reward(
        prompts: Sequence[Text], completions: Sequence[Text], **columns: object
    ) -> list[float]:
        del columns  # what else the data set holds, and the trainer's state
        asked = [read_messages(prompt) for prompt in prompts] if model.reads_prompt else None
        texts = [read_messages(completion) for completion in completions]
        return [float(r) for r in model(texts, asked)]

    return causalign_reward
