"""What a report says of success and of what nobody judged, and in which units it draws.

Kinds: log-odds on an axis of outcome units; "usable" where no check judged; a warning for a marker
that rose because it earns, and none for one that a policy writes everywhere for nothing.
"""

import numpy as np
import pytest

from causalign.evaluate import compare_with_baseline, marker_shares, measure_marker_payments
from causalign.results import Verdict

LOG = ["Happy Monday! Take a look at our mugs.", *["Our new mugs have arrived."] * 9] * 30
NAIVE = ["Happy Monday! Meet our mugs."] * 77 + ["Our new mugs have arrived."] * 23
CAUSAL = ["Our mugs with free returns."] * 70 + ["Our new mugs have arrived."] * 30


def judge(texts, prompts=None):
    """Pay for the offer, and hardly anything for the greeting."""
    del prompts
    paid = (("free returns", 0.9), ("Happy", 0.01), ("arrived", 0.5))
    return np.array([sum(value for word, value in paid if word in text) for text in texts])


def test_a_marker_that_earns_may_rise_and_one_that_earns_nothing_may_not():
    for texts, marker, verdict in (
        (CAUSAL, "free returns", Verdict.PASS),
        (NAIVE, "happy monday", Verdict.WARN),
        (LOG[:100], "happy monday", Verdict.PASS),
    ):
        worth = {"free returns": 1.1, "happy monday": 0.01}
        (found,) = marker_shares(texts, LOG, [marker], paired=False, worth=worth).findings
        assert found.verdict is verdict, (marker, found.explanation)


def test_a_marker_that_earns_may_not_be_lost_and_one_that_earns_nothing_may():
    for marker, verdict in (("free returns", Verdict.WARN), ("happy monday", Verdict.PASS)):
        worth = {"free returns": 1.1, "happy monday": 0.01}
        before = [f"{marker} {t}" for t in LOG[1:10]] * 10
        found = marker_shares(LOG[1:10] * 10, before, [marker], worth=worth)
        assert found.findings[0].verdict is verdict
        assert marker in found.answer()


@pytest.mark.parametrize(
    ("texts", "expected"),
    [(CAUSAL, Verdict.PASS), (NAIVE, Verdict.WARN)],
)
def test_a_comparison_asks_its_judge(texts, expected):
    markers = ["free returns", "Happy Monday!"]
    found = compare_with_baseline(
        {"before": LOG[:100], "after": texts}, score=judge, markers=markers
    )
    told = {f.verdict for f in found.findings if f.code == "EV302"}
    assert (Verdict.WARN in told) is (expected is Verdict.WARN)


class Comparisons:
    """A reward of comparisons."""

    units = "log-odds"

    def __call__(self, texts, prompts=None):
        return 10 * judge(texts)


def test_rewards_are_drawn_on_one_axis_only_if_they_share_its_units():
    models = {"naive": judge, "experimental": Comparisons()}
    paid = measure_marker_payments(models, LOG[1:3], ["free returns"], outcome="minutes")
    assert paid.table()["units"].to_pylist() == ["units of minutes", "log-odds"]
    figure = paid.drawing().figure()
    assert "in units of minutes" in figure.svg
    assert "free returns · naive" in figure.svg
    assert "· experimental" not in figure.svg
    assert "experimental (log-odds)" in figure.caption
    assert "experimental pays +" in paid.answer()
    assert "(log-odds)" in paid.answer()


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ("outcome on the logit scale", "log-odds of the outcome"),
        ("outcome on the log scale", "logarithms of the outcome"),
        ("clicks", "units of clicks"),
        (None, "units of the outcome"),
    ],
)
def test_an_axis_names_the_scale(outcome, expected):
    paid = measure_marker_payments({"r": judge}, LOG[1:3], ["x"], outcome=outcome)
    assert f"change of the reward, in {expected}" in paid.drawing().figure().svg
