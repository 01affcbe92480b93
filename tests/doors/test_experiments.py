"""Designs of tests: the same settings through Python and the command line give the same file."""

import sys

import pyarrow.csv as pacsv
import pytest

import causalign as ca

ROLES = {"completion": "text", "outcome": "y", "group": "test"}


@pytest.fixture(scope="module")
def reward(doors, tmp_path_factory):
    train, path = doors.train(ROLES)
    fit = ca.reward.WithinTests().fit(train, "tfidf")
    return fit.save(tmp_path_factory.mktemp("reward")) / "model", train, path


def columns(*names: str) -> list[str]:
    return [part for name in names for part in (f"--{name}", ROLES.get(name, "text"))]


@pytest.mark.parametrize("criterion", ["information", "best-text"])
def test_a_design_of_logs(doors, reward, tmp_path, criterion):
    folder, train, path = reward
    model = ca.reward.RewardModel.load(folder)
    plan = ca.experiment.design(train, model, tests=4, readers=50, criterion=criterion)
    doors.call("design", path, *columns("completion", "outcome", "group"), "--reward", folder,
               "--tests", 4, "--readers", 50, "--criterion", criterion,
               "--out", tmp_path / "next.csv")  # fmt: skip
    written = pacsv.read_csv(tmp_path / "next.csv")
    assert written.to_pylist() == plan.arms().to_pylist()


def test_a_design_of_texts_without_outcomes(doors, reward, tmp_path):
    folder, train, path = reward
    noise = ca.experiment.ReaderNoise(0.25, between=0.01)
    candidates = ca.experiment.Candidates.distinct(train.completions)
    model = ca.reward.RewardModel.load(folder)
    plan = ca.experiment.design(candidates, model, tests=3, noise=noise)
    noisy = ["--deviation", 0.5, "--between-variance", 0.01, "--tests", 3]
    doors.call("design", path, *columns("completion"), "--reward", folder, *noisy,
               "--out", tmp_path / "next.csv")  # fmt: skip
    assert pacsv.read_csv(tmp_path / "next.csv").to_pylist() == plan.arms().to_pylist()


REWRITE = """
import json, sys
for line in sys.stdin:
    q = json.loads(line)
    text = q["text"].replace("free", "").strip() if q["edit"] == "remove" else q["text"] + " free"
    print(json.dumps({"id": q["id"], "text": text}))
"""


@pytest.mark.parametrize("by_command", [False, True])
def test_a_design_of_minimal_pairs(doors, reward, tmp_path, by_command):
    folder, train, path = reward
    (tmp_path / "rewrite.py").write_text(REWRITE)
    program = (sys.executable, str(tmp_path / "rewrite.py"))
    pairs = ca.experiment.make_minimal_pairs(
        ca.experiment.Candidates.distinct(train.completions).texts,
        ["free", "!"],
        rewriter=ca.experiment.CommandRewriter(program) if by_command else None,
    )
    noise = ca.experiment.ReaderNoise.of_rate(0.1, scale="identity")
    model = ca.reward.RewardModel.load(folder)
    plan = ca.experiment.design(pairs.candidates(), model, tests=5, noise=noise)
    rewrite = ["--rewrite-command", " ".join(program)] if by_command else []
    doors.call("design", path, *columns("completion"), "--reward", folder, "--base-rate", 0.1,
               "--scale", "identity", "--marker", "free", "--markers", "!", *rewrite, "--tests", 5,
               "--out", tmp_path / "next.csv")  # fmt: skip
    written = pacsv.read_csv(tmp_path / "next.csv")
    assert written.to_pylist() == plan.arms().to_pylist()
    assert all(len({"free", "!"} & {*group}) or "free" in group for group in plan.group)
