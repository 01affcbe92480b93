"""The smoke mode of the Upworthy reproduction: it runs, resumes, and gives the expected numbers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "reproductions" / "deconfoundlm" / "upworthy"


def smoke(out, data, script="run.py"):
    command = [sys.executable, FOLDER / script, "--smoke", "--out", out, "--data", data]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_smoke_gives_the_expected_numbers_and_resumes(tmp_path, real_data):
    data = real_data / "upworthy.parquet"
    first = smoke(tmp_path, data)
    assert "158 pairs judged" in first
    found = json.loads((tmp_path / "summary.json").read_text())["numbers"]
    expected = json.loads((FOLDER / "expected.json").read_text())["smoke"]
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=0.02), name
    assert (tmp_path / "figure-4c-deconfounded.svg").exists()
    again = smoke(tmp_path, data)
    assert "pairs judged" not in again
    assert json.loads((tmp_path / "summary.json").read_text())["numbers"] == found


@pytest.mark.slow
def test_smoke_of_the_experiments_gives_the_expected_numbers(tmp_path, real_data):
    shown = smoke(tmp_path, real_data / "upworthy.parquet", "experiments.py")
    found = json.loads((tmp_path / "summary.json").read_text())
    expected = json.loads((FOLDER / "expected.json").read_text())["smoke experiments"]
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if "AUC" in name or "coverage" in name:
            assert found[name] == pytest.approx(value, abs=0.02), name
    assert found["style: coverage, bias ignored"] < 0.9 < found["style: coverage, bias counted"]
    assert "expected" in shown
