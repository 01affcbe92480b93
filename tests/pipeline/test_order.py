"""A run killed at any stage continues and ends with the same files (SIGKILL, not an exception)."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from causalign.simulate import Newsletter

pytest.importorskip("torch")

RECIPE = """
name: small
data:
  path: data/logs.parquet
  roles: {completion: mail, outcome: minutes_read, confounders: [weekday]}
evaluate:
  pairs: data/experiment.parquet
  truth: true_text_effect
  markers: ["Happy Monday!"]
"""
STAGES = ["1-audit", "2-deconfound", "3-reward", "5-evaluate"]

# The child kills itself the moment before or after a stage's folder appears, or half-way through
# its payload: no handler runs, no file is closed.
CHILD = """
import os, signal, sys
from causalign import artifacts, pipeline, recipe
stage, moment = sys.argv[3], sys.argv[4]
write, replace = artifacts.write_stage, os.replace
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def killing(folder, section, **more):
    if folder.name == stage and moment == "before":
        die()
    if folder.name == stage and moment == "inside":
        os.replace = lambda a, b: die() if str(b).endswith(stage) else replace(a, b)
    write(folder, section, **more)
    if folder.name == stage and moment == "after":
        die()
artifacts.write_stage = killing
pipeline.run(recipe.load(sys.argv[1]), sys.argv[2], say=lambda line: None)
"""


def results(run: Path) -> dict[str, dict]:
    return {s: json.loads((run / s / "result.json").read_text()) for s in STAGES}


def start(recipe: Path, run: Path, stage: str = "", moment: str = "") -> int:
    arguments = [sys.executable, "-c", CHILD, str(recipe), str(run), stage, moment]
    return subprocess.run(arguments, env=os.environ, capture_output=True).returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    Newsletter(rows=300, pairs=60).simulate().write(folder / "data")
    recipe = folder / "pipeline.yaml"
    recipe.write_text(RECIPE + "encoder: style\n")
    assert start(recipe, folder / "run") == 0
    return recipe, results(folder / "run")


SLOW = [
    pytest.param(stage, moment, marks=pytest.mark.slow)
    for stage in STAGES
    for moment in ("before", "inside", "after")
    if (stage, moment) != ("3-reward", "inside")
]


@pytest.mark.parametrize(("stage", "moment"), [("3-reward", "inside"), *SLOW])
def test_a_killed_run_continues_to_the_same_result(stage, moment, whole, tmp_path):
    recipe, expected = whole
    run = tmp_path / "run"
    assert start(recipe, run, stage, moment) == -signal.SIGKILL
    assert (run / stage).exists() == (moment == "after")
    assert start(recipe, run) == 0
    assert results(run) == expected
    assert not list(run.glob(".*.partial*"))


def test_other_settings_are_refused_and_nothing_is_lost(whole, tmp_path):
    recipe, expected = whole
    run = recipe.parent / "run"
    other = recipe.parent / "other.yaml"
    other.write_text(recipe.read_text().replace("name: small", "name: small\nseed: 5"))
    done = subprocess.run(
        [sys.executable, "-m", "causalign", "run", str(other), "--out", str(run)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "other settings or data" in done.stderr
    assert results(run) == expected
