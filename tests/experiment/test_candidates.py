"""Candidates of logs and lists, their pairs, and the noise of readers."""

from itertools import combinations

import numpy as np
import pytest

import causalign as ca
from causalign.errors import InputError, SettingsError
from causalign.experiment import Candidates, ReaderNoise
from causalign.experiment.candidates import draw_pairs, prune_pairs


def logs_of(**columns) -> ca.Logs:
    roles = {name: name for name in ("trials", "group", "prompt") if name in columns}
    return ca.Logs.of(columns, ca.Roles("text", "y", **roles))


def test_texts_of_logs_are_taken_once_within_their_group():
    logs = logs_of(text=["a", "b", "a", "a"], y=[1, 2, 3, 4], group=["s", "s", "s", "t"])
    candidates = Candidates.of(logs)
    assert candidates.texts == ["a", "b", "a"]
    assert candidates.labels == ["s", "s", "t"]
    assert candidates.codes.tolist() == [0, 0, 1]


def test_prompts_are_the_groups_unless_others_are_named():
    logs = logs_of(text=["a", "b", "c"], y=[1, 2, 3], prompt=["p", "p", "q"])
    assert Candidates.of(logs).labels == ["p", "p", "q"]
    grouped = logs_of(text=["a", "b", "c"], y=[1, 2, 3], prompt=["p", "p", "q"], group=[1, 2, 1])
    assert Candidates.of(grouped).labels == ["1", "2", "1"]
    assert Candidates.of(grouped).prompts == ["p", "p", "q"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["a"],), "A test compares two texts; there is 1"),
        (([],), "there is 0"),
        ((["a", "a"],), "there is 1 to choose from"),
        ((["a", "b", "c"], [1, 2, 3]), "Each of the 3 groups has one text"),
        ((["a", "b"], [1]), "2 texts and 1 groups"),
        ((["a", "b"], None, ["p"]), "2 texts and 1 prompts"),
        ((["a", None],), "Text 2 of the candidates is no string"),
    ],
)
@pytest.mark.parametrize("make", [Candidates, Candidates.distinct])
def test_candidates_that_cannot_compete(make, arguments, message):
    with pytest.raises(InputError, match=message):
        make(*arguments)


def test_all_pairs_within_groups_are_numbered():
    group = np.random.default_rng(0).integers(0, 5, size=40)
    candidates = Candidates([f"text {i}" for i in range(40)], group.tolist())
    pairs = draw_pairs(candidates, 0)
    pairs_of_sets = {frozenset(pair) for pair in zip(pairs.first, pairs.second, strict=True)}
    expected = {frozenset(p) for p in combinations(range(40), 2) if group[p[0]] == group[p[1]]}
    assert pairs_of_sets == expected
    assert len(pairs.first) == pairs.total == len(expected)


def test_equal_texts_are_no_pair():
    pairs = draw_pairs(Candidates(["a", "a", "b"]), 0)
    assert pairs.total == 2


def test_too_many_pairs_are_drawn_evenly_and_alike():
    candidates = Candidates([f"text {i}" for i in range(300)])
    one, again = (draw_pairs(candidates, 7, most=5000) for _ in range(2))
    np.testing.assert_array_equal(one.first, again.first)
    assert one.total == 300 * 299 // 2
    assert "seed 7" in one.how
    assert (one.first != one.second).all()
    counts = np.bincount(np.concatenate([one.first, one.second]), minlength=300)
    assert counts.min() > 10
    other = draw_pairs(candidates, 8, most=5000)
    assert not np.array_equal(other.first[:100], one.first[:100])


def test_pruned_pairs_hold_the_rival_of_the_leader():
    random = np.random.default_rng(0)
    mean, factor = random.normal(size=400), 0.1 * random.normal(size=(400, 3))
    leader, rival = np.argsort(-mean)[:2]
    pairs = draw_pairs(Candidates([f"text {i}" for i in range(400)]), 0)
    few = prune_pairs(pairs, mean, factor, np.zeros(400), 100)
    assert len(few.first) < len(pairs.first)
    sides = {frozenset(pair) for pair in zip(few.first, few.second, strict=True)}
    assert frozenset((leader, rival)) in sides
    assert few.total == pairs.total


def test_noise_of_a_rate_is_that_of_log_odds():
    noise = ReaderNoise.of_rate(0.1)
    clicks = np.random.default_rng(0).binomial(5000, 0.1, size=20_000)
    odds = np.log(clicks / (5000 - clicks))
    assert noise.of_difference(5000) == pytest.approx(2 * odds.var(), rel=0.03)
    rates = ReaderNoise.of_rate(0.1, scale="identity")
    assert rates.of_difference(5000) == pytest.approx(2 * (clicks / 5000).var(), rel=0.03)


def test_more_readers_do_not_lower_the_variance_between_arms():
    assert ReaderNoise(1.0, 0.25).of_difference(10**9) == pytest.approx(0.5)


def test_noise_of_logs():
    counted = logs_of(text=["a", "b"], y=[10, 30], trials=[1000, 1000])
    assert ReaderNoise.of(counted) == ReaderNoise.of_rate(0.02)
    assert ReaderNoise.of(counted, scale="identity").variance == pytest.approx(0.02 * 0.98)
    numbers = logs_of(text=["a", "b", "c"], y=[1.0, 2.0, 6.0])
    assert ReaderNoise.of(numbers).variance == pytest.approx(np.var([1, 2, 6]))
    events = logs_of(text=["a", "b", "c", "d"], y=[1, 0, 0, 0])
    assert ReaderNoise.of(events, scale="logit") == ReaderNoise.of_rate(0.25)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ReaderNoise.of_rate(0.0), "rate must be a number above 0 and below 1"),
        (lambda: ReaderNoise.of_rate(0.1, scale="log"), "scale must be one of"),
        (lambda: ReaderNoise(0.0), "variance must be a number above 0"),
        (lambda: ReaderNoise(1.0, -1.0), "between must be a number at least 0"),
        (lambda: ReaderNoise(1.0).of_difference(0), "readers must be above 0"),
    ],
)
def test_noise_out_of_range(make, message):
    with pytest.raises(SettingsError, match=message):
        make()


def test_outcomes_without_noise():
    alike = logs_of(text=["a", "b", "c"], y=[1.0, 1.0, 2.0]).take(np.array([0, 1]), "two of them")
    with pytest.raises(InputError, match="the same in every row"):
        ReaderNoise.of(alike)
    never = logs_of(text=["a", "b", "c"], y=[0, 0, 1], trials=[10, 10, 10])
    with pytest.raises(InputError, match="at a rate of 0"):
        ReaderNoise.of(never.take(np.array([0, 1]), "two of them"))
