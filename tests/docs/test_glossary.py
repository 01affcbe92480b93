"""The glossary has every word that a reader must know, in order, in a few sentences each."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from causalign.logs import Roles
from causalign.results import Verdict

TEXT = (Path(__file__).parents[2] / "docs" / "glossary.md").read_text("utf-8")
ENTRIES = dict(re.findall(r"^### (.+)\n\n((?:.+\n)+)", TEXT, flags=re.MULTILINE))


def test_the_words_are_in_order():
    words = [word.lower().replace("λ", "lambda") for word in ENTRIES]
    assert words == sorted(words)
    assert len(ENTRIES) == TEXT.count("### ")


@pytest.mark.parametrize("role", [field.name for field in fields(Roles)])
def test_every_role_is_told(role):
    assert role in ENTRIES or role.removesuffix("s") in ENTRIES


def test_every_verdict_is_told():
    for verdict in Verdict:
        assert verdict.value in ENTRIES["verdict"]


@pytest.mark.parametrize("word", ENTRIES)
def test_an_entry_is_short(word):
    assert len(ENTRIES[word].split()) < 60


def test_links_within_the_page_lead_somewhere():
    for anchor in re.findall(r"\]\(#([^)]*)\)", TEXT):
        assert anchor in {word.lower().replace(" ", "-") for word in ENTRIES}
