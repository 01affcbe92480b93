import numpy as np
import pytest
from scipy.stats import chi2

import causalign as ca
from causalign.audit import audit_with_markers
from causalign.audit.markers_by_audience import _test_difference
from causalign.results import Verdict


@pytest.fixture(scope="module")
def section():
    logs = ca.simulate.OppositeTastes(rows=3000).simulate().logs
    return audit_with_markers(logs, "style")


def rows_of(section, marker):
    rows = section.tables["markers by audience"].to_pylist()
    return {row["audience"]: row for row in rows if row["marker"] == marker}


def test_the_marker_of_opposite_taste_is_told_for_each_audience(section):
    first = section.tables["markers by audience"].to_pylist()[0]
    told = rows_of(section, first["marker"])
    assert first["audiences differ"]
    assert "last" in first["marker"] or "chance" in first["marker"] or "!" in first["marker"]
    assert told["new"]["lower"] < -0.9 < told["new"]["upper"] < 0
    assert 0 < told["regular"]["lower"] < 0.6 < told["regular"]["upper"]
    finding = next(f for f in section.findings if f.code == "MK104")
    assert finding.verdict is Verdict.WARN
    assert "for 'new'" in finding.explanation


def test_what_everybody_likes_does_not_differ(section):
    told = rows_of(section, "with free returns")
    assert not any(row["audiences differ"] for row in told.values())
    assert told["regular"]["q"] < 0.05


def test_the_test_of_one_effect_is_cochrans():
    estimate = np.array([[1.0, 0.0, np.nan], [3.0, 0.0, 1.0], [2.0, np.nan, np.nan]])
    error = np.array([[1.0, 1.0, np.nan], [0.5, 2.0, 1.0], [1.0, np.nan, np.nan]])
    p = _test_difference(estimate, error)
    w = 1 / error[:, 0] ** 2
    centre = np.average(estimate[:, 0], weights=w)
    assert p[0] == pytest.approx(chi2.sf(w @ (estimate[:, 0] - centre) ** 2, 2))
    assert p[1] == pytest.approx(1)
    assert np.isnan(p[2])


def test_alike_audiences_pass():
    logs = ca.simulate.Newsletter(rows=2000).simulate().logs
    random = np.random.default_rng(0)
    table = logs.data.append_column("side", [random.choice(["left", "right"], 2000).tolist()])
    roles = ca.Roles("mail", "minutes_read", confounders=("weekday",), audience=("side",))
    section = audit_with_markers(ca.Logs.of(table, roles), "style")
    finding = next(f for f in section.findings if f.code == "MK104")
    assert finding.verdict is Verdict.PASS
