"""The page parses, stands alone, can be navigated, and says the same as its Markdown twin."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

import causalign.report.render as render
from causalign.errors import ArtifactError, SettingsError
from causalign.report import build_report
from causalign.results import Figure, Finding, Verdict


@pytest.fixture
def report(section):
    return build_report(
        [section(), section(stage="evaluate", question="What would it earn?")],
        title="Toronto listings",
        answer="Do not ship it yet.",
        provenance={"command": "causalign run recipe.yaml", "seed": 0},
    )


def test_the_page_is_well_formed_and_has_a_language(read, report):
    reader = read(report.to_html())
    assert ("html", {"lang": "en"}) in reader.elements


def test_the_same_report_gives_the_same_bytes(report):
    assert report.to_html() == report.to_html()
    assert report.to_markdown() == report.to_markdown()


def test_ids_are_unique_although_figures_repeat(read, report):
    ids = read(report.to_html()).having("id")
    assert len(ids) == len(set(ids))


def test_every_reference_resolves(read, report):
    page = report.to_html()
    reader = read(page)
    ids = set(reader.having("id"))
    targets = {target for target in reader.having("href") if target}
    assert "checks.html" in targets
    meanings = read(render.html(report._page(), "checks")).having("id")
    beside = {"checks.html"} | {f"checks.html#{code}" for code in meanings}
    assert targets <= beside | {f"#{name}" for name in ids}
    assert set(re.findall(r"url\(#([^)]*)\)", page)) <= ids
    assert set(reader.having("aria-labelledby")) <= ids


def test_nothing_is_loaded(read, report):
    page = report.to_html()
    reader = read(page)
    assert not re.search(r"(?i)https?:|@import|url\((?!#)", page)
    assert not reader.having("src")
    assert not reader.having("style")
    assert {tag for tag, _ in reader.elements}.isdisjoint({"link", "iframe", "img", "object"})


def test_the_policy_allows_only_our_style_and_script(report):
    page = report.to_html()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    policy = policy.replace("&#39;", "'")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    assert "default-src 'none'" in policy
    assert f"style-src '{render._hash(style)}'" in policy
    assert f"script-src '{render._hash(script)}'" in policy
    assert "unsafe" not in policy


def test_headings_descend_one_level_at_a_time(read, report):
    levels = [
        int(tag[1]) for tag, _ in read(report.to_html()).elements if tag in ("h1", "h2", "h3")
    ]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_pictures_and_tables_speak(read, report):
    reader = read(report.to_html())
    pictures = [
        attributes
        for tag, attributes in reader.elements
        if tag == "svg" and "aria-hidden" not in attributes
    ]
    assert pictures
    assert all(p["role"] == "img" and p["aria-label"] == "A" for p in pictures)
    heads = [attributes for tag, attributes in reader.elements if tag == "th"]
    assert all(head["scope"] in ("col", "row") for head in heads)
    tags = [tag for tag, _ in reader.elements]
    assert tags.count("caption") == tags.count("table") == 4


def test_it_opens_on_the_verdict(report):
    page = report.to_html()
    assert page.index("Not judged") < page.index("Do not ship it yet.")
    assert page.index("Do not ship it yet.") < page.index("What the checks say")
    assert "2 warnings, 2 passed and 2 did not apply." in page
    assert not report.has_failed()


def test_every_finding_stands_once_and_passed_ones_in_a_line(report):
    page = report.to_html()
    assert page.count("Cluster by text.") == 2, "that of either stage"
    assert "Plenty." not in page
    assert re.search(r"Passed: <a[^>]*><code>DA101</code></a>. Did not apply: ", page)


def test_what_is_read_first_comes_first(section):
    stages = ("audit", "deconfound", "reward", "policy", "evaluate", "design")
    made = [section(stage=name, question=f"Q {name}?") for name in stages]
    page = build_report(made, title="T", answer="A", provenance={}).to_html()
    order = sorted(stages, key=lambda name: page.index(f"Q {name}?"))
    assert order == ["evaluate", "policy", "audit", "deconfound", "reward", "design"]


JUDGED = Finding("EV102", "Gain in ranking", Verdict.PASS, "Better.")
NO_PAIRS = Finding("EV101", "Held-out pairs", Verdict.NOT_APPLICABLE, "There are none.")
FINE = Finding("DA101", "Enough rows", Verdict.PASS, "Plenty.")
ODD = Finding("DA203", "Duplicates", Verdict.WARN, "Cluster by text.")
LOOKS = Finding("EV302", "Marker in generations (naive)", Verdict.WARN, "In 56 %.")
WRONG = Finding("DE201", "Effective rows", Verdict.FAIL, "Too few.")


@pytest.mark.parametrize(
    ("findings", "headline"),
    [
        ((ODD, NO_PAIRS), "Not judged"),
        ((FINE, NO_PAIRS), "Not judged"),
        ((ODD,), "Not judged"),
        ((ODD, JUDGED), "Held up on data that no fit has seen"),
        ((WRONG, JUDGED), "Usable, with reservations"),
        ((LOOKS, JUDGED), "Held up on data that no fit has seen"),
        ((FINE, JUDGED), "Held up on data that no fit has seen"),
        ((replace(JUDGED, verdict=Verdict.FAIL),), "Do not rely on this yet"),
        ((WRONG, NO_PAIRS), "Do not rely on this yet"),
        ((NO_PAIRS,), "No check applied"),
        ((replace(JUDGED, verdict=Verdict.WARN), FINE), "Usable, with reservations"),
    ],
)
def test_what_nobody_judged_is_not_called_usable(section, findings, headline):
    report = build_report([section(findings=findings)], title="T", answer="A", provenance={})
    opening = report.to_markdown().partition("## ")[0]
    assert headline in opening
    assert headline in report.to_html()
    assert ("Usable" in opening) is headline.startswith("Usable")


def test_findings_are_sorted_and_passes_fold(section):
    failing = Finding("OP201", "Weights collapse", Verdict.FAIL, "Collect new data.")
    told = section()
    report = build_report(
        [section(findings=(*told.findings, failing))], title="T", answer="A", provenance={}
    )
    page = report.to_html()
    order = [page.index(word) for word in ("Weights collapse", "Duplicates", "DA101", "DA301")]
    assert order == sorted(order)
    assert report.verdict is Verdict.FAIL
    assert report.has_failed()


def test_long_tables_are_cut_and_say_where_the_rest_is(report):
    for text in (report.to_html(), report.to_markdown()):
        assert "The first 20 of 100 rows; the whole table is in long.csv." in text


def test_numbers_are_the_same_in_both_forms(read, report):
    words = "\n".join(read(report.to_html()).words)
    text = report.to_markdown()
    for number in ("−0.312", "18,214", "0.12", "−2.50", "≈ 0", "20,000", "0.0661", "–"):
        assert number in words, number
        assert number in text, number
    assert "1e-17" not in words + text
    cells = re.compile(r"<td[^>]*><bdi>([^<]*)</bdi>")
    for cell in cells.findall(report.to_html()):
        assert f"| {cell} |" in text


def test_markdown_parses_with_its_tables(report):
    tokens = MarkdownIt("commonmark").enable("table").parse(report.to_markdown())
    kinds = [token.type for token in tokens]
    assert kinds.count("table_open") == 6
    assert "code_block" in kinds
    assert [t.tag for t in tokens if t.type == "heading_open"].count("h1") == 1


def test_a_part_that_cannot_be_shown_shows_why(section):
    foreign = Figure("x", "Seen elsewhere.", "Heard elsewhere.", "<svg><script>x</script></svg>")
    broken = section(figures=(foreign,), tables={"oops": "not a table"})
    report = build_report([broken, section()], title="T", answer="A", provenance={})
    for text in (report.to_html(), report.to_markdown()):
        assert "2 parts of this report cannot be shown" in text
        assert "This figure cannot be shown." in text
        assert "The table “oops” cannot be shown." in re.sub("</?bdi>", "", text)
        assert "Heard elsewhere." in text
    assert report.has_failed()


def test_a_section_that_cannot_be_shown_leaves_the_others(read, section):
    broken = section(stage="reward", numbers="not a mapping")
    report = build_report(
        [broken, section(answer="Still here.")], title="T", answer="A", provenance={}
    )
    for text in (report.to_html(), report.to_markdown()):
        assert "This section cannot be shown." in text
        assert "AttributeError" in text
        assert "Still here." in text
    read(report.to_html())


def test_without_findings_nothing_is_claimed(section):
    report = build_report([section(findings=())], title="T", answer="A", provenance={})
    assert "No check applied" in report.to_html()
    assert "No check was made." in report.to_markdown()


def test_write_leaves_whole_files(report, tmp_path):
    page, text = report.write(tmp_path / "6-report")
    assert page.read_text("utf-8") == report.to_html()
    assert text.read_text("utf-8") == report.to_markdown()
    names = ["checks.html", "report.html", "report.md"]
    assert sorted(p.name for p in page.parent.iterdir()) == names


def test_a_folder_that_cannot_be_written_is_named(report, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(ArtifactError, match="cannot be written to"):
        report.write(blocked / "inside")


def test_a_report_needs_a_section():
    with pytest.raises(SettingsError, match="at least one section"):
        build_report([], title="T", answer="A", provenance={})


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (
            p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "print"])
def test_words_stand_out_from_their_background(theme):
    style = Path(render.__file__).with_name("templates").joinpath("report.css").read_text()
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[theme]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", block))
    pairs = [(tone, f"{tone}-paper") for tone in ("fail", "warn", "pass", "none")]
    pairs += [("logged", "paper"), ("deconfounded", "paper")]
    pairs += [(ink, paper) for ink in ("ink", "quiet", "link") for paper in ("paper", "raised")]
    pairs += [
        (word, f"{tone}-paper") for word in ("ink", "link") for tone in ("fail", "warn", "pass")
    ]
    for ink, paper in pairs:
        assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)


def test_a_notebook_shows_a_few_lines_and_no_markup_of_strangers(section):
    parts = [section(answer="<script>alert(1)</script>" * 40) for _ in range(30)]
    shown = build_report(parts, title="<b>T</b>", answer="<i>A</i> " * 300, provenance={})
    assert len(repr(shown).splitlines()) <= 12
    page = shown._repr_html_()
    assert "<script" not in page
    assert "<i>" not in page
    assert "&lt;b&gt;T" in page
    assert shown.table().num_rows == 30


def test_missing_figures_are_told_once(section, monkeypatch):
    report = build_report([section(figures=())], title="T", answer="A", provenance={})
    assert "Figures need" not in report.to_html()
    monkeypatch.setattr(render, "can_draw", lambda: False)
    for text in (report.to_html(), report.to_markdown()):
        assert text.count("Figures need") == 1
        assert "causalign[figures]" in text.replace("\\", "")
