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


def test_codes_are_links_to_their_meaning(report, tmp_path):
    page = report.to_html()
    assert '<a href="checks.html#CF101"><code>CF101</code></a>' in page
    assert "<code>XX&lt;1&gt;</code>" in page
    assert "What to do." not in page, "what a check means stands beside the page"
    report.write(tmp_path / "report")
    meant = (tmp_path / "report" / "checks.html").read_text("utf-8")
    assert meant.count('<h2 id="CF101">') == 1
    assert meant.count('<h2 id="ID205">') == 1
    anchors = set(re.findall(r'href="#([^"]+)"', meant))
    assert anchors <= set(re.findall(r'id="([^"]+)"', meant))
    assert ".md)" not in meant
    assert 'href="../' not in meant


def test_every_page_can_be_shown():
    found = meanings(codes())
    assert [entry.code for entry in found] == codes()
    assert all("<script" not in entry.html and entry.title for entry in found)
    assert all("What to do" in entry.html for entry in found)


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
