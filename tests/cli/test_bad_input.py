"""Bad input: exit code 2, one to three lines that say what to do, no traceback, nothing left."""

import gzip
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalign.cli import main

GOOD = "text,y,c,n\n" + "".join(f"text {i},{i % 3},{i % 2},1\n" for i in range(30))
ROLES = ["--completion", "text", "--outcome", "y", "--confounder", "c"]
YAML = """
name: case
data:
  path: logs.csv
  roles: {completion: text, outcome: y, confounders: [c]}
"""


def call(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    return stopped.value.code, capsys.readouterr().err


def assert_refused(code, said, wanted, folder, before):
    assert code == 2, said
    assert wanted in " ".join(said.split()), said
    assert "Traceback" not in said
    assert 1 <= len(said.strip().splitlines()) <= 3, said
    assert sorted(p.name for p in folder.rglob("*")) == before


def written(folder: Path, name: str, content) -> Path:
    path = folder / name
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8")
    return path


def table(text=("a", "b", "c"), y=(1.0, 2.0, 3.0), c=(0, 1, 0)) -> pa.Table:
    return pa.table({"text": list(text), "y": list(y), "c": list(c)})


def truncated() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table(), sink)
    return sink.getvalue().to_pybytes()[:-40]


FILES = {
    "missing file": ("none.csv", None, "There is no file"),
    "unknown format": ("logs.xlsx", "x", "is of no format that can be read"),
    "empty file": ("logs.csv", "", "is empty (0 bytes)"),
    "header only": ("logs.csv", "text,y,c\n", "The table has no rows"),
    "one row": ("logs.csv", "text,y,c\na,1,0\n", "The table has one row"),
    "missing column": ("logs.csv", "test,y,c\na,1,0\nb,2,1\n", "did you mean 'test'?"),
    "missing outcome column": ("logs.csv", "text,z,c\na,1,0\nb,2,1\n", "names the column 'y'"),
    "outcome missing": ("logs.csv", "text,y,c\na,1,0\nb,,1\nd,2,1\n", "'y' has 1 missing values"),
    "outcome not numeric": ("logs.csv", "text,y,c\na,1,0\nb,many,1\n", "row 1 holds 'many'"),
    "outcome constant": ("logs.csv", "text,y,c\na,1,0\nb,1,1\n", "is constant (1)"),
    "outcome infinite": ("logs.csv", "text,y,c\na,1,0\nb,inf,1\n", "row 1 is infinite"),
    "outcome NaN": ("logs.parquet", table(y=(1.0, float("nan"), 2.0)), "row 1, which holds NaN"),
    "outcome a date": ("logs.csv", "text,y,c\na,2020-01-01,0\nb,2020-01-02,1\n", "not numeric but"),
    "outcome a list": ("logs.jsonl", '{"text":"a","y":[1],"c":0}\n' * 2, "holds list"),
    "text missing": ("logs.parquet", table(text=("a", None, "b")), "1 missing texts (first"),
    "text empty": ("logs.parquet", table(text=("a", "", "b")), "1 empty texts (first at row 1)"),
    "text blank": ("logs.parquet", table(text=("a", "b", " \n ")), "1 empty texts"),
    "text numbers": ("logs.parquet", table(text=(1, 2, 3)), "must hold text, but holds int64"),
    "text all null": ("logs.parquet", table(text=(None, None, None)), "holds no value in any row"),
    "wrong encoding": ("logs.csv", "text,y,c\nné,1,0\nb,2,1\n".encode("latin-1"), "not UTF-8 text"),
    "utf-16": ("logs.csv", GOOD.encode("utf-16"), "is UTF-16 text"),
    "truncated parquet": ("logs.parquet", truncated(), "is damaged, cut short"),
    "not parquet": ("logs.parquet", b"hello, I am no parquet file", "is damaged, cut short"),
    "truncated gzip": ("logs.csv.gz", gzip.compress(GOOD.encode() * 99)[:-60], "is damaged, cut"),
    "ragged rows": ("logs.csv", "text,y,c\na,1,0\nb,2\n", "2 cells in line 3 but 3 names"),
    "broken jsonl": ("logs.jsonl", '{"text": "a", "y": 1, "c": 0}\n{"text": ', "is damaged, cut"),
    "mixed types": (
        "logs.jsonl",
        '{"text":"a","y":1,"c":0}\n{"text":"b","y":"x","c":1}\n',
        "the field 'y' mixes types, a number in line 1",
    ),
    "confounder missing": ("logs.csv", "text,y,c\na,1,\nb,2,1\nd,3,2\n", "1 missing values"),
    "confounder infinite": ("logs.csv", "text,y,c\na,1,inf\nb,2,1\n", "row 0 is infinite"),
    "confounder a list": (
        "logs.jsonl",
        '{"text":"a","y":1,"c":[0]}\n{"text":"b","y":2,"c":[1]}\n',
        "holds list",
    ),
    "column twice": ("logs.csv", "text,y,y,c\na,1,1,0\nb,2,2,1\n", "2 columns named 'y'"),
    "binary text": (
        "logs.parquet",
        pa.table({"text": pa.array([b"\xff", b"b"]), "y": [1, 2], "c": [0, 1]}),
        "column 'text' holds bytes that are not UTF-8 text",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_file_is_refused(case, tmp_path, capsys):
    name, content, wanted = FILES[case]
    path = tmp_path / name if content is None else written(tmp_path, name, content)
    before = sorted(p.name for p in tmp_path.rglob("*"))
    out = tmp_path / "out"
    code, said = call(["audit", path, *ROLES, "--out", out], capsys)
    assert_refused(code, said, wanted, tmp_path, before)


ARGUMENTS = {
    "role twice": (["--confounder", "c"], "names column 'c' twice"),
    "role also outcome": (["--confounder", "y"], "named as 'outcome' and as 'confounders'"),
    "role also text": (["--confounder", "text"], "named as 'completion' and as 'confounders'"),
    "outcome groups": (["--group", "y"], "cannot also group"),
    "unknown confounder": (["--confounder", "d"], "there are: text, y, c, n"),
    "trials too few": (["--trials", "n"], "rows do not have 0 <= y <= n"),
    "unknown scale": (["--scale", "cube"], "there are: identity, log, logit"),
    "log of zero": (["--scale", "log"], "needs outcomes above 0"),
    "logit of counts": (["--scale", "logit"], "rates strictly between 0 and 1"),
    "unknown encoder": (["--encoder", "minilmm"], "minilm"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_argument_is_refused(case, tmp_path, capsys):
    more, wanted = ARGUMENTS[case]
    path = written(tmp_path, "logs.csv", GOOD)
    code, said = call(["audit", path, *ROLES, *more, "--out", tmp_path / "out"], capsys)
    assert_refused(code, said, wanted, tmp_path, ["logs.csv"])


SETTINGS = {
    "unknown key": ("sed: 1\n", "Unknown setting 'sed'; did you mean 'seed'?"),
    "unknown nested key": ("evaluate: {marker: [x]}\n", "did you mean 'markers'?"),
    "wrong type": ("seed: soon\n", "Setting 'seed'"),
    "key twice": ("seed: 1\nseed: 2\n", "'seed' is written twice"),
    "unknown method": ("deconfound: {method: aditive}\n", "did you mean 'additive'?"),
    "method setting": ("deconfound: {method: additive, penaltie: 1}\n", "did you mean 'penalty'?"),
    "no method": ("deconfound: {penalty: 1}\n", "needs a 'method'"),
    "held out": ("#", "must lie between 0 and 1"),
    "not yaml": ("seed: [1\n", "is not valid YAML"),
    "pairs file": ("evaluate: {pairs: none.parquet}\n", "There is no file"),
    "unset variable": ("evaluate: {pairs: $NO_SUCH_PLACE/x.csv}\n", "variable that is not set"),
    "no such pair column": ("evaluate: {pairs_by: [shop]}\n", "no column 'shop'"),
    "seed below zero": ("seed: -1\n", "seed must be a whole number at least 0"),
    "folds of a deconfounder": (
        "deconfound: {method: double-ml, folds: 99}\n",
        "'deconfound': 99 folds need at least 99 groups",
    ),
    "folds of a reward": ("reward: {method: ridge, folds: 99}\n", "'reward': 99 folds need"),
    "another version": ("version: 9\n", "is a recipe of version 9, and this causalign reads"),
    "no version": ("version: [1]\n", "is a recipe of version [1]"),
    "a column that vanished": (
        "data: {path: logs.csv, roles: {completion: text, outcome: y, confounders: [place]}}\n",
        "names the column 'place'",
    ),
    "judges twice": ("evaluate: {alike: true, pairs_by: [n]}\n", "names what judges twice"),
    "pairs of one group": ("evaluate: {pairs_by: [n]}\n", "are of one group"),
    "no such language model": (
        "policy: {method: sft, temperature: 1, model: /no/such}\n",
        "'policy': There is no language model named '/no/such'",
    ),
}

ROLES_REFUSED = {
    "constant confounder": (["confounders=[n]"], "has the same value in every row"),
    "group of one level": (["group=n"], "leaves one side empty"),
    "too few clusters": (["cluster=g"], "'reward': 5 folds need at least 5 groups; there are 2"),
    "one per group without one": ([], "'data.one_per_group' needs the column of the groups"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_setting_is_refused(case, tmp_path, capsys):
    more, wanted = SETTINGS[case]
    written(tmp_path, "logs.csv", GOOD)
    start = "name: case\n" if more.startswith("data:") else YAML
    path = written(tmp_path, "pipeline.yaml", start + more)
    extra = ["--set", "data.held_out=2"] if case == "held out" else []
    code, said = call(["run", path, "--out", tmp_path / "out", *extra], capsys)
    assert code == 2, said
    assert wanted in " ".join(said.split()), said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("out/*/*"))


NONSENSE = {
    "no value": ("nonsense", "Write an override as name.of.setting=value"),
    "no name": ("=3", "Write an override as name.of.setting=value"),
    "unknown": ("a.b.c=1", "Unknown setting 'a'"),
    "no mapping": ("data=3", "must be a mapping, but holds 3"),
    "no yaml": ("seed={a: [", "is not valid YAML"),
    "a list for a name": ("data.roles.outcome=[1]", "Setting 'data.roles.outcome'"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_to_set_is_refused(case, tmp_path, capsys):
    setting, wanted = NONSENSE[case]
    written(tmp_path, "logs.csv", GOOD)
    path = written(tmp_path, "pipeline.yaml", YAML)
    words = ["run", path, "--out", tmp_path / "out", "--set", setting]
    code, said = call(words, capsys)
    assert_refused(code, said, wanted, tmp_path, ["logs.csv", "pipeline.yaml"])


TABLES = {
    "zeros": ("logs.csv", b"text,y\nabc,1\nd\0f,2\n", "holds bytes of zero"),
    "prose": ("logs.csv", "hello world, this is no table\n\nx", "1 cells in line 3 but 2 names"),
    "a program": ("logs.parquet", b"\x7fELF\x02\x01", "is damaged, cut short"),
    "a variable": ("a$b.csv", GOOD, "reads as a variable of the environment"),
}


@pytest.mark.parametrize("case", TABLES)
def test_init_refuses_what_is_no_table(case, tmp_path, capsys):
    name, content, wanted = TABLES[case]
    path = written(tmp_path, name, content)
    code, said = call(["init", path, "--out", tmp_path / "pipeline.yaml"], capsys)
    assert_refused(code, said, wanted, tmp_path, [name])


def test_a_recipe_that_is_not_there(tmp_path, capsys):
    code, said = call(["run", tmp_path / "none.yaml"], capsys)
    assert_refused(code, said, "There is no settings file", tmp_path, [])


@pytest.mark.parametrize("case", ROLES_REFUSED)
def test_roles_are_refused_before_the_first_stage(case, tmp_path, capsys):
    roles, wanted = ROLES_REFUSED[case]
    rows = [f"text {i},{i % 4},{i % 2},1,{i % 3}" for i in range(30)]
    written(tmp_path, "logs.csv", "\n".join(["text,y,c,n,g", *rows, ""]))
    path = written(tmp_path, "pipeline.yaml", YAML + "encoder: hashing\n")
    more = [f"data.roles.{role}" for role in roles] or ["data.one_per_group=true"]
    extra = [word for setting in more for word in ("--set", setting)]
    code, said = call(["run", path, "--out", tmp_path / "out", *extra], capsys)
    assert_refused(code, said, wanted, tmp_path, ["logs.csv", "pipeline.yaml"])


def test_wrong_verb(capsys):
    code, said = call(["deconfuse"], capsys)
    assert code == 2
    assert "No such command 'deconfuse'" in said


def test_output_folder_is_a_file(tmp_path, capsys):
    written(tmp_path, "logs.csv", GOOD)
    path = written(tmp_path, "pipeline.yaml", YAML)
    written(tmp_path, "out", "precious")
    code, said = call(["run", path, "--out", tmp_path / "out"], capsys)
    assert_refused(code, said, "is a file", tmp_path, ["logs.csv", "out", "pipeline.yaml"])
    assert (tmp_path / "out").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_output_folder_is_not_writable(tmp_path, capsys):
    written(tmp_path, "logs.csv", GOOD)
    path = written(tmp_path, "pipeline.yaml", YAML)
    (tmp_path / "locked").mkdir(mode=0o500)
    code, said = call(["run", path, "--out", tmp_path / "locked" / "out"], capsys)
    assert code == 2
    assert "Cannot write" in said


def test_output_folder_cannot_be_made(tmp_path, capsys):
    written(tmp_path, "logs.csv", GOOD)
    path = written(tmp_path, "pipeline.yaml", YAML)
    code, said = call(["run", path, "--out", "/proc/nowhere/out"], capsys)
    assert code == 2
    assert "Cannot write" in said


def test_files_of_a_glob_without_common_columns(tmp_path, capsys):
    written(tmp_path, "a.csv", GOOD)
    written(tmp_path, "b.csv", "body,clicks\nx,1\ny,2\n")
    code, said = call(["audit", tmp_path / "*.csv", *ROLES], capsys)
    assert_refused(code, said, "shares no column with", tmp_path, ["a.csv", "b.csv"])


def test_folder_without_tables(tmp_path, capsys):
    written(tmp_path, "notes.txt", "x")
    code, said = call(["audit", tmp_path, *ROLES], capsys)
    assert_refused(code, said, "holds no csv, tsv, jsonl or Parquet file", tmp_path, ["notes.txt"])


def test_report_of_nothing(tmp_path, capsys):
    code, said = call(["report", tmp_path], capsys)
    assert_refused(code, said, "holds no finished stage", tmp_path, [])
