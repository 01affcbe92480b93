"""Single outcomes move the policy: by their distance from a threshold, and by row weights."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from causalign.errors import InputError, SettingsError
from causalign.logs import Logs
from causalign.policy import KTO
from causalign.policy.kto import distance_from_threshold, exchange


def test_better_outcomes_move_the_policy(writer, logs, training, tmp_path, value_on):
    fit = KTO(model=str(writer.model_folder), training=training).fit(logs, tmp_path / "run")
    assert value_on(fit.language_model(), logs) > value_on(writer.language_model(), logs) + 0.1
    assert fit.curve["reward_difference"][0].as_py() == pytest.approx(0, abs=1e-5)
    assert fit.curve["reward_difference"][-1].as_py() > 0.05
    assert fit.curve["divergence"][0].as_py() == pytest.approx(0, abs=1e-4)
    assert {f.code for f in fit.findings} >= {"EV201", "PO105", "PO108"}


def test_a_reward_takes_the_place_of_the_outcome(writer, logs, training, tmp_path, yeses, value_on):
    """The outcome says the opposite; the reward is right."""
    opposite = logs.with_outcome(-logs.outcome, "turned round")
    method = KTO(model=str(writer.model_folder), training=training)
    fit = method.fit(opposite, tmp_path / "run", reward=yeses)
    assert value_on(fit.language_model(), logs) > value_on(writer.language_model(), logs) + 0.1


def test_rows_of_weight_zero_teach_nothing(writer, logs, training, tmp_path, value_on):
    """Half of the rows say the opposite, and have no weight."""
    table = pa.concat_tables([logs.data, logs.data]).drop(["y"])
    outcome = np.concatenate([logs.outcome, -10 * logs.outcome])
    weight = np.repeat([1.0, 0.0], len(logs))
    table = table.append_column("y", pa.array(outcome)).append_column("w", pa.array(weight))
    weighted = Logs.of(table, replace(logs.roles, weight="w"))
    method = KTO(model=str(writer.model_folder), training=replace(training, steps=40))
    fit = method.fit(weighted, tmp_path / "run")
    assert value_on(fit.language_model(), logs) > value_on(writer.language_model(), logs) + 0.1


def test_the_threshold_is_the_weighted_mean_unless_another_is_given():
    outcome, weight = np.array([0.0, 1.0, 3.0]), np.array([2.0, 1.0, 1.0])
    assert distance_from_threshold(outcome, weight, None).tolist() == [-1, 0, 2]
    assert distance_from_threshold(outcome, weight, 0.5).tolist() == [-0.5, 0.5, 2.5]
    for equal, weights in ((np.full(3, 0.1), weight), (outcome, np.array([0.0, 1.0, 0.0]))):
        with pytest.raises(InputError, match="no text is desirable"):
            distance_from_threshold(equal, weights, None)
    with pytest.raises(InputError, match="weight 0"):
        distance_from_threshold(outcome, np.zeros(3), None)


def test_every_completion_goes_to_another_row():
    other = exchange(7, seed=3)
    assert sorted(other) == list(range(7))
    assert (other != np.arange(7)).all()
    assert (exchange(7, seed=4) != other).any()


@pytest.mark.parametrize("micro", [8, 2])
def test_micro_batches_share_the_divergence_of_the_batch(
    tiny_lm_folder, logs, training, tmp_path, micro
):
    training = replace(training, steps=4, micro_batch_size=micro)
    fits = [
        KTO(model=str(tiny_lm_folder), lora=None, training=t).fit(logs, tmp_path / str(number))
        for number, t in enumerate((training, replace(training, micro_batch_size=None)))
    ]
    for name in ("loss", "divergence", "reward_difference"):
        one, other = (fit.curve[name].to_numpy() for fit in fits)
        assert np.allclose(one, other, rtol=1e-4, atol=1e-5), name
    assert fits[0].curve["divergence"].to_numpy().max() > 0.01


def test_settings_out_of_range_are_refused():
    for changes in (
        {"beta": 0},
        {"threshold": float("nan")},
        {"desirable_weight": -1},
        {"undesirable_weight": "much"},
    ):
        with pytest.raises(SettingsError, match=next(iter(changes))):
            KTO(**changes)
