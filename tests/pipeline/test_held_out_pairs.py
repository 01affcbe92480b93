"""What judges the rewards: pairs of a file, rows that compete, or rows alike in what is known."""

import numpy as np
import pyarrow as pa
import pytest

import causalign as ca
from causalign.errors import InputError
from causalign.pipeline.held_out_pairs import choose_pairs
from causalign.recipe import Data, Evaluation, Recipe
from causalign.reward.from_logs import environment_codes

ROLES = ca.Roles("text", "y", confounders=("place", "price"))


def logs(rows, seed=0, **more):
    rng = np.random.default_rng(seed)
    table = {
        "text": [f"words of row {i}" for i in range(rows)],
        "y": rng.normal(size=rows),
        "place": rng.choice(["a", "b"], rows),
        "price": rng.normal(size=rows),
    }
    return ca.Logs.of(pa.table(table | more), ROLES)


def recipe(**given):
    return Recipe("case", Data(path="none", roles=ROLES), evaluate=Evaluation(**given))


def test_pairs_are_alike_and_no_row_is_in_two():
    read = logs(1000)
    held_out = np.arange(1000) % 2 == 0
    chosen = choose_pairs(read, held_out, recipe(alike=True))
    assert chosen.experiment is None
    pairs = chosen.test
    assert 200 < len(pairs) <= 250
    assert len({*pairs.chosen, *pairs.rejected}) == 2 * len(pairs)
    assert len(np.unique(pairs.group)) == len(pairs)
    row = {text: i for i, text in enumerate(read.completions)}
    where = np.array([[row[a], row[b]] for a, b in zip(pairs.chosen, pairs.rejected, strict=True)])
    assert held_out[where].all()
    test = read.take(held_out, "held out")
    codes = dict(zip(test.completions, environment_codes(test), strict=True))
    assert all(codes[a] == codes[b] for a, b in zip(pairs.chosen, pairs.rejected, strict=True))
    assert (read.outcome[where[:, 0]] > read.outcome[where[:, 1]]).all()
    assert "No experiment judges" in chosen.about


def test_rows_of_one_cluster_judge_once():
    read = logs(600, who=[f"w{i // 3}" for i in range(600)])
    read = ca.Logs(read.data, ca.Roles("text", "y", confounders=("place",), cluster="who"), ())
    pairs = choose_pairs(read, np.ones(600, dtype=bool), recipe(alike=True)).test
    who = dict(zip(read.completions, read.data["who"].to_pylist(), strict=True))
    used = [who[text] for text in (*pairs.chosen, *pairs.rejected)]
    assert len(set(used)) == len(used)


def test_too_few_alike_are_a_reason_and_no_error():
    read = logs(30, place=[f"p{i}" for i in range(30)])
    chosen = choose_pairs(read, np.ones(30, dtype=bool), recipe(alike=True))
    assert chosen.test is None
    assert "alike in all of place, price" in chosen.about
    assert "evaluate.pairs" in chosen.about


def test_nothing_named_says_what_could_judge():
    chosen = choose_pairs(logs(60), np.ones(60, dtype=bool), recipe())
    assert chosen.test is None
    assert "evaluate.alike: true" in chosen.about


def test_a_benchmark_of_few_groups_is_left_out():
    read = logs(100)
    chosen = choose_pairs(read, np.arange(100) % 2 == 0, recipe(pairs_by=("place",)))
    assert chosen.experiment is None
    assert chosen.test is not None


def test_more_pairs_than_the_memory_holds_are_refused(monkeypatch):
    monkeypatch.setattr("causalign.pipeline.held_out_pairs.MOST_PAIRS", 100)
    with pytest.raises(InputError, match=r"more than 100\. Name more columns"):
        choose_pairs(logs(100), np.arange(100) % 2 == 0, recipe(pairs_by=("place",)))


@pytest.mark.parametrize("given", [{"alike": True}, {"pairs_by": ("place",)}])
def test_what_a_choice_earns_counts_ties(given):
    """Of a yes or no most pairs are ties; on the others alone a choice would earn too much."""
    read = logs(400, y=np.random.default_rng(1).random(400) < 0.2)
    made = choose_pairs(read, np.arange(400) % 2 == 0, recipe(**given))
    assert set(made.test.margin) == {1.0}
    assert set(made.choices.margin) == {0.0, 1.0}
    assert len(made.choices) > len(made.test)
