"""Fine-tuning learns the log, and weights move it towards better texts."""

import numpy as np
import pytest

from causalign.errors import InputError, SettingsError
from causalign.lm.language_model import load_language_model
from causalign.policy import SFT
from causalign.results import Result


def test_fine_tuning_learns_the_log(writer, tiny_lm_folder, logs, score):
    before = score(load_language_model(tiny_lm_folder), logs)
    after = score(writer.language_model(), logs)
    assert before.mean() < -25
    assert abs(after.mean() + np.log(64)) < 0.5  # the log has 64 texts, evenly
    assert isinstance(writer, Result)
    assert "token loss" in writer.answer()
    assert writer.section().figures


def test_outcome_weights_move_the_policy_towards_better_texts(
    writer, logs, training, tmp_path, value_on
):
    method = SFT(model=str(writer.model_folder), training=training, temperature=0.5)
    fit = method.fit(logs, tmp_path / "run")
    assert value_on(fit.language_model(), logs) > value_on(writer.language_model(), logs) + 0.1


def test_a_reward_takes_the_place_of_the_outcome(writer, logs, training, tmp_path, yeses, value_on):
    """The outcome says the opposite; the reward is right."""
    opposite = logs.with_outcome(-logs.outcome, "turned round")
    method = SFT(model=str(writer.model_folder), training=training, temperature=0.5)
    fit = method.fit(opposite, tmp_path / "run", reward=yeses)
    assert value_on(fit.language_model(), logs) > value_on(writer.language_model(), logs) + 0.1
    with pytest.raises(SettingsError, match="Without a temperature"):
        SFT().fit(logs, tmp_path, reward=yeses)
    with pytest.raises(InputError, match="nothing can be learned"):
        method.fit(logs, tmp_path, reward=lambda texts, prompts: np.ones(len(texts)))
