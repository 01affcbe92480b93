"""``causalign init`` writes a recipe that runs as it is, and says what there is to decide."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

import causalign as ca
from causalign.cli import main


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    return stopped.value.code, capsys.readouterr()


@pytest.fixture
def file(tmp_path):
    logs = ca.simulate.Newsletter(rows=400, pairs=10, seed=0).simulate().logs.data
    weekday = logs["weekday"].to_pylist()
    table = pa.table(
        {
            "mail": logs["mail"],
            "minutes_read": logs["minutes_read"],
            "weekday": weekday,
            'what "he": said\n- x: !!python/object': list(range(400)),
        }
    )
    pq.write_table(table, tmp_path / "my mails.parquet")
    return tmp_path / "my mails.parquet"


def test_the_recipe_runs_as_it_is(file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("causalign.cli.init.choose_encoder", lambda words: ("hashing", "quick"))
    code, said = call(capsys, "init", "my mails.parquet")
    assert code == 0
    assert "next: causalign run pipeline.yaml" in said.out
    assert "decide: was each of weekday" in " ".join(said.out.split())
    recipe = ca.recipe.load("pipeline.yaml")
    assert recipe.data.roles.outcome == "minutes_read"
    assert recipe.data.roles.confounders[0] == "weekday"
    assert recipe.evaluate.alike
    code, said = call(capsys, "run", "pipeline.yaml")
    assert code == 0
    assert " held-out pairs the naive reward has AUC" in said.out
    assert (tmp_path / "runs" / "my-mails" / "6-report" / "report.html").is_file()


def test_a_recipe_that_is_there_is_kept(file, tmp_path, capsys):
    out = tmp_path / "pipeline.yaml"
    out.write_text("mine", encoding="utf-8")
    code, said = call(capsys, "init", file, "--out", out)
    assert code == 2
    assert "is there already" in said.err
    assert out.read_text(encoding="utf-8") == "mine"


def test_names_of_strangers_stay_names(tmp_path, capsys):
    odd = "a: b # c\n'\"\u2028"
    rng = np.random.default_rng(0)
    table = {
        "text": [f"some words of row {i}" for i in range(60)],
        "clicks": rng.integers(0, 9, 60),
        odd: rng.normal(size=60),
        f"review {odd}": rng.normal(size=60),
    }
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    assert call(capsys, "init", tmp_path / "x.parquet", "--out", tmp_path / "x.yaml")[0] == 0
    roles = yaml.safe_load((tmp_path / "x.yaml").read_text(encoding="utf-8"))["data"]["roles"]
    assert roles["confounders"] == [odd]


def test_a_name_that_no_file_may_hold_is_refused_in_words(file, capsys):
    code, said = call(capsys, "init", file, "--out", "a\0b")
    assert code == 2
    assert "holds a NUL" in said.err
