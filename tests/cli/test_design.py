"""``causalign design`` writes tests, or says in a line what is wrong and what to do."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import causalign as ca
from causalign.cli import main

TEXTS = [f"{a} {b} mugs" for a in ("free", "new", "blue", "big") for b in ("small", "old", "tea")]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("design")
    random = np.random.default_rng(0)
    table = {
        "text": TEXTS * 4,
        "clicks": random.binomial(1000, 0.03, size=48),
        "shown": np.full(48, 1000),
        "story": np.repeat(np.arange(8), 6),
        "own": np.arange(48),
    }
    pq.write_table(pa.table(table), folder / "logs.parquet")
    pq.write_table(pa.table({"text": ["one mug"]}), folder / "one.parquet")
    logs = ca.Logs.of(table, ca.Roles("text", "clicks", trials="shown", group="story"))
    model = ca.reward.WithinTests().fit(logs, "tfidf").model
    model.save(folder / "reward" / "model")
    replace(model, head=replace(model.head, factor=None)).save(folder / "unsure" / "model")
    return folder


def call(capsys, files, *more, reward="reward", logs="logs.parquet", out="next.csv"):
    with pytest.raises(SystemExit) as stopped:
        main(["design", str(files / logs), "--completion", "text", "--reward",
              str(files / reward / "model"), "--out", str(out), *map(str, more)])  # fmt: skip
    said = capsys.readouterr()
    return stopped.value.code, " ".join(said.out.split()), " ".join(said.err.split())


def test_tests_are_shown_and_written(files, capsys, tmp_path):
    code, out, err = call(capsys, files, "--outcome", "clicks", "--trials", "shown", "--group",
                          "story", "--tests", 3, "--readers", 700,
                          out=tmp_path / "next.jsonl")  # fmt: skip
    assert code == 0, err
    assert "Run 3 tests of 700 readers an arm" in out
    assert "3 tests written" in out
    rows = [json.loads(line) for line in (tmp_path / "next.jsonl").read_text().splitlines()]
    assert [row["test"] for row in rows] == ["test-1"] * 2 + ["test-2"] * 2 + ["test-3"] * 2


def test_refused_edits_are_shown(files, capsys, tmp_path):
    code, out, err = call(capsys, files, "--base-rate", 0.03, "--marker", "free", "--marker", ",",
                          "--tests", 2, out=tmp_path / "next.csv")  # fmt: skip
    assert code == 0, err
    assert "no rule says where “,” belongs" in out
    assert "“free”" in out


NOISE = ("--base-rate", 0.03)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "--base-rate 0.02 for an event"),
        (("--base-rate", 0.1, "--deviation", 2), "Say once how much one reader"),
        (("--outcome", "clicks", "--base-rate", 0.1), "Give the noise once"),
        (("--trials", "shown", *NOISE), "--trials counts for an --outcome COLUMN"),
        (("--base-rate", 2), "rate must be a number above 0 and below 1"),
        ((*NOISE, "--readers", 0), "readers must be a whole number at least 1"),
        ((*NOISE, "--tests", 0), "tests must be a whole number at least 1"),
        ((*NOISE, "--tests", 500), "500 tests were asked for, but 12 candidates"),
        ((*NOISE, "--criterion", "best"), "criterion must be one of"),
        ((*NOISE, "--scale", "log"), "scale must be one of 'logit', 'identity'"),
        ((*NOISE, "--group", "own"), "Each of the 48 groups has one text"),
        ((*NOISE, "--group", "tests"), "No column 'tests'"),
        ((*NOISE, "--rewrite-command", "cat"), "--rewrite-command edits texts for a --marker"),
        ((*NOISE, "--marker", "free", "--rewrite-command", "'open"), "cannot be read as words"),
        ((*NOISE, "--marker", "free", "--rewrite-command", "no-such"), "cannot be started"),
        ((*NOISE, "--marker", " "), "not a blank"),
    ],
)
def test_bad_settings(files, capsys, tmp_path, more, message):
    code, _, err = call(capsys, files, *more, out=tmp_path / "next.csv")
    assert code == 2
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_one_text_is_refused(files, capsys, tmp_path):
    code, _, err = call(capsys, files, *NOISE, logs="one.parquet", out=tmp_path / "next.csv")
    assert code == 2
    assert "A test compares two texts; there is 1" in err


def test_a_reward_without_covariance_is_refused(files, capsys, tmp_path):
    code, _, err = call(capsys, files, *NOISE, reward="unsure", out=tmp_path / "next.csv")
    assert code == 2
    assert "does not tell how uncertain its coefficients are. Fit" in err


def test_files_are_not_overwritten_and_have_a_known_ending(files, capsys, tmp_path):
    (tmp_path / "next.csv").write_text("mine")
    code, _, err = call(capsys, files, *NOISE, out=tmp_path / "next.csv")
    assert code == 2
    assert "is there already" in err
    assert (tmp_path / "next.csv").read_text() == "mine"
    code, _, err = call(capsys, files, *NOISE, out=tmp_path / "next.xlsx")
    assert code == 2
    assert "ends in none of them" in err
