"""Tables that are written from first lines and front matter."""

import re

import pytest

from causalign import deconfound, policy, reward
from scripts import tables


@pytest.mark.parametrize("methods", [deconfound.METHODS, reward.METHODS, policy.METHODS])
def test_every_method_has_a_row(methods):
    rows = tables.methods([*tables.STAGES], "README.md")
    words = set(re.findall(r"\w+", rows))
    assert [name for name in methods if methods[name].__name__ not in words] == []


def test_rows_link_from_where_the_table_stands():
    assert "](docs/methods/additive.md)" in tables.methods(["deconfound"], "README.md")
    assert "](methods/additive.md)" in tables.methods(["deconfound"], "docs/choosing.md")
    assert "](../methods/additive.md)" in tables.methods(["deconfound"], "docs/how-to/x.md")


def test_the_navigation_holds_every_page_of_a_method_once():
    places = [place for group in tables.navigation() for pages in group.values() for place in pages]
    pages = {f"methods/{path.name}" for path in (tables.ROOT / "docs" / "methods").glob("*.md")}
    assert sorted(places) == sorted(pages)


@pytest.mark.parametrize(
    ("front", "words"),
    [
        ("stage: tuning\nrows: []", "the stage must be one of audit, deconfound"),
        ("stage: policy", "each of rows needs when, use and holds"),
        ("stage: policy\nrows:\n  - when: always", "each of rows needs when, use and holds"),
    ],
)
def test_front_matter_that_is_wrong_is_refused(tmp_path, monkeypatch, front, words):
    page = tmp_path / "docs" / "methods" / "new.md"
    page.parent.mkdir(parents=True)
    page.write_text(f"---\n{front}\n---\n# New\n")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=words):
        tables.pages()


def test_a_page_without_front_matter_is_reported(tmp_path, monkeypatch, capsys):
    page = tmp_path / "docs" / "methods" / "new.md"
    page.parent.mkdir(parents=True)
    page.write_text("# New\n")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["tables.py", "--check"])
    assert tables.main() == 1
    assert "docs/methods/new.md has no front matter" in capsys.readouterr().err


def test_a_table_that_is_out_of_date_is_reported_and_then_written(tmp_path, monkeypatch, capsys):
    page = tmp_path / "README.md"
    page.write_text("<!-- begin: policy -->\n\noutdated\n\n<!-- end -->\n")
    (tmp_path / "docs" / "methods").mkdir(parents=True)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["tables.py", "--check"])
    assert tables.main() == 1
    assert "README.md is out of date: run python scripts/tables.py" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", ["tables.py"])
    assert tables.main() == 0
    text = page.read_text()
    assert "| use | it holds when | page |" in text
    assert "outdated" not in text
