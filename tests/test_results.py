"""Every result looks alike: a short repr, a card of HTML that runs nothing, a summary."""

from dataclasses import dataclass, field

import pyarrow as pa
import pytest

from causalign.errors import SettingsError
from causalign.results import Finding, Result, Section, Verdict

FINDINGS = tuple(
    Finding(f"AA10{number}", "title", verdict, f"explanation {number}")
    for number, verdict in enumerate([Verdict.PASS, Verdict.WARN, Verdict.PASS, Verdict.FAIL])
)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Estimate(Result):
    words: str
    findings: tuple[Finding, ...] = FINDINGS
    rows: list[str] = field(default_factory=lambda: ["<script>", "b"])

    def answer(self) -> str:
        return self.words

    def details(self) -> list[str]:
        return ["Holds if: x < y."]

    def table(self) -> pa.Table:
        return pa.table({"<b>": self.rows})

    def section(self) -> Section:
        return Section("stage", "question", self.answer())


def test_repr_has_at_most_12_lines_and_counts_the_findings():
    assert repr(Estimate("The effect is 1.")) == (
        "Estimate\n  The effect is 1.\n  findings: 2 pass, 1 warn, 1 fail"
    )
    lines = repr(Estimate("word " * 1000)).splitlines()
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 100


def test_html_is_escaped_and_its_table_is_cut():
    html = Estimate("a < b", rows=["<script>"] * 25)._repr_html_()
    assert "<script>" not in html
    assert "<b>" not in html
    assert "a &lt; b" in html
    assert "... and 5 more rows" in html
    assert "AA101" in html
    assert "AA100" not in html


def test_summary_lists_what_did_not_pass():
    assert Estimate("The effect is 1.").summary().splitlines() == [
        "The effect is 1.",
        "Holds if: x < y.",
        "[warn] AA101 title: explanation 1",
        "[fail] AA103 title: explanation 3",
        "findings: 2 pass, 1 warn, 1 fail",
    ]


def test_without_findings_nothing_is_counted_and_without_a_drawing_nothing_is_drawn():
    bare = Estimate("The effect is 1.", ())
    assert "findings" not in repr(bare)
    with pytest.raises(SettingsError, match="nothing to draw of this Estimate"):
        bare.plot()
