"""Stories: texts that are equal or nearly so, what they connect, and splits along them."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causalign import Logs, Roles
from causalign.logs import draw_held_out, find_stories, stories
from causalign.logs.arms import read_arms
from causalign.logs.stories import join_units, number_stories, number_texts, rows_together

WORDS = np.array([f"word{i}" for i in range(3000)])
HEADLINE = "The school told her no and then one teacher said something she will never forget"


def write_texts(count, seed=0):
    """Return texts of 14 words drawn from 3,000: no two are alike."""
    rng = np.random.default_rng(seed)
    return [" ".join(row) for row in rng.choice(WORDS, (count, 14))]


def overlap(left, right):
    """Return the exact share of words and pairs of words that two texts have in common."""
    A, B = (set(t.split()) | set(itertools.pairwise(t.split())) for t in (left, right))
    return len(A & B) / len(A | B)


def logs_of(columns, **roles):
    n = len(columns["text"])
    table = {"y": np.arange(n) % 2 * 1.0, **columns}
    return Logs.of(pa.table(table), Roles("text", "y", **roles))


def test_groups_that_share_a_text_are_one_story_transitively():
    test = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    text = np.array([0, 1, 1, 2, 3, 4, 4, 0])
    assert len(np.unique(number_stories(test, text))) == 1
    text[-2:] = [5, 6]
    assert number_stories(test, text).tolist() == [0, 0, 0, 0, 1, 1, 2, 2]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=40))
def test_stories_are_the_finest_partition_that_keeps_units_and_texts_whole(rows):
    unit, text = np.array(rows).T
    unit = np.unique(unit, return_inverse=True)[1]
    story = number_stories(unit, text)
    naive = np.arange(len(rows))
    for _ in rows:
        for codes in (unit, text):
            low = np.full(codes.max() + 1, len(rows))
            np.minimum.at(low, codes, naive)
            naive = low[codes]
    assert (story[:, None] == story).tolist() == (naive[:, None] == naive).tolist()


def test_texts_that_differ_in_a_word_are_one_and_others_are_not():
    other = HEADLINE.replace("teacher", "neighbour")
    assert overlap(HEADLINE.lower(), other.lower()) > 0.7
    plain = write_texts(300)
    codes, limit = number_texts([*plain, HEADLINE, other, HEADLINE.upper() + "!", "The Death of X"])
    assert limit == ""
    assert codes[:300].tolist() == list(range(300))
    assert codes[300] == codes[301] == codes[302] != codes[303]


def test_near_pairs_are_met_and_far_pairs_are_not():
    """Of pairs at .8 nearly all are joined, of pairs at .5 nearly none: MinHash errs by .04."""
    rng = np.random.default_rng(1)
    base = [text.split() for text in write_texts(400, 2)]
    shares = {}
    for swaps in (1, 4):
        pairs = []
        for words in base:
            other = list(words)
            for place in rng.choice(14, swaps, replace=False):
                other[place] = f"new{rng.integers(1 << 30)}"
            pairs.append((" ".join(words), " ".join(other)))
        exact = np.mean([overlap(*pair) for pair in pairs])
        codes, _ = number_texts([text for pair in pairs for text in pair])
        shares[round(exact, 1)] = np.mean(codes[0::2] == codes[1::2])
    assert list(shares) == [0.8, 0.4]
    assert shares[0.8] > 0.97
    assert shares[0.4] == 0


def test_numbers_do_not_depend_on_the_process_and_every_script_has_words():
    chinese = "今天我们在学校里学到了很多新的东西并且认识了新的朋友"
    codes, _ = number_texts(
        [chinese, chinese.replace("很多", "许多"), "🙂🙂", "🙂🙃", "\ud800", ""]
    )
    assert codes.tolist() == [0, 0, 1, 2, 3, 4]
    signed = stories._sign(["a b", "b a"])
    assert signed[0, :3].tolist() == stories._sign(["a b"])[0, :3].tolist()
    assert signed.shape == (2, 128)


def test_no_story_is_larger_than_a_fold():
    unit = np.arange(100) // 2
    assert join_units(unit, np.arange(100) % 6) is None  # six texts everywhere
    text = np.arange(100)
    text[2] = 0
    assert len(np.unique(join_units(unit, text))) == 49
    large = np.where(np.arange(100) < 60, 0, unit)
    assert join_units(large, np.arange(100)) is not None  # a large unit is the user's own


def test_templates_are_told_and_join_nothing():
    texts = [
        f"A sunny room near the lake with two beds, a bath and a view no {i}" for i in range(90)
    ]
    found = find_stories(logs_of({"text": texts}))
    assert len(np.unique(found.story)) == 90
    assert "nearly equal texts would join" in found.limit
    shops = {"text": texts[:3] * 30, "shop": np.arange(90) // 6}
    found = find_stories(logs_of(shops, group="shop"))
    assert len(np.unique(found.story)) == 15
    assert found.count_sharing() == (15, 15)
    assert "join nothing" in found.limit


def test_of_too_many_texts_only_equal_ones_are_joined(monkeypatch):
    monkeypatch.setattr(stories, "MOST_TEXTS", 10)
    texts = [*write_texts(30), HEADLINE, HEADLINE + " ever", HEADLINE]
    found = find_stories(logs_of({"text": texts, "t": np.arange(33)}, group="t"))
    assert "more than 10 different texts" in found.limit
    assert found.story[-1] == found.story[-3] != found.story[-2]


@pytest.fixture
def repeated():
    """300 tests of two headlines; every third test shows one of the test before again."""
    texts = write_texts(600)
    for test in range(2, 300, 3):
        texts[2 * test] = texts[2 * test - 2].replace(texts[2 * test - 2].split()[5], "instead")
    return {"text": texts, "test": np.arange(600) // 2}


def test_what_is_held_out_shares_no_text_with_what_teaches(repeated):
    logs = logs_of(repeated, group="test")
    held = draw_held_out(logs, 0.3, 0)
    codes, _ = number_texts(logs.completions)
    assert not set(codes[held]) & set(codes[~held])
    assert all(len(set(held[logs.groups == g])) == 1 for g in range(300))
    assert held.mean() == pytest.approx(0.3, abs=0.03)
    # By group alone, as before, a third of the repeated texts are on both sides:
    alone = np.isin(logs.groups, np.random.default_rng(0).permutation(300)[:90])
    assert set(codes[alone]) & set(codes[~alone])


def test_where_no_text_repeats_the_split_is_that_of_the_groups():
    logs = logs_of({"text": write_texts(600), "test": np.arange(600) // 2}, group="test")
    chosen = np.random.default_rng(4).permutation(300)[:90]
    assert (draw_held_out(logs, 0.3, 4) == np.isin(logs.groups, chosen)).all()


def test_folds_and_arms_keep_equal_texts_together(repeated):
    texts = list(repeated["text"])
    texts[100] = texts[1]
    logs = logs_of({"text": texts, "test": repeated["test"]}, group="test")
    together = rows_together(logs)
    assert together[0] == together[1] == together[100] == together[101]
    assert len(np.unique(together)) == 299
    assert len(np.unique(read_arms(logs, "this").story)) == 299
    assert len(np.unique(rows_together(logs_of({"text": texts})))) == 599


def test_arms_of_templates_are_apart_by_test():
    table = {"text": ["old", "new"] * 40, "test": np.arange(80) // 2, "y": np.arange(80.0) % 7}
    assert len(np.unique(read_arms(logs_of(table, group="test"), "this").story)) == 40
