"""Words and phrases that lie within each other are one marker, told once."""

import numpy as np
import pyarrow as pa

from causalign import Logs, Roles
from causalign.audit import audit_markers
from causalign.audit.nested_markers import fold, merge_variants, parts_within
from causalign.audit.vocabulary import text_markers
from causalign.simulate import Newsletter


def merged(texts, rare=20):
    return merge_variants(text_markers(texts, rare=rare))


def test_what_comes_together_is_one_marker_named_by_the_longest():
    found = merged(["happy monday everyone", "hello"] * 40 + ["happy monday", "hello"] * 5)
    assert set(found.names[:2]) == {"happy monday everyone", "hello"}
    place = found.names.index("happy monday everyone")
    assert {"happy", "monday", "happy monday"} <= set(found.variants[place])


def test_a_phrase_longer_than_three_words_gets_its_whole_name():
    found = merged(["terms and conditions apply here", "hello"] * 40)
    assert "terms and conditions apply here" in found.names


def test_what_comes_apart_stays_apart():
    texts = ["good mugs", "not good mugs", "good", "bad mugs"] * 40
    found = merged(texts)
    parts = dict(zip(found.names, parts_within(found), strict=True))
    assert {"good", "mugs"} <= set(found.names)
    assert {found.names[i] for i in parts["good mugs"]} == {"good", "mugs"}


def test_signs_and_lengths_are_never_parts():
    found = merged(["share of capitals!", "Mugs"] * 40)
    kinds = dict(zip(found.names, found.kinds, strict=True))
    assert kinds["share of capitals"] in ("phrase", "length")
    assert all(not inside for n, inside in zip(found.names, parts_within(found), strict=True))


def test_folding_keeps_every_name_once():
    found = merged(["good mugs", "not good mugs", "good", "bad mugs"] * 40)
    parts = parts_within(found)
    stays = np.array([not inside for inside in parts])
    folded = fold(found, parts, stays, np.zeros(len(found)))
    before = sorted([*found.names, *(v for own in found.variants for v in own)])
    after = sorted([*folded.names, *(v for own in folded.variants for v in own)])
    assert after == before
    assert len(folded) == int(stays.sum())


def test_one_row_tells_the_greeting_and_one_the_offer():
    """The greeting before many bodies, the offer behind many products: two stories, two rows."""
    table = audit_markers(Newsletter(rows=2500).simulate().logs).table().to_pylist()
    told = [r for r in table if r["spurious"]]
    assert sum("monday" in f"{r['marker']} {r['variants']}" for r in told) == 1
    assert sum("free returns" in r["marker"] for r in told) == 1
    assert told[0]["marker"] == "happy monday"


def test_a_phrase_that_says_more_than_its_words_is_a_row_of_its_own():
    """Both words everywhere, together only on one day."""
    generator = np.random.default_rng(0)
    day = generator.random(1500) < 0.4
    a, b = generator.random((2, 1500)) < 0.5
    together = day & (generator.random(1500) < 0.6)
    texts = [
        "free mugs now" if t else " ".join(w for w, h in (("mugs", x), ("free", z)) if h) + " now"
        for t, x, z in zip(together, a, b, strict=True)
    ]
    y = 2.0 * day + generator.normal(size=1500)
    data = {"text": texts, "y": y, "day": [f"d{int(d)}" for d in day]}
    found = audit_markers(Logs.of(pa.table(data), Roles("text", "y", confounders=("day",))))
    assert any("free mugs" in name for name in found.spurious)
