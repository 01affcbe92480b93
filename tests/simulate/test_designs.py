"""Each design keeps the truth that it promises."""

import numpy as np
import pytest

from causalign.deconfound import DoubleML, OrdinaryLeastSquares, TwoStageLeastSquares
from causalign.errors import InputError, SettingsError
from causalign.results import Verdict
from causalign.simulate import (
    SIMULATORS,
    Demand,
    EntangledNews,
    Interacting,
    PartiallyLinear,
    Pricing,
    WeakInstruments,
)
from causalign.simulate.demand import demand_grid


@pytest.mark.parametrize("name", SIMULATORS)
def test_named_simulators_repeat_themselves_and_write(name, tmp_path):
    first, second = (SIMULATORS[name](rows=60, pairs=5, seed=1).simulate() for _ in range(2))
    assert first.logs.data.equals(second.logs.data)
    assert first.text_effect.shape == first.confounder_effect.shape == (60,)
    assert (first.experiment.margin >= 0).all()
    first.write(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"logs.parquet", "experiment.parquet"}


@pytest.mark.parametrize("name", SIMULATORS)
def test_spurious_words_do_not_win_fair_comparisons(name):
    made = SIMULATORS[name](rows=200, pairs=4000).simulate()
    for words, wins in ((made.causal, True), (made.spurious, False)):
        for word in words:
            won = sum(word in text for text in made.experiment.chosen)
            lost = sum(word in text for text in made.experiment.rejected)
            assert won > 1.2 * lost if wins else won < 1.2 * lost


def test_pricing_needs_its_instrument():
    logs = Pricing(rows=4000).simulate().logs
    assert abs(OrdinaryLeastSquares().fit(logs).estimates[0] + 0.8) > 0.2
    assert TwoStageLeastSquares().fit(logs).estimates[0] == pytest.approx(-0.8, abs=0.08)


def test_partially_linear_defeats_least_squares_and_not_double_ml():
    made = PartiallyLinear(rows=3000).simulate()
    residual = made.logs.outcome - made.text_effect - made.confounder_effect
    assert residual.std() == pytest.approx(1.0, abs=0.05)
    assert abs(OrdinaryLeastSquares().fit(made.logs).estimates[0] - 0.5) > 0.1
    effect = DoubleML().fit(made.logs, text_features=made.text_features)
    assert effect.estimates[0] == pytest.approx(0.5, abs=0.08)
    np.testing.assert_allclose(DoubleML().fit(made.logs).estimates, effect.estimates)


def test_weak_instruments_are_as_weak_as_asked():
    def first_stage_f(strength):
        draws = [WeakInstruments(strength=strength, seed=s).simulate().logs for s in range(20)]
        return np.mean(
            [TwoStageLeastSquares().fit(logs).numbers["first_stage_f"] for logs in draws]
        )

    assert first_stage_f(3.0) == pytest.approx(4.0, abs=1.2)
    assert first_stage_f(100.0) == pytest.approx(101.0, rel=0.15)
    weak = TwoStageLeastSquares().fit(WeakInstruments(strength=0.5).simulate().logs)
    assert next(f for f in weak.findings if f.code == "ID201").verdict is Verdict.FAIL


def test_interacting_texts_are_seen_in_their_weather():
    made = Interacting(rows=4000).simulate()
    warm = made.logs.numbers("warmth")
    texts = made.logs.completions
    sunny = np.array(["sun cream" in t for t in texts])
    assert warm[sunny].mean() > 0.7
    # Averaged over all weather the everyday goods are best, in the log the seasonal ones.
    everyday = np.array(["coffee mugs" in t for t in texts])
    assert made.text_effect[everyday].mean() > made.text_effect[sunny].mean() + 1
    assert made.logs.outcome[sunny].mean() > made.logs.outcome[everyday].mean()


class TestEntangledNews:
    def inputs(self, n=3000):
        rng = np.random.default_rng(7)
        sentiment = rng.normal(0, 0.4, n)
        teams = {name: (rng.random(n) < 0.3).astype(int) for name in ("Lakers", "Bulls", "Nets")}
        divisions = {"Lakers": "West", "Bulls": "Central", "Nets": "East"}
        return [f"title {i}" for i in range(n)], sentiment, teams, divisions

    @pytest.mark.parametrize("entangled", [False, True])
    def test_instruments_find_the_slope(self, entangled):
        texts, sentiment, teams, divisions = self.inputs()
        made = EntangledNews(entangled=entangled).simulate(texts, sentiment, teams, divisions)
        found = TwoStageLeastSquares().fit(made.logs).estimates[0]
        assert found == pytest.approx(0.1, abs=0.02)
        naive = OrdinaryLeastSquares().fit(made.logs).estimates[0]
        assert bool(abs(naive - 0.1) > 0.05) is entangled
        sign = np.corrcoef(made.logs.outcome, sentiment)[0, 1]
        assert sign < 0 if entangled else sign > 0.8

    def test_popularity_adds_up(self):
        texts, sentiment, teams, divisions = self.inputs(500)
        news = EntangledNews(entangled=False, popularity_noise=0.0, noise=0.0)
        made = news.simulate(texts, sentiment, teams, divisions)
        expected = teams["Lakers"] + 2 * teams["Bulls"] + 3 * teams["Nets"]
        np.testing.assert_allclose(made.logs.numbers("popularity"), expected)
        np.testing.assert_allclose(made.logs.outcome, sentiment + 0.1 * expected)

    def test_inputs_that_do_not_fit(self):
        texts, sentiment, teams, divisions = self.inputs(10)
        news = EntangledNews()
        with pytest.raises(InputError, match="shape"):
            news.simulate(texts, sentiment[:5], teams, divisions)
        with pytest.raises(InputError, match="must be one of West, Central, East"):
            news.simulate(texts, sentiment, teams, divisions | {"Nets": "North"})
        with pytest.raises(InputError, match="0 or 1"):
            news.simulate(texts, sentiment, {"Nets": sentiment}, divisions)
        with pytest.raises(InputError, match="no teams"):
            news.simulate(texts, sentiment, {}, divisions)


def test_impossible_settings():
    for wrong in (
        lambda: Interacting(rows=3),
        lambda: Interacting(at_random=0.0),
        lambda: Pricing(pairs=0),
        lambda: PartiallyLinear(features=2),
        lambda: WeakInstruments(instruments=0),
        lambda: WeakInstruments(endogeneity=2.0),
    ):
        with pytest.raises(SettingsError):
            wrong()


def test_demand_is_the_published_equation():
    made = Demand(rows=4000, correlation=0.9, scale=20.0).simulate()
    logs = made.logs
    price, time, customer, cost = (
        logs.numbers(name) for name in ("price", "time", "customer", "cost")
    )
    season = 2 * ((time - 5) ** 4 / 600 + np.exp(-4 * (time - 5) ** 2) + time / 10 - 2)
    moved = price - 25 - (cost + 3) * season
    np.testing.assert_allclose(
        made.confounder_effect, 100 + (10 + price) * customer * season - 2 * price
    )
    np.testing.assert_allclose(logs.outcome, made.confounder_effect + made.text_effect)
    assert np.corrcoef(moved, made.text_effect)[0, 1] == pytest.approx(0.9, abs=0.01)
    assert made.text_effect.std() == pytest.approx(20, rel=0.05)
    grid, truth = demand_grid()
    assert len(grid) == len(truth) == 2800
    with pytest.raises(SettingsError, match="correlation between"):
        Demand(correlation=2.0)
