"""Reproductions without figures yet start, and what they read is what they say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "reproductions"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deconfoundlm/mind"])
def test_a_reproduction_starts(name, real_data, tmp_path):
    pytest.importorskip("torch")
    out = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, str(FOLDER / name / "run.py"), "--smoke", "--out", str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "CAUSALIGN_DATA": str(real_data)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text())
