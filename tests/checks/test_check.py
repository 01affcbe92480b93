"""Findings of one check share its code, title and numbers."""

import pytest

from causalign.checks.check import Check
from causalign.results import Finding, Verdict


@pytest.mark.parametrize(
    ("method", "verdict"),
    [
        ("passes", Verdict.PASS),
        ("warns", Verdict.WARN),
        ("fails", Verdict.FAIL),
        ("does_not_apply", Verdict.NOT_APPLICABLE),
    ],
)
def test_a_finding_says_how_the_check_ended(method, verdict):
    check = Check("DA103", "Number of rows", rows=7, column="price")
    expected = Finding("DA103", "Number of rows", verdict, "Why.", {"rows": 7, "column": "price"})
    assert getattr(check, method)("Why.") == check.end(verdict, "Why.") == expected
