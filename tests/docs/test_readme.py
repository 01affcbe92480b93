"""README: how to install it first, short, with a picture of the result."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")


def test_installing_comes_first():
    assert re.search(r"```\w*\n(.*)\n", TEXT)[1] == "pip install causalign"


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 100


def test_a_picture_is_there_and_told():
    words, target = re.search(r"!\[([^\]]+)\]\(([^)]+)\)", TEXT).groups()
    assert len(words) > 30
    assert (ROOT / target).stat().st_size < 400_000


def test_the_two_commands_are_told():
    assert {"scripts/demo", "scripts/test"} <= set(re.findall(r"^scripts/\w+", TEXT, flags=re.M))


def test_no_badge_claims_what_is_not_so():
    assert "shields.io" not in TEXT
    assert "badge" not in TEXT
