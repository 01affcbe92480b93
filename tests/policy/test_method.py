"""What all methods share: adapters, folders, what each says of itself, and `tune`."""

import json
import re
import shutil
from dataclasses import fields, replace

import numpy as np
import pytest

from causalign.errors import ArtifactError, CausalignError, InputError, SettingsError
from causalign.lm.language_model import Lora, load_language_model
from causalign.logs import Logs, Roles
from causalign.policy import (
    DPO,
    METHODS,
    PPO,
    SFT,
    CausalPreference,
    FreshSamples,
    PolicyFit,
    PolicyMethod,
    Training,
    Weighting,
    tune,
)


def test_an_adapter_can_be_trained_further(writer, logs, training, tmp_path, value_on):
    base = str(writer.model_folder)
    first = SFT(model=base, training=training, temperature=1.0).fit(logs, tmp_path / "first")
    method = CausalPreference(
        model=base,
        adapter=str(first.model_folder),
        training=replace(training, steps=12, learning_rate=5e-3),
        weighting=Weighting(stop_below=2),
        samples=FreshSamples(evaluation_texts=0),
        validation_share=0,
    )
    second = method.fit(logs, tmp_path / "second")
    model = second.language_model()
    assert value_on(model, logs) > value_on(first.language_model(), logs)
    assert second.curve["effective_rows"][0].as_py() < 190  # the first has already moved
    other = SFT(model=base, lora=None, training=training).fit(logs, tmp_path / "other")
    with pytest.raises(ArtifactError, match="another base model"):
        load_language_model(other.model_folder, adapter=second.model_folder)


def test_an_adapter_is_known_by_what_it_holds_not_by_where_it_lies(
    writer, logs, training, tmp_path, monkeypatch
):
    short = replace(training, steps=2)
    base = str(writer.model_folder)
    for name, temperature in (("first", 1.0), ("other", 0.2)):
        SFT(model=base, training=short, temperature=temperature).fit(logs, tmp_path / name)
    method = SFT(model=base, training=short, adapter=str(tmp_path / "first" / "model"))
    fit = method.fit(logs, tmp_path / "run")
    settings = json.loads((fit.model_folder / "causalign.json").read_text())["settings"]
    card = (fit.model_folder / "README.md").read_text()
    assert re.fullmatch(r"first \([0-9a-f]{32}\)", settings["adapter"])
    assert settings["adapter"] in card
    assert str(tmp_path / "first") not in card
    monkeypatch.chdir(tmp_path)
    shutil.copytree("first", "moved")
    for place in ("first/model", "moved/model"):
        again = replace(method, adapter=place).fit(logs, tmp_path / "run")
        assert again.curve.equals(fit.curve)
    with pytest.raises(ArtifactError, match="other settings or data"):
        replace(method, adapter="other/model").fit(logs, tmp_path / "run")


def test_a_finished_fit_is_read_and_another_is_refused(writer, logs, training, tmp_path):
    method = SFT(model=str(writer.model_folder), training=training)
    first = method.fit(logs, tmp_path / "run")
    again = method.fit(logs, tmp_path / "run")
    assert again.curve.equals(first.curve)
    assert again.findings == first.findings
    assert PolicyFit.load(tmp_path / "run").summary() == first.summary()
    with pytest.raises(ArtifactError, match="other settings or data"):
        replace(method, temperature=1.0).fit(logs, tmp_path / "run")


def test_settings_that_do_not_fit_each_other_are_refused(logs, tmp_path, yeses):
    with pytest.raises(SettingsError, match="lora=None"):
        SFT(adapter="somewhere", lora=None).fit(logs, tmp_path)
    for build in (
        lambda: SFT(temperature=0),
        lambda: DPO(beta=0),
        lambda: Weighting(level="token"),
        lambda: Weighting(clip=0),
        lambda: FreshSamples(refresh_every=0),
        lambda: FreshSamples(defensive_share=1),
        lambda: Training(batch_size=0),
        lambda: Training(precision="int4"),
        lambda: Lora(rank=0),
    ):
        with pytest.raises(SettingsError):
            build()


def test_every_method_says_what_it_reads_and_needs():
    said = {name: (kind.reads, kind().needs, kind().uses_outcome) for name, kind in METHODS.items()}
    written = ("prompts", "reward", True)
    assert {name for name, what in said.items() if what == written} == {"ppo", "grpo", "rloo"}
    assert said["sft"] == ("logs", None, False)
    assert said["dpo"] == ("pairs", None, True)
    assert said["causal-preference"] == ("logs", None, True)
    assert CausalPreference(objective="doubly-robust").needs == "outcome model"
    assert SFT(temperature=1.0).uses_outcome
    assert SFT(temperature=1.0).takes_reward
    assert not SFT().takes_reward
    assert not CausalPreference().takes_reward
    assert [what for what in said.values() if what[1] == "preference model"] == [
        ("pairs", "preference model", True)
    ]
    for name, kind in METHODS.items():
        method = kind()
        assert isinstance(method, PolicyMethod)
        assert method.name == name
        assert method.assumption.endswith(".")
        shared = {"model", "adapter", "lora", "training", "chat"}
        assert shared <= {field.name for field in fields(method)}


def test_what_logs_lack_is_said_before_anything_is_read():
    bare = Roles(completion="text", outcome="y")
    refused = {}
    for name, kind in METHODS.items():
        try:
            kind().check_roles(bare, with_reward=kind().needs is not None)
        except CausalignError as error:
            refused[name] = str(error)
    assert "Roles(group=...)" in refused["dpo"]
    assert "Roles(propensity=...)" in refused["causal-preference"]
    assert "how long to train" in refused["ppo"] == refused["grpo"]
    assert set(METHODS) - set(refused) == {"sft", "kto"}
    CausalPreference(propensity="uniform").check_roles(bare)
    CausalPreference(objective="outcome-model").check_roles(bare)
    PPO(training=Training(steps=8)).check_roles(bare)


def test_methods_refuse_data_of_another_kind(logs, pairs, tmp_path, yeses):
    for method, data in ((SFT(), pairs), (CausalPreference(), ["a"]), (PPO(), pairs)):
        with pytest.raises(InputError, match="reads"):
            method.fit(data, tmp_path, reward=yeses if method.needs else None)
    with pytest.raises(SettingsError, match="needs a reward"):
        PPO().fit(["a"], tmp_path)


def test_tune_starts_from_a_fine_tuned_model(tiny_lm_folder, logs, tmp_path, yeses):
    training = Training(steps=2, batch_size=4, learning_rate=1e-2, max_length=48)
    method = DPO(model=str(tiny_lm_folder), training=training)
    start = SFT(model="another", training=training)
    fit = tune(method, logs, tmp_path / "run", reward=yeses, start=start)
    first = PolicyFit.load(tmp_path / "run" / "start")
    assert first.method == "sft"
    settings = json.loads((fit.model_folder / "causalign.json").read_text())["settings"]
    assert settings["adapter"].startswith("start (")
    by_hand = method.continue_from(first).fit(logs, tmp_path / "hand", reward=yeses)
    assert by_hand.curve.equals(fit.curve)
    whole = method.share_model(replace(start, lora=None)).continue_from(first)
    assert (whole.model, whole.adapter) == (str(first.model_folder), None)
    with pytest.raises(InputError, match="The sft before dpo reads logs"):
        tune(method, logs.matched_pairs(seed=0), tmp_path / "other", start=start)


def test_tune_checks_before_anything_runs(logs, tmp_path, yeses):
    bare = replace(logs, roles=replace(logs.roles, propensity=None))
    with pytest.raises(InputError, match="propensity"):
        tune(CausalPreference(model="nowhere"), bare, tmp_path / "a")
    with pytest.raises(InputError, match="group"):
        tune(DPO(model="nowhere"), bare, tmp_path / "b")
    with pytest.raises(SettingsError, match="weighs nothing"):
        tune(SFT(model="nowhere"), bare, tmp_path / "c", log_propensity=np.zeros(len(bare)))
    assert not list(tmp_path.iterdir())


def test_logs_give_their_distinct_prompts(logs):
    assert PPO().read_prompts(logs) == ["Say three words: "]
    alone = Logs.of(logs.data, replace(logs.roles, prompt=None))
    assert PPO(training=Training(steps=1)).read_prompts(alone) is None
