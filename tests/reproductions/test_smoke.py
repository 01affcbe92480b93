"""Reproductions start, and what they read is what they say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from scipy import stats

FOLDER = Path(__file__).parents[2] / "reproductions"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deconfoundlm/mind", "cpo/hongkong"])
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


def test_hong_kong_was_drawn_as_the_exact_sums_say(real_data, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(FOLDER / "cpo" / "hongkong"))
    import snippets

    texts = snippets.read(real_data / "hongkong_wave1.parquet")
    for logits in (torch.zeros(7).double(), torch.linspace(-1, 1, 7).double()):
        probability = snippets.log_policy(logits, texts.design).exp()
        assert float(probability.sum()) == pytest.approx(1)
    # Within a kind all sets are equally likely; the test has three chances.
    first = 0
    for kind in snippets.KINDS:
        counts = [(texts.chosen == row).sum() for row in range(first, first + len(kind))]
        assert stats.chisquare(counts).pvalue > 0.003
        first += len(kind)
