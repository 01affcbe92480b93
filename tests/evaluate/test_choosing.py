"""What choosing by a reward earns: exact on pairs by hand, and covered where the truth is known."""

import numpy as np
import pytest

from causalign.evaluate import choose_between
from causalign.logs import Pairs


def make_pairs(margin, group=None, chosen=None, rejected=None):
    n = len(margin)
    return Pairs(
        chosen or [f"good {i}" for i in range(n)],
        rejected or [f"bad {i}" for i in range(n)],
        np.asarray(margin, dtype=float),
        np.ones(n),
        np.arange(n) if group is None else np.asarray(group),
    )


def table_of(scores):
    return lambda texts, prompts: np.array([scores[text] for text in texts])


def test_the_gain_is_half_the_margin_of_what_is_chosen_rightly():
    pairs = make_pairs([1.0, 2.0, 4.0])
    right = table_of({f"good {i}": 1.0 for i in range(3)} | {f"bad {i}": 0.0 for i in range(3)})
    half = {"good 0": 1.0, "good 1": -1.0, "good 2": 0.0}
    other = table_of(half | {f"bad {i}": 0.0 for i in range(3)})
    made = choose_between({"other": other, "right": right}, pairs, unit="minutes")
    assert made.gain_of("right").estimate == pytest.approx((1 + 2 + 4) / 2 / 3)
    assert made.gain_of("other").estimate == pytest.approx((1 - 2 + 0) / 2 / 3)
    gained = made.difference("right", "other")
    each = np.array([0.0, 2.0, 2.0])
    assert gained.estimate == pytest.approx(each.mean())
    assert gained.standard_error == pytest.approx(each.std(ddof=1) / np.sqrt(3))
    rows = made.table().to_pylist()
    assert [row["above other"] for row in rows] == [0, pytest.approx(4 / 3)]
    assert rows[0]["unit"] == "minutes"
    assert "right reward earns 1.17 minutes" in made.answer()


def test_pairs_of_one_group_count_together():
    one = choose_between({"r": lambda t, p: np.arange(len(t))}, make_pairs([1, 2, 3]), unit="u")
    assert one is not None
    rng = np.random.default_rng(0)
    margin = np.repeat(rng.exponential(size=20), 30)
    score = table_of({f"good {i}": 1.0 for i in range(600)} | {f"bad {i}": 0.0 for i in range(600)})
    apart = choose_between({"r": score}, make_pairs(margin), unit="u").gain_of("r")
    together = choose_between(
        {"r": score}, make_pairs(margin, np.repeat(np.arange(20), 30)), unit="u"
    )
    assert together.gain_of("r").standard_error > 4 * apart.standard_error


def test_one_group_has_no_interval():
    one = make_pairs([1, 2], [0, 0])
    assert choose_between({"r": lambda t, p: np.zeros(len(t))}, one, unit="u") is None


def test_ties_earn_nothing_and_show_no_disagreement():
    score = table_of({"good 0": 1, "bad 0": 0, "good 1": 1, "bad 1": 0})
    other = table_of({"good 0": 0, "bad 0": 1, "good 1": 0, "bad 1": 1})
    made = choose_between({"a": score, "b": other}, make_pairs([1.0, 0.0]), unit="booked")
    assert made.gain_of("a").estimate == pytest.approx(0.25)
    assert made.disagreements("a", "b").num_rows == 1


def test_disagreements_are_the_widest_whoever_was_right():
    pairs = make_pairs([1.0, 2.0, 3.0, 4.0])
    naive = table_of(
        {"good 0": 3, "bad 0": 0, "good 1": 0, "bad 1": 1, "good 2": 2, "bad 2": 0}
        | {"good 3": 0, "bad 3": 5}
    )
    after = table_of(
        {"good 0": 0, "bad 0": 3, "good 1": 1, "bad 1": 0, "good 2": 2, "bad 2": 0}
        | {"good 3": 5, "bad 3": 0}
    )
    made = choose_between({"naive": naive, "deconfounded": after}, pairs, unit="u")
    rows = made.disagreements("naive", "deconfounded").to_pylist()
    assert rows == [
        {"naive": "bad 3", "deconfounded": "good 3", "better": "deconfounded"},
        {"naive": "good 0", "deconfounded": "bad 0", "better": "naive"},
        {"naive": "bad 1", "deconfounded": "good 1", "better": "deconfounded"},
    ]


def test_intervals_cover_and_selection_by_margin_overstates():
    """A text's outcome is its quality and noise; the reward knows half of the qualities."""
    covered, overstated, draws, m = 0, 0, 400, 300
    rng = np.random.default_rng(1)
    # E[sign(x + e) x] / 2 of normal x and e of variance 2: cov(x, x + e) √(2/π) / sd(x + e) / 2.
    truth = np.sqrt(2 / np.pi) / 2
    for _ in range(draws):
        quality = rng.normal(size=m) * np.sqrt(2)  # difference of two standard normal qualities
        guess = quality + rng.normal(size=m) * np.sqrt(2)
        outcome = quality + rng.normal(size=m) * 2
        better = outcome > 0
        score = {}
        for i in range(m):
            score[f"good {i}"], score[f"bad {i}"] = (
                (guess[i], 0.0) if better[i] else (0.0, guess[i])
            )
        pairs = make_pairs(abs(outcome))
        made = choose_between({"r": table_of(score)}, pairs, unit="u").gain_of("r")
        covered += made.lower <= truth <= made.upper
        wide = choose_between({"r": table_of(score)}, pairs.take(pairs.margin > 3), unit="u")
        overstated += wide.gain_of("r").lower > truth
    assert 0.92 <= covered / draws <= 0.975
    assert overstated / draws > 0.8
