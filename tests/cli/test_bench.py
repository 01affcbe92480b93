"""``causalign bench``: a table in one command, and a line for what is wrong."""

import json

import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from causalign.cli import main


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    return stopped.value.code, capsys.readouterr()


QUICK = ("bench", "--smoke", "--estimator", "naive", "--estimator", "hashed-buckets")


def test_one_command_makes_one_table(tmp_path, capsys):
    code, said = call(capsys, *QUICK, "--design", "text-cause", "--out", tmp_path / "bench")
    assert code == 0
    assert "hashed-buckets" in said.out
    assert "built-in templates" in said.out
    kept = json.loads((tmp_path / "bench" / "table.json").read_text())
    assert [row["draws"] for row in kept["table"]] == [2, 2]
    code, said = call(
        capsys, *QUICK, "--design", "text-cause", "--out", tmp_path / "bench", "--json"
    )
    assert code == 0
    assert json.loads(said.out)["table"] == kept["table"]


def test_texts_of_a_file_are_named_in_the_table(tmp_path, capsys):
    titles = [f"headline number {i}" for i in range(100)]
    file = tmp_path / "titles.csv"
    pacsv.write_csv(pa.table({"title": titles, "about": ["a", "b"] * 50}), file)
    texts = ("--texts", file, "--completion", "title", "--topic", "about")
    code, said = call(capsys, *QUICK, "--design", "silent-readers", *texts)
    assert (code, "titles.csv" in said.out) == (0, True)
    code, said = call(capsys, *QUICK, "--texts", file)
    assert (code, "no column 'text'; there are: title, about" in said.err) == (2, True)


def test_unknown_names_are_answered_with_the_nearest(capsys):
    code, said = call(capsys, "bench", "--design", "text-couse")
    assert (code, "did you mean 'text-cause'?" in said.err) == (2, True)
    code, said = call(capsys, "bench", "--estimator", "aditive")
    assert (code, "did you mean 'additive'" in said.err) == (2, True)


def test_the_help_shows_an_example(capsys):
    code, said = call(capsys, "bench", "--help")
    assert (code, "causalign bench --smoke" in said.out) == (0, True)
