"""Words, numbers and signs are what a reader of the script calls so."""

import unicodedata

import pytest

from causalign.lm.words import (
    is_emoji,
    join_overlapping,
    parts_of,
    phrases_within,
    read_phrases,
    read_signs,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rated 4.67 stars", ["rated", "4.67", "stars"]),
        ("1,234 at 10% for $5", ["1,234", "at", "10%", "for", "$5"]),
        ("on 2024-01-05 at 10:30", ["on", "2024-01-05", "at", "10:30"]),
        ("Don't e-mail AT&T", ["don't", "e-mail", "at&t"]),
        ("C++ or C# in the U.S.", ["c++", "or", "c#", "in", "the", "u.s."]),
        ("node.js ends.Then 3D", ["node.js", "ends", "then", "3d"]),
        ("“don’t” costs €5", ["don't", "costs", "€5"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("مُبارَك صحن", ["مُبارَك", "صحن"]),
        ("좋은 아침", ["좋은", "아침"]),
        ("zero\u200bwidth \u202ebidi", ["zerowidth", "bidi"]),
        ("1️⃣ first", ["first"]),
        ("", []),
        ("…!?", []),
    ],
)
def test_words_of_scripts_with_blanks(text, expected):
    assert read_phrases(text)[: len(expected)] == expected
    assert bool(read_phrases(text)) is bool(expected)


def test_composed_and_decomposed_letters_are_one():
    word = "café"
    assert read_phrases(unicodedata.normalize("NFD", word)) == [word]
    assert read_phrases(unicodedata.normalize("NFD", "한국")) == read_phrases("한국")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("今天是星期一，杯子到了", "星期一"),
        ("月曜日のカップ", "月曜日"),
        ("カップが届きました", "カップ"),
        ("สวัสดีวันจันทร์", "วันจั"),
        ("월요일에는 컵", "월요일"),
    ],
)
def test_words_of_scripts_without_blanks_are_among_the_sequences(text, word):
    assert word in read_phrases(text)


def test_marks_stay_with_their_character():
    for sequence in read_phrases("สวัสดีวันจันทร์"):
        assert not unicodedata.category(sequence[0]).startswith("M")


def test_phrases_are_up_to_three_words_in_a_row():
    assert read_phrases("a b c d")[4:] == ["a b", "b c", "c d", "a b c", "b c d"]
    assert "mugs for" not in read_phrases("mugs 星 for you")


@pytest.mark.parametrize("emoji", ["🎉", "👨‍👩‍👧‍👦", "👍🏽", "🇩🇪", "❤️", "1️⃣"])
def test_an_emoji_is_one_sign(emoji):
    assert read_signs(f"hello {emoji} you") == [emoji]
    assert is_emoji(emoji)


def test_signs_are_neither_letters_nor_digits_nor_blanks():
    assert read_signs("4 mugs! (new) ★ हिन्दी") == ["!", "(", ")", "★"]
    assert not is_emoji("★")
    assert read_signs("a_b!") == ["!"]


def test_phrases_are_taken_apart_and_joined():
    assert parts_of("happy monday") == ["happy", "monday"]
    assert parts_of("วันจัน") == ["วั", "น", "จั", "น"]
    assert phrases_within("a b c") == ["a", "b", "c", "a b", "b c"]
    assert phrases_within("星期一") == ["星", "期", "一", "星期", "期一"]
    assert phrases_within("monday") == []
    assert join_overlapping("b c", ["a b", "c d", "x y"]) == "a b c d"
    assert join_overlapping("星期", ["期一"]) == "星期一"
