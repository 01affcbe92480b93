"""Instruments that are clean only given the text."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

from causalign.deconfound import DoubleML, DoubleMLInstruments, TwoStageLeastSquares
from causalign.errors import NotIdentified, RoleNotDeclared, SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.results import Verdict
from causalign.stats.cross_fit import learner_cross_fit
from causalign.stats.folds import group_folds


def sample(n=2000, strength=1.0):
    """Return logs whose instruments depend on the text and whose price has a hidden cause too."""
    rng = np.random.default_rng(0)
    X, hidden = rng.normal(size=(n, 4)), rng.normal(size=n)
    z = rng.normal(size=(n, 2)) + X[:, :2]
    price = strength * z.sum(axis=1) + X[:, 0] + hidden + rng.normal(size=n)
    season = X[:, 1] + rng.normal(size=n)
    table = pa.table(
        {
            "text": [f"{i}" for i in range(n)],
            "y": 0.5 * price - season + 2 * X[:, 0] + 2 * hidden + rng.normal(size=n),
            "price": price,
            "season": season,
            "z1": z[:, 0],
            "z2": z[:, 1],
            "shop": rng.integers(0, 80, n),
        }
    )
    return table, X


def logs_of(table, **more):
    declared = {"confounders": ("price",), "instruments": ("z1", "z2")} | more
    return Logs.of(table, Roles("text", "y", **declared))


@pytest.mark.parametrize("learner", [None, LinearRegression()])
@pytest.mark.parametrize("more", [{}, {"instruments": ("z1",)}, {"cluster": "shop"}])
def test_finds_the_effect_where_neither_text_nor_instruments_alone_do(learner, more):
    table, X = sample()
    given = logs_of(table, **more)
    effect = DoubleMLInstruments(learner).fit(given, text_features=X)
    assert effect.estimates[0] == pytest.approx(0.5, abs=0.15)
    assert effect.findings[0].verdict is Verdict.PASS
    assert abs(DoubleML().fit(given, text_features=X).estimates[0] - 0.5) > 0.3
    assert abs(TwoStageLeastSquares().fit(given).estimates[0] - 0.5) > 0.3


def test_exogenous_confounders_need_no_instrument():
    table, X = sample()
    given = logs_of(table, confounders=("season", "price"))
    effect = DoubleMLInstruments(exogenous=("season",)).fit(given, text_features=X)
    assert effect.names == ("season", "price")
    np.testing.assert_allclose(effect.estimates, [-1, 0.5], atol=0.2)
    with pytest.raises(SettingsError, match="did you mean 'season'"):
        DoubleMLInstruments(exogenous=("seasons",)).fit(given, text_features=X)
    with pytest.raises(SettingsError, match="use DoubleML"):
        DoubleMLInstruments(exogenous=("season", "price")).fit(given, text_features=X)


def test_instruments_that_do_nothing_beyond_the_text_fail():
    table, X = sample(strength=0.0)
    finding, weak = DoubleMLInstruments().fit(logs_of(table), text_features=X).findings[:2]
    assert (finding.code, finding.verdict) == ("ID201", Verdict.FAIL)
    assert "barely move price" in finding.explanation
    assert (weak.code, weak.verdict) == ("ID203", Verdict.FAIL)


def many(seed, n=400, instruments=40):
    """Return logs of 40 instruments, each weak; a hidden cause moves price and outcome."""
    rng = np.random.default_rng(seed)
    X, hidden = rng.normal(size=(n, 4)), rng.normal(size=n)
    z = rng.normal(size=(n, instruments)) + X[:, :1]
    price = 0.1 * z.sum(axis=1) + X[:, 0] + hidden + rng.normal(size=n)
    y = 0.5 * price + 2 * X[:, 0] + hidden + rng.normal(size=n)
    columns = {f"z{i}": z[:, i] for i in range(instruments)}
    table = pa.table({"text": [f"{i}" for i in range(n)], "y": y, "price": price, **columns})
    return logs_of(table, instruments=tuple(columns)), X


def test_limited_information_equals_linearmodels_on_the_same_residuals():
    iv = pytest.importorskip("linearmodels.iv")
    given, X = many(0)
    effect = DoubleMLInstruments(LinearRegression(), kappa="liml").fit(given, text_features=X)
    columns = np.column_stack(
        [given.outcome, given.numbers("price")]
        + [given.numbers(name) for name in given.roles.instruments]
    )
    member = group_folds(given.codes_of("text"), 5, 0)
    left = columns - learner_cross_fit(LinearRegression(), X, columns, folds=member).predicted
    Z = np.column_stack([left[:, 2:], np.ones(len(left))])
    reference = iv.IVLIML(left[:, 0], None, left[:, 1], Z).fit(cov_type="robust", debiased=False)
    np.testing.assert_allclose(effect.estimates, reference.params, rtol=1e-8)
    np.testing.assert_allclose(effect.standard_errors, reference.std_errors, rtol=1e-8)
    assert effect.numbers["kappa"] == pytest.approx(reference.kappa, rel=1e-10)


def test_many_instruments_mislead_limited_information_less():
    """LIML and ID203 hold the truth of 0.5; two stages lean towards least squares, and say so."""
    estimates, held = {1.0: [], "liml": []}, []
    for seed in range(20):
        given, X = many(seed)
        for kappa, found in estimates.items():
            method = DoubleMLInstruments(LinearRegression(), kappa=kappa)
            effect = method.fit(given, text_features=X)
            found.append(effect.estimates[0])
        numbers = effect.findings[1].numbers
        held.append(numbers["lower"] < 0.5 < numbers["upper"])
    assert np.median(estimates["liml"]) == pytest.approx(0.5, abs=0.1)
    assert np.median(estimates[1.0]) > 0.6
    assert sum(held) >= 15  # fewer have a probability below 0.001 at 95%


def test_kappa_is_checked():
    with pytest.raises(SettingsError, match="or 'liml'"):
        DoubleMLInstruments(kappa=-1.0)


def test_what_cannot_be_used_is_refused():
    table, X = sample(200)
    with pytest.raises(RoleNotDeclared, match="instruments"):
        DoubleMLInstruments().fit(logs_of(table, instruments=()), text_features=X)
    with pytest.raises(NotIdentified, match="instruments"):
        DoubleMLInstruments().fit(
            logs_of(table, confounders=("price", "season"), instruments=("z1",)),
            text_features=X,
        )
    copied = np.column_stack([X, table["z1"].to_numpy()])
    with pytest.raises(NotIdentified, match="determine 'z1'"):
        DoubleMLInstruments(LinearRegression()).fit(logs_of(table), text_features=copied)
