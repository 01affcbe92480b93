"""Tune a tiny model with any method, in as many processes as were started: LOGS MODEL OUT NAMES."""

import sys
from dataclasses import fields
from pathlib import Path

import numpy as np

from causalign import Logs, Roles
from causalign.policy import METHODS, SFT, FreshSamples, Lora, Training, Weighting


class Reward:
    """Scores texts by their length; prefers those that say yes more often."""

    def __call__(self, completions, prompts=None):
        return np.array([len(text) / 10 for text in completions])

    def preference(self, first, second, prompts=None):
        gap = [b.count("yes") - a.count("yes") for a, b in zip(first, second, strict=True)]
        return 1 / (1 + np.exp(np.array(gap, dtype=float)))


# What any method is given of these, if it has such a setting.
SETTINGS = {
    "lora": Lora(dropout=0.0),  # masks belong to a process
    "temperature": 1.0,
    "margin_scale": 0.1,
    "max_new_tokens": 6,
    "evaluation_texts": 8,
    "rollout_size": 16,
    "num_ppo_epochs": 2,
    "num_generations": 4,
    "samples_per_pair": 3,
    "weighting": Weighting(clip=20.0, stop_below=2.0),
    "samples": FreshSamples(
        refresh_every=3,
        max_new_tokens=6,
        evaluation_texts=8,
        samples_per_row=1,
        defensive_share=0.25,
    ),
    "validation_share": 0.0,
}


def build(name, model, steps=6, **more):
    """Return a method by its name; ``full`` trains all weights, an objective is one of CPO's."""
    training = Training(steps=steps, batch_size=8, learning_rate=1e-2, max_length=48, save_every=2)
    given = SETTINGS | {"model": str(model), "training": training} | more
    if name == "full":
        return SFT(model=given["model"], training=training, lora=None)
    kind = METHODS.get(name) or METHODS["causal-preference"]
    if name not in METHODS:
        given |= {"objective": name} | ({"kl_coef": 0.01} if name == "doubly-robust" else {})
    if name == "ppo":
        given["evaluation_texts"] = 0
    if kind.reads == "pairs":
        given["propensity"] = "reference"
    return kind(**{f.name: given[f.name] for f in fields(kind) if f.name in given})


def tune(name, logs, model, out):
    """The log has weights that matter."""
    method = build(name, model)
    data = {"logs": logs, "prompts": ["Say three words: ", "Now say it again, more slowly: "]}
    if method.reads == "pairs":
        pairs = logs.pairs(by="prompt")
        data["pairs"] = pairs.take(np.arange(0, len(pairs), len(pairs) // 40))
    return method.fit(data[method.reads], out, reward=Reward() if method.needs else None)


if __name__ == "__main__":
    roles = Roles(completion="text", outcome="y", propensity="p", prompt="prompt", weight="w")
    for name in sys.argv[4].split(","):
        tune(name, Logs.read(sys.argv[1], roles), sys.argv[2], Path(sys.argv[3]) / name)
