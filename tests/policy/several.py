"""Tune a tiny model with one method, in as many processes as were started: LOGS MODEL OUT NAME."""

import sys
from pathlib import Path

import numpy as np

from causalign import Logs, Roles
from causalign.policy import (
    DPO,
    GRPO,
    PPO,
    SFT,
    CausalPreference,
    FreshSamples,
    Lora,
    PairedDPO,
    Training,
    Weighting,
)


def yeses(prompts, completions):
    return np.array([float(text.count("yes")) for text in completions])


def lengths(prompts, completions):
    return np.array([len(text) / 10 for text in completions])


def preference(prompts, first, second):
    return 1 / (1 + np.exp(yeses(None, second) - yeses(None, first)))


def fitted(name, logs, model, out, steps=6, **more):
    """Without dropout, whose masks belong to a process; the log has weights that matter."""
    training = Training(
        steps=steps, batch_size=8, learning_rate=1e-2, max_length=48, save_every=2, **more
    )
    rest = {"model": str(model), "training": training, "lora": Lora(dropout=0.0)}
    fresh = FreshSamples(every=3, max_new_tokens=6, measured=8, for_each_row=1, defensive=0.25)
    weighting = Weighting(clip=20.0, stop_below=2.0)
    if name == "sft":
        return SFT(**rest, temperature=1.0).fit(logs, out)
    if name == "full":
        return SFT(**rest | {"lora": None}).fit(logs, out)
    pairs = logs.pairs(by="prompt")
    pairs = pairs.take(np.arange(0, len(pairs), len(pairs) // 40))
    if name == "dpo":
        return DPO(**rest, margin_scale=0.1).fit(pairs, out)
    if name == "paired":
        method = PairedDPO(**rest, max_new_tokens=6, propensity="reference", for_each_pair=3)
        return method.fit(pairs, out, preference_model=preference)
    if name == "weighted":
        return CausalPreference(**rest, weighting=weighting, held_out=0.0).fit(logs, out)
    if name == "doubly-robust":
        rest |= {"weighting": weighting, "samples": fresh, "kl": 0.01, "held_out": 0.0}
        return CausalPreference(name, **rest).fit(logs, out, outcome_model=lengths)
    prompts = ["Say three words: ", "Now say it again, more slowly: "]
    if name == "ppo":
        method = PPO(**rest, rollout=16, passes=2, max_new_tokens=6, measured=0)
        return method.fit(prompts, out, reward=lengths)
    method = GRPO(**rest, group=4, max_new_tokens=6, measured=8)
    return method.fit(prompts, out, reward=lengths)


if __name__ == "__main__":
    roles = Roles(completion="text", outcome="y", propensity="p", prompt="prompt", weight="w")
    for method in sys.argv[4].split(","):
        fitted(method, Logs.read(sys.argv[1], roles), sys.argv[2], Path(sys.argv[3]) / method)
