"""The table of conventions counts its rows rightly, and what it says holds a row is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "conventions.md").read_text("utf-8")
ROWS = re.findall(r"^\| (\d+) \|.*\| (met|partly|not met)\b.*\| (.*) \|$", TEXT, flags=re.MULTILINE)


def test_rows_are_counted():
    states = [state for _, state, _ in ROWS]
    assert [number for number, *_ in ROWS] == [str(n) for n in range(1, 26)]
    counted = re.search(r"Met: (\d+) of 25; partly: (\d+); not met: (\d+)", TEXT)
    assert counted is not None
    assert [int(n) for n in counted.groups()] == [
        states.count(state) for state in ("met", "partly", "not met")
    ]
    assert states.count("met") >= 22


@pytest.mark.parametrize(("number", "state", "held_by"), ROWS)
def test_what_holds_a_row_is_there(number, state, held_by):
    paths = re.findall(r"`([\w./]+)", held_by)
    assert paths or state == "not met"
    assert [path for path in paths if not (ROOT / path).exists()] == []
