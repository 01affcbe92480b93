"""A reward model as TRL's trainers call it: texts or conversations, further columns, a name."""

import inspect
from dataclasses import dataclass

import numpy as np
import pytest

from causalign.errors import InputError
from causalign.reward import LinearHead, RewardModel, trl_reward_function


@dataclass
class Characters:
    """Encode a text as its number of characters, and remember it."""

    name: str = "characters"
    revision: str = "1"
    dimension: int = 1
    seen: tuple = ()

    def encode(self, texts, progress=False):
        self.seen += tuple(texts)
        return np.array([[len(t)] for t in texts], dtype=np.float32)


def made(reads_prompt=False):
    encoder = Characters()
    model = RewardModel(
        "characters", LinearHead(np.ones(1)), reads_prompt=reads_prompt, encoder=encoder
    )
    return trl_reward_function(model), encoder


def called(reward, prompts, completions):
    """Call as ``GRPOTrainer._calculate_rewards`` of TRL 1.16 does."""
    columns = {"answer": ["x"] * len(prompts), "trainer_state": object(), "log_extra": print}
    ids = [[1, 2]] * len(prompts)
    return reward(prompts=prompts, completions=completions, completion_ids=ids, **columns)


def said(text, role="assistant"):
    return [{"role": role, "content": text}]


def test_texts_are_scored():
    reward, _ = made()
    found = called(reward, ["ignored", "too"], ["abc", "a"])
    assert found == [3.0, 1.0]
    assert all(type(value) is float for value in found)
    assert reward.__name__ == "causalign_reward"
    assert not inspect.iscoroutinefunction(reward)


def test_conversations_are_read_as_their_texts():
    reward, encoder = made(reads_prompt=True)
    asked = [said("be kind", "system") + said("hello?", "user")]
    assert called(reward, asked, [said("hi")]) == [float(len("hello?\n\nhi"))]
    assert encoder.seen == ("hello?\n\nhi",)


def test_texts_and_conversations_agree():
    reward, _ = made(reads_prompt=True)
    conversation = called(reward, [said("hello?", "user")], [said("hi")])
    assert conversation == called(reward, ["hello?"], ["hi"])


def test_parts_of_a_message_are_joined_and_pictures_refused():
    reward, _ = made()
    parts = [{"type": "text", "text": "ab"}, {"type": "text", "text": "c"}]
    assert called(reward, ["p"], [said(parts)]) == [3.0]
    assert called(reward, ["p"], [said(None)]) == [0.0]
    with pytest.raises(InputError, match="image"):
        called(reward, ["p"], [said([{"type": "image", "image": b""}])])
