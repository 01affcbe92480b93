"""The first screen says what the stages found, in the outcome's units, and no more than that."""

import numpy as np
import pyarrow as pa
import pytest

from causalign.report import Money, build_report
from causalign.report.opening import write_opening
from causalign.results import Finding, Section, Verdict

MARKERS = pa.Table.from_pylist(
    [
        {
            "marker": name,
            "spurious": spurious,
            "leading": leading,
            "naive": naive,
            "naive lower": naive - 0.1,
            "naive upper": naive + 0.1,
            "deconfounded": after,
            "deconfounded lower": after - 0.1,
            "deconfounded upper": after + 0.1,
            "distance": naive - after,
            "distance lower": naive - after - 0.12,
            "distance upper": naive - after + 0.12,
            "kind": "word",
            "unit": unit,
        }
        for name, spurious, leading, naive, after, unit in [
            ("happy monday", True, True, 1.42, -0.07, "presence"),
            ("happy monday here", True, False, 1.4, -0.05, "presence"),
            ("with free returns", True, True, 0.33, 0.98, "presence"),
            ("share of capitals", True, True, 0.39, 0.07, "standard deviation"),
            ("mug", False, False, 0.0, 0.01, "presence"),
        ]
    ]
)


def audit(by="weekday", markers=MARKERS, **log):
    details = {"log": {"rows": 2286, "rows held out": 1714, "hash": "5622810bc4592dfe", **log}}
    return Section(
        "audit",
        "What travels?",
        "The log is confounded.",
        numbers={"confounded_by": by},
        tables={"markers": markers},
        details=details,
    )


def judged(verdict=Verdict.PASS, gain=0.155, unit="minutes_read", earned=True):
    names = ("naive", "deconfounded", "experimental")
    ends = {"accuracy": (0.67, 0.84, 0.85), "AUC": (0.72, 0.94, 0.94)}
    ranking = {"reward": names}
    for name, values in ends.items():
        ranking |= {name: values, f"{name} lower": np.array(values) - 0.02}
        ranking |= {f"{name} upper": np.array(values) + 0.02}
    ranking |= {"AUC above naive": (0.0, 0.22, 0.22)}
    ranking |= {"above lower": (0.0, 0.2, 0.2), "above upper": (0.0, 0.24, 0.24)}
    tables = {"ranking of held-out pairs": pa.table({k: list(v) for k, v in ranking.items()})}
    numbers = {"held-out pairs": 1188}
    if earned:
        gains = np.array([0.18, 0.18 + gain, 0.34])
        columns = {"reward": names, "gain": gains, "lower": gains - 0.02, "upper": gains + 0.02}
        columns |= {"unit": [unit] * 3, "pairs": [1188] * 3}
        tables["earned by choosing between two texts"] = pa.table(
            {k: list(v) for k, v in columns.items()}
        )
        numbers |= {"earned by choosing": gain, "earned lower": 0.85 * gain}
        numbers |= {"earned upper": 1.15 * gain, "earned unit": unit}
    tables["texts on which the rewards differ"] = pa.table(
        {"naive": ["Happy Monday!"], "deconfounded": ["Free returns."], "better": ["deconfounded"]}
    )
    finding = Finding("EV102", "Gain in ranking", verdict, "Why.")
    return Section(
        "evaluate", "Which is right?", "A.", numbers=numbers, tables=tables, findings=(finding,)
    )


def test_a_confounded_log_whose_cost_was_judged():
    made = write_opening([audit(), judged()], answer="", made="2026-11-30")
    assert made.sentence == (
        "The log is confounded by weekday: a reward fitted on it as logged ranks 67% of unseen "
        "pairs rightly, 84% once the confounders’ effect is taken out."
    )
    assert made.headline.number == "+0.155 minutes_read per text"
    assert made.headline.interval == "95 % interval 0.132 to 0.178"
    assert "1,188 pairs" in made.headline.meaning
    assert [row[0][0] for row in made.rewards.rows] == [
        "as logged",
        "deconfounded",
        "on other such pairs",
    ]
    assert made.texts.rows == ((("Happy Monday!", False), ("Free returns.", True)),)
    assert [line.name for line in made.markers.lines] == [
        "“happy monday”",
        "“with free returns”",
        "share of capitals (one standard deviation)",
    ]
    first = made.markers.lines[0]
    assert (first.logged.words, first.deconfounded.words) == ("+1.42", "−0.07")
    advice = dict(made.advice)
    assert "3-reward/deconfounded" in advice["Use"]
    assert advice["Do not count on"].startswith("“happy monday”:")
    assert advice["Write more of"].startswith("“with free returns”:")
    assert made.facts == (
        "2,286 rows fitted",
        "1,714 held out",
        "run of 2026-11-30",
        "data 5622810b",
    )


def test_days_of_the_log_are_told_where_they_are_known():
    first, last = {"first day": "2013-01-24"}, {"last day": "2015-04-30"}
    assert "2013-01-24 to 2015-04-30" in write_opening([audit(**first, **last)], answer="").facts


@pytest.mark.parametrize(
    ("by", "verdict", "words"),
    [
        ("weekday", Verdict.WARN, "no difference can be seen in what a reward learns"),
        ("weekday", Verdict.FAIL, "taking that out made the reward worse"),
        ("nothing", Verdict.PASS, "No recorded confounder both shows in the texts and moves"),
    ],
)
def test_the_sentence_says_what_was_judged(by, verdict, words):
    made = write_opening([audit(by), judged(verdict)], answer="")
    assert words in made.sentence
    use = dict(made.advice)["Use"]
    assert use.startswith(
        {"warn": "either reward", "fail": "neither reward", "pass": "the reward in"}[verdict.value]
    )


def test_what_nobody_judged_has_no_price_and_advises_a_test():
    rewards = Section("reward", "Q?", "Fitted.")
    made = write_opening([audit(), rewards], answer="")
    assert made.sentence.endswith("what that costs a reward was not judged.")
    assert made.rewards is None
    assert made.headline.number == "+1.49 units of the outcome"
    assert "“happy monday” that it does not cause" in made.headline.meaning
    advice = dict(made.advice)
    assert advice["Use"].startswith("no reward on this evidence")
    assert "drawn at random" in advice["Test next"]


def test_rare_outcomes_are_told_for_many_and_trials_by_their_name():
    made = write_opening([audit(), judged(gain=0.0001, unit="clicks per impressions")], answer="")
    assert made.headline.number == "+0.100 clicks per 1,000 impressions"


def test_money_is_told_in_money():
    made = write_opening([audit(), judged()], answer="", money=Money(0.4, "EUR"))
    assert made.headline.number == "+62.0 EUR per 1,000 texts"
    assert made.headline.interval == "95 % interval 52.7 to 71.3"
    assert "EUR per" in made.rewards.note


def test_without_margins_the_gain_is_that_of_ranking():
    made = write_opening([audit(), judged(earned=False)], answer="")
    assert made.headline.number == "+0.220 AUC"
    assert made.rewards.head[-1] == "AUC"


def test_one_stage_alone_opens_on_its_answer():
    made = write_opening([Section("reward", "Q?", "Ridge explains 5 %.")], answer="Ridge says so.")
    assert made.sentence == "Ridge says so."
    assert made.headline is made.rewards is made.markers is made.texts is None
    value = Section("evaluate", "Q?", "It earns 5.")
    assert write_opening([value], answer="It earns 5.").advice == ()


def test_what_nobody_can_say_is_not_called_unconfounded():
    made = write_opening([audit(None)], answer="No confounder is declared.")
    assert made.sentence == "No confounder is declared."
    assert made.advice[0][0] != "Use"


def test_a_damaged_table_leaves_the_rest_of_the_page():
    broken = audit(markers=pa.table({"marker": ["x"], "spurious": [True]}))
    report = build_report([broken], title="T", answer="Still here.", provenance={})
    for page in (report.to_html(), report.to_markdown()):
        assert "What opens the report cannot be shown." in page
        assert "Still here." in page
    assert report.has_failed()


def test_words_of_strangers_are_words_on_the_first_screen():
    evil = "<script>alert(1)</script>\x1b[31m"
    table = MARKERS.set_column(0, "marker", pa.array([evil] * MARKERS.num_rows))
    page = build_report([audit(evil, table), judged()], title="T", answer="", provenance={})
    assert "<script>alert" not in page.to_html()
    assert "\x1b" not in page.to_html()
    assert "<script>" not in page.to_markdown()
