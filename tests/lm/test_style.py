"""Counts of style: what is counted, in which language, scaled on the training texts."""

import json

import numpy as np
import pytest

from causalign.errors import ArtifactError, InputError
from causalign.lm.style import fit_style, load_style

TEXTS = [
    "Why wait? Buy it now!",
    "The mug is here, and it is yours.",
    "A NEW mug: $5 (only today)",
    "This is what you asked for …",
]


def counts(text, encoder):
    """Return the counts of a text by column, undoing logarithm and scale."""
    scaled = encoder.encode([text])[0] * np.array(encoder.deviation) + np.array(encoder.mean)
    return dict(zip(encoder.columns, np.expm1(scaled), strict=True))


def test_signs_capitals_and_words_are_counted():
    encoder = fit_style([*TEXTS, "a? b! C, d: 1"])
    found = counts("Why? Is the MUG here, or the cup: 20!!", encoder)
    expected = {
        "question marks": 1,
        "exclamation marks": 2,
        "commas": 1,
        "colons": 1,
        "digits": 2,
        "words in capitals": 1,
        "words": 9,
        "the word 'the'": 2,
    }
    for column, value in expected.items():
        assert found[column] == pytest.approx(value, abs=1e-4), column


def test_columns_are_standardised_on_the_training_texts():
    V = fit_style(TEXTS).encode(TEXTS)
    varies = V.std(axis=0) > 0
    assert V.mean(axis=0) == pytest.approx(0, abs=1e-5)
    assert V[:, varies].std(axis=0) == pytest.approx(1, abs=1e-5)


def test_no_word_of_a_topic_is_counted():
    words = fit_style(TEXTS * 5).words
    assert {"the", "is", "it"} <= set(words)
    assert not {"mug", "buy", "asked"} & set(words)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Das ist ein Brief, und der ist nicht gut", "und"),
        ("Ceci est une lettre pour vous et pour les autres", "pour"),
        ("Esta es una carta para los que no la leen", "para"),
    ],
)
def test_function_words_are_those_of_the_language(text, word):
    assert word in fit_style([text] * 3).words


@pytest.mark.parametrize("text", ["これは手紙です。良い？", "12345", "!!! ???", "杯子很好看！"])
def test_a_language_without_a_list_gets_signs_and_lengths(text):
    encoder = fit_style([text, text * 2])
    assert encoder.words == ()
    assert encoder.encode([text, text * 2]).std(axis=0).max() > 0


def test_signs_of_other_scripts_count_as_their_kind():
    encoder = fit_style(TEXTS)
    assert counts("好吗？好！", encoder)["question marks"] == pytest.approx(1, abs=1e-4)
    assert counts("هل هذا جيد؟", encoder)["question marks"] == pytest.approx(1, abs=1e-4)


def test_a_saved_encoder_gives_the_same_vectors(tmp_path):
    encoder = fit_style(TEXTS)
    encoder.save(tmp_path)
    again = load_style(tmp_path)
    assert again.revision == encoder.revision
    assert np.array_equal(again.encode(TEXTS), encoder.encode(TEXTS))


@pytest.mark.parametrize("damage", [{"mean": [1.0]}, {"deviation": ["x"]}, {"words": 3}])
def test_a_damaged_encoder_is_refused(tmp_path, damage):
    fit_style(TEXTS).save(tmp_path)
    path = tmp_path / "style.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_style(tmp_path)


def test_no_texts_are_refused():
    with pytest.raises(InputError, match="no texts"):
        fit_style([])
