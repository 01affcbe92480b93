import numpy as np
import pytest

import causalign as ca
from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.reward import ForAudience, audience_gains
from causalign.reward.model import RewardModel

BASE = "Readers love these desk lamps in three colours."
BOTH = [f"Last chance! {BASE}", BASE]
TRUE = {"new": -0.9, "regular": 0.6}


def adjust(logs):
    return ca.deconfound.Additive().fit(logs, "style").adjust(logs)


@pytest.fixture(scope="module")
def logs():
    return adjust(ca.simulate.OppositeTastes(rows=3000).simulate().logs)


@pytest.fixture(scope="module")
def fit(logs):
    return ForAudience().fit(logs, "style")


def effect(model):
    """Return what the opening does by a reward, and how wrong that may be."""
    difference = model.predict(BOTH) @ [1, -1]
    noise = np.linalg.norm([1, -1] @ model.covariance_factor(BOTH))
    return difference, float(noise)


def test_opposite_tastes_are_found_within_their_intervals():
    inside = []
    for seed in range(20):
        design = ca.simulate.OppositeTastes(rows=3000, seed=seed).simulate()
        model = ForAudience().fit(adjust(design.logs), "style").model
        for audience, true in TRUE.items():
            found, error = effect(model.for_audience(audience))
            assert error < 0.3
            inside.append(abs(found - true) < 1.96 * error)
        found, error = effect(model)
        inside.append(abs(found - (0.9 * 0.6 - 0.1 * 0.9)) < 1.96 * error)
    assert np.mean(inside) >= 0.9


def test_what_readers_share_is_learned_from_all(fit):
    numbers = fit.estimate.numbers
    assert numbers["cv_r2"] > numbers["cv_r2_alike"] + 0.01


def test_one_reward_for_all_is_wrong_about_the_minority(logs, fit):
    found, error = effect(ca.reward.Ridge().fit(logs, "style").model)
    assert found > 0.3
    assert found - TRUE["new"] > 4 * error


def test_the_level_of_an_audience_is_no_effect_of_its_texts(logs, fit):
    shifted = logs.outcome + 10.0 * (np.array(logs.data["reader"].to_pylist()) == "new")
    again = ForAudience().fit(logs.with_outcome(shifted, "new readers earn ten more"), "style")
    head, before = again.model.head, fit.model.head
    assert head.levels - before.levels == pytest.approx([10, 0])
    for audience in TRUE:
        one = again.model.for_audience(audience)
        assert effect(one) == pytest.approx(effect(fit.model.for_audience(audience)), rel=1e-5)


def test_a_saved_model_scores_each_audience_the_same(fit, tmp_path):
    loaded = RewardModel.load(fit.save(tmp_path) / "model")
    assert (loaded(BOTH) == fit.model(BOTH)).all()
    for audience in TRUE:
        one, other = loaded.for_audience(audience), fit.model.for_audience(audience)
        assert (one(BOTH) == other(BOTH)).all()
        assert (one.standard_error(BOTH) == other.standard_error(BOTH)).all()
    assert loaded.method == ForAudience()
    with pytest.raises(InputError, match="'old' is not among.*'new', 'regular'"):
        loaded.for_audience("old")


def test_gains_by_audience_tell_who_gains_least(fit):
    gains = audience_gains(fit.model, BOTH)
    assert gains.names == ("new", "regular")
    assert gains.worst[0] == gains.gain[0, 0] < gains.gain[1, 0]
    new = fit.model.for_audience("new")
    np.testing.assert_allclose(gains.error[:, 0], new.standard_error(BOTH), rtol=1e-9)


def test_an_audience_of_three_rows_gets_the_reward_of_all_with_a_wide_interval(logs):
    names = logs.data["reader"].to_pylist()
    names[:3] = ["rare"] * 3
    table = logs.data.drop_columns("reader").append_column("reader", [names])
    fit = ForAudience().fit(ca.Logs.of(table, logs.roles), "style")
    rare, error = effect(fit.model.for_audience("rare"))
    assert error > effect(fit.model.for_audience("new"))[1]
    assert abs(rare - effect(fit.model)[0]) < 2 * error


def test_what_knows_no_audience_says_so(logs, fit):
    with pytest.raises(RoleNotDeclared):
        ForAudience().check_roles(ca.Roles("mail", "minutes_read"))
    plain = ca.reward.Ridge().fit(logs, "style").model
    with pytest.raises(SettingsError, match="for-audience"):
        plain.for_audience("new")
    with pytest.raises(SettingsError):
        audience_gains(plain, BOTH)
    with pytest.raises(SettingsError):
        ForAudience(choose="ranking")
    with pytest.raises(SettingsError, match="does not record"):
        fit.model.for_audience("new").cross_fit(logs)
