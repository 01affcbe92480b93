"""Causal preference raises the value by each objective, and says when its weights collapse."""

from dataclasses import replace

import numpy as np
import pytest

from causalign.errors import InputError, SettingsError
from causalign.lm.generate import sample
from causalign.logs import CrossFitted
from causalign.policy import CausalPreference, FreshSamples, Weighting
from causalign.results import Verdict


@pytest.mark.parametrize("objective", ["weighted", "outcome-model", "doubly-robust"])
def test_causal_preference_raises_the_value(
    writer, logs, training, tmp_path, objective, yeses, value_on
):
    method = CausalPreference(
        objective=objective,
        model=str(writer.model_folder),
        training=replace(training, steps=16, learning_rate=1e-2),
        samples=FreshSamples(refresh_every=4, max_new_tokens=12, evaluation_texts=32),
    )
    model = None if objective == "weighted" else yeses
    fit = method.fit(logs, tmp_path / "run", reward=model)
    before = value_on(writer.language_model(), logs)
    assert value_on(fit.language_model(), logs) > before + 0.15
    assert np.isfinite(fit.curve["value"].to_numpy()).all()
    assert next(f for f in fit.findings if f.code == "PO108").verdict is Verdict.PASS
    if objective != "outcome-model":
        assert fit.numbers["effective_rows"] > 0.1 * len(logs)
        mean = next(f for f in fit.findings if f.code == "EV203").numbers["mean"]
        assert 0.5 < mean < 2  # the writer's mean weight is about one
        assert fit.numbers["validation_value_after"] > fit.numbers["validation_value_before"]


def yeses_written(model, yeses):
    """Return the mean number of yes in fresh texts: a wrong model leads away from the 64."""
    prompts = ["Say three words: "] * 200
    return yeses(sample(model, prompts, max_new_tokens=12, seed=0).texts).mean()


@pytest.mark.slow
def test_a_wrong_outcome_model_misleads_alone_and_not_with_the_log(
    writer, logs, training, tmp_path, value_on, yeses
):
    """The model counts no instead of yes."""

    def wrong(completions, prompts):
        return np.array([float(text.count("no")) for text in completions])

    before = yeses_written(writer.language_model(), yeses)
    after = {}
    for objective in ("outcome-model", "doubly-robust"):
        method = CausalPreference(
            objective=objective,
            model=str(writer.model_folder),
            training=replace(training, steps=24, learning_rate=7e-3),
            samples=FreshSamples(refresh_every=4, max_new_tokens=12, evaluation_texts=0),
        )
        fit = method.fit(logs, tmp_path / objective, reward=wrong)
        after[objective] = yeses_written(fit.language_model(), yeses)
    assert after["outcome-model"] < before - 0.1
    assert value_on(fit.language_model(), logs) > value_on(writer.language_model(), logs) + 0.1


def test_a_high_price_of_divergence_keeps_the_policy_in_place(
    writer, logs, training, tmp_path, yeses, value_on
):
    method = CausalPreference(
        objective="outcome-model",
        model=str(writer.model_folder),
        training=replace(training, learning_rate=2e-3),
        samples=FreshSamples(refresh_every=2, max_new_tokens=12),
        kl_coef=50.0,
    )
    fit = method.fit(logs, tmp_path / "run", reward=yeses)
    moved = value_on(fit.language_model(), logs) - value_on(writer.language_model(), logs)
    assert abs(moved) < 0.1


def test_collapsed_weights_stop_training_and_the_best_model_is_kept(
    writer, logs, training, tmp_path
):
    method = CausalPreference(
        model=str(writer.model_folder),
        lora=None,
        training=replace(training, steps=60, learning_rate=2e-2),
        weighting=Weighting(stop_below=60),
        samples=FreshSamples(evaluation_texts=0),
    )
    fit = method.fit(logs, tmp_path / "run")
    assert fit.curve.num_rows < 60
    found = {f.code: f for f in fit.findings}
    assert found["PO108"].verdict is Verdict.FAIL
    assert "worth" in found["PO108"].explanation
    assert fit.numbers["effective_rows"] > 45  # what was kept had not collapsed
    assert fit.numbers["validation_value_after"] >= fit.numbers["validation_value_before"]


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
    assert found["EV203"].numbers["mean"] == pytest.approx(1)


def test_outcome_models_must_return_finite_numbers(logs, tmp_path):
    method = CausalPreference(objective="doubly-robust")
    for broken in (lambda c, p: np.full(len(c), np.nan), lambda c, p: np.zeros(1)):
        with pytest.raises(InputError, match="finite numbers"):
            method.fit(logs, tmp_path, reward=broken)


class Refittable:
    """A reward that has seen the outcomes, and can be fitted without a fold of them."""

    def __init__(self, logs):
        self.asked = []
        self.mean = float(logs.outcome.mean())

    def __call__(self, completions, prompts=None):
        return np.full(len(completions), 99.0)

    def expected_outcome(self, completions, prompts=None):
        self.asked.append("expected_outcome")
        return np.full(len(completions), self.mean)

    def cross_fit(self, logs):
        self.asked.append("cross_fit")
        fold = np.arange(len(logs)) % 2
        means = [float(logs.outcome[fold != k].mean()) for k in range(2)]
        return CrossFitted(tuple(lambda c, p, m=mean: np.full(len(c), m) for mean in means), fold)


@pytest.mark.parametrize("objective", ["outcome-model", "doubly-robust"])
def test_a_reward_is_cross_fitted_where_the_logged_rows_are_predicted(
    tiny_lm_folder, logs, training, tmp_path, objective
):
    """What a `RewardModel` gives by every door is what a user gives as `CrossFitted`."""
    method = CausalPreference(
        objective=objective,
        model=str(tiny_lm_folder),
        training=replace(training, steps=2),
        samples=FreshSamples(max_new_tokens=4, evaluation_texts=0),
        weighting=Weighting(stop_below=1),
        propensity="reference",
    )
    reward = Refittable(logs)
    fit = method.fit(logs, tmp_path / "reward", reward=reward)
    assert set(reward.asked) == {
        "cross_fit" if objective == "doubly-robust" else "expected_outcome"
    }
    crossed = reward.cross_fit(logs)
    given = crossed if objective == "doubly-robust" else reward.expected_outcome
    by_hand = method.fit(logs, tmp_path / "hand", reward=given)
    assert by_hand.curve.equals(fit.curve)


def test_settings_that_do_not_fit_each_other_are_refused(logs, tmp_path, yeses):
    with pytest.raises(SettingsError, match="needs an outcome model"):
        CausalPreference(objective="doubly-robust").fit(logs, tmp_path)
    with pytest.raises(SettingsError, match="takes no outcome model"):
        CausalPreference().fit(logs, tmp_path, reward=yeses)
    for changes in ({"objective": "cpo"}, {"kl_coef": -1}, {"validation_share": 1}):
        with pytest.raises(SettingsError):
            CausalPreference(**changes)
