"""Every reproduction starts, writes figures, and says what to do where its data are missing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "reproductions"
# Upworthy has a test of its own: its smoke run has figures to meet.
NAMES = (
    "causal_preference/hh_rlhf",
    "causal_preference/latent_positivity",
    "cpo/hate_speech",
    "cpo/hongkong",
    "deconfoundlm/mind",
    "deconfoundlm/monday",
)


def run(name, size, out, data):
    return subprocess.run(
        [sys.executable, str(FOLDER / name / "run.py"), size, "--out", "found.json"],
        capture_output=True,
        text=True,
        cwd=out,
        env={**os.environ, "CAUSALIGN_DATA": str(data)},
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_reproduction_starts(name, real_data, tmp_path):
    pytest.importorskip("torch")
    done = run(name, "--smoke", tmp_path, real_data)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "found.json").read_text())["seconds"] > 0


@pytest.mark.parametrize(
    "name", ["causal_preference/hh_rlhf", "causal_preference/latent_positivity"]
)
def test_full_size_without_its_data_says_what_to_do(name, tmp_path):
    done = run(name, "--full", tmp_path, tmp_path)
    assert done.returncode == 1
    assert "--data FILE" in done.stderr


@pytest.mark.parametrize("name", [*NAMES, "deconfoundlm/upworthy"])
def test_figures_of_the_readme_are_kept(name):
    expected = json.loads((FOLDER / name / "expected.json").read_text())
    assert expected["cpu"]


def test_figures_are_drawn_from_what_is_expected(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import draw

    for name, drawn in draw.DRAWN.items():
        expected = json.loads((FOLDER / name / "expected.json").read_text())
        assert "<svg" in drawn(expected).svg, name
    for place, drawn in draw.MORE.items():
        expected = json.loads((FOLDER / place).parent.joinpath("expected.json").read_text())
        assert "<svg" in drawn(expected).svg, place
