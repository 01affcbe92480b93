"""The advice of an audit follows the decision table, and names methods that exist."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from causalign import Logs, Roles, deconfound
from causalign.audit import audit_logs
from causalign.checks.advice import advise

ROOT = Path(__file__).parents[2]
KNOWN = set(deconfound.METHODS)
LIML = next(name for name, method in deconfound.METHODS.items() if hasattr(method, "fuller"))


def logs(**roles):
    n = 60
    table = {
        "text": [f"t{i}" for i in range(n)],
        "y": np.arange(n) % 7,
        "price": np.arange(n) % 5,
        "shop": [f"s{i % 3}" for i in range(n)],
        "town": [f"w{i % 20}" for i in range(n)],
        "cost": np.arange(n) % 4,
        "tax": np.arange(n) % 3,
    }
    return Logs.of(pa.table(table), Roles("text", "y", **roles))


@pytest.mark.parametrize(
    ("roles", "confounded", "expected"),
    [
        ({}, (), []),
        ({"confounders": ["shop"]}, ("shop",), ["additive", "permutation-weighting"]),
        (
            {"confounders": ["price"]},
            ("price",),
            ["additive", "double-ml", "permutation-weighting"],
        ),
        ({"confounders": ["price"]}, (), ["ordinary"]),
        (
            {"confounders": ["price"], "instruments": ["cost"]},
            ("price",),
            ["two-stage", LIML, "adversarial-gmm"],
        ),
        (
            {"confounders": ["shop"], "instruments": ["cost"]},
            ("shop",),
            ["two-stage", "additive"],
        ),
    ],
)
def test_what_the_log_contains_decides(roles, confounded, expected):
    found = advise(logs(**roles), confounded, text_was_seen=True)
    assert [one.method for one in found] == expected
    assert set(expected) <= KNOWN


def test_nothing_is_called_harmless_when_texts_were_not_seen():
    assert advise(logs(confounders=["price"]), (), False)[0].method == "additive"


def test_small_categories_and_missing_instruments_are_said():
    assert "of town" in advise(logs(confounders=["town"]), ("town",), True)[0].because
    assert "of shop" not in advise(logs(confounders=["shop"]), ("shop",), True)[0].because
    short = logs(confounders=["price", "tax"], instruments=["cost"])
    assert "1 instrument columns for 2" in advise(short, (), True)[0].because


def test_many_instruments_for_the_rows_call_for_limited_information():
    given = logs(confounders=["price"], instruments=["town"])
    first, second = advise(given, ("price",), True)[:2]
    assert (first.method, second.method) == (LIML, "two-stage")
    assert "19 instrument columns for 60 rows" in first.because
    few = advise(logs(confounders=["price"], instruments=["shop"]), ("price",), True)
    assert few[0].method == "two-stage"


def test_the_audit_carries_it():
    found = audit_logs(logs(confounders=["price"]))
    assert "Use additive (first)" in found.summary()
    assert found.section().tables["what to use"]["use"].to_pylist()[0] == "additive"


def test_the_page_has_a_row_for_every_estimator():
    page = (ROOT / "docs" / "choosing-an-estimator.md").read_text()
    classes = {method.__name__ for method in deconfound.METHODS.values()}
    assert classes | {"UnobservedConfounding"} == set(re.findall(r"\| `([A-Za-z]+)` \|", page))
