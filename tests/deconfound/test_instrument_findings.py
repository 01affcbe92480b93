"""Findings about instruments: each verdict in logs that deserve it."""

from functools import partial

import numpy as np
import pyarrow as pa
import pytest

from causalign.deconfound import METHODS
from causalign.errors import NotIdentified
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.results import Verdict


def logs(strength=1.0, direct=0.0, confounders=("price",), instruments=("z1", "z2")):
    rng = np.random.default_rng(3)
    n = 1000
    text, z = rng.normal(size=n), rng.normal(size=(n, 3))
    price = strength * z[:, 0] + strength * z[:, 1] + text + rng.normal(size=n)
    demand = z[:, 2] - z[:, 0] + rng.normal(size=n)
    data = pa.table(
        {
            "text": ["t"] * n,
            "y": price + 2 * text + direct * z[:, 1] + 0.1 * rng.normal(size=n),
            "price": price,
            "demand": demand,
            "price_in_cents": 100 * price,
            "lottery": [7] * n,
            **{f"z{i + 1}": z[:, i] for i in range(3)},
        }
    )
    return Logs.of(data, Roles("text", "y", confounders=confounders, instruments=instruments))


K_CLASS = [
    method
    for method in METHODS.values()
    if "instruments" in method.needs and getattr(method, "reads_scans", False)
]


def finding_of(given, code, method=K_CLASS[-1]):
    return next(f for f in method().fit(given).findings if f.code == code)


@pytest.mark.parametrize("method", K_CLASS)
def test_strong_valid_instruments_pass(method):
    given = logs()
    codes = ["ID202", "ID201", "ID203", "ID204", "ID205", "ID206", "ID207", "DE101", "DE104"]
    findings = method().fit(given).findings
    assert [f.code for f in findings] == codes
    assert {f.verdict for f in findings if f.code != "DE101"} == {Verdict.PASS}
    interval = finding_of(given, "ID203", method)
    assert interval.numbers["lower"] < 1 < interval.numbers["upper"]
    assert "tells another effect" in finding_of(given, "ID205", method).explanation
    assert finding_of(given, "ID207", method).numbers["breakdown"] > 0


def test_weak_instruments_offer_the_other_interval():
    finding = finding_of(logs(strength=0.02), "ID203")
    assert finding.verdict is Verdict.FAIL
    assert "do not use the interval in the table" in finding.explanation
    assert finding.numbers["effective_f"] < 10
    assert finding.numbers["shape"] in ("whole line", "two rays")
    assert finding_of(logs(strength=0.0), "ID207").verdict is Verdict.NOT_APPLICABLE


def test_many_instruments_call_for_limited_information():
    """F is above 10 for each of these, and two stages are biased by many of them."""
    rng = np.random.default_rng(0)
    z, hidden = rng.normal(size=(1000, 12)), rng.normal(size=1000)
    price = 0.18 * z.sum(axis=1) + hidden + rng.normal(size=1000)
    columns = {f"z{i}": z[:, i] for i in range(12)}
    data = pa.table({"text": ["t"] * 1000, "y": price + hidden, "price": price, **columns})
    given = Logs.of(data, Roles("text", "y", confounders=("price",), instruments=tuple(columns)))
    finding = finding_of(given, "ID201", METHODS["two-stage"])
    assert 10 < finding.numbers["f"] < 30
    assert finding.verdict is Verdict.WARN
    assert "Set kappa to 'liml'" in finding.explanation
    limited = partial(METHODS["two-stage"], kappa="liml")
    assert finding_of(given, "ID201", limited).verdict is Verdict.PASS
    weak = finding_of(logs(strength=0.02), "ID201", METHODS["two-stage"])
    assert "set kappa to 'liml'" in weak.explanation
    one = finding_of(logs(strength=0.02, instruments=("z1",)), "ID201", METHODS["two-stage"])
    assert "read the set of ID203" in one.explanation


def test_instruments_that_contradict_each_other_warn():
    given = logs(direct=3.0)
    assert finding_of(given, "ID204").verdict is Verdict.WARN
    assert finding_of(given, "ID203").numbers["shape"] == "interval"
    assert finding_of(logs(instruments=("z1",)), "ID204").verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize("method", K_CLASS)
def test_a_copy_of_the_confounder_fails(method):
    finding = finding_of(logs(instruments=("z1", "price_in_cents")), "ID206", method)
    assert finding.verdict is Verdict.FAIL
    assert "determine price wholly" in finding.explanation


def test_a_constant_instrument_is_refused_by_name():
    with pytest.raises(NotIdentified, match="instrument 'lottery' has the same value"):
        K_CLASS[-1]().fit(logs(instruments=("z1", "lottery")))


def test_two_confounders_have_no_single_interval():
    given = logs(confounders=("price", "demand"), instruments=("z1", "z2", "z3"))
    assert finding_of(given, "ID203").verdict is Verdict.NOT_APPLICABLE
    assert "2 need instruments" in finding_of(given, "ID203").explanation
