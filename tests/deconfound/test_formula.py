"""Formulas: what they may say, the same numbers as other libraries, the same curve on new logs."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from causalign import config, deconfound
from causalign.cli import main
from causalign.deconfound import (
    Additive,
    OrdinaryLeastSquares,
    TwoStageLeastSquares,
)
from causalign.deconfound.formula import Factor, read_formula
from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.logs import Logs, scan_logs
from causalign.logs.roles import Roles

TOLERANCE = {"rtol": 1e-8, "atol": 1e-8}
CURVED = "spline(price, 5) + season * region"


def frame(n=600, seed=0):
    rng = np.random.default_rng(seed)
    text, cost = rng.normal(size=n), rng.normal(size=n)
    season, region = rng.integers(0, 3, n), rng.integers(0, 2, n)
    price = np.exp(0.5 * cost + 0.2 * text + 0.2 * rng.normal(size=n))
    y = np.sin(2 * price) + (season == 0) * region + text + 0.5 * rng.normal(size=n)
    return pd.DataFrame(
        {
            "text": [f"text {i}" for i in range(n)],
            "y": y,
            "price": price,
            "season": np.array(["autumn", "spring", "winter"])[season],
            "region": np.array(["north", "south"])[region],
            "x": text,
            "cost": cost,
        }
    )


def roles(**more):
    return Roles("text", "y", **{"confounders": ("price", "season", "region")} | more)


@pytest.fixture(scope="module")
def logs():
    return Logs.of(frame(), roles(features=("x",)))


GRAMMAR = {
    "price": [[Factor("price")]],
    " log( price )*season + `a b`": [
        [Factor("price", "log"), Factor("season")],
        [Factor("a b")],
    ],
    "spline(`x + y`, 7)": [[Factor("x + y", "spline", 7)]],
    "spline(précio)": [[Factor("précio", "spline", 5)]],
    "log": [[Factor("log")]],
}


@pytest.mark.parametrize("formula", GRAMMAR)
def test_is_read(formula):
    assert [list(term) for term in read_formula(formula)] == GRAMMAR[formula]


REFUSED = {
    "": "at its end",
    "price +": "at its end",
    "price season": "at 'season'",
    "price : season": "at ':'",
    "price - season": "at '-'",
    "spline(price, 2)": "between 3 and 100",
    "spline(price, 99999)": "between 3 and 100",
    "spline(price, 9999999999999)": "between 3 and 100",
    "spline(price, 5.5)": "at '.'",
    "price * price": "multiplies 'price' by itself",
    "exp(price)": "calls 'exp', which is no function",
    "__import__('os').system('x')": "calls '__import__', which is no function",
    "price + (lambda: 0)()": r"at '\('",
    "price ** 2": r"at '\*'",
    "`price": "at '`'",
    "price\n+ season;": "at ';'",
    "prize + season + region": "did you mean 'price'",
    "price + season": "'region' is one of the confounders and in no term",
}


@pytest.mark.parametrize("formula", REFUSED)
def test_is_refused(formula, logs):
    with pytest.raises(SettingsError, match=REFUSED[formula]):
        OrdinaryLeastSquares(formula=formula).fit(logs)


@pytest.mark.parametrize(
    ("formula", "error", "match"),
    [
        ("spline(season) + price + region", InputError, "'season' is a category"),
        ("log(season) + price + region", InputError, "'season' is a category"),
        ("price + spline(price) + season + region", NotIdentified, "linear combination"),
        ("log(cost) + price", InputError, "needs values above 0"),
        ("spline(few) + price", InputError, "spline.few, 5.: 2 distinct values"),
    ],
)
def test_does_not_fit_the_columns(formula, error, match):
    data = frame().assign(few=lambda d: d["x"] > 0)
    names = ("price", "season", "region") if "season" in formula else ("cost", "price")
    names = ("few", "price") if "few" in formula else names
    with pytest.raises(error, match=match):
        OrdinaryLeastSquares(formula=formula).fit(Logs.of(data, roles(confounders=names)))


PATSY = {
    CURVED: "bs(price, df=5) + season * region",
    "log(price) * season + region": "np.log(price) * season + region",
    "spline(price, 4) * season * region": "bs(price, df=4) * season * region",
    "season + region * season + price": "season * region + price",
}


@pytest.mark.parametrize("formula", PATSY)
def test_ordinary_least_squares_equals_statsmodels(formula):
    """The same curve and the same uncertainty of the difference between any two rows."""
    pytest.importorskip("patsy")
    sm = pytest.importorskip("statsmodels.formula.api")
    data = frame()
    given = Logs.of(data, roles())
    reference = sm.ols(f"y ~ {PATSY[formula]}", data).fit(cov_type="HC1")
    effect = OrdinaryLeastSquares(formula=formula).fit(given)
    fitted = np.asarray(reference.fittedvalues)
    np.testing.assert_allclose(effect.predict(given), fitted - fitted.mean(), **TOLERANCE)
    np.testing.assert_allclose(effect.subtract_from(given).outcome.mean(), data["y"].mean())


def test_a_curve_is_told_at_its_knots_with_the_errors_of_statsmodels():
    pytest.importorskip("patsy")
    sm = pytest.importorskip("statsmodels.formula.api")
    data = frame()
    reference = sm.ols("y ~ bs(price, df=5)", data).fit(cov_type="HC1")
    effect = OrdinaryLeastSquares(formula="spline(price, 5)").fit(
        Logs.of(data, roles(confounders=("price",)))
    )
    knots = np.quantile(data["price"], [0, 1 / 3, 2 / 3, 1])
    design = np.asarray(reference.model.exog)
    rows = [int(np.argmin(data["price"])), int(np.argmax(data["price"]))]
    contrast = design[rows] - design.mean(axis=0)
    errors = np.sqrt(np.diag(contrast @ reference.cov_params().to_numpy() @ contrast.T))
    assert effect.names[1] == f"spline(price) at {knots[1]:.4g}"
    np.testing.assert_allclose(effect.estimates[[0, 3]], contrast @ reference.params, **TOLERANCE)
    np.testing.assert_allclose(effect.standard_errors[[0, 3]], errors, **TOLERANCE)


def test_slopes_are_those_of_the_average_row():
    data = frame()
    effect = OrdinaryLeastSquares(formula="price * season").fit(
        Logs.of(data, roles(confounders=("price", "season")))
    )
    names = effect.names
    slopes = {
        level: np.polyfit(part["price"], part["y"], 1)[0] for level, part in data.groupby("season")
    }
    shares = data["season"].value_counts(normalize=True)
    average = sum(shares[level] * slope for level, slope in slopes.items())
    assert effect.estimates[names.index("price")] == pytest.approx(average, rel=1e-9)
    for level, slope in slopes.items():
        told = effect.estimates[names.index(f"price × season[{level}]")]
        assert told == pytest.approx(slope - average, rel=1e-8)


@pytest.mark.filterwarnings("ignore")
def test_additive_equals_pyfixest():
    pf = pytest.importorskip("pyfixest")
    data = frame()
    effect = Additive(formula="price * season + season * region").fit(
        Logs.of(data, roles(features=("x",)))
    )
    centred = data.assign(price=data["price"] - data["price"].mean())
    for level, share in data["season"].value_counts(normalize=True).items():
        centred[level] = centred["price"] * ((data["season"] == level) - share)
    reference = pf.feols(
        "y ~ x + price + spring + winter | season^region", centred, vcov="hetero", fixef_tol=1e-13
    )
    place = effect.names.index("price")
    np.testing.assert_allclose(effect.estimates[place], reference.coef()["price"], **TOLERANCE)
    np.testing.assert_allclose(effect.standard_errors[place], reference.se()["price"], **TOLERANCE)
    assert "season × region[winter × south]" in effect.names


def test_additive_takes_a_category_and_a_column_of_each_kind_alike(logs):
    """What is absorbed and what is a regressor changes no number: double ML without a learner."""
    plain, absorbed = (
        OrdinaryLeastSquares(formula="x + spline(price, 5) + season * region"),
        Additive(formula=CURVED),
    )
    everything = Logs.of(frame(), roles(confounders=("x", "price", "season", "region")))
    ordinary = plain.fit(everything)
    additive = absorbed.fit(logs)
    shared = [ordinary.names.index(name) for name in additive.names]
    np.testing.assert_allclose(additive.estimates, ordinary.estimates[shared], **TOLERANCE)
    np.testing.assert_allclose(
        additive.standard_errors, ordinary.standard_errors[shared], **TOLERANCE
    )


SETTINGS = {
    "formula": CURVED,
    "exogenous": ("season", "region"),
    "instrument_formula": "spline(cost, 8)",
    "fuller": 1.0,
}


def with_formulas(method):
    return method(**{name: value for name, value in SETTINGS.items() if hasattr(method, name)})


METHODS = {
    "additive, shrunk": Additive(formula=CURVED, shrink=True, penalty=0.1),
    **{n: with_formulas(m) for n, m in deconfound.METHODS.items() if hasattr(m, "formula")},
}


@pytest.mark.parametrize("name", METHODS)
def test_new_logs_meet_the_knots_and_levels_of_the_fitted_ones(name):
    given = Logs.of(frame(n=1500), roles(features=("x",), instruments=("cost",)))
    effect = METHODS[name].fit(given)
    assert abs(effect.predict(given).mean()) < 1e-10
    part = np.arange(40, 45)
    np.testing.assert_allclose(
        effect.predict(given.take(part, "five rows")), effect.predict(given)[part], **TOLERANCE
    )
    # A season that was never seen is an average one, and the history says so.
    strange = frame(n=10).assign(season="monsoon", price=50.0)
    shifted = Logs.of(strange, roles(features=("x",), instruments=("cost",)))
    assert np.ptp(effect.predict(shifted)) < 1e-10
    assert "10 values belong to categories without an effect" in str(
        effect.subtract_from(shifted).history[-1]
    )
    json.dumps(effect.section().details)


def test_two_stage_equals_linearmodels_with_expanded_instruments():
    iv = pytest.importorskip("linearmodels.iv")
    patsy = pytest.importorskip("patsy")
    data = frame()
    given = Logs.of(data, roles(confounders=("season", "price"), instruments=("cost",)))
    effect = TwoStageLeastSquares(
        exogenous=("season",),
        formula="spline(price, 4) * season",
        instrument_formula="spline(cost, 6) * season",
    ).fit(given)
    exogenous = np.asarray(patsy.dmatrix("season", data))
    endogenous = np.asarray(patsy.dmatrix("bs(price, df=4) + bs(price, df=4):season - 1", data))
    Z = np.asarray(patsy.dmatrix("bs(cost, df=6) + bs(cost, df=6):season - 1", data))
    reference = iv.IV2SLS(data["y"], exogenous, _full(endogenous), _full(Z)).fit()
    fitted = np.asarray(reference.fitted_values).ravel()
    np.testing.assert_allclose(effect.predict(given), fitted - fitted.mean(), rtol=1e-6, atol=1e-6)


def _full(columns):
    """Drop the columns that patsy codes twice."""
    kept: list[int] = []
    for j in range(columns.shape[1]):
        if np.linalg.matrix_rank(columns[:, [*kept, j]]) == len(kept) + 1:
            kept.append(j)
    return columns[:, kept]


def test_an_exogenous_confounder_is_no_instrument():
    given = Logs.of(frame(), roles(confounders=("price", "season"), instruments=("cost",)))
    with pytest.raises(NotIdentified, match="at least 5 are needed"):
        TwoStageLeastSquares(
            exogenous=("season",),
            formula="spline(price, 5) + season",
            instrument_formula="cost * season",
        ).fit(given)
    with pytest.raises(SettingsError, match="'price', which is none of the instruments"):
        TwoStageLeastSquares(exogenous=("season",), instrument_formula="cost * price").fit(given)


def test_the_curve_is_found_where_the_line_is_wrong(logs):
    """h is a sine of the price: the spline recovers it, a slope cannot."""
    truth = np.sin(2 * logs.numbers("price"))
    curved = Additive(formula="spline(price, 7) + season * region").fit(logs)
    straight = Additive().fit(logs)
    shift = next(term.contribution(logs) for term in curved.terms if "price" in term.column)
    line = next(term.contribution(logs) for term in straight.terms if "price" in term.column)
    assert np.corrcoef(shift, truth)[0, 1] > 0.98
    assert abs(np.corrcoef(line, truth)[0, 1]) < 0.9


def test_a_recipe_says_it_too():
    settings = {"method": "additive", "formula": CURVED}
    assert config.choose(deconfound.METHODS, settings, "deconfound") == Additive(formula=CURVED)
    roles = {"completion": "text", "outcome": "y", "cluster": ["author", "week"]}
    assert config.construct(Roles, roles).cluster == ("author", "week")


def test_the_command_line_says_it_too(tmp_path, capsys):
    path = tmp_path / "logs.csv"
    frame().assign(shop=lambda d: d.index % 20, week=lambda d: d.index // 30).to_csv(path)
    words = "--completion text --outcome y --confounder price --instrument cost --method two-stage"
    words += " --cluster shop --cluster week --formula spline(price,3)"
    words += " --instrument-formula spline(cost,6)"
    with pytest.raises(SystemExit) as stopped:
        main(["deconfound", str(path), *words.split(), "--out", str(tmp_path / "out")])
    assert stopped.value.code in (0, None)
    assert "spline(price)" in capsys.readouterr().out
    given = Logs.read(
        path,
        roles(confounders=("price",), instruments=("cost",), cluster=("shop", "week")),
    )
    effect = TwoStageLeastSquares(
        formula="spline(price, 3)", instrument_formula="spline(cost, 6)"
    ).fit(given)
    adjusted = pq.read_table(tmp_path / "out" / "logs.parquet")
    np.testing.assert_allclose(
        adjusted[adjusted.column_names[-1]], effect.subtract_from(given).outcome
    )
    assert effect.degrees_of_freedom == 19


def test_streamed_fits_refuse_formulas(tmp_path):
    given = Logs.of(frame(), roles())
    pq.write_table(given.data, tmp_path / "logs.parquet")
    with pytest.raises(SettingsError, match="needs all rows at once"):
        OrdinaryLeastSquares(formula=CURVED).fit(scan_logs(tmp_path / "logs.parquet", given.roles))
