"""A real browser runs the page's own script and nothing else."""

import shutil
import subprocess

import pytest

from causalign.report import build_report

pytestmark = pytest.mark.slow


@pytest.fixture
def page(section):
    return build_report([section()], title="T", answer="A", provenance={}).to_html()


def test_our_script_runs_under_the_policy(page, browser):
    assert '<button type="button">' in browser.dom(page)


def test_a_foreign_script_does_not_run(page, browser):
    foreign = "<script>document.title = 'taken'</script>"
    handler = "<img src=x onerror=\"document.title = 'taken'\">"
    dom = browser.dom(page.replace("</main>", f"{foreign}{handler}</main>"))
    assert "<title>T</title>" in dom


def test_a_click_sorts_by_value_with_the_missing_last(page, browser):
    # The policy forbids this test's own script too, so the test takes the policy out.
    start = page.index("<meta http-equiv")
    free = page[:start] + page[page.index(">", start) + 1 :]
    click = "<script>document.querySelectorAll('th button')[2].click()</script>"
    dom = browser.dom(free.replace("</body>", f"{click}</body>"))
    body = dom[dom.index("<tbody>") : dom.index("</tbody>")]
    assert body.index("cheap") < body.index("cosy") < body.index("new")
    twice = click.replace(".click()", ".click(); document.querySelectorAll('th button')[2].click()")
    dom = browser.dom(free.replace("</body>", f"{twice}</body>"))
    body = dom[dom.index("<tbody>") : dom.index("</tbody>")]
    assert body.index("cosy") < body.index("cheap") < body.index("new")


@pytest.mark.parametrize("width", [390, 1000], ids=["phone", "desk"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_person_can_read_it(page, browser, width, dark):
    seen = browser.watched(page, width=width, dark=dark)
    assert sum(seen["paper"]) < 150 if dark else sum(seen["paper"]) > 700, "the wrong scheme"
    assert seen["texts"] > 100
    assert seen["faint"] == [], "contrast below WCAG AA"
    assert seen["wide"] == []
    assert seen["width"] <= seen["edge"] == width
    assert seen["links"] > 3
    assert seen["lost"] == seen["repeated"] == seen["loaded"] == []
    assert seen["pictures"] == 2
    assert seen["silent"] == 0


def test_the_watch_sees_what_is_wrong(page, browser):
    """Else the test above proves nothing."""
    wrong = page.replace("--quiet: #56606b", "--quiet: #b0b0b0").replace(
        "</main>", '<p><a href="#nowhere">gone</a></p><pre></pre></main>'
    )
    # The policy forbids a style that was changed, so the test takes the policy out.
    start = wrong.index("<meta http-equiv")
    wrong = wrong[:start] + wrong[wrong.index(">", start) + 1 :]
    wrong = wrong.replace("</style>", ".opening > h2 { width: 700px }</style>")
    seen = browser.watched(wrong, width=390, dark=False)
    assert seen["faint"]
    assert seen["lost"] == ["#nowhere"]
    assert any(name.startswith("H2") for name in seen["wide"])


def test_it_prints_what_is_open(page, browser):
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext on the path")
    pdf = browser.printed(page)
    words = subprocess.run(
        ["pdftotext", "-layout", pdf, "-"], capture_output=True, text=True, check=True
    ).stdout
    assert "Which words only travelled with the outcome?" in words
    assert "Nothing unmeasured moves both." not in words, "folded parts are not printed"
