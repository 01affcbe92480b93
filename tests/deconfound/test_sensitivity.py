"""Sensitivity of an effect and of a ranking to what nobody recorded."""

import numpy as np
import pyarrow as pa
import pytest

from causalign.deconfound.sensitivity import UnobservedConfounding
from causalign.errors import InputError, NotIdentified, RoleNotDeclared, SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.results import Result, Verdict


def logs(effect=1.0, week=0.2, n=600, unrecorded=0.0, **more):
    rng = np.random.default_rng(2)
    text, hidden = rng.normal(size=n), rng.normal(size=n)
    weeks = rng.normal(size=n)
    price = 0.5 * text + week * weeks + unrecorded * hidden + rng.normal(size=n)
    y = effect * price + text + week * weeks + unrecorded * hidden + rng.normal(size=n)
    site = np.array(["a", "b", "c"])[rng.integers(0, 3, n)]
    columns = {"y": y, "price": price, "week": weeks, "site": site, "x": text}
    roles = {"confounders": ("price", "week", "site"), "features": ("x",)} | more
    return Logs.of(pa.table({"text": ["t"] * n, **columns}), Roles("text", "y", **roles))


def test_an_effect_that_a_benchmark_cannot_hide_passes():
    found = UnobservedConfounding("price").fit(logs())
    assert isinstance(found, Result)
    assert found.coefficient.estimate == pytest.approx(1.0, abs=0.1)
    assert found.findings[0].verdict is Verdict.PASS
    assert found.findings[0].numbers["benchmark"] == "week"
    assert 0 < found.robustness_of_interval < found.robustness < 1
    rows = found.table().to_pylist()
    assert [(r["name"], r["multiple"]) for r in rows[:3]] == [
        ("as recorded", 0),
        ("week", 1),
        ("week", 2),
    ]
    assert len(rows) == 7
    assert rows[1]["estimate"] > rows[2]["estimate"] > rows[3]["estimate"]
    assert "1x week" in found.summary()
    assert "<svg" in found.drawing().figure().svg
    assert found.section().numbers["robustness"] == found.robustness


def test_an_effect_that_a_benchmark_hides_warns():
    found = UnobservedConfounding("price").fit(logs(effect=0.15, week=1.0))
    assert found.findings[0].verdict is Verdict.WARN
    assert "Record what you suspect" in found.findings[0].explanation


def test_nothing_to_hide_and_nothing_to_compare_with():
    assert UnobservedConfounding("price").fit(logs(effect=0.0)).findings[0].verdict is (
        Verdict.NOT_APPLICABLE
    )
    alone = UnobservedConfounding("price").fit(logs(confounders=("price",)))
    assert alone.findings[0].verdict is Verdict.NOT_APPLICABLE
    assert "name benchmarks" in alone.findings[0].explanation
    assert alone.table().num_rows == 1
    assert "<svg" in alone.drawing().figure().svg


def test_the_bound_holds_the_truth_when_the_benchmark_is_as_strong():
    """The week's twin was not recorded; allowing for one as strong as the week finds the truth."""
    found = UnobservedConfounding("price").fit(logs(week=0.7, unrecorded=0.7, n=4000))
    recorded, twin = found.table().to_pylist()[:2]
    assert recorded["lower"] > 1.0
    assert twin["estimate"] == pytest.approx(1.0, abs=0.05)


def test_the_reward_moves_as_the_bound_says():
    """Rewards fitted with the effect off by some bias differ by that bias times what texts tell."""
    given = logs()
    found = UnobservedConfounding("price").fit(given)
    others = np.column_stack([np.ones(600), given.numbers("week")])
    others = np.column_stack([others, given.covariate("site").columns()[0]])

    def reward(effect):
        columns = np.column_stack([others, given.features])
        left = given.outcome - effect * given.numbers("price")
        return given.features @ np.linalg.lstsq(columns, left, rcond=None)[0][-1:]

    moved = reward(1.0) - reward(1.3)
    assert np.ptp(moved) == pytest.approx(found.reward_shift(0.3), rel=1e-9)
    np.testing.assert_allclose(moved - moved.mean(), 0.3 * found.predicted, atol=1e-9)
    noise = np.random.default_rng(1).normal(size=600)
    assert found.stable_pairs(noise, 0.0) == 1
    assert found.stable_pairs(noise, 0.3) < 1


def test_weights_count_rows():
    """A row of weight 2 gives the estimate of that row twice."""
    given = logs(n=100)
    twice = np.arange(100) < 50
    doubled = given.take(np.concatenate([np.arange(100), np.arange(50)]), "doubled")
    data = given.data.append_column("w", pa.array(1.0 + twice))
    roles = Roles("text", "y", **{"confounders": ("price", "week"), "weight": "w"})
    weighted = UnobservedConfounding("price").fit(Logs.of(data, roles))
    plain = UnobservedConfounding("price").fit(
        Logs.of(doubled.data, Roles("text", "y", confounders=("price", "week")))
    )
    assert weighted.coefficient.estimate == pytest.approx(plain.coefficient.estimate, rel=1e-10)
    assert weighted.benchmarks[0].r2_outcome == pytest.approx(plain.benchmarks[0].r2_outcome)


def test_bad_settings_are_named():
    with pytest.raises(SettingsError, match="did you mean 'price'"):
        UnobservedConfounding("prize").fit(logs())
    with pytest.raises(SettingsError, match="Benchmarks are other"):
        UnobservedConfounding("price", benchmarks=("price",)).fit(logs())
    with pytest.raises(SettingsError, match="above 0"):
        UnobservedConfounding("price", multiples=(0.0,)).fit(logs())
    with pytest.raises(InputError, match="is a category"):
        UnobservedConfounding("site").fit(logs())
    with pytest.raises(RoleNotDeclared, match="confounders"):
        UnobservedConfounding("price").fit(logs(confounders=()))
    with pytest.raises(NotIdentified, match="linear combination"):
        UnobservedConfounding("price").fit(logs(), text_features=logs().numbers("price")[:, None])


def test_features_that_say_nothing_new_change_nothing():
    features = np.random.default_rng(4).normal(size=(600, 2))
    more = np.column_stack([features, np.ones(600), features.sum(axis=1)])
    plain, redundant = (
        UnobservedConfounding("price").fit(logs(), text_features=X) for X in (features, more)
    )
    assert redundant.coefficient.estimate == pytest.approx(plain.coefficient.estimate, rel=1e-9)
    assert redundant.robustness == pytest.approx(plain.robustness, rel=1e-9)
