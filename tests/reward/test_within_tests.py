"""The reward of experiments: every arm of every test, whatever the level of the test."""

import numpy as np
import pyarrow as pa
import pytest

from causalign import Logs, Roles
from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.logs.arms import read_arms
from causalign.reward import Pairwise, RewardModel, WithinTests, choose
from tests.reward.experiments import agreement_with_truth, simulate


def fit(experiments, vectors, **settings):
    arms = read_arms(experiments, "this")
    return WithinTests(**settings).fit_arms(arms, vectors)


def test_it_learns_from_all_arms_what_pairs_that_are_significant_cannot():
    _, _, experiments, E, b = simulate(0, tests=150, bias=0)
    found = fit(experiments, E)
    pairs = experiments.pairs(significance=0.05)
    first, second = pairs.rows.T
    significant = Pairwise().fit_arrays(E[first], E[second], groups=pairs.group)
    best = agreement_with_truth(found.head.coefficients, b)
    assert best > agreement_with_truth(significant.head.coefficients, b) + 0.01
    assert best > 0.95
    assert found.units == "log-odds of the event"
    assert found.numbers["tests"] == 150
    assert found.numbers["between_variance"] == pytest.approx(0.05**2, abs=0.004)


def test_levels_of_tests_do_not_move_the_slope_and_set_the_level():
    _, _, experiments, E, _ = simulate(1, tests=60, bias=0)
    rows = experiments.data.to_pandas()
    busy = rows.assign(clicks=np.where(rows.test % 2 == 0, rows.clicks, rows.clicks // 3))
    roles = experiments.roles
    slopes = [
        fit(Logs.of(frame, roles), E, penalties=[20.0]).head.coefficients for frame in (rows, busy)
    ]
    assert np.corrcoef(*slopes)[0, 1] > 0.95
    head = fit(experiments, E).head
    assert head(E).mean() == pytest.approx(-3, abs=0.1)


def test_means_of_readers_are_arms_with_the_variance_of_readers():
    rng = np.random.default_rng(0)
    test, arm = np.repeat(np.arange(40), 60), np.tile(np.repeat(np.arange(3), 20), 40)
    x = rng.normal(size=(40, 3))
    outcome = rng.normal(size=40)[test] + x[test, arm] + rng.normal(size=len(test))
    table = {"text": [f"{t}-{a}" for t, a in zip(test, arm, strict=True)], "y": outcome, "t": test}
    logs = Logs.of(pa.table(table), Roles("text", "y", group="t"))
    arms = read_arms(logs, "this")
    assert len(arms.rows) == 120
    assert arms.known
    assert arms.variance == pytest.approx(1 / 20, rel=0.1)
    found = WithinTests().fit_arms(arms, x[test, arm][:, None])
    assert found.head.coefficients == pytest.approx(1, abs=0.1)
    assert found.units == "units of the outcome"


def test_a_fit_on_texts_scores_and_is_chosen_by_name(tmp_path):
    words = ["good", "bad"] * 30
    table = {
        "text": [f"{word} mail {i // 2}" for i, word in enumerate(words)],
        "clicks": [30 if word == "good" else 10 for word in words],
        "shown": [100] * 60,
        "test": [i // 2 for i in range(60)],
    }
    logs = Logs.of(pa.table(table), Roles("text", "clicks", trials="shown", group="test"))
    fitted = choose({"method": "within-tests"}).fit(logs, "hashing")
    fitted.save(tmp_path)
    model = RewardModel.load(tmp_path / "model")
    good, bad = model(["good mail", "bad mail"])
    assert good - bad == pytest.approx(np.log(30 / 70) - np.log(10 / 90), abs=0.35)
    assert 0 < model.expected_outcome(["good mail"])[0] < 1


def test_what_was_not_compared_is_refused():
    one = pa.table({"text": ["a", "b", "c"], "y": [1.0, 2.0, 3.0], "t": [0, 1, 2]})
    with pytest.raises(InputError, match="two different texts"):
        WithinTests().fit(Logs.of(one, Roles("text", "y", group="t")), "hashing")
    with pytest.raises(RoleNotDeclared, match="group"):
        WithinTests().fit(Logs.of(one, Roles("text", "y")), "hashing")
    same = pa.table({"text": ["a", "a", "b", "b"], "y": [1.0, 2.0, 3.0, 4.0], "t": [0, 0, 1, 1]})
    with pytest.raises(InputError, match="two different texts"):
        WithinTests().fit(Logs.of(same, Roles("text", "y", group="t")), "hashing")
    with pytest.raises(SettingsError, match="choose"):
        WithinTests(choose="ranking")
