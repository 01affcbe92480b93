"""Texts become the tokens that plain transformers makes of them, and typed control tokens none."""

from datetime import datetime

import numpy as np
import pytest
from transformers.utils import chat_template_utils

from causalign.errors import InputError, SettingsError
from causalign.lm.chat_template import reads_clock, render
from causalign.lm.completions import decode_texts, shorten_prompts, tokenize, tokenize_prompts
from causalign.lm.encoders import load_encoder
from causalign.lm.plain_text import control_tokens, encode_plain, find_ending, read_ends
from causalign.logs.preferences import message_text
from tests.lm.tiny_tokenizers import (
    CHATML,
    GEMMA,
    add_plain_tokens,
    byte_level,
    letters,
    lower_case,
    sentence_pieces,
)

# Of Llama 2: all but the edges are ordinary characters.
LLAMA2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] + "
    "' [/INST]' }}{% else %}{{ ' ' + m['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# Of Phi: the markers are made of the role.
PHI = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TOKENIZERS = {
    "special": lambda: byte_level(
        ("<|im_start|>", "<|im_end|>"), bos="<|im_start|>", eos="<|im_end|>", chat_template=CHATML
    ),
    "not special": lambda: add_plain_tokens(
        byte_level(chat_template=CHATML), "<|im_start|>", "<|im_end|>"
    ),
    "made of roles": lambda: add_plain_tokens(
        byte_level(chat_template=PHI), "<|user|>", "<|system|>", "<|assistant|>", "<|end|>"
    ),
    "two ends": lambda: byte_level(
        ("<s>", "<eos>", "<turn>", "<end_of_turn>"), eos="<eos>", chat_template=GEMMA
    ),
    "sentence pieces": lambda: sentence_pieces(LLAMA2),
    "written in Python": lambda: letters(CHATML),
}
ORDINARY = [
    "free mug today",
    " a space in front",
    "two  spaces\n\nand lines",
    "<b>bold</b> & [INST]",
    "naïve 🙂 中文",
    "",
]


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param]()


def conversation(text):
    return [{"role": "user", "content": text}]


def test_ordinary_texts_have_the_tokens_of_plain_transformers(tokenizer):
    ids, typed = encode_plain(tokenizer, ORDINARY)
    assert not typed.any()
    for text, row in zip(ORDINARY, ids, strict=True):
        assert list(row) == tokenizer(text, add_special_tokens=False)["input_ids"]
        plain = tokenizer.apply_chat_template(
            conversation(text), add_generation_prompt=True, return_dict=False
        )
        assert list(tokenize_prompts(tokenizer, [text], chat=True)[0]) == plain


def test_typed_control_tokens_are_characters_in_every_place(tokenizer):
    controls = control_tokens(tokenizer)
    names = [tokenizer.convert_ids_to_tokens(i) for i in controls.ids]
    assert names
    for name in names:
        for text in (f"mug {name} sale", f"{name}mug", f"mug{name}", name, name + name):
            (ids,), typed = encode_plain(tokenizer, [text])
            assert typed.all()
            assert not controls.among(ids)
            assert tokenizer.decode(list(ids)) == text
            neutral, asked = tokenize_prompts(tokenizer, ["mug", text], chat=True)
            written = [[i for i in row if i in controls.ids] for row in (neutral, asked)]
            assert written[0] == written[1]  # the template's own, and no other
            assert text.strip() in tokenizer.decode(list(asked))


def test_messages_around_a_typed_token_are_read_as_before():
    """Only what was typed changes: the rest has the tokens that it has without it."""
    tokenizer = TOKENIZERS["special"]()
    (asked,) = tokenize_prompts(tokenizer, ["mug <|im_end|> sale"], chat=True)
    parts = ["<|im_start|>user\nmug ", "<|im_end|>", " sale<|im_end|>\n<|im_start|>assistant\n"]
    wanted = [
        *tokenizer(parts[0])["input_ids"],
        *tokenizer(parts[1], split_special_tokens=True)["input_ids"],
        *tokenizer(parts[2])["input_ids"],
    ]
    assert list(asked) == wanted


def test_words_that_a_user_added_stay_tokens():
    tokenizer = add_plain_tokens(byte_level(chat_template=CHATML), "<PRICE>")
    (ids,), typed = encode_plain(tokenizer, ["only <PRICE>"])
    assert tokenizer.convert_tokens_to_ids("<PRICE>") in ids
    assert not typed.any()


def test_a_role_or_another_field_that_names_a_control_token_is_refused():
    tokenizer = TOKENIZERS["special"]()
    role = {"role": "user<|im_end|>", "content": "hi"}
    tools = {"role": "user", "content": "hi", "tool_calls": [{"name": "<|im_start|>"}]}
    for message in (role, tools):
        with pytest.raises(InputError, match="holds a control token"):
            tokenize_prompts(tokenizer, [[message]])


def test_the_name_of_the_unknown_token_is_characters_and_unknown_words_stay_unknown():
    tokenizer = byte_level(("<|endoftext|>", "<s>", "</s>"), unk="<|endoftext|>")
    (ids,), typed = encode_plain(tokenizer, ["mug <|endoftext|> sale"])
    assert tokenizer.unk_token_id not in ids
    assert typed.all()
    assert read_ends([0], tokenizer) == (2, 0)
    (ids,), typed = encode_plain(lower_case(), ["zebra mug"])
    assert ids == (0, lower_case().convert_tokens_to_ids("mug"))
    assert not typed.any()


def test_an_unknown_word_that_ends_texts_is_refused():
    tokenizer = lower_case()
    tokenizer.eos_token = "<unk>"
    with pytest.raises(InputError, match="cannot be read as plain characters"):
        tokenize(tokenizer, None, ["zebra"], max_length=8)


def test_content_parts_are_joined_and_other_kinds_refused():
    parts = [{"type": "text", "text": "free "}, {"type": "text", "text": "mug"}]
    tokenizer = TOKENIZERS["special"]()
    asked = [conversation(parts), conversation("free mug")]
    assert len(set(tokenize_prompts(tokenizer, asked))) == 1
    assert message_text({"role": "assistant", "content": None}) == ""
    with pytest.raises(InputError, match="'image'"):
        tokenize_prompts(tokenizer, [conversation([{"type": "image", "url": "x"}])])


def test_a_template_that_refuses_a_conversation_says_why():
    tokenizer = byte_level(chat_template="{{ raise_exception('Roles must alternate') }}")
    with pytest.raises(InputError, match="Roles must alternate"):
        tokenize_prompts(tokenizer, ["mug"], chat=True)
    with pytest.raises(SettingsError, match="no chat template"):
        tokenize_prompts(byte_level(), ["mug"], chat=True)


def test_a_template_that_reads_the_clock_writes_the_same_every_day(monkeypatch):
    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2031, 1, 2, tzinfo=tz)

    template = "Today is {{ strftime_now('%d %b %Y') }}.\n" + CHATML
    tokenizer = byte_level(("<|im_start|>", "<|im_end|>", "<s>", "</s>"), chat_template=template)
    assert reads_clock(tokenizer)
    today = tokenize_prompts(tokenizer, ["mug"], chat=True)
    monkeypatch.setattr(chat_template_utils, "datetime", Tomorrow)
    assert "2031" in tokenizer.apply_chat_template(conversation("mug"), tokenize=False)
    assert tokenize_prompts(tokenizer, ["mug"], chat=True) == today
    assert render(tokenizer, conversation("mug"), reply=True).startswith("Today is 26 Jul 2024.")


@pytest.mark.parametrize(
    ("kind", "closing"),
    [
        ("special", "mug<|im_end|>"),
        ("not special", "mug<|im_end|>"),
        ("made of roles", "mug<|end|>"),
        ("two ends", "mug<end_of_turn>"),
        ("sentence pieces", "mug </s>"),
        ("written in Python", "mug<|im_end|>"),
    ],
)
def test_answers_close_as_the_template_closes_them_and_come_back_whole(kind, closing):
    tokenizer = TOKENIZERS[kind]()
    texts = tokenize(tokenizer, ["sale"], ["mug"], max_length=99, chat=True)
    (ids,) = texts.completions
    assert tokenizer.decode(ids) == closing
    answer = [*conversation("sale"), {"role": "assistant", "content": "mug"}]
    whole = tokenizer.apply_chat_template(answer, return_dict=False)
    learned = [*texts.prompts[0], *ids]
    assert whole[: len(learned)] == learned  # what plain transformers trains on, to its end
    ending = find_ending(tokenizer, chat=True)
    assert decode_texts(tokenizer, [ids], ending.stops, ending.text) == ["mug"]
    assert not texts.remarks["altered"].any()


def test_ends_that_a_model_names_count_where_they_are_control_tokens():
    tokenizer = TOKENIZERS["two ends"]()
    eos, turn = tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<end_of_turn>")
    assert read_ends([eos, turn], tokenizer) == (eos, turn)
    assert read_ends(turn, tokenizer) == (eos, turn)
    assert read_ends(None, tokenizer) == (eos,)
    assert read_ends([50256, tokenizer.convert_tokens_to_ids("m")], tokenizer) == (eos,)


def test_own_ends_behind_a_completion_are_written_once():
    tokenizer = byte_level()
    plain = tokenize(tokenizer, None, ["mug"], max_length=9).completions
    for text in ("mug</s>", "mug</s>\n"):
        texts = tokenize(tokenizer, None, [text], max_length=9)
        assert texts.completions == plain
        assert not texts.count("typed")
    with pytest.raises(InputError, match="row 0"):
        tokenize(tokenizer, None, ["</s>"], max_length=9)


def test_prompts_begin_as_the_tokenizer_begins_a_text():
    for given, ids in ({"add_bos": True}, (1,)), ({}, ()):
        tokenizer = byte_level(**given)
        body = tuple(tokenizer("mug", add_special_tokens=False)["input_ids"])
        assert tokenize_prompts(tokenizer, ["mug", "", None]) == [ids + body, (1,), (1,)]
    no_start = byte_level(("<unk>", "</s>"), bos=None)
    assert tokenize_prompts(no_start, [None]) == [(no_start.eos_token_id,)]


def test_cuts_leave_whole_characters_and_the_start():
    tokenizer = byte_level(add_bos=True)
    texts = tokenize(tokenizer, ["é" * 20], ["é" * 20], max_length=16)
    assert tokenizer.decode(texts.completions[0]) == "é" * 4  # eight tokens
    assert tokenizer.decode(texts.prompts[0]) == "<s>" + "é" * 3  # the start and seven
    assert (texts.cut[0], texts.count("shortened")) == (True, 1)
    prompts = [(1, 5, 6, 7), (5, 6, 7), (5,)]
    assert shorten_prompts(tokenizer, prompts, [1, 2, 9]) == [(1,), (6, 7), (5,)]


def test_a_tokenizer_that_splits_all_control_tokens_still_writes_the_template():
    usual, splitting = TOKENIZERS["special"](), TOKENIZERS["special"]()
    splitting.split_special_tokens = True
    for text in ("mug", "mug <|im_end|>"):
        first, second = (tokenize_prompts(t, [text], chat=True) for t in (usual, splitting))
        assert first == second


def test_half_a_character_is_refused():
    with pytest.raises(InputError, match="valid Unicode"):
        tokenize_prompts(byte_level(), ["\ud83d"])


def test_texts_that_are_not_given_back_are_remarked():
    texts = tokenize(lower_case(), None, ["free mug", "Free mug", "zebra mug"], max_length=9)
    assert texts.remarks["altered"].tolist() == [False, True, True]
    texts = tokenize(byte_level(), None, ["free  mug\n", " é🙂", "a </s> b"], max_length=40)
    assert texts.remarks["altered"].tolist() == [False, False, False]
    assert texts.remarks["typed"].tolist() == [False, False, True]


def test_remarks_go_with_their_texts():
    first = tokenize(byte_level(), None, ["a </s> b", "mug"], max_length=40)
    both = type(first).concatenate([first.take([1, 0]), first])
    assert both.remarks["typed"].tolist() == [False, True, True, False]
    assert both.count("typed") == 2
    assert both.count("never heard of") == 0


def test_encoders_read_typed_control_tokens_as_characters(tiny_lm_folder):
    encoder = load_encoder(str(tiny_lm_folder))
    (ids,) = encoder.tokens(["mug <|im_end|> sale"])
    assert encoder.tokenizer.eos_token_id not in ids
    assert encoder.tokenizer.decode(ids) == "mug <|im_end|> sale"
    vectors = encoder.encode(["", "mug"])
    assert np.isfinite(vectors).all()
