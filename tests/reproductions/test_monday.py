"""Monday: what rewards read, which pairs stay, and intervals over seeds and questions."""

import importlib
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from causalign.logs import Logs, Roles

FOLDER = Path(__file__).parents[2] / "reproductions" / "deconfoundlm" / "monday"


@pytest.fixture
def module(monkeypatch):
    """Import a module of the reproduction, which others have under the same name."""

    def load(name):
        pytest.importorskip("torch")
        monkeypatch.syspath_prepend(str(FOLDER.parents[1]))
        monkeypatch.syspath_prepend(str(FOLDER))
        for known in ("posts", "preferences", "weekdays", "run"):
            monkeypatch.delitem(sys.modules, known, raising=False)
        return importlib.import_module(name)

    return load


def test_weekdays(module):
    posts = module("posts")
    days = [date(2024, 1, 1) + timedelta(k) for k in range(7)]  # a Monday first
    assert tuple(posts.weekday(f"{day}T10:00:00") for day in days) == posts.DAYS


def test_an_opening_keeps_its_marker_beside_its_first_words(module):
    preferences = module("preferences")
    body = "<p>One two\n\nthree four</p>"
    assert preferences.open_with(body, 3) == "<p>One two\n\nthree"
    marker = sys.modules["posts"].MARKER
    assert preferences.open_with(marker + body, 3) == marker + "<p>One two\n\nthree"
    assert preferences.open_with("short", 3) == "short"


def test_pairs_by_reward_are_those_of_the_largest_margins(module):
    preferences = module("preferences")
    table = {"answer": list("abcde"), "outcome": np.arange(5.0), "question": list("xxxyy")}
    logs = Logs.of(pa.table(table), Roles("answer", "outcome", group="question"))
    score = np.array([0.0, 5.0, 1.0, 2.0, 0.0])
    kept = preferences.pairs_by_reward(logs, score, 0.5)  # margins 5, 1, 4, 2
    assert sorted(zip(kept.chosen, kept.rejected, kept.margin, strict=True)) == [
        ("b", "a", 5.0),
        ("b", "c", 4.0),
    ]
    assert len(preferences.pairs_by_reward(logs, score, 1.0)) == 4


def test_the_cut_of_a_seed_keeps_the_questions_whole(module):
    posts = module("posts")
    asked = [f"q{k // 2}" for k in range(20)]
    table = {"answer": [f"a{k}" for k in range(20)], "outcome": np.arange(20.0), "question": asked}
    logs = Logs.of(pa.table(table), Roles("answer", "outcome", group="question"))
    parts = posts.Parts(logs, logs, np.array([f"q{k}" for k in range(10)]), [])
    first, rest = parts.cut(4, None)
    assert {asked[row] for row in first} == {"q0", "q1", "q2", "q3"}
    again = [set(parts.cut(4, seed)[0].tolist()) for seed in range(5)]
    assert len(set(map(frozenset, again))) > 1
    assert all(len(rows) == 8 for rows in again)
    assert sorted([*first, *rest]) == list(range(20))


def test_intervals_over_seeds_and_questions(module):
    run = module("run")
    generator = np.random.default_rng(0)
    questions = np.repeat(np.arange(300), 2)
    right = generator.random((20, 600)) < 0.6
    found = run.over_questions(right, questions)
    assert found["mean"] == pytest.approx(100 * right.mean(), abs=0.01)
    assert found["low"] < found["mean"] < found["high"]
    # Of one seed whose pairs are independent, the interval is that of a share.
    one = run.over_questions(right[:1], np.arange(600))
    half = 196 * (0.6 * 0.4 / 600) ** 0.5
    assert (one["high"] - one["low"]) / 2 == pytest.approx(half, rel=0.1)
    sure = run.over_questions(np.ones((3, 600), dtype=bool), questions)
    assert (sure["low"], sure["high"]) == (100.0, 100.0)


def test_the_power_of_a_design(module):
    """By simulation: an effect of the size called detectable is seen four times in five."""
    run = module("run")
    generator = np.random.default_rng(1)
    detectable = 2.093 / 20**0.5 + 0.861 / 20**0.5  # t quantiles of 19 degrees, spread 1
    seen = [run._interval(generator.normal(detectable, 1, 20))["low"] > 0 for _ in range(2000)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.03)
    differences = generator.normal(0, 1, 20)
    spread = differences.std(ddof=1)
    assert run._interval(differences)["detectable"] == pytest.approx(detectable * spread, abs=0.01)
