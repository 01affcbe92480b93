from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from causalign import figures
from causalign.results import Finding, Section, Verdict

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
        )
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
