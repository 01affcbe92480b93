"""Preferences move the policy, weights count, and logs make pairs by group or by reward."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.lm import reference
from causalign.lm.completions import tokenize
from causalign.lm.logprob import completion_logprobs
from causalign.logs import Logs, Pairs
from causalign.policy import DPO
from causalign.policy import dpo as module


def test_preferences_move_the_policy(writer, logs, pairs, training, tmp_path, value_on):
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
        rows=None,
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
                model, tokenize(model.tokenizer, pairs.prompt, side, max_length=48)
            ).mean()
            for side in (pairs.chosen, pairs.rejected)
        ]
        difference.append(rows[0] - rows[1])
    assert difference[0] > difference[1] + 0.5


def test_reference_scores_are_computed_once(writer, pairs, training, tmp_path, monkeypatch):
    calls = []
    true = reference.completion_logprobs
    monkeypatch.setattr(
        reference, "completion_logprobs", lambda *a, **k: calls.append(1) or true(*a, **k)
    )
    monkeypatch.setenv("CAUSALIGN_CACHE", str(tmp_path / "cache"))
    for name in ("first", "second"):
        method = DPO(model=str(writer.model_folder), training=training, beta=0.1 + len(name))
        method.fit(pairs, tmp_path / name)
    assert len(calls) == 1


def test_pairs_that_say_nothing_are_refused(tmp_path, tiny_lm_folder):
    none = Pairs([], [], np.zeros(0), np.zeros(0), np.zeros(0))
    idle = Pairs(["a"], ["b"], np.ones(1), np.zeros(1), np.zeros(1))
    equal = Pairs(["a"], ["a"], np.ones(1), np.ones(1), np.zeros(1))
    for pairs, part in ((equal, "two different sides"), (idle, "weight 0")):
        with pytest.raises(InputError, match=part):
            DPO(model=str(tiny_lm_folder)).fit(pairs, tmp_path)
    with pytest.raises(InputError, match="no pairs"):
        DPO(model=str(tiny_lm_folder)).fit(none, tmp_path)


@pytest.fixture
def compared(monkeypatch):
    """The pairs that a fit would learn from."""
    seen = []

    def stop(pairs):
        seen.append(pairs)
        raise InterruptedError

    monkeypatch.setattr(module, "check_pairs", stop)

    def compare(data, **more):
        with pytest.raises(InterruptedError):
            DPO(training=more.pop("training")).fit(data, "nowhere", **more)
        return seen.pop()

    return compare


def test_a_reward_decides_who_wins_and_not_which_texts_meet(logs, training, compared, yeses):
    short = replace(training, steps=3)
    right = compared(logs, reward=yeses, training=short)
    turned = compared(logs, reward=lambda c, p: -yeses(c), training=short)
    assert 0 < len(right) <= 3 * short.batch_size
    assert (yeses(right.chosen) > yeses(right.rejected)).all()
    assert (yeses(turned.chosen) < yeses(turned.rejected)).all()
    assert [sorted(row) for row in right.rows.tolist()] == [
        sorted(row) for row in turned.rows.tolist()
    ]


def test_without_a_reward_pairs_are_those_of_a_group(logs, training, compared):
    group = pa.array(np.arange(len(logs)) // 4)
    table = logs.data.append_column("test", group)
    grouped = Logs.of(table, replace(logs.roles, group="test"))
    assert len(compared(grouped, training=training)) == len(grouped.pairs())
    with pytest.raises(RoleNotDeclared, match="group"):
        DPO().fit(logs, "nowhere")
    with pytest.raises(RoleNotDeclared, match="group"):
        DPO().check_roles(logs.roles, with_reward=False)
    DPO().check(logs)
    with pytest.raises(InputError, match="reads pairs or logs; found list"):
        DPO().fit(["a text"], "nowhere")
    with pytest.raises(SettingsError, match="who won"):
        DPO().fit(grouped.pairs(), "nowhere", reward=len)


@pytest.mark.parametrize(
    "settings",
    [{"loss": "robust", "label_smoothing": 0.1}, {"label_smoothing": 0.1}, {"loss": "ipo"}],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_every_loss_moves_the_policy(writer, logs, pairs, training, tmp_path, value_on, settings):
    method = DPO(model=str(writer.model_folder), training=training, **settings)
    fit = method.fit(pairs, tmp_path / "run")
    assert value_on(fit.language_model(), logs) > value_on(writer.language_model(), logs) + 0.1


def test_smoothing_goes_with_the_losses_that_know_it():
    for settings in ({"loss": "robust"}, {"loss": "ipo", "label_smoothing": 0.1}):
        with pytest.raises(SettingsError, match="share of pairs whose winner is wrong"):
            DPO(**settings)
    for settings in ({"loss": "hinge"}, {"label_smoothing": 0.5}):
        with pytest.raises(SettingsError, match=next(iter(settings))):
            DPO(**settings)
