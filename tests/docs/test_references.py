"""The reference of the recipe tells every key, with its meaning and its default."""

import re
from dataclasses import fields

import pytest

pytest.importorskip("griffe")

from causalign import recipe
from causalign.logs.roles import Roles
from scripts import references

PAGE = references.recipe_page()
CLASSES = [
    recipe.Recipe,
    recipe.Data,
    recipe.Experiments,
    recipe.Evaluation,
    recipe.Generation,
    Roles,
]
ROWS = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \| (.*) \|$", PAGE, flags=re.MULTILINE)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_key_has_a_row(cls):
    assert {field.name for field in fields(cls)} <= {key for key, *_ in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_row_is_complete(row):
    assert all(cell.strip() for cell in row)


@pytest.mark.parametrize(
    ("methods", "stage"), [(methods, stage) for stage, methods in references.STAGES.items()]
)
def test_every_method_has_a_section(methods, stage):
    for name in methods:
        assert f"#### `method: {name}`" in PAGE, stage


def test_defaults_are_those_of_the_code():
    assert "| `held_out` | float | `0.3` |" in PAGE
    assert "| `path` | str | required |" in PAGE


def test_every_command_is_told():
    page = references.command_page()
    for command in ("init", "run", "audit", "reward fit", "policy", "explain"):
        assert f"`causalign {command}`" in page
