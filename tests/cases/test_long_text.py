"""One text of five million characters among others: it costs what others do, and moves no number.

Each once read the whole text: near-duplicates took 5.7 GB and minimal pairs two minutes of Chinese,
encoders held a token for every character, ratings of texts listed all texts anew for each.
"""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

import causalign as ca
from causalign.lm.completions import tokenize
from causalign.logs.covariates import number_labels
from causalign.logs.long_texts import CHARACTERS_READ, find_long, read_beginnings
from causalign.logs.stories import number_texts
from tests.lm.tiny_tokenizers import byte_level

LENGTH = 5_000_000
SHORT = [
    f"free mugs {i} today" if i % 2 else f"our river number {i * 7} is cold" for i in range(60)
]


def chinese() -> str:
    signs = np.random.default_rng(0).integers(0x4E00, 0x9FFF, LENGTH).astype("<u4")
    return signs.tobytes().decode("utf-32-le")


LONG = {
    "words": ("mugs rain sun free today " * (LENGTH // 25)).strip(),
    "one-word": "ab" * (LENGTH // 2),
    "hyphens": "a-" * (LENGTH // 2),
    "chinese": chinese(),
    "line-ends": "\n" * (LENGTH - 4) + "free",
    "pictures": "👩🏽‍🚀😀" * (LENGTH // 5),
    "accents": "e" + "\u0301" * (LENGTH - 1),
}
KINDS = pytest.mark.parametrize("text", LONG.values(), ids=LONG)


def peak_megabytes(call: Callable[[], object]) -> tuple[object, float]:
    tracemalloc.start()
    try:
        return call(), tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def test_the_beginning_is_what_is_read():
    texts = ["short", "x" * CHARACTERS_READ, "x" * CHARACTERS_READ + "y"]
    assert read_beginnings(texts) == [texts[0], texts[1], texts[1]]
    assert find_long(texts).tolist() == [False, False, True]


@KINDS
def test_counting_encoders_read_a_beginning_and_say_so(text):
    for name in ("hashing", "tfidf", "style"):
        encoder = ca.lm.load_encoder(name, training_texts=SHORT)
        alone = encoder.encode(SHORT)
        vectors, megabytes = peak_megabytes(lambda e=encoder: e.encode([*SHORT, text]))
        np.testing.assert_array_equal(vectors[:-1], alone)
        np.testing.assert_array_equal(vectors[-1:], encoder.encode([text[:CHARACTERS_READ]]))
        assert encoder.too_long([*SHORT, text]).tolist() == [False] * len(SHORT) + [True]
        assert megabytes < 20
        learnt = ca.lm.load_encoder(name, training_texts=[*SHORT, text])
        cut = ca.lm.load_encoder(name, training_texts=[*SHORT, text[:CHARACTERS_READ]])
        assert learnt.revision == cut.revision


@KINDS
def test_near_duplicates_are_those_found_without_it(text):
    repeated = [*SHORT, SHORT[3].upper()]
    alone, _ = number_texts(repeated)
    (numbers, _), megabytes = peak_megabytes(lambda: number_texts([*repeated, text]))
    np.testing.assert_array_equal(numbers[:-1], alone)
    assert numbers[-1] == max(numbers)
    assert megabytes < 50


@KINDS
def test_a_minimal_pair_is_not_made_of_it(text):
    made = ca.experiment.make_minimal_pairs([*SHORT, text], ["free"])
    assert made.pairs == ca.experiment.make_minimal_pairs(SHORT, ["free"]).pairs
    assert [len(one.edit.text) > CHARACTERS_READ for one in made.refused] == [True]
    assert made.refused[0].reason == "the text has more than 20,000 characters"


@KINDS
def test_a_policy_reads_the_tokens_that_it_would_of_the_whole(text):
    tokenizer = byte_level()
    read = tokenize(tokenizer, [text, "why?"], ["mug", text], max_length=32)
    end, beginning = (
        tuple(tokenizer(part, add_special_tokens=False)["input_ids"])
        for part in (text[-20_000:], text[:20_000])
    )
    prompt, completion = read.prompts[0], read.completions[1]
    assert prompt == end[-len(prompt) :]
    assert completion == beginning[: len(completion)]
    assert len(prompt) > 20
    assert len(completion) > 20
    assert read.cut.tolist() == [False, True]
    assert read.remarks["shortened"].tolist() == [True, False]


@pytest.mark.parametrize("kind", ["line-ends", "accents", "one-word"])
def test_signs_that_make_no_tokens_are_not_read_for_ever(kind):
    """A tokenizer of words drops line ends and accents, and reads a word too long as unknown."""
    from transformers import AutoTokenizer

    from causalign.lm.transformer_encoder import minilm_folder

    tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
    tokenizer.eos_token = "[SEP]"
    text = LONG[kind]

    def read():
        return tokenize(tokenizer, [text, "why?", "so"], ["mug", text, "tea"], max_length=32)

    tokens, megabytes = peak_megabytes(read)
    assert megabytes < 20
    assert tokens.cut.tolist() == [False, True, False]
    assert tokens.remarks["shortened"].tolist() == [True, False, False]
    assert (tokens.lengths > 0).all()
    short = tokenize(tokenizer, ["so"], ["tea"], max_length=32)
    assert tokens.completions[2:] == short.completions


def test_a_sentence_encoder_reads_a_beginning(tiny_encoder_folder):
    encoder = ca.lm.load_encoder(str(tiny_encoder_folder))
    texts = [*SHORT[:4], LONG["words"]]
    vectors = encoder.encode(texts)
    np.testing.assert_array_equal(vectors[:4], encoder.encode(SHORT[:4]))
    np.testing.assert_array_equal(vectors[4], encoder.encode([LONG["words"][:4000]])[0])
    assert encoder.too_long(texts).tolist() == [False] * 4 + [True]


def test_labels_are_numbered_without_the_room_of_the_longest():
    labels = [*SHORT, LONG["words"], *SHORT]
    numbers, megabytes = peak_megabytes(lambda: number_labels(labels))
    np.testing.assert_array_equal(
        numbers[:60], np.unique(SHORT, return_inverse=True)[1] + (numbers[:60] > numbers[60])
    )
    np.testing.assert_array_equal(numbers[:60], numbers[61:])
    assert megabytes < 60
    prompted = ca.experiment.Candidates(SHORT[:3], prompts=["a", LONG["words"], "a"])
    assert prompted.codes.tolist() == [0, 1, 0]


def test_what_is_rated_highest_lists_the_texts_once(monkeypatch):
    logs = ca.Logs.of({"text": SHORT, "y": np.arange(60.0)}, ca.Roles("text", "y"))
    listed, completions = [], ca.Logs.completions
    counted = property(lambda self: listed.append(1) or completions.fget(self))
    monkeypatch.setattr(ca.Logs, "completions", counted)

    def score(texts, prompts=None):
        return np.array([float(len(text)) for text in texts])

    ca.evaluate.held_out({"length": score}, logs=logs, truth="y")
    assert len(listed) <= 4
