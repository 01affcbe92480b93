"""Pictures are deterministic, readable on any page, and inert whatever their words say."""

import dataclasses
import re
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest

import causalign as ca
from causalign import figures
from causalign.errors import ExtraNotInstalled, InputError
from causalign.results import Figure

HOSTILE = "<script>alert('x')</script> $x^2$ \x00\x1b[31m \u202egnp.exe \ud800 عربى 🎉 #010203"
WORDS = {"caption": "What is seen.", "alt": "What is heard."}


def drawn(kind: str, word: str = "a word", size: int = 50) -> Figure:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, size))
    if kind == "forest":
        labels = [word] * 3
        return figures.forest(
            "f", labels, [0, 1, 2], [-1, 0, 1], [1, 2, 3], xlabel=word, **WORDS
        ).figure()
    if kind == "curve":
        bands = {word: (np.sort(x) - 1, np.sort(x) + 1)}
        series = {word: np.sort(x), "other": y}
        words = {"xlabel": word, "ylabel": word, **WORDS}
        return figures.curve("c", np.sort(x), series, bands=bands, mark_x=0.5, **words).figure()
    series = {word: [1, 2], "other": [-1, 1]}
    return figures.bars("b", [word, "z"], series, errors={word: [0.1, 0.2]}, **WORDS).figure()


KINDS = ("forest", "curve", "bars")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_numbers_give_the_same_bytes(kind):
    assert drawn(kind) == drawn(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_words_stay_words(kind):
    root = ElementTree.fromstring(drawn(kind, HOSTILE).svg)
    tags = {element.tag.split("}")[1] for element in root.iter()}
    assert tags <= {"svg", "g", "defs", "clipPath", "path", "rect", "use", "text"}
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert any("<script>" in (text or "") for text in texts)
    assert not any(c in "".join(filter(None, texts)) for c in "\x00\x1b\u202e\ud800")


def test_dollar_signs_are_not_mathematics():
    assert "costs $5 or $6^2" in drawn("forest", "costs $5 or $6^2").svg


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_loaded_and_no_style_reaches_the_page(kind):
    svg = drawn(kind).svg
    assert set(re.findall(r"https?://[^\"]*", svg)) <= {
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
    }
    assert "<style" not in svg
    assert "<metadata" not in svg
    assert "DejaVu" not in svg


@pytest.mark.parametrize("kind", KINDS)
def test_ink_and_background_are_those_of_the_page(kind):
    svg = drawn(kind).svg
    assert "currentColor" in svg
    assert figures.INK not in svg
    assert "#ffffff" not in svg
    assert "#000000" not in svg


def luminance(colour: str) -> float:
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("paper", ["#ffffff", "#14181c"])
@pytest.mark.parametrize("colour", figures.COLOURS)
def test_series_stand_out_from_light_and_dark_pages(colour, paper):
    assert contrast(colour, paper) >= 3.0


def test_global_settings_of_matplotlib_are_left_alone():
    before = dict(matplotlib.rcParams)
    matplotlib.rcParams["font.size"] = 31.0
    try:
        own = drawn("bars")
        assert matplotlib.rcParams["font.size"] == 31.0
    finally:
        matplotlib.rcParams["font.size"] = before["font.size"]
    assert own == drawn("bars")


def test_forest_says_how_many_rows_it_leaves_out():
    labels = [f"word {i}" for i in range(100)]
    figure = figures.forest(
        "f", labels, [0] * 100, [-1] * 100, [1] * 100, xlabel="x", **WORDS
    ).figure()
    assert figure.caption.endswith("The first 40 of 100 are drawn.")
    assert "word 39<" in figure.svg
    assert "word 40<" not in figure.svg


def test_forest_shows_what_was_not_estimated_and_unbounded_intervals():
    estimates, lowers, uppers = [np.nan, 1.0], [np.nan, -np.inf], [np.nan, np.inf]
    figure = figures.forest(
        "f", ["a", "b"], estimates, lowers, uppers, xlabel="x", **WORDS
    ).figure()
    assert "not estimated" in figure.svg
    assert "nan" not in figure.svg


def test_log_axis_has_plain_ticks():
    figure = figures.curve(
        "c", [1, 10, 100], {"a": [1, 2, 3]}, xlabel="n", ylabel="v", log_x=True, **WORDS
    ).figure()
    assert ">100</text>" in figure.svg


def test_lengths_that_differ_are_refused():
    with pytest.raises(InputError, match="as many values of 'uppers'"):
        figures.forest("f", ["a", "b"], [1, 2], [0, 1], [3], xlabel="x", **WORDS).figure()


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("a\n b\tc\u2028d", None, "a b c d"),
        ("\u202eevil\x07", None, "�evil�"),
        ("abcdef", 4, "abc…"),
        ("x" * 1_000_000, 5, "xxxx…"),
        ("👩\u200d🔬", None, "👩\u200d🔬"),
        (3, None, "3"),
    ],
)
def test_printable(text, limit, expected):
    assert figures.printable(text, limit) == expected


def test_without_matplotlib_a_section_differs_in_its_figures_alone_and_that_is_said_once(
    monkeypatch, caplog
):
    effect = ca.deconfound.OrdinaryLeastSquares().fit(ca.simulate.Pricing(seed=1).simulate().logs)
    whole = effect.section()
    figures._tell_what_is_missing.cache_clear()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    bare, again = effect.section(), effect.section()
    assert len(whole.figures) == 1
    assert bare == again == dataclasses.replace(whole, figures=())
    assert caplog.messages == ["no figures are drawn: they need `pip install 'causalign[figures]'`"]


def test_without_matplotlib_a_plot_names_the_extra(monkeypatch):
    effect = ca.deconfound.OrdinaryLeastSquares().fit(ca.simulate.Pricing(seed=1).simulate().logs)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ExtraNotInstalled, match=r"needs matplotlib.*causalign\[figures\]"):
        effect.plot()
    with pytest.raises(ExtraNotInstalled, match=r"needs matplotlib.*causalign\[figures\]"):
        effect.drawing().figure()
