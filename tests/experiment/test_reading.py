"""What a running test says: known differences, the stop rule, what is wrong with it."""

import numpy as np
import pytest

import causalign as ca
from causalign.results import Verdict
from causalign.stats.confidence_sequence import narrowest_ratio, reach
from tests.experiment.running import count_days, logs_of


def finding(readings, code: str):
    return next(one for one in readings.findings if one.code == code)


def test_the_interval_is_the_formula_of_two_rates():
    """Equal days and arms: Δ̂ is the difference of the rates, x is 8.2 on day fourteen."""
    rows = count_days([0.05, 0.06], days=14)
    readings = ca.experiment.read(logs_of(rows))
    table = readings.table().to_pylist()[0]
    hits = {text: sum(r["clicks"] for r in rows if r["text"] == text) for text in
            ("text A", "text B")}  # fmt: skip
    p = {text: hits[text] / 14_000 for text in hits}
    lead, other = sorted(p, key=p.get, reverse=True)
    assert (table["arm"], table["against"]) == (lead, other)
    assert table["difference"] == pytest.approx(p[lead] - p[other])
    error = np.sqrt(sum(q * (1 - q) / 14_000 for q in p.values()))
    half = error * reach(narrowest_ratio(0.05), 0.05)
    assert table["upper"] - table["difference"] == pytest.approx(half, rel=5e-3)
    assert table["naive upper"] - table["difference"] == pytest.approx(1.96 * error, rel=5e-3)


def test_a_clear_difference_stops_the_test():
    readings = ca.experiment.read(logs_of(count_days([0.05, 0.08])))
    decision = readings.readings[0].decision
    assert (decision.action, decision.arm) == ("use", 1)
    assert readings.answer().startswith("Stop and use “text B”: +0.0")
    assert "numbers" not in readings.answer()


def counted(clicks: dict[str, int], readers: int = 1_000, days: int = 14) -> list[dict]:
    """Return the same counts on every day."""
    return [
        {"day": day, "text": text, "shown": readers, "clicks": count}
        for day in range(days)
        for text, count in clicks.items()
    ]


def test_a_small_difference_goes_on_and_says_how_long():
    readings = ca.experiment.read(logs_of(counted({"text A": 50, "text B": 56})))
    decision = readings.readings[0].decision
    assert decision.action == "go on"
    assert decision.more_days == np.ceil(decision.more_readers / 2_000)
    # So many more days of the same are what it takes: one in ten fewer do not.
    for days, action in (
        (14 + decision.more_days, "use"),
        (14 + 0.9 * decision.more_days, "go on"),
    ):
        rows = counted({"text A": 50, "text B": 56}, days=int(days) + (action == "use"))
        assert ca.experiment.read(logs_of(rows)).readings[0].decision.action == action


def test_no_difference_worth_having_stops_too():
    rows = count_days([0.05, 0.05], readers=20_000)
    readings = ca.experiment.read(logs_of(rows), minimum=0.01)
    assert readings.readings[0].decision.action == "no difference"
    assert ca.experiment.read(logs_of(rows)).readings[0].decision.action == "go on"


def test_the_control_is_kept_when_no_arm_can_be_better():
    rows = count_days([0.08, 0.05, 0.05])
    decision = ca.experiment.read(logs_of(rows), control="text A").readings[0].decision
    assert (decision.action, decision.arm) == ("keep", 0)
    used = ca.experiment.read(logs_of(rows), control="text B").readings[0].decision
    assert (used.action, used.arm) == ("use", 0)


def test_a_control_that_is_no_arm_is_refused():
    with pytest.raises(ca.errors.InputError, match="is the control 'text Z'; there are: 'text A'"):
        ca.experiment.read(logs_of(count_days([0.1, 0.1])), control="text Z")


@pytest.mark.parametrize("control", [None, "text A"])
def test_intervals_and_discoveries_agree(control):
    rows = count_days([0.05, 0.056, 0.059, 0.064, 0.07], seed=5)
    for one in ca.experiment.read(logs_of(rows), control=control).readings[0].comparisons:
        low, high = one.interval()
        assert one.differs == (low > 0 or high < 0)


def test_without_a_control_the_family_is_all_pairs():
    """Who leads was chosen by the data, so intervals are wider than against a named control."""
    rows = count_days([0.05, 0.05, 0.052, 0.053], seed=1)
    width = {}
    for control in (None, "text A"):
        one = ca.experiment.read(logs_of(rows), control=control).readings[0].comparisons[0]
        width[control] = one.alpha
    assert width[None] == pytest.approx(0.05 / 6)
    assert width["text A"] == pytest.approx(0.05 / 3)


def test_a_guardrail_that_rises_stops_its_arm():
    rng = np.random.default_rng(0)
    rows = count_days([0.05, 0.08], readers=5_000)
    for row in rows:
        worse = 0.01 if row["text"] == "text B" else 0.004
        row["unsubscribed"] = int(rng.binomial(5_000, worse))
    readings = ca.experiment.read(logs_of(rows), guardrails=["unsubscribed"])
    assert readings.readings[0].decision.action == "do not use"
    assert finding(readings, "EX109").verdict is Verdict.FAIL
    against = ca.experiment.read(logs_of(rows), guardrails=["unsubscribed"], control="text A")
    assert against.readings[0].decision.action == "keep"
    bound = readings.guardrails().to_pylist()[0]
    assert 0 < bound["at least"] < bound["rises by"] < bound["at most"]


def test_a_guardrail_that_does_not_rise_passes():
    rows = count_days([0.05, 0.08], unsubscribed=0.01)
    readings = ca.experiment.read(logs_of(rows), guardrails=["unsubscribed"])
    assert finding(readings, "EX109").verdict is Verdict.PASS
    assert readings.readings[0].decision.action == "use"


def test_covariates_of_readers_narrow_the_interval():
    rng = np.random.default_rng(2)
    size = 4_000
    habit = rng.normal(size=size)
    arm = rng.integers(2, size=size)
    rows = {
        "text": [f"text {'AB'[a]}" for a in arm],
        "minutes": 3 * habit + 0.3 * arm + rng.normal(size=size),
        "habit": habit,
        "day": rng.integers(1, 11, size=size),
    }
    logs = ca.Logs.of(rows, ca.Roles("text", "minutes", time="day"))
    plain, adjusted = (
        ca.experiment.read(logs, covariates=given).readings[0].comparisons[0]
        for given in ((), ("habit",))
    )
    ratio = adjusted.half_width()[-1] / plain.half_width()[-1]
    assert ratio == pytest.approx(1 / np.sqrt(10), rel=0.05)
    low, high = adjusted.interval()
    assert low < 0.3 < high


def test_means_with_their_variance_are_their_readers():
    rng = np.random.default_rng(4)
    rows, means = [], []
    for day in range(5):
        for text in ("text A", "text B"):
            y = rng.normal(2.0, 1.5, size=200)
            rows += [{"text": text, "day": day, "y": value} for value in y]
            means.append({"text": text, "day": day, "y": y.mean(), "n": 200, "s2": y.var(ddof=1)})
    readers = ca.Logs.of(rows, ca.Roles("text", "y", time="day"))
    summed = ca.Logs.of(means, ca.Roles("text", "y", time="day", weight="n"))
    one = ca.experiment.read(readers).table().to_pylist()[0]
    other = ca.experiment.read(summed, variance="s2").table().to_pylist()[0]
    assert {k: v for k, v in one.items() if isinstance(v, float)} == pytest.approx(
        {k: v for k, v in other.items() if isinstance(v, float)}
    )
    with pytest.raises(ca.errors.SettingsError, match="the role weight"):
        ca.experiment.read(summed)


def test_several_tests_are_read_apart():
    rows = [r | {"test": "one"} for r in count_days([0.05, 0.08])]
    rows += [r | {"test": "two"} for r in count_days([0.05, 0.05], seed=1)]
    readings = ca.experiment.read(logs_of(rows, group="test"))
    assert readings.decisions()["action"].to_pylist() == ["use", "go on"]
    assert readings.answer() == "Of 2 tests: 1 stop, use an arm, 1 go on"
    alone = ca.experiment.read(logs_of(rows[:28]))
    assert readings.table().to_pylist()[0]["lower"] == alone.table().to_pylist()[0]["lower"]


def test_without_days_a_plan_is_needed():
    rows = count_days([0.05, 0.08], days=1)
    with pytest.raises(ca.errors.RoleNotDeclared, match="days, or how many readers are planned"):
        ca.experiment.read(logs_of(rows, time=None))
    assert ca.experiment.read(logs_of(rows, time=None), planned=2_000).table().num_rows == 1


def test_too_early_gives_no_interval():
    readings = ca.experiment.read(logs_of(count_days([0.002, 0.003], days=2)))
    assert readings.table()["upper"].to_pylist() == [np.inf]
    assert readings.answer() == "Go on: it is too early to say anything."
    assert finding(readings, "EX108").verdict is Verdict.WARN
    assert readings.section().numbers["upper"] is None


FLAWS = {
    "EX101": lambda rows: [
        r | {"shown": r["shown"] * (2 if r["text"] == "text B" else 1)} for r in rows
    ],
    "EX102": lambda rows: [r for r in rows if r["text"] == "text A" or r["day"] > "2024-03-06"],
    "EX103": lambda rows: [r for r in rows if r["day"] != "2024-03-05"],
    "EX104": lambda rows: [r for r in rows if r["day"] < "2024-03-06"],
    "EX105": lambda rows: [
        r | {"text": " TEXT  a" if r["text"] == "text B" else "text a"} for r in rows
    ],
    "EX107": lambda rows: [
        r | {"clicks": r["clicks"] + (r["text"] == "text B") * 6 * int(r["day"][-2:])} for r in rows
    ],
}


@pytest.mark.parametrize("code", FLAWS)
def test_a_flaw_is_seen_and_a_good_test_has_none(code):
    rows = count_days([0.05, 0.05])
    good = ca.experiment.read(logs_of(rows))
    assert finding(good, code).verdict is Verdict.PASS
    bad = ca.experiment.read(logs_of(FLAWS[code](rows)))
    assert finding(bad, code).verdict in (Verdict.WARN, Verdict.FAIL)


def test_two_arms_of_one_text_are_read_as_one_of_twice_the_readers():
    rows = [
        r | {"text": "text A" if r["text"] == "text B" else r["text"]}
        for r in count_days([0.05, 0.05, 0.05])
    ]
    for roles in ({}, {"time": None}):
        readings = ca.experiment.read(logs_of(rows, **roles), planned=40_000)
        assert finding(readings, "EX101").verdict is Verdict.PASS
        assert "arms have the text “text A”" in finding(readings, "EX105").explanation


def test_rows_of_countries_are_no_arms():
    rows = [r | {"country": c} for c in "xyz" for r in count_days([0.05, 0.05])]
    readings = ca.experiment.read(logs_of(rows[:-1]))
    assert finding(readings, "EX105").verdict is Verdict.PASS
    assert readings.readings[0].test.copies.tolist() == [1, 1]


def test_arms_that_share_no_day_are_refused():
    rows = [
        r for r in count_days([0.05, 0.05]) if (r["text"] == "text A") == (r["day"] < "2024-03-05")
    ]
    with pytest.raises(ca.errors.InputError, match="Does the time column 'day' hold days"):
        ca.experiment.read(logs_of(rows))


def test_a_last_day_that_is_cut_short_is_late():
    rows = count_days([0.05, 0.05])
    for row in rows[-2:]:
        row.update(shown=100, clicks=5)
    readings = ca.experiment.read(logs_of(rows))
    assert "2024-03-14 has few readers" in finding(readings, "EX103").explanation


def test_a_test_whose_sizes_are_off_is_not_decided():
    rows = FLAWS["EX101"](count_days([0.05, 0.20]))
    assert ca.experiment.read(logs_of(rows)).readings[0].decision.action == "do not use"
    for row in rows:
        row["share"] = 2 / 3 if row["text"] == "text B" else 1 / 3
    meant = ca.experiment.read(logs_of(rows, propensity="share"))
    assert meant.readings[0].decision.action == "use"


def test_tests_that_compare_nothing_are_left_out_or_refused():
    rows = [r | {"test": "one"} for r in count_days([0.05, 0.08])]
    rows += [r | {"test": "two"} for r in count_days([0.05], seed=1)]
    readings = ca.experiment.read(logs_of(rows, group="test"))
    assert finding(readings, "EX106").numbers["without"] == 1
    with pytest.raises(ca.errors.InputError, match="All rows have one arm, 'text A'"):
        ca.experiment.read(logs_of(count_days([0.05])))
    each = [r | {"id": str(number)} for number, r in enumerate(rows)]
    with pytest.raises(ca.errors.InputError, match="each of its 42 values has one row"):
        ca.experiment.read(logs_of(each, group="id"))
    with pytest.raises(ca.errors.InputError, match="Each of the 1 tests"):
        ca.experiment.read(logs_of(rows[28:], group="test"))


def test_counts_above_their_trials_are_refused():
    rows = count_days([0.05, 0.05], unsubscribed=0.01)
    rows[3]["unsubscribed"] = 1_001
    with pytest.raises(ca.errors.InputError, match=r"0 <= unsubscribed <= shown .*row 3"):
        ca.experiment.read(logs_of(rows), guardrails=["unsubscribed"])
    rows[3]["clicks"] = 1_001
    with pytest.raises(ca.errors.InputError, match="clicks <= shown"):
        logs_of(rows)


def test_days_that_are_names_are_refused():
    rows = [r | {"day": "Monday" if r["day"] < "2024-03-05" else "then"} for r in
            count_days([0.05, 0.05])]  # fmt: skip
    with pytest.raises(ca.errors.InputError, match="dates"):
        ca.experiment.read(logs_of(rows))


def test_sizes_of_arms_on_upworthy_are_often_off(real_data):
    """Known of the archive: in 2013 a fault served arms unequally."""
    roles = ca.Roles("headline", "clicks", trials="impressions", group="clickability_test_id")
    logs = ca.Logs.read(real_data / "upworthy.parquet", roles)
    some = logs.take(logs.groups < 400, "the first tests")
    readings = ca.experiment.read(some, planned=20_000)
    sizes = finding(readings, "EX101")
    assert sizes.verdict is Verdict.FAIL
    assert 0.05 < sizes.numbers["off"] / sizes.numbers["tests"] < 0.3
    actions = readings.decisions()["action"].to_pylist()
    assert actions.count("do not use") == sizes.numbers["off"]


def test_it_draws_and_tells():
    rows = count_days([0.05, 0.08])
    one = ca.experiment.read(logs_of(rows))
    assert "naive" in one.drawing().figure().svg
    two = [r | {"test": t} for t in "ab" for r in rows]
    assert "a: “text B”" in ca.experiment.read(logs_of(two, group="test")).drawing().figure().svg
    assert one.section().numbers["action"] == "use"
    assert repr(one).startswith("Readings\n  Stop and use")
