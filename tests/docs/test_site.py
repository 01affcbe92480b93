"""The site builds with every link resolved, and loads nothing from elsewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import exported

pytest.importorskip("mkdocs")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
LOADED = re.compile(
    r'<(?:script|link|img|iframe|source|audio|video)\b[^>]*\b(?:src|href)="([^"]*)"'
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_nothing_is_loaded_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 100
    for page in pages:
        text = page.read_text("utf-8")
        assert not [target for target in LOADED.findall(text) if "//" in target], page
    styles = "".join(path.read_text("utf-8") for path in site.rglob("*.css"))
    assert not re.search(r"(?:url\(|@import\s*)[\"']?(?:https?:)?//", styles)


@pytest.mark.parametrize(
    "name", ["deconfound", "reward", "policy", "evaluate", "experiment", "audit"]
)
def test_every_namespace_shows_what_it_exports(site, name):
    page = (site / "reference" / name / "index.html").read_text("utf-8")
    for full, _ in exported(f"causalign.{name}"):
        assert f'id="{full}"' in page, full


def test_parameters_are_tables(site):
    page = (site / "reference" / "deconfound" / "index.html").read_text("utf-8")
    assert "Parameters:" in page


def test_every_check_is_in_the_index(site):
    index = (site / "checks" / "index.html").read_text("utf-8")
    for page in (ROOT / "src/causalign/checks/pages").glob("[A-Z]*.md"):
        assert f'href="{page.stem}/"' in index


def test_equations_are_typeset(site):
    page = (site / "methods" / "ppo" / "index.html").read_text("utf-8")
    assert page.count("<math ") > 5
    assert "<mtable" in page  # lines of one equation stand below each other
    for page in (site / "methods").rglob("*.html"):
        assert not re.search(r"arithmatex|\\begin\{|\\frac|\$\$", page.read_text("utf-8")), page


@pytest.mark.parametrize("name", ["own_csv_to_report", "experiments_and_log", "tuning"])
def test_notebooks_are_shown_with_their_outputs(site, name):
    page = (site / "notebooks" / name / "index.html").read_text("utf-8")
    assert "<table>" in page
    assert "%%bash" not in page
    for picture in re.findall(r'<img [^>]*src="([^"]*)"', page):
        assert (site / "notebooks" / name / picture).resolve().exists(), picture


def test_recipe_and_command_line_have_a_reference(site):
    assert "held_out" in (site / "reference" / "recipe" / "index.html").read_text("utf-8")
    page = (site / "reference" / "command-line" / "index.html").read_text("utf-8")
    assert "causalign reward fit" in page
