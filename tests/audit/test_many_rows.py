"""Logs of very many rows: judged by a sample, markers counted in all, nothing dense held."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign import Logs, Roles
from causalign.audit import audit_logs, audit_markers, audit_with_markers
from causalign.logs import scan_logs
from causalign.results import Verdict
from causalign.simulate import Newsletter
from causalign.stats import nested_columns, row_blocks


@pytest.fixture(scope="module")
def logs():
    return Newsletter(rows=1500).simulate().logs


def test_confounders_are_judged_by_a_sample_and_markers_tested_on_all_rows(logs):
    every, some = (audit_markers(logs, "hashing", sample=sample) for sample in (10_000, 700))
    assert some.confounders == every.confounders == ("weekday",)
    assert some.markers.names == every.markers.names
    np.testing.assert_array_equal(some.markers.rows, every.markers.rows)
    np.testing.assert_allclose(some.p_value, every.p_value)
    section = audit_with_markers(logs, "hashing", sample=700)
    told = section.assumption.partition("judged on ")[2]
    assert told[0] in "678"
    assert f"of {len(logs):,}, drawn" in told
    assert section.numbers["rows"] == len(logs)
    assert "judged on" not in audit_with_markers(logs, "hashing").assumption


def test_a_scan_gives_the_numbers_of_logs_in_memory(logs, tmp_path):
    pq.write_table(logs.data, tmp_path / "logs.parquet", row_group_size=400)
    scan = scan_logs(tmp_path / "logs.parquet", logs.roles, batch_rows=500)
    here, there = (audit_markers(x, "hashing").table().to_pylist() for x in (logs, scan))
    assert str(here) == str(there)
    found = audit_logs(scan, "hashing", sample=700)
    assert found.rows == len(logs)
    assert 550 < found.rows_judged < 850
    assert found.confounded_by == ("weekday",)


def test_what_does_not_fit_into_memory_is_made_again(logs, monkeypatch):
    held = audit_markers(logs, "hashing").table()
    monkeypatch.setattr(row_blocks, "HELD", 0)
    monkeypatch.setattr(row_blocks, "BLOCK", 700)
    monkeypatch.setattr(nested_columns, "PRODUCTS_AT_ONCE", 1000)
    made = audit_markers(logs, "hashing").table()
    assert made["marker"] == held["marker"]
    for name in ("naive", "deconfounded", "distance lower", "alone upper", "R² on confounders"):
        np.testing.assert_allclose(made[name], held[name], rtol=1e-6, atol=1e-8)


def test_alone_is_told_of_the_leading_markers_and_of_those_asked_about(monkeypatch):
    monkeypatch.setattr("causalign.audit.spurious_markers.SHOWN", 3)
    generator = np.random.default_rng(0)
    found = audit_markers(
        Newsletter(rows=800).simulate().logs,
        text_features=generator.normal(size=(800, 3)),
        attributes={"noise": generator.normal(size=800)},
    )
    rows = found.table().to_pylist()
    assert all(np.isfinite(row["alone"]) for row in rows[:3])
    others = [row for row in rows[3:] if row["kind"] != "attribute"]
    assert others
    assert all(np.isnan(row["alone"]) for row in others)
    assert all(np.isfinite(row["alone"]) for row in rows if row["kind"] == "attribute")


def test_very_many_candidates_keep_false_discoveries_rare():
    """Words that know nothing, thousands of them, each in a few texts; one greeting that does."""
    generator = np.random.default_rng(1)
    n, words = 6000, np.array([f"w{i}" for i in range(9000)])
    day = generator.integers(7, size=n)
    greeted = generator.random(n) < np.where(day == 0, 0.8, 0.02)
    texts = [
        ("Happy Monday! " if g else "") + " ".join(generator.choice(words, 12)) for g in greeted
    ]
    table = {"text": texts, "y": (day == 0) + generator.normal(size=n), "day": day.astype(str)}
    found = audit_markers(
        Logs.of(pa.table(table), Roles("text", "y", confounders=("day",))),
        "hashing",
        rare=4,
        most=100_000,
    )
    assert len(found.markers) > 8000
    assert [name for name in found.spurious if name[:1] == "w" and name[1:].isdigit()] == []
    assert found.spurious[0] == "happy monday"
    assert found.findings[0].verdict is Verdict.WARN


def test_markers_of_a_large_scan_are_tested_on_some_of_its_rows(logs, tmp_path):
    pq.write_table(logs.data, tmp_path / "logs.parquet")
    scan = scan_logs(tmp_path / "logs.parquet", logs.roles)
    section = audit_with_markers(scan, "hashing", marker_rows=900)
    told = section.assumption.partition("Markers are tested on ")[2]
    assert told.startswith(("8", "9"))
    assert f"of {len(logs):,} rows" in told
    assert section.numbers["rows"] == len(logs)
    assert "weekday" in section.answer
