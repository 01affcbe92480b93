import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from causalign import figures
from causalign.results import Finding, Section, Verdict

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
OFFLINE = "--disable-background-networking --disable-component-update --hide-scrollbars"
# Runs outside the page, so that the page keeps its own policy, and writes down what it sees inside.
WATCH = (Path(__file__).parent / "watch.js").read_text()
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Reader(HTMLParser):
    """Collect the elements of a page and check that every one is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def having(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]


@pytest.fixture
def read():
    """Return a function that reads a page and checks that its elements are closed."""
    return Reader


@pytest.fixture
def section():
    """Return a maker of complete sections, any field of which can be replaced."""

    def make(**changed):
        forest = figures.forest(
            "markers", ["a", "b"], [0, 1], [-1, 0], [1, 2], xlabel="effect", caption="C", alt="A"
        ).figure()
        told = {
            "stage": "deconfound",
            "question": "Which words only travelled with the outcome?",
            "answer": "Most of them.",
            "assumption": "Nothing unmeasured moves both.",
            "numbers": {"effect_of_marker": -0.312412, "rows": 18214, "value": None},
            "tables": {
                "markers": pa.table(
                    {
                        "marker": ["cheap", "cosy", "new"],
                        "estimate": [0.1234567, -2.5, 1e-17],
                        "rows": [10, 20000, None],
                    }
                ),
                "long": pa.table({"place": np.arange(100), "value": np.linspace(0, 1, 100)}),
            },
            "figures": (forest, forest),
            "findings": (
                Finding("DA101", "Enough rows", Verdict.PASS, "Plenty.", {"rows": 18214.0}),
                Finding("DA301", "Instrument", Verdict.NOT_APPLICABLE, "None declared."),
                Finding("DA203", "Duplicates", Verdict.WARN, "Cluster by text.", {"share": 0.0661}),
            ),
            "details": {"command": "causalign deconfound logs.csv", "folds": 5},
        }
        return Section(**(told | changed))

    return make


@dataclass(frozen=True)
class Browser:
    """Open pages in Chromium, headless and without a network."""

    folder: Path

    def _run(self, page: Path, *flags: str) -> str:
        profile = f"--user-data-dir={self.folder / 'profile'}"
        command = [CHROMIUM, *QUIET.split(), *OFFLINE.split(), profile, *flags, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout

    def _written(self, page: str) -> Path:
        path = self.folder / "page.html"
        path.write_text(page, encoding="utf-8")
        return path

    def dom(self, page: str) -> str:
        """Return the page as the browser holds it once its scripts have run."""
        return self._run(self._written(page), "--dump-dom")

    def printed(self, page: str) -> Path:
        """Return the page as a PDF."""
        target = self.folder / "page.pdf"
        self._run(self._written(page), f"--print-to-pdf={target}", "--no-pdf-header-footer")
        return target

    def watched(self, page: str, *, width: int, dark: bool) -> dict:
        """Return what ``watch.js`` sees of the page in a frame of that width and scheme."""
        scheme = "dark" if dark else "light"
        frame = f'style="width:{width}px;height:900px;border:0;color-scheme:{scheme}"'
        outer = (
            f'<!DOCTYPE html><meta charset="utf-8"><iframe {frame} srcdoc="{html.escape(page)}">'
            f'</iframe><pre id="seen"></pre><script>{WATCH}</script>'
        )
        preferred = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
        window = f"--window-size={width + 200},1000"
        dom = self._run(self._written(outer), "--dump-dom", preferred, window)
        seen = re.search(r'<pre id="seen">(.*?)</pre>', dom, re.DOTALL)
        assert seen is not None, "the page was not watched"
        return json.loads(html.unescape(seen[1]))


@pytest.fixture
def browser(tmp_path):
    if CHROMIUM is None:
        pytest.skip("needs Chromium on the path")
    folder = tmp_path / "browser"
    folder.mkdir()
    return Browser(folder)
