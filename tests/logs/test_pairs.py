import numpy as np
import pyarrow as pa
from scipy.stats import norm

from causalign import Logs, Roles

PACKAGES = pa.table(
    {
        "text": ["a", "b", "c", "d", "e", "a"],
        "y": [50, 20, 30, 9, 9, 1],
        "n": [1000, 1000, 1000, 100, 100, 1000],
        "test": [1, 1, 1, 2, 2, 3],
        "image": ["x", "x", None, "x", "x", "x"],
    }
)


def test_pairs_within_groups_are_oriented_and_complete():
    logs = Logs.of(PACKAGES, Roles("text", "y", trials="n", group="test"))
    pairs = logs.pairs()
    found = set(zip(pairs.chosen, pairs.rejected, strict=True))
    assert found == {("a", "b"), ("a", "c"), ("c", "b")}
    assert (pairs.margin > 0).all()
    np.testing.assert_allclose(sorted(pairs.margin), [0.01, 0.02, 0.03])


def test_pairs_by_several_columns_leave_out_unknown_keys():
    logs = Logs.of(PACKAGES, Roles("text", "y", trials="n", group="test"))
    pairs = logs.pairs(by=("test", "image"))
    assert list(zip(pairs.chosen, pairs.rejected, strict=True)) == [("a", "b")]


def test_pairs_significance_is_the_two_proportion_test():
    logs = Logs.of(PACKAGES, Roles("text", "y", trials="n", group="test"))
    kept = logs.pairs(significance=0.05)
    z = (0.05 - 0.03) / np.sqrt(0.04 * 0.96 * 2 / 1000)
    assert 2 * norm.sf(z) < 0.05
    assert set(zip(kept.chosen, kept.rejected, strict=True)) == {("a", "b"), ("a", "c")}


def test_pairs_of_equal_texts_are_left_out():
    table = pa.table({"text": ["a", "a", "b"], "y": [1, 2, 3], "g": [1, 1, 1]})
    pairs = Logs.of(table, Roles("text", "y", group="g")).pairs()
    assert set(pairs.chosen) == {"b"}
    assert pairs.to_trl()[0].keys() == {"chosen", "rejected", "margin", "weight"}


def test_matched_pairs_use_each_row_once_whatever_the_outcome():
    generator = np.random.default_rng(0)
    size = 101
    table = pa.table(
        {
            "text": [f"t{i}" for i in range(size)],
            "y": generator.normal(size=size),
            "g": generator.integers(7, size=size),
        }
    )
    logs = Logs.of(table, Roles("text", "y"))
    anyone, within = logs.matched_pairs(seed=1), logs.matched_pairs(("g",), seed=1)
    sizes = np.bincount(table["g"].to_numpy())
    assert (len(anyone), len(within)) == (50, (sizes // 2).sum())
    for pairs in (anyone, within):
        assert len(np.unique(pairs.rows)) == 2 * len(pairs)
        y = logs.outcome[pairs.rows]
        np.testing.assert_allclose(pairs.margin, y[:, 0] - y[:, 1])
        assert (pairs.margin > 0).all()
    g = table["g"].to_numpy()[within.rows]
    assert (g[:, 0] == g[:, 1]).all()
    turned = logs.with_outcome(-logs.outcome, "turned").matched_pairs(seed=1)
    np.testing.assert_array_equal(turned.rows, anyone.rows[:, ::-1])
    some = logs.matched_pairs(seed=1, most=20)
    assert len(some) == 20
    assert {tuple(row) for row in some.rows} <= {tuple(row) for row in anyone.rows}


def test_pairs_match_brute_force():
    generator = np.random.default_rng(0)
    size = 200
    table = pa.table(
        {
            "text": [f"t{i}" for i in range(size)],
            "y": generator.normal(size=size),
            "g": generator.integers(30, size=size),
        }
    )
    logs = Logs.of(table, Roles("text", "y", group="g"))
    pairs = logs.pairs(minimum_margin=0.5)
    y, g = logs.outcome, table["g"].to_numpy()
    wanted = {
        (f"t{i}", f"t{j}")
        for i in range(size)
        for j in range(size)
        if i != j and g[i] == g[j] and y[i] - y[j] > 0.5
    }
    assert set(zip(pairs.chosen, pairs.rejected, strict=True)) == wanted


def test_repr_is_a_short_card_and_html_is_escaped():
    table = pa.table({"text": ["<b>", "b", "c"], "y": [1, 2, 4], "g": [1, 1, 1], "p": ["<i>"] * 3})
    pairs = Logs.of(table, Roles("text", "y", prompt="p", group="g", objective="g")).pairs()
    assert repr(pairs) == (
        "Pairs\n  3 pairs; groups they were made within: 1\n  margin: from 1 to 3\n  objectives: 1"
    )
    html = pairs._repr_html_()
    assert "<b>" not in html
    assert "<i>" not in html
    assert "&lt;b&gt;" in html
    assert "0 pairs" in repr(pairs.take(np.arange(0)))
