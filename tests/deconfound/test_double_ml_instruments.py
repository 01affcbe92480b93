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
