"""A real browser runs the page's own script and nothing else."""

import shutil
import subprocess

import pytest

from causalign.report import build

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
OFFLINE = "--disable-background-networking --disable-component-update"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on the path"),
]


def rendered(page, folder):
    """Return the page as the browser holds it once its scripts have run."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    flags = [*QUIET.split(), *OFFLINE.split(), f"--user-data-dir={folder / 'profile'}"]
    command = [CHROMIUM, *flags, "--dump-dom", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture
def page(section):
    return build([section()], title="T", answer="A", provenance={}).to_html()


def test_our_script_runs_under_the_policy(page, tmp_path):
    assert '<button type="button">' in rendered(page, tmp_path)


def test_a_foreign_script_does_not_run(page, tmp_path):
    foreign = "<script>document.title = 'taken'</script>"
    handler = "<img src=x onerror=\"document.title = 'taken'\">"
    dom = rendered(page.replace("</main>", f"{foreign}{handler}</main>"), tmp_path)
    assert "<title>T</title>" in dom


def test_a_click_sorts_by_value_with_the_missing_last(page, tmp_path):
    # The policy forbids this test's own script too, so the test takes the policy out.
    start = page.index("<meta http-equiv")
    free = page[:start] + page[page.index(">", start) + 1 :]
    click = "<script>document.querySelectorAll('th button')[2].click()</script>"
    dom = rendered(free.replace("</body>", f"{click}</body>"), tmp_path)
    body = dom[dom.index("<tbody>") : dom.index("</tbody>")]
    assert body.index("cheap") < body.index("cosy") < body.index("new")
    twice = click.replace(".click()", ".click(); document.querySelectorAll('th button')[2].click()")
    dom = rendered(free.replace("</body>", f"{twice}</body>"), tmp_path)
    body = dom[dom.index("<tbody>") : dom.index("</tbody>")]
    assert body.index("cosy") < body.index("cheap") < body.index("new")
