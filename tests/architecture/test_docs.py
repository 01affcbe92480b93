"""Pages say what is so: tables are up to date, code runs, links lead somewhere."""

import re
import subprocess
import sys

from tests.architecture.source import ROOT, SOURCE, modules

PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "recipes").rglob("*.md"),
]


def test_tables_are_up_to_date():
    command = [sys.executable, ROOT / "scripts" / "tables.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_finding_has_a_page():
    codes = set()
    for module in modules().values():
        codes |= set(re.findall(r'"([A-Z]{2}\d{3})"', module.text))
    assert codes == {path.stem for path in (SOURCE / "checks" / "pages").glob("[A-Z]*.md")}


def test_links_lead_to_files():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
