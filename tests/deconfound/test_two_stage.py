"""Instruments: strength, counting, and a known answer."""

import numpy as np
import pyarrow as pa
import pytest

from causalign.deconfound import TwoStageLeastSquares
from causalign.errors import NotIdentified, RoleNotDeclared, SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.results import Verdict


def logs(strength=1.0, n=2000, **roles):
    rng = np.random.default_rng(0)
    text, z = rng.normal(size=n), rng.normal(size=(n, 2))
    price = strength * z.sum(axis=1) + text + rng.normal(size=n)
    data = pa.table(
        {
            "text": ["t"] * n,
            "y": price + 2 * text + 0.1 * rng.normal(size=n),
            "price": price,
            "site": [f"s{i}" for i in rng.integers(0, 3, n)],
            "z1": z[:, 0],
            "z2": z[:, 1],
        }
    )
    declared = {"confounders": ("price",), "instruments": ("z1", "z2")} | roles
    return Logs.of(data, Roles("text", "y", **declared))


def found(effect, code):
    return next(f for f in effect.findings if f.code == code)


def test_the_text_no_longer_travels_with_the_confounder():
    effect = TwoStageLeastSquares().fit(logs())
    assert effect.estimates[0] == pytest.approx(1.0, abs=0.1)
    assert found(effect, "ID201").verdict is Verdict.PASS
    assert found(effect, "ID202").numbers == {"instruments": 2, "confounders": 1}


def test_one_instrument_is_the_ratio_of_covariances():
    given = logs(instruments=("z1",))
    z, price, y = given.numbers("z1"), given.numbers("price"), given.outcome
    expected = np.cov(z, y)[0, 1] / np.cov(z, price)[0, 1]
    assert TwoStageLeastSquares().fit(given).estimates[0] == pytest.approx(expected, rel=1e-10)
    liml = TwoStageLeastSquares(kappa="liml").fit(given)
    assert liml.estimates[0] == pytest.approx(expected, rel=1e-8)


def test_weak_instruments_fail_in_plain_words():
    finding = found(TwoStageLeastSquares().fit(logs(strength=0.01)), "ID201")
    assert finding.verdict is Verdict.FAIL
    assert "barely move price" in finding.explanation
    assert finding.numbers["f"] < 10


def test_too_few_instruments_cannot_identify():
    given = logs(confounders=("price", "site"), instruments=("z1",))
    with pytest.raises(NotIdentified, match="at least 3 are needed"):
        TwoStageLeastSquares().fit(given)
    effect = TwoStageLeastSquares(exogenous=("site",)).fit(given)
    assert effect.estimates[-1] == pytest.approx(1.0, abs=0.15)


def test_settings_are_checked_against_the_logs():
    with pytest.raises(SettingsError, match="did you mean 'price'"):
        TwoStageLeastSquares(exogenous=("prize",)).fit(logs())
    with pytest.raises(SettingsError, match="OrdinaryLeastSquares"):
        TwoStageLeastSquares(exogenous=("price",)).fit(logs())
    with pytest.raises(RoleNotDeclared, match="instruments"):
        TwoStageLeastSquares().fit(logs(instruments=()))
