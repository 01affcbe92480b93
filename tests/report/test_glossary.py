"""Every code of a report leads to what it means, in the page, its twin and the terminal."""

import re
import subprocess
import sys

import pytest

from causalign.checks.finding_pages import codes, explain
from causalign.errors import InputError
from causalign.report import build_report
from causalign.report.render import meanings
from causalign.results import Finding, Section, Verdict


@pytest.fixture
def report():
    notes = (
        Finding("CF101", "title", Verdict.WARN, "why"),
        Finding("ID205", "title", Verdict.PASS, "why"),
        Finding("XX<1>", "title", Verdict.WARN, "why"),
    )
    section = Section("audit", "Question?", "Answer.", findings=notes)
    return build_report([section], title="T", answer="A", provenance={})


def test_codes_are_links_to_their_meaning(report):
    page = report.to_html()
    assert page.count('<h3 id="CF101">') == 1
    assert page.count('<h3 id="ID205">') == 1
    assert '<a href="#CF101"><code>CF101</code></a>' in page
    assert "<code>XX&lt;1&gt;</code>" in page
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    assert anchors <= set(re.findall(r'id="([^"]+)"', page))
    assert ".md)" not in page
    assert 'href="../' not in page


def test_the_twin_says_the_same(report):
    text = report.to_markdown()
    assert "### CF101: Confounding by a recorded variable" in text
    assert "**What to do.**" in text


def test_every_page_can_be_shown():
    found = meanings(codes())
    assert [entry.code for entry in found] == codes()
    assert all("<script" not in entry.html and entry.title for entry in found)
    assert all("What to do" in entry.markdown for entry in found)


def test_an_unknown_code_names_the_nearest():
    with pytest.raises(InputError, match="CF101"):
        explain("CF1O1")


def test_the_terminal_explains_and_refuses():
    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "causalign", *words], capture_output=True, text=True
        )

    done = run("explain", "cf101")
    assert done.returncode == 0
    assert "What to do." in done.stdout
    assert run("explain", "nothing").returncode == 2
