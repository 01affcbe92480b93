"""Words from logs are inert in every place of the page and of its Markdown twin."""

import csv
from types import SimpleNamespace

import pyarrow as pa
import pytest
from markdown_it import MarkdownIt

from causalign import artifacts, figures
from causalign.cli import output
from causalign.errors import InputError
from causalign.policy import fit as fits
from causalign.report import build_report, wording
from causalign.report.pictures import admit
from causalign.results import Figure, Finding, Verdict

HOSTILE = {
    "script": "<script>alert(1)</script>",
    "handler": "\"' onerror=alert(1) x='<img src=x onerror=alert(1)>",
    "closing": "</title></style></script></textarea><!--",
    "template": "{{ 7 * 7 }}{% raw %}",
    "mathematics": "$x$ and $$y$$",
    "pipes": "a | b || c",
    "backticks": "`code` ```\nfence\n```",
    "markdown": "[here](https://evil.example) ![i](x.png) **bold** # no ~~struck~~ _it_",
    "address": "https://evil.example www.evil.example a@evil.example",
    "lines": "one\r\n# two\n\n---\n- three\u2028four",
    "control": "a\x00b\x1b[31mc\x07\ufffe",
    "override": "\u202egpj.exe\u2066 \u200f",
    "surrogate": "half \ud83d of it",
    "arabic and emoji": "عرض خاص 👩\u200d🔬 🎉",
    "formula": '=HYPERLINK("http://evil.example")',
    "entity": "&lt;b&gt; &amp;nbsp; &#60;i>",
    "huge": "<b>" * 150_000,
}


def everywhere(section, text):
    """Return a report that holds the text wherever strangers' words can come to stand."""
    made = section(
        stage=text,
        question=text,
        answer=text,
        assumption=text,
        numbers={text: text, "x": text},
        tables={text: pa.table({text.encode("utf-8", "replace").decode(): [_encodable(text)]})},
        figures=(
            figures.forest(
                text, [text], [0], [-1], [1], xlabel=text, caption=text, alt=text
            ).figure(),
            Figure("f", text, text, text),
        ),
        findings=(Finding(text, text, Verdict.WARN, text, {text: text}),),
        details={"command": text, text: {text: text}},
    )
    provenance = {"command": text, text: text, "more": [text]}
    return build_report([made], title=text, answer=text, provenance=provenance)


def _encodable(text):
    return text.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_texts_side_by_side_are_inert_and_keep_their_names(read, section, text):
    def page(words):
        said = _encodable(words)
        table = pa.table({"before": [said], said: [said]})
        made = section(tables={"texts": table})
        return read(build_report([made], title="T", answer="A", provenance={}).to_html())

    calm, hostile = page("calm"), page(text)
    assert [n for n, _ in hostile.elements] == [n for n, _ in calm.elements]
    assert [a.keys() for _, a in hostile.elements] == [a.keys() for _, a in calm.elements]
    assert "prose" in hostile.having("class")
    assert "before" in hostile.having("data-name")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_html_gains_no_element_and_no_attribute(read, section, text):
    calm, hostile = (read(everywhere(section, words).to_html()) for words in ("calm", text))
    shape = [(tag, sorted(attributes)) for tag, attributes in hostile.elements]
    allowed = {(tag, *sorted(attributes)) for tag, attributes in calm.elements}
    assert {(tag, *names) for tag, names in shape} <= allowed | {("dd", "class")}
    assert sum(tag == "script" for tag, _ in shape) == 1


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_markdown_gains_no_markup(section, text):
    source = everywhere(section, text).to_markdown()
    source.encode("utf-8")
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(source)
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in [*tokens, *inline]}
    assert kinds.isdisjoint({"html_block", "html_inline", "link_open", "image", "code_inline"})
    assert kinds.isdisjoint({"fence", "hr", "em_open", "s_open", "blockquote_open"})
    headings = [token.tag for token in tokens if token.type == "heading_open"]
    assert headings == ["h1", "h2", "h2", "h3", "h3", "h2"]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_invisible_survives(section, text):
    report = everywhere(section, text)
    for page in (report.to_html(), report.to_markdown()):
        assert not any(c in page for c in "\x00\x07\x1b\u202e\u2066\u2028\ud83d\ufffe")
        assert len(page) < 400_000


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_the_terminal_gets_no_command(section, capsys, text):
    made = section(
        answer=text,
        tables={text: pa.table({"name": [_encodable(text)]})},
        findings=(Finding("DA101", text, Verdict.WARN, text),),
    )
    output.show_section(made)
    output.say(text)
    output.complain(text)
    said = "".join(capsys.readouterr())
    assert "DA101" in said
    said.encode("utf-8")
    assert not any(c in said for c in "\x00\x07\x1b\u202e\u2066\u2028\ufffe\r")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_the_folder_of_a_stage_is_inert(section, tmp_path, text):
    table = pa.table({"marker": [_encodable(text), "=1+1", "@x", "-1", "fine"], "n": [-1] * 5})
    finding = Finding("DA101", text, Verdict.WARN, text)
    made = section(question=text, answer=text, findings=(finding,), tables={"words": table})
    # Arrow and JSON hold no half characters, so none can come from a log.
    if text != HOSTILE["surrogate"]:
        artifacts.write_stage(tmp_path / "1-audit", made, key="k", settings={text: text})
        with (tmp_path / "1-audit" / "words.csv").open(encoding="utf-8", newline="") as stream:
            csv.field_size_limit(10_000_000)
            cells = [row[0] for row in csv.reader(stream)]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
        assert cells[2:] == ["'=1+1", "'@x", "'-1", "fine"]
        assert artifacts.read_stage(tmp_path / "1-audit").tables["words"] == table
        summary = (tmp_path / "1-audit" / "summary.md").read_text("utf-8")
        assert not any(c in summary for c in "\x00\x07\x1b\u202e\u2066")
        tokens = MarkdownIt("commonmark").parse(summary)
        kinds = {t.type for t in tokens} | {c.type for t in tokens for c in t.children or ()}
        assert kinds.isdisjoint({"html_block", "html_inline", "link_open", "image"})


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_the_card_of_a_model_holds_settings_as_words(text):
    fit = SimpleNamespace(
        method="sft", assumption="A.", numbers={"loss": 1.0}, findings=(), answer=lambda: "B."
    )
    model = SimpleNamespace(has_adapter=True, public_name="base")
    card = fits._render_card(model, fit, {text: text}, "hash")
    card.encode("utf-8")
    tokens = MarkdownIt("commonmark").enable("table").parse(card)
    kinds = [t.type for t in tokens] + [c.type for t in tokens for c in t.children or ()]
    assert {"html_block", "html_inline", "link_open", "image"}.isdisjoint(kinds)
    assert kinds.count("fence") == 1


def test_honest_words_survive_unharmed(section):
    words = "عرض خاص 👩\u200d🔬 naïve 5 € & more"
    page = everywhere(section, words).to_html()
    assert words.replace("&", "&amp;") in page


@pytest.mark.parametrize(
    "inside",
    [
        "<script>1</script>",
        "<image href='https://evil.example/x.png'/>",
        "<foreignObject/>",
        "<style>*{}</style>",
        "<a href='https://evil.example'/>",
        "<path onclick='x()' d='M 0 0'/>",
        "<use href='https://evil.example#x'/>",
        "<use href='#absent'/>",
        "<path style='fill: url(https://evil.example)'/>",
        "<path style='fill: u\\72l(#x)'/>",
        "<path style='behavior: none'/>",
        "<path clip-path='url(#a) url(https://evil.example)'/>",
        "<!-- a comment -->",
        "<animate attributeName='href' to='javascript:x'/>",
        "<g><unclosed></g>",
    ],
)
def test_pictures_that_are_not_ours_are_refused(inside):
    with pytest.raises(InputError):
        admit(f"<svg xmlns='http://www.w3.org/2000/svg'>{inside}</svg>", "p", "alt")


def test_entities_are_refused():
    bomb = "<!DOCTYPE svg [<!ENTITY a 'aa'>]><svg xmlns='http://www.w3.org/2000/svg'>&a;</svg>"
    with pytest.raises(InputError, match="declaration"):
        admit(bomb, "p", "alt")


def test_admitted_pictures_keep_their_words_and_drop_inline_style():
    figure = figures.bars("b", ["<i>x</i>"], {"a": [1], "b": [2]}, caption="c", alt="a").figure()
    admitted = admit(figure.svg, "p", 'say "it"')
    assert "&lt;i&gt;x&lt;/i&gt;" in admitted
    assert "style=" not in admitted
    assert 'aria-label="say &quot;it&quot;"' in admitted


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1e-17, "≈ 0"),
        (-1e-17, "≈ 0"),
        (0.1 + 0.2, "0.3"),
        (-0.31241, "−0.312"),
        (3.14159e-7, "3.14e-07"),
        (1234567.891, "1,234,568"),
        (1e20, "1.00e+20"),
        (18214, "18,214"),
        (float("nan"), "–"),
        (float("-inf"), "−∞"),
        (True, "yes"),
        (None, "–"),
        ("a\nb", "a b"),
        ([1, "é"], '[1, "é"]'),
    ],
)
def test_cells(value, expected):
    assert wording.cell(value) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2012, 2013], ["2012", "2013"]),
        ([10, 20000], ["10", "20,000"]),
        ([0.5, 1.0, None], ["0.5", "1.0", "–"]),
        ([0.123456, -12.3, 1.5], ["0.12", "−12.30", "1.50"]),
        ([0.95, 1e-6], ["0.95", "1.00e-06"]),
        ([0.0, 0.25], ["0", "0.25"]),
        ([float("nan"), float("inf"), 0.5], ["–", "∞", "0.5"]),
        ([], []),
    ],
)
def test_columns_align_their_decimals(values, expected):
    assert wording.column(values) == expected
