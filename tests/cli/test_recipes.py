"""Recipes come with the package, and a copy of one runs where it lies."""

import json
from pathlib import Path

import pytest

from causalign.cli import main

ROOT = Path(__file__).parents[2] / "recipes"
SMALL = ["--set", "policy=null", "--set", "start=null", "--set", "encoder=hashing"]


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    return stopped.value.code, capsys.readouterr()


def test_the_recipes_are_those_of_the_clone(capsys):
    code, said = call(capsys, "recipes", "list", "--json")
    assert code == 0
    listed = {recipe["name"] for recipe in json.loads(said.out)["recipes"]}
    assert listed == {path.parent.name for path in ROOT.glob("*/pipeline.yaml")} != set()


@pytest.mark.parametrize("folder", ["recipes/newsletter", "my own # recipe"])
def test_a_copy_runs_with_the_commands_of_its_readme(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, said = call(capsys, "recipes", "copy", "newsletter", folder)
    assert code == 0
    assert "pip install 'causalign[lm]'" in said.out
    assert "causalign simulate newsletter --out runs/newsletter-data" in said.out
    made = ["simulate", "newsletter", "--out", "runs/newsletter-data", "--set", "rows=400"]
    assert call(capsys, *made, "--set", "pairs=40")[0] == 0
    code, said = call(capsys, "run", f"{folder}/pipeline.yaml", *SMALL)
    assert code == 0, said.err
    assert (tmp_path / "runs" / "newsletter" / "6-report" / "report.html").is_file()


def test_nothing_is_overwritten_and_names_are_known(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(capsys, "recipes", "copy", "pizza", "mine")[0] == 0
    assert {p.name for p in Path("mine").iterdir()} == {"README.md", "pipeline.yaml", "prepare.py"}
    code, said = call(capsys, "recipes", "copy", "pizza", "mine")
    assert code == 2
    assert "is there already" in said.err
    code, said = call(capsys, "recipes", "copy", "../pizza", "other")
    assert code == 2
    assert "There is no recipe" in said.err
    assert not Path("other").exists()
