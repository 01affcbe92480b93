"""How many readers: against statsmodels, and in simulated tests that are looked at daily."""

import numpy as np
import pytest
from scipy import stats

import causalign as ca
from causalign.stats.confidence_sequence import narrowest_ratio, reach
from tests.experiment.running import count_days, logs_of


def test_one_look_is_the_sample_size_of_statsmodels():
    proportion = pytest.importorskip("statsmodels.stats.proportion")
    known = proportion.samplesize_proportions_2indep_onetail(
        0.002, 0.012, power=0.8, ratio=1, alpha=0.05, value=0
    )
    plan = ca.experiment.plan(0.012, 0.002)
    assert plan.fixed == pytest.approx(known, rel=0.001)


def test_means_are_those_of_a_z_test():
    power = pytest.importorskip("statsmodels.stats.power")
    known = power.NormalIndPower().solve_power(0.1 / np.sqrt(2.5), power=0.9, alpha=0.01)
    plan = ca.experiment.plan(3.0, 0.1, variance=2.5, power=0.9, level=0.99)
    assert plan.fixed == pytest.approx(known, rel=0.001)


def test_several_arms_share_the_level():
    three = ca.experiment.plan(0.05, 0.01, arms=4)
    assert three.fixed == ca.experiment.plan(0.05, 0.01, level=1 - 0.05 / 3).fixed
    assert three.planned == 4 * three.sequential


@pytest.mark.parametrize(("baseline", "minimum"), [(0.05, 0.01), (0.3, -0.0)])
def test_looks_have_the_power_and_the_readers_that_were_planned(baseline, minimum):
    """Binomial counts, read on each of ten days: with the difference, and without one."""
    plan = ca.experiment.plan(0.05, 0.01, looks=10)
    rates = (baseline, baseline + minimum)
    rng, runs = np.random.default_rng(0), 20_000
    daily = int(np.ceil(plan.sequential / 10))
    hits = np.cumsum([rng.binomial(daily, p, (runs, 10)) for p in rates], axis=2)
    n = daily * np.arange(1, 11)
    p, q = hits / n
    error = np.sqrt((p * (1 - p) + q * (1 - q)) / n)
    stop = np.abs(p - q) > error * reach(narrowest_ratio(0.05) * np.arange(1, 11) / 10, 0.05)
    stopped = stop.any(axis=1)
    first = np.where(stopped, stop.argmax(axis=1) + 1, 10) * daily
    if minimum:
        assert stopped.mean() == pytest.approx(0.8, abs=0.012)
        assert first.mean() == pytest.approx(plan.expected, rel=0.02)
    else:
        assert stopped.mean() < 0.05
        assert first.mean() == pytest.approx(plan.expected_null, rel=0.02)


def test_naive_looks_are_told():
    assert ca.experiment.plan(0.05, 0.01, looks=5).peeking == pytest.approx(0.142, abs=0.001)
    assert ca.experiment.plan(0.05, 0.01, looks=1).peeking == pytest.approx(0.05, abs=1e-6)


def test_days_follow_from_the_traffic_so_far():
    logs = logs_of(count_days([0.05, 0.05], readers=500))
    plan = ca.experiment.plan_like(logs, 0.01)
    assert plan.readers_a_day == 1_000
    assert plan.arms == 2
    assert plan.table()["days"].to_pylist()[0] == np.ceil(2 * plan.fixed / 1_000)
    two = [r | {"test": t} for t in "ab" for r in count_days([0.05, 0.05])]
    with pytest.raises(ca.errors.InputError, match="2 of them"):
        ca.experiment.plan_like(logs_of(two, group="test"), 0.01)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"minimum": 0.0}, "minimum must be a number above 0"),
        ({"minimum": 0.96}, "minimum must be a number above 0 and below 0.95"),
        ({"baseline": 1.2}, "baseline must be"),
        ({"variance": -1.0}, "variance must be"),
        ({"arms": 1}, "arms must be a whole number at least 2"),
        ({"power": 1.0}, "power must be"),
        ({"looks": 0}, "looks must be"),
        ({"readers_a_day": 0}, "readers_a_day must be"),
        ({"power": 0.04}, "power must be a number above 0.05"),
    ],
)
def test_what_cannot_be_planned_is_refused(changed, words):
    given = {"baseline": 0.05, "minimum": 0.01} | changed
    with pytest.raises(ca.errors.SettingsError, match=words):
        ca.experiment.plan(**given)


def test_it_draws_and_tells():
    plan = ca.experiment.plan(0.05, 0.01, readers_a_day=2_000)
    assert "true difference" in plan.drawing().figure().svg
    assert plan.section().numbers["days"] == plan.days(plan.sequential)
    assert stats.norm.ppf(0.975) ** 2 < plan.fixed < plan.expected < plan.sequential
