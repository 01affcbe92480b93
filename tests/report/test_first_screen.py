"""The report of a real run answers on its first screen, stays short, and prints on few pages."""

import re

import pytest

from causalign import pipeline, simulate
from causalign.logs import Roles
from causalign.recipe import Data, Evaluation, Recipe

pytestmark = pytest.mark.slow
SCREEN = 900  # pixels


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("newsletter")
    simulate.Newsletter(rows=2000, pairs=400).simulate().write(folder)
    recipe = Recipe(
        "newsletter",
        Data(
            path=str(folder / "logs.parquet"),
            roles=Roles("mail", "minutes_read", confounders=["weekday"]),
        ),
        encoder="style",
        evaluate=Evaluation(str(folder / "experiment.parquet"), truth="true_text_effect"),
    )
    return pipeline.run(recipe, folder / "run", say=lambda line: None).report.read_text("utf-8")


def test_a_desk_reads_the_answer_without_scrolling(page, browser):
    folded = browser.watched(page, width=1280, dark=False)["folded"]
    assert max(folded[part] for part in ("texts", "chart", "advice")) <= SCREEN
    assert folded["height"] <= 4 * SCREEN


def test_the_first_screen_has_few_numbers(page, browser):
    opening = re.search(r'<section class="opening".*?</section>', page, re.DOTALL)[0]
    words = re.sub(r"<[^>]*>", " ", opening)
    assert len(re.findall(r"\d[\d.,]*", words)) <= 60
    assert "confounded by weekday" in words
    assert "minutes_read per text" in words


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_reads_it(page, browser, dark):
    seen = browser.watched(page, width=390, dark=dark)
    assert seen["wide"] == seen["faint"] == seen["lost"] == seen["loaded"] == []
    assert seen["width"] <= 390


def test_paper_holds_it_on_six_pages(page, browser):
    printed = browser.printed(page).read_bytes()
    assert 1 <= len(re.findall(rb"/Type\s*/Page[^s]", printed)) <= 6
