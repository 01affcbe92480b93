"""One JSON document, or words; as loud as asked; before the verb or after it."""

import json
import logging
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import causalign as ca
from causalign.cli import main, output

NAN = float("nan")


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    return stopped.value.code, capsys.readouterr()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    ca.simulate.Newsletter(rows=400, pairs=40).simulate().write(folder)
    return folder


@pytest.fixture
def audit(data):
    return [data / "logs.parquet", "--completion", "mail", "--outcome", "minutes_read",
            "--confounder", "weekday", "--encoder", "hashing"]  # fmt: skip


@pytest.mark.parametrize("before", [True, False])
def test_a_verb_is_one_document(audit, before, capsys):
    words = ["--json", "audit", *audit] if before else ["audit", *audit, "--json"]
    code, said = call(capsys, *words)
    assert code == 0, said.err
    document = json.loads(said.out)
    assert document["stage"] == "audit"
    assert document["numbers"]["rows"] == len(pq.read_table(audit[0]))
    assert document["tables"]["confounders"][0]["confounder"] == "weekday"
    assert {"code", "verdict", "numbers"} <= document["findings"][0].keys()
    # The next command speaks in words again.
    assert not call(capsys, "audit", *audit)[1].out.startswith("{")


def test_what_is_no_number_in_json_is_null(capsys):
    output.manner.begin()
    output.manner.json = True
    table = pa.table({"x": [NAN, float("inf"), 1.5], "d": pa.array([0, 1, 2], pa.date32())})
    section = ca.results.Section("audit", "?", "é", numbers={"gain": NAN}, tables={"t": table})
    output.show_section(section)
    output.print_document()
    written = capsys.readouterr().out
    output.manner.begin()
    document = json.loads(written, parse_constant=pytest.fail)
    assert written.isascii()
    assert document["numbers"] == {"gain": None}
    assert [row["x"] for row in document["tables"]["t"]] == [None, None, 1.5]
    assert document["tables"]["t"][1]["d"] == "1970-01-02"


VERBS = {
    "data list": ({"sources"}, []),
    "recipes list": ({"recipes"}, []),
    "explain": ({"pages"}, ["CF101"]),
    "doctor": ({"tables"}, ["--logs", "{data}/logs.parquet"]),
    "experiment plan": ({"numbers", "answer"}, ["--baseline", "0.1", "--minimum", "0.02"]),
    "simulate": ({"folder", "rows", "pairs"}, ["pricing", "--out", "{new}", "--set", "rows=50"]),
    "init": (
        {"recipe", "tables", "decide"},
        ["{data}/logs.parquet", "--outcome", "minutes_read", "--out", "{new}.yaml"],
    ),
    "reward fit": (
        {"reward_model", "findings"},
        ["{data}/logs.parquet", "--completion", "mail", "--outcome", "minutes_read", "--encoder",
         "hashing", "--out", "{new}"],
    ),
    "evaluate value": (
        {"numbers", "tables"},
        ["{data}/logs.parquet", "--outcome", "minutes_read", "--predicted", "true_text_effect",
         "--direct", "true_text_effect"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_a_document(verb, data, tmp_path, capsys):
    keys, more = VERBS[verb]
    places = {"data": data, "new": tmp_path / "new"}
    words = [*verb.split(), *(word.format(**places) for word in more)]
    code, said = call(capsys, *words, "--json")
    assert code == 0, said.err
    assert keys <= json.loads(said.out).keys()


def test_an_error_leaves_standard_output_empty(capsys):
    code, said = call(capsys, "audit", "none.csv", "--completion", "a", "--outcome", "b", "--json")
    assert code == 2
    assert said.out == ""
    assert "There is no file" in said.err


RECIPE = """
name: small
data:
  path: {data}/logs.parquet
  roles: {{completion: mail, outcome: minutes_read, confounders: [weekday]}}
encoder: hashing
"""


@pytest.fixture
def recipe(data, tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(RECIPE.format(data=data), encoding="utf-8")
    return path


def test_quiet_says_results_and_verbose_what_is_decided(recipe, tmp_path, capsys):
    code, said = call(capsys, "run", recipe, "--out", tmp_path / "run", "-v")
    assert code == 0
    assert "info: 1-audit begins" in said.err
    assert "small: reading the logs" in said.out
    code, said = call(capsys, "-q", "run", recipe, "--out", tmp_path / "run")
    assert said.err == ""
    assert "reading the logs" not in said.out
    assert "report: " in said.out
    code, said = call(capsys, "run", recipe, "--out", tmp_path / "run", "--json")
    assert [s["stage"] for s in json.loads(said.out)["stages"]] == [
        "audit", "deconfound", "reward", "evaluate",
    ]  # fmt: skip


def test_any_stage_has_a_report(audit, tmp_path, capsys, monkeypatch):
    pages = []
    monkeypatch.setattr("webbrowser.open", lambda page: pages.append(page) or True)
    assert call(capsys, "audit", *audit, "--out", tmp_path / "audit")[0] == 0
    code, said = call(capsys, "report", tmp_path / "audit", "--open")
    assert code == 0, said.err
    page = tmp_path / "audit" / "6-report" / "report.html"
    assert f"report: {page}" in said.out
    assert pages == [page.as_uri()]
    assert "The log is confounded" in page.read_text(encoding="utf-8")
    assert call(capsys, "audit", *audit, "--out", tmp_path / "audit")[1].out.count("done before")


def test_python_says_nothing_unless_asked():
    code = "import causalign, logging; logging.getLogger('causalign.x').warning('heard')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_levels_follow_the_options(capsys):
    for words, level in (([], "WARNING"), (["-v"], "INFO"), (["-vv"], "DEBUG"), (["-q"], "ERROR")):
        assert call(capsys, "explain", "CF101", *words)[0] == 0
        assert logging.getLogger("causalign").level == getattr(logging, level)
    output.manner.begin()


def test_a_dry_run_checks_and_writes_nothing(recipe, tmp_path, capsys):
    out = tmp_path / "run"
    code, said = call(capsys, "run", recipe, "--out", out, "--dry-run")
    assert code == 0
    assert "3-reward: to do" in said.out
    assert not out.exists()
    assert call(capsys, "run", recipe, "--out", out)[0] == 0
    code, said = call(capsys, "run", recipe, "--out", out, "--dry-run", "--json")
    assert set(json.loads(said.out)["done_before"].values()) == {True}
    code, said = call(capsys, "run", recipe, "--out", out, "--dry-run", "--set", "seed=1")
    assert code == 2
    assert "other settings" in said.err
