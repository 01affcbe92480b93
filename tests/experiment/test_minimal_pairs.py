"""Minimal pairs: what rules edit, what is refused and why, what a program may rewrite."""

import sys

import pytest

from causalign.errors import InputError, SettingsError, UnreadableFile
from causalign.experiment import CommandRewriter, make_minimal_pairs
from causalign.results import Verdict


def edit(text: str, marker: str, **more) -> tuple[str, str]:
    """Return the two texts of the one pair."""
    pairs = make_minimal_pairs([text], [marker], **more).pairs
    assert len(pairs) == 1
    return pairs[0].with_marker, pairs[0].without


@pytest.mark.parametrize(
    ("text", "marker", "without"),
    [
        ("Get it FREE today!", "free", "Get it today!"),
        ("Get it free.", "free", "Get it."),
        ("Free mugs for you", "free", "Mugs for you"),
        ("Get the free free mug", "free", "Get the mug"),
        ("You  won't\nbelieve this", "you won't believe", "This"),
        ("Wow! Look!", "!", "Wow Look"),
        ("A, b", ",", "A b"),
        ("So good 😀 you", "😀", "So good you"),
        ("今天免费送", "免费", "今天送"),
    ],
)
def test_rules_remove(text, marker, without):
    assert edit(text, marker) == (text, without)


@pytest.mark.parametrize(
    ("text", "marker", "with_marker"),
    [
        ("Mugs for you", "free", "Free Mugs for you"),
        ("mugs for you", "free", "free mugs for you"),
        ("Free-range eggs", "free", "Free Free-range eggs"),
        ("I don't", "don", "Don I don't"),
        ("Mugs for you", "!", "Mugs for you!"),
        ("Mugs for you. ", "😀", "Mugs for you. 😀"),
    ],
)
def test_rules_insert(text, marker, with_marker):
    assert edit(text, marker) == (with_marker, text)


@pytest.mark.parametrize(
    ("text", "marker", "reason"),
    [
        ("Mugs for you.", "!", "the text ends with a sign, which “!” would follow"),
        ("Mugs for you", ",", "no rule says where “,” belongs"),
        ("Free", "free", "nothing would be left"),
        ("Free, fast mugs", "free", "would begin with a sign"),
        (" ", "free", "the text is empty"),
        ("The U.S. wins 3.5 points", ".", "other words would change too"),
        ("mid-sized it's", "-", "other words would change too"),
    ],
)
def test_edits_that_change_more_are_refused(text, marker, reason):
    with pytest.raises(InputError, match=reason):
        make_minimal_pairs([text], [marker])
    both = make_minimal_pairs([text, "Plain words"], [marker, "plain"])
    assert reason in next(one.reason for one in both.refused if one.edit.text == text)


def test_another_marker_must_not_change():
    result = make_minimal_pairs(["mugs today", "tea now"], ["free", "free mugs"])
    refused = {(one.edit.text, one.edit.marker): one.reason for one in result.refused}
    assert refused["mugs today", "free"] == "the marker “free mugs” would change too"
    assert ("tea now", "free") not in refused


def test_a_pair_met_from_both_sides_is_one():
    result = make_minimal_pairs(["mugs", "free mugs", "free mugs"], ["free", "free"])
    assert [(p.with_marker, p.without) for p in result.pairs] == [("free mugs", "mugs")]


def test_only_the_two_of_a_pair_may_compete():
    result = make_minimal_pairs(["mugs", "tea now"], ["free", "!"], prompts=["p", "q"])
    candidates = result.candidates()
    assert len(candidates) == 8
    assert sorted(set(candidates.labels)) == ["“!” 3", "“!” 4", "“free” 1", "“free” 2"]
    assert candidates.prompts == ["p", "p", "q", "q"] * 2


def test_refusals_are_listed_and_counted():
    result = make_minimal_pairs(["Mugs.", "Tea.", "Milk"], ["!"])
    assert result.refusals().num_rows == 2
    assert result.reasons()["texts"].to_pylist() == [2]
    assert result.findings[0].verdict is Verdict.WARN
    assert "2 edits were refused" in result.summary()
    assert result.section().numbers == {"pairs": 1.0, "refused": 2.0}


REWRITER = """
import json, sys
for line in sys.stdin:
    q = json.loads(line)
    text = q["text"]
    if q["edit"] == "insert":
        text = {insert}
    else:
        text = text.replace(q["marker"], "")
    print(json.dumps({{"id": q["id"], "text": text}}))
"""


def rewriter(insert: str) -> CommandRewriter:
    return CommandRewriter((sys.executable, "-c", REWRITER.format(insert=insert)), 30.0)


def test_a_program_rewrites():
    odd = "$(touch /tmp/owned); `id` mugs"
    pair = edit(odd, "free", rewriter=rewriter("text + ' ' + q['marker'] + ' now'"))
    assert pair == (f"{odd} free now", odd)
    assert edit("free mugs", "free", rewriter=rewriter("text")) == ("free mugs", " mugs")


@pytest.mark.parametrize(
    ("insert", "reason"),
    [
        ("text", "“free” was not inserted"),
        ("'free ' + text + '!'", "other signs would change too: !"),
        ("'free ' + text + ' now' * 9", "the number of words would change by 10"),
        ("'free new ' + text", "the marker “new” would change too"),
    ],
)
def test_what_a_program_rewrites_is_checked(insert, reason):
    result = make_minimal_pairs(
        ["mugs for you and me", "free new mugs for us"], ["free", "new"], rewriter=rewriter(insert)
    )
    reasons = [one.reason for one in result.refused if one.edit.insert]
    assert reason in reasons


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('hello')", "Line 1 of the rewriter's answers is not JSON"),
        ('print(\'{"id": 0, "text": 3}\')', "has the text 3, which is no string"),
        ('print(\'{"id": 5, "text": "a"}\')', "unknown id 5"),
        ("pass", "left out 1 of 1 texts"),
    ],
)
def test_a_program_that_breaks_the_protocol(code, message):
    with pytest.raises(InputError, match=message):
        edit("mugs", "free", rewriter=CommandRewriter((sys.executable, "-c", code)))


def test_bad_arguments():
    with pytest.raises(SettingsError, match="at least one word"):
        make_minimal_pairs(["a"], [])
    with pytest.raises(SettingsError, match="at least one word"):
        make_minimal_pairs(["a"], "free")
    with pytest.raises(SettingsError, match="not a blank"):
        make_minimal_pairs(["a"], [" "])
    with pytest.raises(SettingsError, match="neither words nor one sign"):
        make_minimal_pairs(["a"], ["?!"])
    with pytest.raises(InputError, match="2 texts and 1 prompts"):
        make_minimal_pairs(["a", "b"], ["free"], prompts=["p"])
    with pytest.raises(InputError, match="returned 0 texts for 1 edits"):
        make_minimal_pairs(["a"], ["free"], rewriter=lambda edits: [])
    with pytest.raises(InputError, match="no texts"):
        make_minimal_pairs([], ["free"])
    with pytest.raises(SettingsError, match="no shell"):
        CommandRewriter("python rewrite.py")
    with pytest.raises(UnreadableFile, match="rewriter 'no-such-program' cannot be started"):
        edit("mugs", "free", rewriter=CommandRewriter(("no-such-program",)))
