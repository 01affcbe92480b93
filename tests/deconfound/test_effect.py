"""A confounder effect: its table, what it predicts, what it leaves when it is subtracted."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalign.deconfound import (
    METHODS,
    Additive,
    ConfounderEffect,
    DoubleML,
    DoubleMLInstruments,
    OrdinaryLeastSquares,
    TwoStageLeastSquares,
)
from causalign.errors import ColumnNotFound, InputError, RoleNotDeclared, SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.results import Result, Section, Verdict


def table(seed=0, n=120):
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=n), rng.normal(size=n)
    site = rng.integers(0, 4, n)
    price = z + 0.5 * x + rng.normal(size=n)
    y = 5 + x + 2 * price + 0.5 * site + rng.normal(size=n)
    return pa.table(
        {
            "text": [f"t{i}" for i in range(n)],
            "y": y,
            "price": price,
            "site": [f"s{i}" for i in site],
            "x": x,
            "z": z,
            "w": rng.uniform(0.5, 2, n),
        }
    )


def logs(seed=0, weight=None, confounders=("price", "site")):
    roles = Roles(
        "text", "y", confounders=confounders, features=("x",), instruments=("z",), weight=weight
    )
    return Logs.of(table(seed), roles)


EVERY = {
    "ordinary": OrdinaryLeastSquares(),
    "two-stage": TwoStageLeastSquares(exogenous=("site",)),
    "additive": Additive(),
    "additive with penalty and shrinkage": Additive(penalty=0.5, shrink=True),
}


def test_methods_names_every_method():
    assert {"ordinary", "two-stage", "additive"} <= set(METHODS)
    assert all(callable(method().fit) for method in METHODS.values())


@pytest.mark.parametrize("name", EVERY)
@given(seed=st.integers(0, 1000), weighted=st.booleans())
@settings(max_examples=8, deadline=None)
def test_subtraction_keeps_the_mean_and_the_units(name, seed, weighted):
    given = logs(seed, "w" if weighted else None)
    effect = EVERY[name].fit(given)
    left = effect.subtract_from(given)
    weights = given.weights
    before = np.average(given.outcome, weights=weights)
    assert np.average(left.outcome, weights=weights) == pytest.approx(before, abs=1e-10)
    np.testing.assert_allclose(given.outcome - left.outcome, effect.predict(given), atol=1e-12)
    assert len(left.history) == len(given.history) + 1
    assert "subtracted the effect of" in left.history[-1]


@pytest.mark.parametrize("name", EVERY)
def test_every_result_can_be_read(name):
    effect = EVERY[name].fit(logs())
    assert isinstance(effect, Result)
    found = effect.table()
    assert found.column_names == ["name", "estimate", "stderr", "lower", "upper"]
    assert set(found["name"].to_pylist()) == {"price", *(f"site[s{i}]" for i in range(4))}
    assert np.all(found["lower"].to_numpy() < found["upper"].to_numpy())
    narrower = effect.table(0.5)
    assert np.all(narrower["upper"].to_numpy() < found["upper"].to_numpy())
    assert "price" in effect.summary()
    assert "Holds if" in effect.summary()
    section = effect.section()
    assert isinstance(section, Section)
    assert section.figures[0].svg.startswith("<svg")
    assert section.details["method"] in METHODS
    assert len({finding.code for finding in effect.findings}) == len(effect.findings)


def test_level_must_be_a_probability():
    with pytest.raises(SettingsError, match="level"):
        OrdinaryLeastSquares().fit(logs()).table(95)


def test_ordinary_and_additive_agree_where_the_text_does_not_matter():
    # Text features that are orthogonal to everything, and explain nothing, change nothing.
    given = logs()
    noise = np.random.default_rng(1).normal(size=(len(given), 1))
    price, dummies = given.numbers("price"), given.covariate("site").dummies()
    others = np.column_stack([np.ones(len(given)), price, dummies, given.outcome])
    noise -= others @ np.linalg.lstsq(others, noise, rcond=None)[0]
    plain = OrdinaryLeastSquares().fit(given)
    additive = Additive().fit(given, text_features=noise)
    np.testing.assert_allclose(additive.estimates, plain.estimates, atol=1e-10)
    np.testing.assert_allclose(additive.predict(given), plain.predict(given), atol=1e-10)


@pytest.mark.parametrize("name", EVERY)
def test_an_unseen_category_is_taken_as_average(name):
    effect = EVERY[name].fit(logs())
    new = table().set_column(3, "site", pa.array(["s0", "elsewhere"] + ["s1"] * 118))
    given = Logs.of(new, logs().roles)
    only_price = effect.terms[[t.column for t in effect.terms].index("price")]
    np.testing.assert_allclose(effect.predict(given)[1], only_price.contribution(given)[1])
    assert (
        "1 values belong to categories without an effect" in effect.subtract_from(given).history[-1]
    )


def test_numbers_that_are_categories_are_matched_by_name():
    data = table().append_column("week", pa.array(np.arange(120) % 5))
    roles = Roles("text", "y", confounders=("week",), features=("x",), categorical=("week",))
    effect = Additive().fit(Logs.of(data, roles))
    # Logs that do not call the column categorical are read by the same rule.
    other = Logs.of(data, Roles("text", "y", confounders=("week",)))
    np.testing.assert_allclose(effect.predict(other), effect.predict(Logs.of(data, roles)))


def test_predicting_needs_the_same_columns_of_the_same_kind():
    effect = OrdinaryLeastSquares().fit(logs())
    without = Logs.of(table().drop_columns(["price"]), Roles("text", "y"))
    with pytest.raises(ColumnNotFound, match="price"):
        effect.predict(without)
    words = table().set_column(2, "price", pa.array(["low"] * 120))
    with pytest.raises(InputError, match="'price' held numbers"):
        effect.predict(Logs.of(words, Roles("text", "y")))


@pytest.mark.parametrize("method", METHODS.values())
def test_every_method_asks_for_confounders(method):
    given = Logs.of(table(), Roles("text", "y"))
    with pytest.raises(RoleNotDeclared, match="confounders"):
        method().fit(given)


LINEAR = [method for method in METHODS.values() if "covariance" in method.__dataclass_fields__]


@pytest.mark.parametrize("method", LINEAR)
def test_covariance_is_clustered_when_the_logs_say_so(method):
    data = table().append_column("author", pa.array(np.arange(120) // 6))
    roles = {"confounders": ("price",), "features": ("x",), "instruments": ("z",)}
    plain = Logs.of(data, Roles("text", "y", **roles))
    clustered = Logs.of(data, Roles("text", "y", cluster="author", **roles))
    robust = method().fit(plain)
    auto = method().fit(clustered)
    assert auto.degrees_of_freedom == 19
    assert robust.standard_errors[0] != auto.standard_errors[0]
    asked = method(covariance="robust").fit(clustered)
    # Cross-fitted methods cut folds that keep clusters together, whatever the covariance.
    tolerance = 0.1 if method in (DoubleML, DoubleMLInstruments) else 1e-7
    np.testing.assert_allclose(asked.standard_errors, robust.standard_errors, rtol=tolerance)
    with pytest.raises(RoleNotDeclared, match="cluster"):
        method(covariance="clustered").fit(plain)
    with pytest.raises(SettingsError, match="covariance"):
        method(covariance="magic").fit(plain)


def test_rare_categories_are_found():
    data = table().set_column(3, "site", pa.array(["once", "a", "b"] + ["a", "b"] * 58 + ["a"]))
    given = Logs.of(data, logs().roles)
    finding = next(f for f in OrdinaryLeastSquares().fit(given).findings if f.code == "DE101")
    assert finding.verdict is Verdict.WARN
    assert finding.numbers["seen_once"] == 1
    assert isinstance(Additive().fit(given), ConfounderEffect)
