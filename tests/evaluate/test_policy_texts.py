"""Win rates, markers and diversity of generated texts, and judges that misbehave."""

import sys

import numpy as np
import pytest
from scipy import stats

from causalign.errors import InputError, NotIdentified, SettingsError, UnreadableFile
from causalign.evaluate import (
    CommandJudge,
    RewardJudge,
    compare_with_baseline,
    marker_shares,
    mean_reward_difference,
    measure_diversity,
    win_rate,
)
from causalign.results import Verdict
from causalign.stats.proportions import paired_shares, unpaired_shares
from causalign.stats.rank_correlation import kendall_within

PROMPTS = [f"prompt {i}" for i in range(60)]
LONG = ["a much longer text"] * 60
SHORT = ["a text"] * 60


def length(texts, prompts):
    return np.array([len(t) for t in texts], dtype=float)


def test_win_rate_of_a_reward_counts_wins_and_ties():
    mixed = LONG[:30] + SHORT[30:]
    found = win_rate(RewardJudge(length), mixed, SHORT, prompts=PROMPTS)
    assert found.estimate == 0.75
    assert found.consistent == 1
    assert found.first_place == 0.5
    wins = np.r_[np.ones(30), np.full(30, 0.5)]
    assert found.stderr == pytest.approx(wins.std(ddof=1) / np.sqrt(60))


def test_a_judge_that_prefers_the_first_place_gives_one_half_and_a_finding():
    found = win_rate(lambda a, b, p: np.ones(len(a)), LONG, SHORT, prompts=PROMPTS)
    assert found.estimate == 0.5
    assert found.consistent == 0
    assert found.findings[0].code == "EV301"
    assert found.findings[0].verdict is Verdict.WARN


def test_texts_of_one_prompt_are_one_cluster():
    first = ["yes"] * 20 + ["no"] * 20
    judge = RewardJudge(lambda t, p: np.array([float(x == "yes") for x in t]))
    apart = win_rate(judge, first, ["no"] * 40)
    same = win_rate(judge, first, ["no"] * 40, clusters=np.arange(40) // 10)
    assert same.stderr > 2 * apart.stderr


def test_mean_reward_is_paired():
    generator = np.random.default_rng(0)
    hard = generator.normal(size=60) * 10
    scores = iter([hard + 1 + 0.1 * generator.normal(size=60), hard])
    found = mean_reward_difference(lambda t, p: next(scores), LONG, SHORT, prompts=PROMPTS)
    assert found.difference == pytest.approx(1, abs=0.1)
    assert found.stderr < 0.05


JUDGE = """
import json, sys
for line in sys.stdin:
    q = json.loads(line)
    better = "first" if len(q["first"]) > len(q["second"]) else "second"
    print(json.dumps({"id": q["id"], "preference": better}))
"""


def command(code, timeout=20.0):
    return CommandJudge((sys.executable, "-c", code), timeout)


def test_command_judge_reads_and_writes_json_lines():
    odd = ["$(touch /tmp/owned); `id`\n\u2028\ud800", *LONG[1:]]
    found = win_rate(command(JUDGE), odd, SHORT, prompts=PROMPTS)
    assert found.estimate == 1
    assert found.consistent == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('hello')", "Line 1 of the judge's answers is not JSON"),
        ("print('{\"id\": 0}')", "must hold 'id' and 'preference'"),
        ('print(\'{"id": 0, "preference": "left"}\')', "prefers 'left'"),
        ('print(\'{"id": 99, "preference": "tie"}\')', "unknown id 99"),
        ('print(\'{"id": true, "preference": "tie"}\')', "unknown id True"),
        ('print(\'{"id": 0, "preference": "tie"}\')', "left out 1 of 2 pairs; the first is 1"),
        ('[print(\'{"id": 0, "preference": "tie"}\') for _ in \'12\']', "answered pair 0 twice"),
        ("import sys; sys.exit('no model')", "ended with code 1: no model"),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", "UTF-8"),
    ],
)
def test_command_judge_that_breaks_the_protocol(code, message):
    with pytest.raises(InputError, match=message):
        command(code)(["a", "b"], ["c", "d"])


def test_command_judge_that_hangs_or_is_missing():
    with pytest.raises(InputError, match="stopped after 0.5 seconds"):
        command("import time; time.sleep(30)", 0.5)(["a"], ["b"])
    with pytest.raises(UnreadableFile, match="cannot be started"):
        CommandJudge(("no-such-program-here",))(["a"], ["b"])
    with pytest.raises(SettingsError, match="no shell"):
        CommandJudge("python judge.py")


def test_bad_generations():
    with pytest.raises(InputError, match="same prompts"):
        win_rate(RewardJudge(length), LONG, SHORT[:3])
    with pytest.raises(InputError, match="finite numbers, one for each text"):
        win_rate(RewardJudge(lambda t, p: [np.nan] * len(t)), LONG, SHORT)
    with pytest.raises(InputError, match="preferences between 0 and 1"):
        win_rate(lambda a, b, p: np.full(len(a), 7), LONG, SHORT)
    with pytest.raises(InputError, match="at least one marker"):
        marker_shares(LONG, SHORT, [" "])
    with pytest.raises(InputError, match="as many texts"):
        marker_shares(LONG, SHORT[:3], ["a"])
    with pytest.raises(NotIdentified, match="one cluster"):
        win_rate(RewardJudge(length), LONG, SHORT, prompts=["same"] * 60)


def test_markers_planted_are_found_and_innocent_ones_left_alone():
    generator = np.random.default_rng(0)
    base = ["Happy " * (generator.random() < 0.1) + "news of the day" for _ in range(300)]
    tuned = ["HAPPY " * (generator.random() < 0.3) + "news of the day" for _ in range(300)]
    found = marker_shares(tuned, base, ["happy", "of the", "absent"])
    assert [f.verdict for f in found.findings] == [Verdict.WARN, Verdict.PASS, Verdict.PASS]
    assert found.shares[0].lower > 0.1
    assert found.table().num_rows == 3


def test_exact_tests_agree_with_scipy():
    a, b = np.r_[np.ones(9), np.zeros(11)], np.r_[np.ones(3), np.zeros(17)]
    assert unpaired_shares(a, b).p_value == stats.fisher_exact([[9, 11], [3, 17]]).pvalue
    pairs = paired_shares(a, b)
    assert pairs.p_value == pytest.approx(2 * 0.5**6)
    assert pairs.difference == pytest.approx(0.3)


def test_newcombe_interval_is_the_published_one():
    """Newcombe (1998), table II, contrast (a): 56/70 - 48/80, method 10."""
    a, b = np.r_[np.ones(56), np.zeros(14)], np.r_[np.ones(48), np.zeros(32)]
    found = unpaired_shares(a, b)
    assert (found.lower, found.upper) == (
        pytest.approx(0.0524, abs=5e-5),
        pytest.approx(0.3339, abs=5e-5),
    )


@pytest.mark.parametrize("compare", [paired_shares, unpaired_shares])
def test_intervals_of_share_differences_cover_where_shares_are_small(compare):
    generator, hits = np.random.default_rng(0), 0
    for _ in range(400):
        a, b = (generator.random(150) < p for p in (0.06, 0.02))
        found = compare(a, b)
        hits += found.lower <= 0.04 <= found.upper
    assert 0.92 <= hits / 400 <= 0.99


def test_diversity_reads_the_beginning_of_a_text_without_an_end():
    long, short = "free mugs today " * 300_000, ["our river is cold"] * 9
    whole, beginning = (
        measure_diversity({"policy": [*short, text]}).to_pylist() for text in (long, long[:20_000])
    )
    assert whole == beginning
    assert whole[0]["words"] == pytest.approx((9 * 4 + 3750) / 10)


def test_diversity_counts_words_and_repetition():
    table = measure_diversity(
        {"one": ["a b c d", "e f g h"], "same": ["a a a a", "a a a a"]}
    ).to_pylist()
    assert table[0]["distinct_1"] == 1
    assert table[1]["distinct_1"] == 1 / 8
    assert table[1]["distinct_2"] == 1 / 6
    assert table[1]["repeated"] == 0.5
    with pytest.raises(InputError, match="wrote no word"):
        measure_diversity({"empty": ["", "!"]})


def test_more_text_of_the_same_kind_is_no_less_diverse():
    generator = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in generator.zipf(1.5, 20)) for _ in range(400)]
    few, many = measure_diversity({"few": texts[:100], "many": texts}).to_pylist()
    assert few["distinct_1"] == pytest.approx(many["distinct_1"], rel=1e-9)


def test_kendall_is_scipys_and_covers_the_truth():
    generator = np.random.default_rng(0)
    x = generator.normal(size=300)
    y = x + generator.normal(size=300)
    assert kendall_within(x, y).estimate == pytest.approx(stats.kendalltau(x, y).statistic)
    grouped = kendall_within(x, y, np.arange(300) // 3)
    parts = [stats.kendalltau(x[i : i + 3], y[i : i + 3]).statistic for i in range(0, 300, 3)]
    assert grouped.estimate == pytest.approx(np.mean(parts))
    with pytest.raises(NotIdentified, match="nothing can be ranked"):
        kendall_within(x, np.zeros(300))


@pytest.mark.parametrize("grouped", [False, True])
def test_kendall_interval_covers(grouped):
    truth = 2 / np.pi * np.arcsin(np.sqrt(0.5))
    generator, hits = np.random.default_rng(1), 0
    for _ in range(250):
        x = generator.normal(size=120)
        y = x + generator.normal(size=120)
        found = kendall_within(x, y, np.arange(120) // 3 if grouped else None)
        hits += found.lower <= truth <= found.upper
    assert 0.91 <= hits / 250 <= 0.985


@pytest.mark.parametrize(
    ("words", "verdict"), [(12, Verdict.PASS), (13, Verdict.WARN), (7, Verdict.WARN)]
)
def test_a_length_that_changed_by_a_fifth_is_shown(words, verdict):
    """EV303: the share is that of the baseline's length; 12 words for 10 are not much more."""
    texts = {
        "before": ["a " * (10 + i % 2 * 2 - 1) for i in range(40)],
        "after": ["a " * (words + i % 2 * 2 - 1) for i in range(40)],
    }
    found = compare_with_baseline(texts)
    finding = next(f for f in found.findings if f.code == "EV303")
    assert finding.verdict is verdict
    assert finding.numbers["share"] == pytest.approx((words - 10) / 10)
    assert finding.numbers["difference"] == pytest.approx(words - 10)
