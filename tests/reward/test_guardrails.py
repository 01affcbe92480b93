"""Guardrails have rewards of their own, from the vectors and the factorisation of the outcome's."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import Logs, Roles, reward
from causalign.errors import InputError, SettingsError
from causalign.logs import scan_logs

ROLES = Roles("text", "clicks", guardrails=("complaints", "returns"))
WORDS = ("cheap", "now", "please", "sunny", "garden", "quiet", "offer", "thanks")


def make_table(rows: int = 300, seed: int = 0) -> pa.Table:
    draw = np.random.default_rng(seed)
    holds = draw.random((rows, len(WORDS))) < 0.4
    effects = draw.normal(size=(len(WORDS), 3)) * [1.0, 0.5, 0.1]
    noise = draw.normal(size=(rows, 3)) * 0.3
    outcomes = holds @ effects + noise
    texts = [" ".join(np.array(WORDS)[row]) + f" n{i}" for i, row in enumerate(holds)]
    names = ("clicks", "complaints", "returns")
    return pa.table({"text": texts} | dict(zip(names, outcomes.T, strict=True)))


def test_a_guardrail_is_scored_as_if_it_were_the_outcome():
    fit = reward.Ridge().fit(Logs.of(make_table(), ROLES), "hashing")
    asked = ["cheap offer now", "a quiet garden", ""]
    assert list(fit.model.guardrails) == ["complaints", "returns"]
    for name, model in fit.model.guardrails.items():
        roles = replace(ROLES, outcome=name, guardrails=())
        alone = reward.Ridge().fit(Logs.of(make_table(), roles), "hashing").model
        np.testing.assert_allclose(model(asked), alone(asked), rtol=1e-7)
        np.testing.assert_allclose(
            model.standard_error(asked), alone.standard_error(asked), rtol=1e-5
        )
    penalties = fit.section().tables["guardrails"]["penalty"].to_pylist()
    assert len({fit.estimate.penalty, *penalties}) > 1


def test_a_saved_model_keeps_its_guardrails(tmp_path):
    fit = reward.Ridge().fit(Logs.of(make_table(), ROLES), "hashing")
    fit.model.save(tmp_path / "model")
    loaded = reward.RewardModel.load(tmp_path / "model")
    asked = ["cheap offer now", "a quiet garden"]
    for name, model in loaded.guardrails.items():
        assert model(asked).tolist() == fit.model.guardrails[name](asked).tolist()


def test_a_scan_teaches_the_same_guardrails(tmp_path):
    pq.write_table(make_table(), tmp_path / "log.parquet")
    scan = scan_logs(tmp_path / "log.parquet", ROLES, batch_rows=64)
    model = reward.Ridge(penalties=[1.0]).fit(scan, "hashing").model
    rows = reward.Ridge(penalties=[1.0]).fit(Logs.of(make_table(), ROLES), "hashing").model
    asked = ["cheap offer now", "a quiet garden"]
    for name in ROLES.guardrails:
        np.testing.assert_allclose(
            model.guardrails[name](asked), rows.guardrails[name](asked), rtol=1e-5
        )
        np.testing.assert_allclose(
            model.guardrails[name].standard_error(asked),
            rows.guardrails[name].standard_error(asked),
            rtol=0.3,  # other folds judge the noise
        )


@pytest.mark.parametrize("method", [reward.Perceptron(), reward.WithinTests(), reward.Pooled()])
def test_methods_of_one_outcome_refuse_guardrails(method):
    with pytest.raises(SettingsError, match="Use the method 'ridge'"):
        method.check_roles(replace(ROLES, group="test"))


def test_a_priced_reward_is_what_texts_earn_less_what_they_cost():
    model = reward.Ridge().fit(Logs.of(make_table(), ROLES), "hashing").model
    asked = ["cheap offer now", "a quiet garden"]
    priced = model.price({"complaints": 2.0, "returns": -1.0})
    expected = model(asked) - 2 * model.guardrails["complaints"](asked)
    expected += model.guardrails["returns"](asked)
    np.testing.assert_allclose(priced(asked), expected, rtol=1e-12)


def test_a_reward_of_priced_logs_is_the_priced_reward_at_one_penalty():
    logs = Logs.of(make_table(), ROLES)
    ridge = reward.Ridge(penalties=[1.0])
    asked = ["cheap offer now", "a quiet garden"]
    prices = {"complaints": 2.0, "returns": 0.5}
    np.testing.assert_allclose(
        ridge.fit(logs.price(prices), "hashing").model(asked),
        ridge.fit(logs, "hashing").model.price(prices)(asked),
        rtol=1e-7,
    )
    assert logs.price({"returns": 1}).roles.guardrails == ("complaints",)


def test_prices_name_guardrails_as_they_were_declared():
    logs = Logs.of(make_table(), ROLES).with_outcomes({"returns": np.arange(300.0)}, "adjusted")
    assert logs.roles.guardrails == ("complaints", "returns_adjusted")
    assert logs.price({"returns": 1.0}).roles.guardrails == ("complaints",)
    with pytest.raises(SettingsError, match="no guardrail 'return'"):
        logs.price({"return": 1.0})


def test_a_priced_reward_is_fitted_again_on_priced_logs_only():
    logs = Logs.of(make_table(), ROLES)
    priced = reward.Ridge().fit(logs, "hashing").model.price({"complaints": 2.0, "returns": 1})
    with pytest.raises(InputError, match="Price them too"):
        priced.cross_fit(logs)
    fitted = priced.cross_fit(logs.price({"complaints": 2.0, "returns": 1}))
    assert np.isfinite(fitted(["cheap"])).all()
