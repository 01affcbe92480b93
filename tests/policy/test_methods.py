"""Every method moves its own objective, and what it leaves behind loads elsewhere."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from causalign.errors import ArtifactError, InputError, SettingsError
from causalign.lm.completions import tokenized
from causalign.lm.generate import sample
from causalign.lm.language_model import Lora, load_language_model
from causalign.lm.logprob import completion_logprobs
from causalign.policy import (
    DPO,
    SFT,
    CausalPreference,
    CrossFitted,
    FreshSamples,
    PolicyFit,
    Training,
    Weighting,
)
from causalign.results import Result, Verdict


def yeses(prompts, completions):
    return np.array([float(text.count("yes")) for text in completions])


def scored(model, logs):
    texts = tokenized(model.tokenizer, logs.prompts, logs.completions, max_length=48)
    return completion_logprobs(model, texts)


def value_on(model, logs):
    """Return E[number of yes] under the policy restricted to the 64 texts: a finite sum."""
    first = logs.take(np.arange(64), "each text once")
    logprob = scored(model, first)
    weight = np.exp(logprob - logsumexp(logprob))
    return float(weight @ yeses(None, first.completions))


def test_fine_tuning_learns_the_log(writer, tiny_lm_folder, logs):
    before = scored(load_language_model(tiny_lm_folder), logs)
    after = scored(writer.language_model(), logs)
    assert before.mean() < -25
    assert abs(after.mean() + np.log(64)) < 0.5  # the log has 64 texts, evenly
    assert isinstance(writer, Result)
    assert "token loss" in writer.answer()
    assert writer.section().figures


def test_outcome_weights_move_the_policy_towards_better_texts(writer, logs, training, tmp_path):
    method = SFT(model=str(writer.model_folder), training=training, temperature=0.5)
    fit = method.fit(logs, tmp_path / "run")
    assert value_on(fit.language_model(), logs) > value_on(writer.language_model(), logs) + 0.1


def test_preferences_move_the_policy(writer, logs, pairs, training, tmp_path):
    fit = DPO(model=str(writer.model_folder), training=training).fit(pairs, tmp_path / "run")
    assert value_on(fit.language_model(), logs) > value_on(writer.language_model(), logs) + 0.1
    assert fit.curve["reward_difference"][0].as_py() == pytest.approx(0, abs=1e-5)
    assert fit.curve["reward_difference"][-1].as_py() > 0.1


def test_pairs_of_weight_zero_teach_nothing(writer, pairs, training, tmp_path):
    """Half of the pairs are turned round: with weight zero they cannot pull the other way."""
    turned = replace(
        pairs,
        chosen=[*pairs.chosen, *pairs.rejected],
        rejected=[*pairs.rejected, *pairs.chosen],
        margin=np.tile(pairs.margin, 2),
        weight=np.repeat([1.0, 0.0], len(pairs)),
        group=np.arange(2 * len(pairs)),
        prompt=[*pairs.prompt, *pairs.prompt],
    )
    even = replace(turned, weight=np.ones(2 * len(pairs)))
    moved = [
        DPO(model=str(writer.model_folder), training=training).fit(p, tmp_path / name)
        for name, p in (("weighted", turned), ("even", even))
    ]
    gained = [fit.curve["chosen_logprob"].to_numpy() for fit in moved]
    assert len(gained[0]) == len(gained[1])
    difference = []
    for fit in moved:
        model = fit.language_model()
        rows = [
            completion_logprobs(
                model, tokenized(model.tokenizer, pairs.prompt, side, max_length=48)
            ).mean()
            for side in (pairs.chosen, pairs.rejected)
        ]
        difference.append(rows[0] - rows[1])
    assert difference[0] > difference[1] + 0.5


@pytest.mark.parametrize("objective", ["weighted", "outcome-model", "doubly-robust"])
def test_causal_preference_raises_the_value(writer, logs, training, tmp_path, objective):
    method = CausalPreference(
        objective=objective,
        model=str(writer.model_folder),
        training=replace(training, steps=16, learning_rate=1e-2),
        samples=FreshSamples(every=4, max_new_tokens=12, measured=32),
    )
    model = None if objective == "weighted" else yeses
    fit = method.fit(logs, tmp_path / "run", outcome_model=model)
    before = value_on(writer.language_model(), logs)
    assert value_on(fit.language_model(), logs) > before + 0.15
    assert np.isfinite(fit.curve["value"].to_numpy()).all()
    codes = {f.code: f.verdict for f in fit.findings}
    assert codes["PO108"] is Verdict.PASS
    if objective != "outcome-model":
        assert codes["PO101"] is Verdict.PASS
        assert codes["PO106"] is Verdict.PASS  # the writer's mean weight is one
        assert fit.numbers["held_out_value_after"] > fit.numbers["held_out_value_before"]


def yeses_written(model):
    """Return the mean number of yes in fresh texts: a wrong model leads away from the 64."""
    prompts = ["Say three words: "] * 200
    return yeses(None, sample(model, prompts, max_new_tokens=12, seed=0).texts).mean()


@pytest.mark.slow
def test_a_wrong_outcome_model_misleads_alone_and_not_with_the_log(
    writer, logs, training, tmp_path
):
    """The model counts no instead of yes."""

    def wrong(prompts, completions):
        return np.array([float(text.count("no")) for text in completions])

    before = yeses_written(writer.language_model())
    after = {}
    for objective in ("outcome-model", "doubly-robust"):
        method = CausalPreference(
            objective=objective,
            model=str(writer.model_folder),
            training=replace(training, steps=24, learning_rate=7e-3),
            samples=FreshSamples(every=4, max_new_tokens=12, measured=0),
        )
        fit = method.fit(logs, tmp_path / objective, outcome_model=wrong)
        after[objective] = yeses_written(fit.language_model())
    assert after["outcome-model"] < before - 0.1
    assert value_on(fit.language_model(), logs) > value_on(writer.language_model(), logs) + 0.1


def test_a_high_price_of_divergence_keeps_the_policy_in_place(writer, logs, training, tmp_path):
    method = CausalPreference(
        objective="outcome-model",
        model=str(writer.model_folder),
        training=replace(training, learning_rate=2e-3),
        samples=FreshSamples(every=2, max_new_tokens=12),
        kl=50.0,
    )
    fit = method.fit(logs, tmp_path / "run", outcome_model=yeses)
    moved = value_on(fit.language_model(), logs) - value_on(writer.language_model(), logs)
    assert abs(moved) < 0.1


def test_adapters_load_with_plain_peft(writer, logs, training, tmp_path):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    method = SFT(model=str(writer.model_folder), training=training, lora=Lora(rank=4))
    fit = method.fit(logs, tmp_path / "run")
    base = AutoModelForCausalLM.from_pretrained(writer.model_folder)
    plain = PeftModel.from_pretrained(base, fit.model_folder)
    tokenizer = AutoTokenizer.from_pretrained(fit.model_folder)
    ids = tokenizer("yes good", return_tensors="pt").input_ids
    with torch.no_grad():
        ours = fit.language_model().model(input_ids=ids).logits
        assert torch.allclose(plain(input_ids=ids).logits, ours, atol=1e-6)
    card = (fit.model_folder / "README.md").read_text()
    for said in ("base_model:", "Data.", '"rank": 4', "PO105", "library_name: peft"):
        assert said in card


def test_an_adapter_can_be_trained_further(writer, logs, training, tmp_path):
    base = str(writer.model_folder)
    first = SFT(model=base, training=training, temperature=1.0).fit(logs, tmp_path / "first")
    method = CausalPreference(
        model=base,
        adapter=str(first.model_folder),
        training=replace(training, steps=12, learning_rate=5e-3),
        weighting=Weighting(stop_below=2),
        samples=FreshSamples(measured=0),
        held_out=0,
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


def test_collapsed_weights_stop_training_and_the_best_model_is_kept(
    writer, logs, training, tmp_path
):
    method = CausalPreference(
        model=str(writer.model_folder),
        lora=None,
        training=replace(training, steps=60, learning_rate=2e-2),
        weighting=Weighting(stop_below=60),
        samples=FreshSamples(measured=0),
    )
    fit = method.fit(logs, tmp_path / "run")
    assert fit.curve.num_rows < 60
    found = {f.code: f for f in fit.findings}
    assert found["PO108"].verdict is Verdict.FAIL
    assert "worth" in found["PO108"].explanation
    assert fit.numbers["effective_rows"] > 45  # what was kept had not collapsed
    assert fit.numbers["held_out_value_after"] >= fit.numbers["held_out_value_before"]


def test_weights_that_have_collapsed_before_the_first_step_are_refused(
    tiny_lm_folder, logs, training, tmp_path
):
    propensity = np.where(np.arange(len(logs)) == 0, -300.0, -1.0)
    method = CausalPreference(model=str(tiny_lm_folder), training=training)
    fit = method.fit(logs, tmp_path / "run", log_propensity=propensity)
    assert fit.curve.num_rows == 0
    assert "made no step" in fit.answer()
    assert any(f.code == "PO108" and f.verdict is Verdict.FAIL for f in fit.findings)
    assert not fit.section().figures


def test_the_reference_as_logging_policy_is_pointed_out(writer, logs, training, tmp_path):
    method = CausalPreference(
        model=str(writer.model_folder), training=training, propensity="reference"
    )
    fit = method.fit(logs, tmp_path / "run")
    found = {f.code: f for f in fit.findings}
    assert found["PO107"].verdict is Verdict.WARN
    assert found["PO106"].numbers["mean"] == pytest.approx(1)


def test_reference_scores_are_computed_once(writer, pairs, training, tmp_path, monkeypatch):
    from causalign.lm import logprob

    calls = []
    true = logprob.completion_logprobs
    monkeypatch.setattr(
        logprob, "completion_logprobs", lambda *a, **k: calls.append(1) or true(*a, **k)
    )
    monkeypatch.setenv("CAUSALIGN_CACHE", str(tmp_path / "cache"))
    for name in ("first", "second"):
        method = DPO(model=str(writer.model_folder), training=training, beta=0.1 + len(name))
        method.fit(pairs, tmp_path / name)
    assert len(calls) == 1


def test_cross_fitted_models_never_judge_their_own_rows():
    models = tuple(lambda p, c, k=k: np.full(len(c), float(k)) for k in range(3))
    fitted = CrossFitted(models, np.array([0, 1, 2, 2]))
    assert fitted.logged(None, list("abcd")).tolist() == [0, 1, 2, 2]
    assert fitted(None, ["new"]).tolist() == [pytest.approx((0 + 1 + 2 + 2) / 4)]
    with pytest.raises(InputError, match="fold"):
        CrossFitted(models, np.array([3]))


def test_settings_that_do_not_fit_each_other_are_refused(logs, tmp_path):
    with pytest.raises(SettingsError, match="needs an outcome_model"):
        CausalPreference(objective="doubly-robust").fit(logs, tmp_path)
    with pytest.raises(SettingsError, match="takes no outcome_model"):
        CausalPreference().fit(logs, tmp_path, outcome_model=yeses)
    with pytest.raises(SettingsError, match="lora=None"):
        SFT(adapter="somewhere", lora=None).fit(logs, tmp_path)
    for build in (
        lambda: CausalPreference(objective="cpo"),
        lambda: CausalPreference(kl=-1),
        lambda: SFT(temperature=0),
        lambda: DPO(beta=0),
        lambda: Weighting(level="token"),
        lambda: Weighting(clip=0),
        lambda: FreshSamples(every=0),
        lambda: FreshSamples(defensive=1),
        lambda: Training(batch_size=0),
        lambda: Training(precision="int4"),
        lambda: Lora(rank=0),
    ):
        with pytest.raises(SettingsError):
            build()
