"""A log of hostile words through the whole command line: every file that it leaves is inert."""

import csv
import os
import re
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from markdown_it import MarkdownIt

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

TAKE = "(top||self).document.documentElement.dataset.taken=1"
HANDLER = f'"\'><img src=x onerror="{TAKE}"><svg onload="{TAKE}">'
SCRIPT = f"</title></style></script><script>{TAKE}</script>"
LINK = "[win](javascript:alert(1)) ![x](http://evil.example/x.png) <http://evil.example>"
CONTROL = "\x1b[2J\x1b]0;owned\x07\x08\x00\x9b31m"
OVERRIDE = "\u202egpj.exe\u2066 \u200f"
FORMULAS = ['=HYPERLINK("http://evil.example")', "+1+1", "-1-1", "@SUM(1,1)", "\t=1", "\r=1"]
HOSTILE = [HANDLER, SCRIPT, LINK, CONTROL, OVERRIDE, *FORMULAS, "{{ 7 * 7 }}", "``` \n# no"]
ROWS = 700
# No argument of a command can hold the character 0.
NAMED = CONTROL.replace("\x00", "")
CONFOUNDER = f"=cmd|' /C calc'!A0{HANDLER}{NAMED}{OVERRIDE}"
OUTCOME = f"@minutes{SCRIPT}{NAMED}"
# Everything below a blank but the end of a line, and what turns the direction of words around.
COMMANDS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def hostile_table() -> pa.Table:
    rng = np.random.default_rng(0)
    day = rng.integers(0, len(HOSTILE), ROWS)
    said = np.where(rng.random(ROWS) < 0.7, day, rng.integers(0, len(HOSTILE), ROWS))
    words = np.array(["tea", "cup", "jug", "mug", "pot"])
    texts = [
        f"{HOSTILE[i]} {' '.join(words[rng.integers(0, 5, 6)])} {number}"
        for number, i in enumerate(said)
    ]
    texts[:3] = [f"{text} " + "<b onclick=x> " * 75_000 for text in texts[:3]]  # 1 MB each
    minutes = 1.0 * day + rng.normal(size=ROWS)
    levels = [HOSTILE[i] + ("x" * 1_000_000 if i == 0 else "") for i in day]
    return pa.table({"text\x1b[31m": texts, OUTCOME: minutes, CONFOUNDER: levels})


@pytest.fixture(scope="module")
def ran(tmp_path_factory, tiny_encoder_folder):
    """Run a recipe on the hostile log; return its folder and what the terminal was sent."""
    folder = tmp_path_factory.mktemp("hostile")
    pq.write_table(hostile_table(), folder / "logs.parquet")
    roles = {"completion": "text\x1b[31m", "outcome": OUTCOME, "confounders": [CONFOUNDER]}
    recipe = {
        "name": "hostile",  # hostile names are refused: tests/cases/test_folders.py
        "data": {"path": "logs.parquet", "roles": roles},
        "encoder": str(tiny_encoder_folder),
        "evaluate": {
            "pairs_by": [CONFOUNDER],
            "minimum_margin": 3,
            "markers": [SCRIPT, FORMULAS[0], OVERRIDE],
        },
    }
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(recipe))
    done = causalign("run", folder / "pipeline.yaml", "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run", done.stdout + done.stderr


def causalign(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "causalign", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"COLUMNS": "100"},
    )


def test_the_terminal_is_not_commanded(ran, tiny_encoder_folder):
    folder, said = ran
    assert not COMMANDS.findall(said)
    logs = folder.parent / "logs.parquet"
    roles = ["--completion", "text\x1b[31m", "--outcome", OUTCOME, "--confounder", CONFOUNDER]
    for verb in (["audit"], ["deconfound", "--out", folder.parent / "adjusted"]):
        done = causalign(verb[0], logs, *roles, *verb[1:], "--encoder", tiny_encoder_folder)
        assert done.returncode == 0, done.stderr
        assert not COMMANDS.findall(done.stdout + done.stderr)
    missing = causalign("audit", logs, *roles[:-1], f"no such {NAMED}")
    assert missing.returncode == 2
    assert not COMMANDS.findall(missing.stderr)


def test_the_page_is_inert_in_a_browser(ran, browser):
    path = ran[0] / "6-report" / "report.html"
    page = path.read_text("utf-8")
    assert path.stat().st_size < 3_000_000
    assert not COMMANDS.findall(page)
    for width, dark in ((390, False), (1000, True)):
        seen = browser.watched(page, width=width, dark=dark)
        assert not seen["taken"]
        assert seen["scripts"] == 1
        assert seen["handlers"] == seen["foreign"] == seen["silent"] == 0
        assert seen["loaded"] == seen["lost"] == seen["repeated"] == []
        assert seen["faint"] == seen["wide"] == []
        assert seen["width"] <= seen["edge"] == width
        assert seen["buttons"], "our own script must run"
    assert "&lt;script&gt;" in page, "the words stand there as words"


def test_the_watch_sees_a_page_that_is_taken(ran, browser):
    """Else the test above proves nothing: with the words unescaped and no policy, they run."""
    words = f"<!DOCTYPE html><title>t</title><body><p>a</p>{SCRIPT}{HANDLER}</body>"
    seen = browser.watched(words, width=390, dark=False)
    assert seen["taken"]
    assert seen["handlers"]
    assert seen["foreign"]


def test_markdown_is_inert(ran):
    written = [ran[0] / "6-report" / "report.md", *ran[0].glob("*/summary.md")]
    assert len(written) > 3
    for path in written:
        text = path.read_text("utf-8")
        assert not COMMANDS.findall(text)
        tokens = MarkdownIt("commonmark").enable("table").parse(text)
        kinds = {t.type for t in tokens} | {c.type for t in tokens for c in t.children or ()}
        assert kinds.isdisjoint({"html_block", "html_inline", "link_open", "image", "fence"}), path


def test_spreadsheets_compute_nothing(ran):
    csv.field_size_limit(10_000_000)
    tables = sorted(ran[0].rglob("*.csv"))
    assert tables
    cells = set()
    for path in tables:
        with path.open(encoding="utf-8", newline="") as stream:
            cells |= {cell for row in csv.reader(stream) for cell in row}
    assert any(cell.startswith("'=") for cell in cells), "the log must try"
    for cell in cells:
        assert not cell.startswith(("=", "@", "\t", "\r")), cell[:80]
        if cell.startswith(("+", "-")):
            float(cell)


def test_pictures_hold_words_only(ran):
    pictures = sorted(ran[0].rglob("*.svg"))
    assert pictures
    for path in pictures:
        text = path.read_text("utf-8")
        assert not COMMANDS.findall(text)
        assert not re.search(r"<script|<img|\son\w+=", text)
