"""A kernel function found through instruments: right where lines and regressions are wrong."""

import json

import numpy as np
import pyarrow as pa
import pytest

from causalign.deconfound import (
    METHODS,
    AdversarialGMM,
    OrdinaryLeastSquares,
    TwoStageLeastSquares,
)
from causalign.errors import InputError, NotIdentified, RoleNotDeclared, SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.results import Verdict
from causalign.simulate import Demand, NonlinearInstruments
from causalign.simulate.demand import demand_grid


def error(effect, design, logs=None):
    """Return the mean squared error of h(C) less its mean."""
    truth = design.confounder_effect
    return float(np.mean((effect.predict(logs or design.logs) - truth + truth.mean()) ** 2))


def naive_error(design, degree):
    x, y = (design.logs.numbers(name) for name in ("price", "outcome"))
    fitted = np.polyval(np.polyfit(x, y, degree), x)
    truth = design.confounder_effect
    return float(np.mean((fitted - fitted.mean() - truth + truth.mean()) ** 2))


@pytest.mark.parametrize("curve", ["abs", "2dpoly", "sigmoid", "sin", "step"])
@pytest.mark.parametrize("strength", [0.5, 0.7])
def test_finds_the_published_curves_where_regression_and_lines_fail(curve, strength):
    found, naive, line = [], [], []
    for seed in range(3):
        design = NonlinearInstruments(curve, rows=2000, strength=strength, seed=seed).simulate()
        found.append(error(AdversarialGMM().fit(design.logs), design))
        naive.append(min(naive_error(design, degree) for degree in (1, 3, 7)))
        line.append(error(TwoStageLeastSquares().fit(design.logs), design))
    assert np.mean(found) < 0.06
    assert np.mean(found) < 0.5 * np.mean(naive)
    if curve in ("abs", "2dpoly", "sin"):
        assert np.mean(found) < 0.8 * np.mean(line)


def test_widths_follow_a_narrow_bend_and_leave_lines_lines():
    """The time's width falls, price and customer keep lines: a tenth of the spline's error."""
    grid, truth = demand_grid()
    for seed in range(2):
        logs = Demand(seed=seed).simulate().logs
        effect = AdversarialGMM(exogenous=("time", "customer")).fit(logs)
        line = OrdinaryLeastSquares(formula="price*customer*spline(time, 8)").fit(logs)
        found, regression = (
            np.mean((one.predict(grid) + logs.outcome.mean() - truth) ** 2)
            for one in (effect, line)
        )
        assert found < 60
        assert found < 0.1 * regression
        price, time, customer = effect.terms[0].function.features.kernel.widths
        assert time <= 0.25
        assert np.isinf(price)
        assert np.isinf(customer)


def mixed(n=1500, seed=0):
    """Return logs with a number, a category, instruments for both, weights and clusters."""
    rng = np.random.default_rng(seed)
    z, u = rng.normal(size=(2, n))
    season = rng.integers(0, 3, n)
    price = 1.2 * z + 0.8 * u
    room = (season + (rng.random(n) < 0.3)) % 3
    truth = np.abs(price) + np.array([0.0, 1.0, -1.0])[room]
    table = pa.table(
        {
            "text": np.arange(n).astype(str),
            "y": truth + u + 0.2 * rng.normal(size=n),
            "price": price,
            "room": np.array(["flat", "house", "loft"])[room],
            "cost": z,
            "season": np.array(["dry", "mild", "wet"])[season],
            "w": rng.uniform(0.5, 2.0, n),
            "host": rng.integers(0, 150, n),
        }
    )
    return table, truth


def logs_of(table, **more):
    declared = {"confounders": ("price", "room"), "instruments": ("cost", "season")} | more
    return Logs.of(table, Roles("text", "y", **declared))


@pytest.mark.parametrize("more", [{}, {"weight": "w"}, {"cluster": "host"}])
def test_numbers_and_categories_together(more):
    table, truth = mixed()
    effect = AdversarialGMM().fit(logs_of(table, **more))
    found = effect.predict(logs_of(table))
    weights = table["w"].to_numpy() if "weight" in more else np.ones(len(truth))
    assert np.average(found, weights=weights) == pytest.approx(0, abs=1e-8)
    assert np.mean((found - truth + truth.mean()) ** 2) < 0.1 * truth.var()
    assert effect.names[:2] == ("price", effect.names[1])
    assert effect.names[-3:] == ("room[flat]", "room[house]", "room[loft]")
    np.testing.assert_allclose(np.diff(effect.estimates[-3:]), [1.0, -2.0], atol=0.35)
    assert (effect.standard_errors > 0).all()
    assert effect.degrees_of_freedom == (149 if "cluster" in more else pytest.approx(1480, abs=20))


def test_what_is_told_is_subtracted_and_reported():
    table, _ = mixed()
    given = logs_of(table)
    effect = AdversarialGMM().fit(given)
    adjusted = effect.subtract_from(given)
    np.testing.assert_allclose(adjusted.outcome, given.outcome - effect.predict(given))
    assert adjusted.outcome.mean() == pytest.approx(given.outcome.mean())
    assert "effect of price, room on y (method adversarial-gmm" in adjusted.history[-1]
    section = effect.section()
    json.dumps({**section.details, **section.numbers})
    assert section.figures[0].svg.startswith("<svg")
    assert "price = " in effect.summary()
    assert METHODS["adversarial-gmm"] is AdversarialGMM


def test_a_category_without_a_fit_is_an_average_one():
    table, _ = mixed(400)
    effect = AdversarialGMM().fit(logs_of(table))
    rooms = np.array(table["room"].to_pylist())
    other = table.set_column(3, "room", pa.array(np.where(rooms == "loft", "tent", rooms)))
    new = logs_of(other)
    assert effect.terms[0].unknown(new) == (rooms == "loft").sum()
    assert "taken as average" in effect.subtract_from(new).history[-1]
    assert effect.terms[0].unknown(logs_of(table)) == 0
    words = table.set_column(2, "price", pa.array(["dear"] * 400))
    with pytest.raises(InputError, match="held numbers"):
        effect.predict(logs_of(words))


def test_scale_and_order_of_rows_do_not_matter():
    design = NonlinearInstruments("abs", rows=600, seed=1).simulate()
    effect = AdversarialGMM(landmarks=700).fit(design.logs)
    table = design.logs.data
    scaled = table.set_column(2, "price", pa.array(1000 * table["price"].to_numpy() + 5))
    scaled = scaled.set_column(1, "outcome", pa.array(7 * table["outcome"].to_numpy()))
    again = AdversarialGMM(landmarks=700).fit(Logs.of(scaled, design.logs.roles))
    np.testing.assert_allclose(again.estimates[1:], 7 * effect.estimates[1:], rtol=1e-5)
    assert again.estimates[0] == pytest.approx(effect.estimates[0] * 7 / 1000, rel=1e-5)


def test_a_fit_to_many_rows_is_that_of_few_landmarks_block_by_block():
    design = NonlinearInstruments("sin", rows=20_000, seed=2).simulate()
    effect = AdversarialGMM().fit(design.logs)
    assert error(effect, design) < 0.01
    assert naive_error(design, 7) > 0.15


def verdicts(effect):
    return {finding.code: finding.verdict for finding in effect.findings}


def test_instruments_that_do_nothing_fail():
    design = NonlinearInstruments("abs", rows=1000, strength=0.0, seed=3).simulate()
    found = verdicts(AdversarialGMM().fit(design.logs))
    assert found["ID208"] is Verdict.FAIL
    strong = NonlinearInstruments("abs", rows=1000, strength=0.6, seed=3).simulate()
    passed = verdicts(AdversarialGMM().fit(strong.logs))
    assert {passed[code] for code in ("ID206", "ID208", "ID209", "ID210")} == {Verdict.PASS}


@pytest.mark.parametrize("copy", [lambda x: x, lambda x: -3 * x + 2, np.exp])
def test_an_instrument_that_is_the_confounder_fails(copy):
    design = NonlinearInstruments("abs", rows=1000, seed=4).simulate()
    table = design.logs.data
    table = table.set_column(3, "cost", pa.array(copy(table["price"].to_numpy())))
    found = AdversarialGMM().fit(Logs.of(table, design.logs.roles))
    own = next(finding for finding in found.findings if finding.code == "ID206")
    assert own.verdict is Verdict.FAIL
    assert "without instruments" in own.explanation


def test_confounders_that_do_nothing_are_not_to_be_subtracted():
    design = NonlinearInstruments("abs", rows=1000, seed=6).simulate()
    noise = np.random.default_rng(0).normal(size=1000)
    table = design.logs.data.set_column(1, "outcome", pa.array(noise))
    found = AdversarialGMM().fit(Logs.of(table, design.logs.roles))
    assert verdicts(found)["ID210"] is Verdict.WARN
    assert np.std(found.predict(design.logs)) < 0.1


def test_equations_are_counted():
    table, _ = mixed()

    def verdict(**more):
        effect = AdversarialGMM().fit(logs_of(table, **more))
        finding = next(one for one in effect.findings if one.code == "ID209")
        return finding.verdict, finding.explanation

    assert verdict()[0] is Verdict.PASS
    assert verdict(instruments=("cost",))[0] is Verdict.WARN
    few, told = verdict(confounders=("price",), instruments=("season",))
    assert few is Verdict.WARN
    assert "not for a curve" in told
    fewer, told = verdict(instruments=("season",))
    assert fewer is Verdict.FAIL
    assert "fewer than the 3 columns" in told


def test_exogenous_confounders_serve_as_their_own_instruments():
    table, _ = mixed()
    effect = AdversarialGMM(exogenous=("room",)).fit(logs_of(table, instruments=("cost",)))
    assert verdicts(effect)["ID206"] is Verdict.PASS
    np.testing.assert_allclose(np.diff(effect.estimates[-3:]), [1.0, -2.0], atol=0.35)
    with pytest.raises(SettingsError, match="did you mean 'room'"):
        AdversarialGMM(exogenous=("rooms",)).fit(logs_of(table))


def test_what_cannot_be_used_is_refused():
    table, _ = mixed(200)
    with pytest.raises(RoleNotDeclared, match="instruments"):
        AdversarialGMM().fit(logs_of(table, instruments=()))
    flat = table.append_column("flat", pa.array(np.ones(200)))
    with pytest.raises(NotIdentified, match="'flat' holds one value only"):
        AdversarialGMM().fit(logs_of(flat, instruments=("flat",)))
    with pytest.raises(InputError, match="49 rows: at least 50"):
        AdversarialGMM().fit(logs_of(table.slice(0, 49)))
    with pytest.raises(InputError, match="10 folds need at least 10 groups"):
        AdversarialGMM().fit(logs_of(table.append_column("g", pa.array([1, 2] * 100)), cluster="g"))
    for wrong in ({"folds": 1}, {"landmarks": 1}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            AdversarialGMM(**wrong).fit(logs_of(table))
    negative = table.append_column("v", pa.array(np.r_[-1.0, np.ones(199)]))
    with pytest.raises(InputError, match="not positive"):
        AdversarialGMM().fit(logs_of(negative, weight="v"))


def test_a_real_log_with_little_in_its_instrument_says_so(real_data):
    """The district of a listing is no clean instrument; what matters is that nothing breaks."""
    roles = Roles(
        "name",
        "number_of_reviews",
        confounders=("price", "room_type"),
        instruments=("minimum_nights", "latitude"),
    )
    given = Logs.read(real_data / "airbnb_toronto.parquet", roles, drop_incomplete=True)
    effect = AdversarialGMM().fit(given)
    assert np.isfinite(effect.estimates).all()
    assert np.isfinite(effect.predict(given)).all()
    assert "ID208" in verdicts(effect)
