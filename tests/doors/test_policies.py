"""Every policy method: the same settings through Python, command line and recipe."""

import numpy as np
import pytest
from safetensors.numpy import load_file

import causalign as ca
from causalign.policy import METHODS

ROLES = {
    "completion": "text",
    "outcome": "y",
    "confounders": ["price"],
    "prompt": "prompt",
    "propensity": "p",
}
TRAINING = {"steps": 3, "batch_size": 4, "max_length": 48, "learning_rate": 0.01}
SAMPLES = {"evaluation_texts": 0, "max_new_tokens": 4, "samples_per_row": 1}
# What makes a method quick, where it has such settings.
QUICK = {
    "rollout_size": 4,
    "evaluation_texts": 4,
    "max_new_tokens": 4,
    "num_generations": 2,
    "samples_per_pair": 1,
    "samples": SAMPLES,
    "temperature": 1.0,
}
CASES = [(name, {}) for name in METHODS] + [
    ("causal-preference", {"objective": objective})
    for objective in ("outcome-model", "doubly-robust")
]


# What is not slow shows one method of pairs and one of rewards.
QUICKLY = [("dpo", {}), ("ppo", {})]
PARAMETERS = [
    pytest.param(*case, marks=[] if case in QUICKLY else pytest.mark.slow) for case in CASES
]


@pytest.mark.parametrize(
    ("name", "more"),
    PARAMETERS,
    ids=lambda case: "-".join(case) if isinstance(case, dict) else case,
)
def test_a_policy_gets_the_same_weights_by_every_door(doors, tiny_lm_folder, tmp_path, name, more):
    known = METHODS[name].__dataclass_fields__
    settings = {"model": str(tiny_lm_folder), "training": TRAINING, **more}
    settings |= {k: v for k, v in QUICK.items() if k in known}
    method = ca.config.choose(METHODS, {"method": name, **settings}, "policy")
    compares = method.needs == "preference model"
    roles = ROLES | ({"group": "test"} if compares or method.reads == "pairs" else {})
    reward = {"method": "pairwise" if compares else "ridge"}
    train, path = doors.train(roles)

    fit = ca.reward.choose(reward).fit(train, doors.encoder)
    given = fit.model if method.takes_reward else None
    expected = weights(
        ca.policy.tune(method, train, tmp_path / "python", reward=given).model_folder
    )
    named = doors.options({k: v for k, v in roles.items() if k != "propensity"})
    doors.call("reward", "fit", path, *named, "--method", reward["method"],
               "--encoder", doors.encoder, "--out", tmp_path / "r")  # fmt: skip
    named = doors.options({k: v for k, v in roles.items() if k != "confounders"})
    model = ["--reward-model", tmp_path / "r" / "model"] if method.takes_reward else []
    doors.call("policy", name, path, *named, *model, *doors.assignments(settings),
               "--out", tmp_path / "cli")  # fmt: skip
    run = doors.run_recipe(
        roles,
        reward=reward,
        policy={"method": name, **settings},
        generate={"texts": 4, "max_new_tokens": 4},
    )
    for folder in (tmp_path / "cli" / "model", run / "4-policy" / "naive" / "model"):
        found = weights(folder)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value)


def weights(folder):
    return load_file(folder / "adapter_model.safetensors")
